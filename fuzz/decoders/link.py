"""Frames between the processes of a node."""

from collections.abc import Iterable

from encke.errors import FrameError
from encke.wire import link
from encke.wire.message import SEND, Messages, Verb

from ..engine import Decoder, Outcome
from ..promises import LIMIT, READ, Broken, hold, ways


def link_frames(pieces: Iterable[bytes]) -> tuple[list[link.Frame], bool, link.FrameReader]:
    """The frames of `pieces`, and whether they ended in a FrameError."""
    reader = link.FrameReader()
    frames: list[link.Frame] = []
    try:
        for piece in pieces:
            frames += reader.feed(piece)
    except FrameError:
        return frames, True, reader
    return frames, False, reader


def check_link(data: bytes) -> Outcome:
    """Link frames: see `promises`; and what is read is written as it came."""
    longest, link.MAX_FRAME = link.MAX_FRAME, LIMIT
    try:
        whole, failed, reader = link_frames([data])
        frames = whole
        for pieces in ways(data):
            frames, cut_failed, _ = link_frames(pieces)
            hold(cut_failed == failed, f"cut {pieces!r} fails: {cut_failed}, whole: {failed}")
            # frames before a bad one in the same piece are lost with the link
            hold(frames[: len(whole)] == whole, f"cut {pieces!r} gives {frames!r}, not {whole!r}")
            hold(failed or frames == whole, f"cut {pieces!r} gives {frames!r}, not {whole!r}")
        hold(
            data.startswith(b"".join(frame.encode() for frame in frames)), "a frame reads otherwise"
        )
        hold(all(map(link_fits, frames)), "columns of different lengths")
        if not failed:
            link_ends(reader)
    finally:
        link.MAX_FRAME = longest
    return (*(type(frame).__name__ for frame in frames[:8]), failed)


def link_fits(frame: link.Frame) -> bool:
    """Whether the columns of a frame belong together."""
    match frame:
        case link.Login(handles, ids):
            return len(handles) == len(ids)
        case link.Send(_, messages, order, lanes):
            published = order.verb is Verb.PUBLISH
            return len(messages.to) == len(messages) and len(lanes) == len(messages) * published
        case link.Deliver(_, messages, counts, handles):
            return len(counts) == len(messages) and sum(counts) == len(handles)
        case link.Ack(_, missed):
            return len(missed) % 2 == 0
        case link.SeenNodes(times, heartbeats):
            return len(times) == len(heartbeats)
        case _:
            return True


def link_ends(reader: link.FrameReader) -> None:
    """Hold that an unfinished frame comes to an end within the limit."""
    for _ in range(LIMIT // READ + 2):
        try:
            if reader.feed(bytes(READ)):
                return
        except FrameError:
            return
    raise Broken("a frame has no end")


LINK = Decoder(
    "link",
    check_link,
    (
        b"\n", bytes(4), bytes(8), b"\xff" * 4, *(bytes((kind,)) for kind in range(12)),
        link.Hello(1).encode(), link.Synced().encode(),
        link.Send(1, Messages([b"a"], [b"b"]), SEND).encode(),
    ),
)  # fmt: skip
