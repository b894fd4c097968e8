"""The Python client: whether one is enough for all of a program, and what a send costs beside
other HTTP clients.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

import encke

from . import options
from .client_uses import USES
from .course import Course
from .report import Report, Section, facts, table
from .servers.encke import Encke

Send = Callable[[], object]


class Options(options.Options, frozen=True, kw_only=True):
    """Of `client`."""

    QUICK: ClassVar = {"sends": 100, "rounds": 1}

    sends: Annotated[int, Meta(ge=100, description="Sends in each way, and in each turn.")] = 10_000
    rounds: options.Rounds = 5


class Sample(msgspec.Struct):
    """One client in one round."""

    client: str
    round: int
    sends: int
    seconds: float
    cpu_seconds: float


class Opened(msgspec.Struct):
    """What it took to make a client, send one message, and close it; milliseconds."""

    milliseconds: float


class Results(msgspec.Struct):
    """All samples, and how many sends failed in each way."""

    failed: dict[str, int]
    samples: list[Sample]
    opened: list[Opened]


def run(options: Options, course: Course) -> Report:
    """The Python client: one for all of a program, and what a send costs.

    How many of so many sends fail, where threads, event loops, forked workers and the handlers of
    Django and FastAPI share one `encke.connect()`; and the client's time and CPU beside
    requests.Session's and http.client's, one after the other on one connection.
    """
    failed: dict[str, list[str]] = {}
    with Encke("--gateways", "1") as server:
        for name, use in USES.items():
            library = name.partition(",")[0].lower()
            if library in ("django", "fastapi") and course.left_out(name, lacking(library)):
                continue
            course.begin(name)
            failed[name] = use(server.url, options.sends)
            course.done(f"{name}: {len(failed[name])} of {options.sends} failed")
        samples = list(_rounds(options, course, server.url))
        opened = [_open(server.url) for _ in range(10 * options.rounds)]
    names = dict.fromkeys(it.client for it in samples)
    clients = {name: [it for it in samples if it.client == name] for name in names}
    costs = table(
        clients.items(),
        {
            "client": lambda its: its[0],
            "sends/s": lambda its: f"{median(it.sends / it.seconds for it in its[1]):,.0f}",
            "us CPU a send": lambda its: (
                f"{median(1e6 * it.cpu_seconds / it.sends for it in its[1]):,.0f}"
            ),
        },
    )
    once = f"{median(it.milliseconds for it in opened):.2f}"
    return Report(
        results=Results({name: len(its) for name, its in failed.items()}, samples, opened),
        sections=[
            Section(
                f"Failed of {options.sends:,} sends",
                [facts(*((name, len(its)) for name, its in failed.items()))],
            ),
            Section(f"A send (medians of {options.rounds})", [costs]),
            Section("A client for one send", [facts(("milliseconds", once))]),
        ],
        fault="; ".join(f"{name}: {its[0]}" for name, its in failed.items() if its),
    )


def _rounds(options: Options, course: Course, url: str) -> Iterator[Sample]:
    with ExitStack() as open_ones:
        clients = dict(_clients(course, url, open_ones))
        for number in range(1, options.rounds + 1):
            for name, send in clients.items():
                course.begin(f"{name}, round {number}")
                send()  # the connection is there
                begun, used = time.perf_counter(), time.process_time()
                for _ in range(options.sends):
                    send()
                seconds, cpu = time.perf_counter() - begun, time.process_time() - used
                yield Sample(name, number, options.sends, seconds, cpu)


def _clients(course: Course, url: str, open_ones: ExitStack) -> Iterator[tuple[str, Send]]:
    import http.client

    ours = open_ones.enter_context(encke.connect(url))
    yield "encke.connect", lambda: ours.send("nobody", "Hello World")
    plain = http.client.HTTPConnection(url.removeprefix("http://"))
    open_ones.callback(plain.close)

    def by_hand() -> bytes:
        plain.request("POST", "/send/nobody", b"Hello World")
        return plain.getresponse().read()

    yield "http.client", by_hand
    if not course.left_out("requests.Session", lacking("requests")):
        session = importlib.import_module("requests").Session()
        session.trust_env = False
        open_ones.callback(session.close)
        yield (
            "requests.Session",
            lambda: session.post(url + "/send/nobody", data=b"Hello World").content,
        )


def lacking(library: str) -> str | None:
    """Why it can't be used, if so."""
    there = importlib.util.find_spec(library) is not None
    return None if there else f"{library} isn't installed"


def _open(url: str) -> Opened:
    begun = time.perf_counter()
    with encke.connect(url) as client:
        client.send("nobody", "x")
    return Opened(1000 * (time.perf_counter() - begun))
