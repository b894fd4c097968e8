"""nchan, through the same steps as Encke, as far as one of its workers goes."""

import re

import httpx
import msgspec

from encke.errors import Unreachable
from encke.settings import files_limit
from encke.tools.watch import Processes, Reading, Recorder, Sample

from .course import Course, noted
from .servers.nginx import NCHAN_FILES, NCHAN_STREAMS, nchan, nchan_missing
from .stage import POST, Opening, Return, Seen, Sending, Stage

NAME = "nchan"

_published = re.compile(r"^total published messages: (\d+)", re.MULTILINE).search


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of it."""

    opening: Opening
    sending: Sending
    returned: Return
    seen: Seen


class Watched:
    """nginx's processes, and from its stub status how many messages were published.

    Each has one subscriber, so that as many were delivered. See watch.sources.Source.
    """

    name = NAME

    def __init__(self, pid: int, url: str) -> None:
        self._processes = Processes(pid, NAME)
        self._url = f"{url}/status"

    def read(self) -> Reading:
        """Raises Ended, Unreachable."""
        reading = self._processes.read()
        try:
            told = _published(httpx.get(self._url, trust_env=False).text)
        except httpx.HTTPError as error:
            raise Unreachable(f"nchan doesn't tell its status: {error}.") from None
        return msgspec.structs.replace(reading, delivered=int(told[1]) if told else None)


def missing() -> str | None:
    """Why it can't be measured here, if it can't."""
    return nchan_missing() or (None if most() > 0 else "it may open too few files here")


def most() -> int:
    """Streams that one of its workers can hold here."""
    return min(NCHAN_STREAMS, NCHAN_STREAMS + files_limit() - NCHAN_FILES)


def measure(
    streams: int, rate: float, seconds: float, every: float, course: Course
) -> tuple[Measured, list[Sample]]:
    """Open, send, cut off, and watch. Raises BenchError."""
    with (
        nchan() as server,
        Recorder([Watched(server.pid, server.url)], every) as recorder,
        Stage(server, streams, course.place(NAME), POST) as stage,
    ):
        recorder.listener = course.show
        course.begin("connecting")
        opening = stage.open()
        course.begin(f"{rate:,.0f} messages/s, a POST each")
        sending = stage.send_paced(rate, seconds)
        course.begin("cut off")
        returned = stage.cut()
        seen = stage.end()
        recorder.read()
    measured = Measured(opening=opening, sending=sending, returned=returned, seen=seen)
    return measured, noted(recorder.samples, [], every / 4)
