"""Server-Sent Events, as a client reads them."""

from collections.abc import Iterable

from encke.errors import FrameError
from encke.wire.sse_reader import MessageEvent, SseReader

from ..engine import Decoder, Outcome
from ..promises import LIMIT, bounded, hold, ways


def sse_events(pieces: Iterable[bytes]) -> tuple[list[object], bool]:
    """What a reader makes of `pieces`, and whether it ended in a FrameError."""
    reader = SseReader(limit=LIMIT)
    seen: list[object] = []
    try:
        for piece in pieces:
            seen += reader.feed(piece)
    except FrameError:
        return seen, True
    return [*seen, ("id", reader.last_event_id), ("retry", reader.retry)], False


def check_sse(data: bytes) -> Outcome:
    """Server-Sent Events: see `promises`."""
    whole, failed = sse_events([data])
    for pieces in ways(data):
        cut, cut_failed = sse_events(pieces)
        hold(cut_failed == failed, f"cut {pieces!r} fails: {cut_failed}, whole: {failed}")
        hold(failed or cut == whole, f"cut {pieces!r} gives {cut!r}, not {whole!r}")
    reader = SseReader(limit=LIMIT)

    def feed(piece: bytes) -> None:
        nonlocal reader
        try:
            reader.feed(piece)
        except FrameError:
            reader = SseReader(limit=LIMIT)

    bounded(data, (b"a", b"data: a\n", b"id: a\n", b"event: a\r", b":"), feed)
    events = [event for event in whole if isinstance(event, MessageEvent)]
    return (
        failed,
        len(events).bit_length(),
        whole[len(events) :] == [("id", ""), ("retry", None)],
        any(event.type != "message" for event in events),
        any("\n" in event.data for event in events),
    )


SSE_READER = Decoder(
    "sse_reader",
    check_sse,
    (
        b"\n", b"\r", b"\r\n", b"\n\n", b"data", b"data: ", b"data:", b"id: ", b"event: ",
        b"retry: 1", b":", b" ", b"\xef\xbb\xbf", b"\xe2\x98\x84", b"\0", b"data: a\n\n",
    ),
)  # fmt: skip
