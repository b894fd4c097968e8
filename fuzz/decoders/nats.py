"""The NATS protocol, and what nodes say through it."""

from collections.abc import Iterable

from encke.errors import FrameError
from encke.wire import nats, nodes

from ..engine import Decoder, Outcome
from ..promises import LIMIT, bounded, hold, ways

# wire.nats


def nats_decoder() -> nats.Decoder:
    """One whose line and payload together stay below LIMIT."""
    return nats.Decoder(max_payload=LIMIT // 2, max_line=LIMIT // 2 - 4)


def nats_events(pieces: Iterable[bytes]) -> tuple[list[nats.Operation], bool]:
    """What comes out of `pieces`, and whether it ended in a FrameError."""
    decoder = nats_decoder()
    events: list[nats.Operation] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
    except FrameError:
        return events, True
    return events, False


def check_nats(data: bytes) -> Outcome:
    """The NATS protocol: see `promises`; and messages are what was written."""
    whole, failed = nats_events([data])
    for pieces in ways(data):
        events, cut_failed = nats_events(pieces)
        hold(cut_failed == failed, f"cut {pieces!r} fails: {cut_failed}, whole: {failed}")
        hold(failed or events == whole, f"cut {pieces!r} gives {events!r}, not {whole!r}")
    start = 0
    for event in whole:
        if isinstance(event, nats.NatsMessage):
            start = data.find(nats_message(event), start)
            hold(start >= 0, f"{event!r} was not written")
            start += len(nats_message(event))
    decoder = nats_decoder()

    def feed(piece: bytes) -> None:
        nonlocal decoder
        try:
            decoder.feed(piece)
        except FrameError:
            decoder = nats_decoder()

    bounded(data, (b"a", b"MSG ", b"MSG a 1 9\r\n", b"PING\r\n", b"MSG a 1 500\r\n"), feed)
    return failed, *(
        (bool(event.reply), bool(event.header), bool(event.payload))
        if isinstance(event, nats.NatsMessage)
        else type(event).__name__
        for event in whole[:8]
    )


def nats_message(message: nats.NatsMessage) -> bytes:
    """`message` from its subject on, as it was written, however its size is."""
    reply = b" " + message.reply if message.reply else b""
    return b"%b %b%b " % (message.subject, message.sid, reply)


# wire.nodes


def check_nodes(data: bytes) -> Outcome:
    """What nodes say: refused, or read as it's written."""
    outcome = []
    for read in (nodes.heartbeat, nodes.reply):
        try:
            said = read(data)
        except FrameError as error:
            outcome.append("".join(filter(str.isalpha, str(error)))[:60])
            continue
        hold(len(said.node) == 12 and said.node.isalnum(), f"a node called {said.node!r}")
        hold(read(nodes.encode(said)) == said, f"{said!r} reads otherwise")
        outcome.append("")
    return tuple(outcome)


NATS = Decoder(
    "nats",
    check_nats,
    (
        b"\r\n", b"\r", b"\n", b" ", b"\t", b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"MSG ", b"0",
        b"-ERR 'a'\r\n", b"INFO {}\r\n", b"MSG a 1 2\r\nhi\r\n", b"MSG a 1 r 2\r\nhi\r\n",
        b"HMSG ", b"HMSG a 1 2 4\r\nhihi\r\n", b"999999999", b'INFO {"a":', b"[" * 200,
    ),
)  # fmt: skip

NODES = Decoder(
    "nodes",
    check_nodes,
    (
        b"{", b"}", b'"', b":", b",", b"0", b"1e9", b"-", b".5", b"null", b"true", b"[" * 200,
        b'"node":"4be1c02f9a77"', b'"delivered":1', b'"linked":0.5', b'"users":', b"\xff",
        b'"leaving":true', b'"name":"a"', b'"error":"a"', b"\\u0000", b"9007199254740993",
    ),
)  # fmt: skip
