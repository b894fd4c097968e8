"""Link frames: what a gateway and the router say to each other over their Unix socket.

A frame is a length, a kind and a body; numbers are in the machine's own byte order,
since both ends are on one machine::

    +-----------+--------+----------------------------------------------+
    | length u32| kind u8| body, `length` bytes                         |
    +-----------+--------+----------------------------------------------+

    gateway -> router
      HELLO      gateway u32                      first frame on a link
      LOGIN      n u32 | handle u64 * n | ids, newline between them
      LOGOUT     handle u64 * n
      SYNCED     -                                all logins of old were sent
      SEND       batch u32 | n u32 | ids' bytes u32 | verb u8 | wait u8 | length u32 * n
                 | lane u32 * (n if published) | ids | messages
      ACK        batch u32 | (index u32, missed u32) *
    router -> gateway
      READY      -                                the map is complete: sends are taken
      LOGGED_IN  handle u64 * n
      DELIVER    batch u32 | n u32 | handles u32 | publishers' bytes u32 | length u32 * n
                 | count u32 * n | handle u64 * handles | publishers | messages
      RESULT     batch u32 | n u32 | count u32 * n | status u8 * (n, or 0: all OK)
    control process -> router, on a link without a HELLO
      ASK_NODES  -
    router -> control process
      SEEN_NODES n u32 | time u64 * n | length u32 * n | heartbeats

Everything travels in batches: a SEND or DELIVER holds the messages of a whole loop
turn, a message's payload once however many handles it goes to. A DELIVER is
acknowledged once it was written to the connections (ACK names only the exceptions),
and only then does the sender's gateway get its RESULT: a gateway that is killed in
between can't make a false success.

Pure. May import: message, errors, msgspec.
"""

import struct
from array import array
from collections.abc import Callable
from itertools import accumulate

import msgspec

from ..errors import FrameError
from .message import Verb

MAX_FRAME = 64 * 1024 * 1024
"""Largest body that a reader takes. Frames are cut at about 1 MiB; one message of the
largest size with a million handles is 9 MiB."""

_HEAD = struct.Struct("=IB")
_U32 = struct.Struct("=I")
_SEND = struct.Struct("=IIIBB")
_DELIVER = struct.Struct("=IIII")
_RESULT = struct.Struct("=II")

(HELLO, LOGIN, LOGOUT, SYNCED, SEND, ACK, READY, LOGGED_IN, DELIVER, RESULT) = range(1, 11)
(ASK_NODES, SEEN_NODES) = range(11, 13)


class Hello(msgspec.Struct, frozen=True):
    """First frame of a gateway: its number, as in its handles."""

    gateway: int


class Login(msgspec.Struct, frozen=True):
    """`handles[k]` logs in as `ids[k]`."""

    handles: "array[int]"
    ids: list[bytes]


class Logout(msgspec.Struct, frozen=True):
    """These connections are gone."""

    handles: "array[int]"


class Synced(msgspec.Struct, frozen=True):
    """Everyone who was logged in before the link came up has been logged in again."""


class Send(msgspec.Struct, frozen=True):
    """`messages[k]` is for the user `ids[k]`; answered by the Result of the same batch.

    With PUBLISH also for everyone subscribed to `ids[k]`; publications of the same lane
    (a sender) keep their order. With `wait` the Result counts the connections of all nodes.
    """

    batch: int
    ids: list[bytes]
    messages: list[bytes]
    verb: Verb = Verb.SEND
    wait: bool = False
    lanes: "array[int]" = msgspec.field(default_factory=lambda: array("I"))


class Ack(msgspec.Struct, frozen=True):
    """The Deliver of the same batch was written, but for `missed`: index, count, index, ..."""

    batch: int
    missed: "array[int]"


class Ready(msgspec.Struct, frozen=True):
    """The router's map is complete; sends are taken."""


class LoggedIn(msgspec.Struct, frozen=True):
    """These connections are reachable from now on."""

    handles: "array[int]"


class Deliver(msgspec.Struct, frozen=True):
    """`messages[k]` goes to the next `counts[k]` of `handles`, as published by `publishers[k]`."""

    batch: int
    counts: "array[int]"
    handles: "array[int]"
    messages: list[bytes]
    publishers: list[bytes] = msgspec.field(default_factory=list)
    """Empty: they were sent to their users, not published."""


class Result(msgspec.Struct, frozen=True):
    """Message k of that Send was handed to `counts[k]` connections."""

    batch: int
    counts: "array[int]"
    statuses: bytes = b""
    """A Status each; empty if all are OK."""


class AskNodes(msgspec.Struct, frozen=True):
    """Which nodes of the cluster are there? From who is no gateway; answered by SeenNodes."""


class SeenNodes(msgspec.Struct, frozen=True):
    """The nodes that live: `heartbeats[k]` (wire.nodes) was heard at `times[k]`, in
    milliseconds of the machine's monotonic clock."""

    times: "array[int]"
    heartbeats: list[bytes]


Frame = (
    Hello | Login | Logout | Synced | Send | Ack | Ready | LoggedIn | Deliver | Result
    | AskNodes | SeenNodes
)  # fmt: skip


def encode(frame: Frame) -> bytes:
    """`frame` as bytes, head and body."""
    kind, parts = _parts(frame)
    return b"".join((_HEAD.pack(sum(map(len, parts)), kind), *parts))


def _parts(frame: Frame) -> tuple[int, tuple[bytes, ...]]:
    match frame:
        case Deliver():
            return DELIVER, _deliver_parts(frame)
        case Send():
            return SEND, _send_parts(frame)
        case Ack(batch, missed):
            return ACK, (_U32.pack(batch), missed.tobytes())
        case Result(batch, counts, statuses):
            return RESULT, (_RESULT.pack(batch, len(counts)), counts.tobytes(), statuses)
        case Login(handles, ids):
            return LOGIN, (_U32.pack(len(handles)), handles.tobytes(), b"\n".join(ids))
        case Logout(handles):
            return LOGOUT, (handles.tobytes(),)
        case LoggedIn(handles):
            return LOGGED_IN, (handles.tobytes(),)
        case Hello(gateway):
            return HELLO, (_U32.pack(gateway),)
        case Synced():
            return SYNCED, ()
        case Ready():
            return READY, ()
        case AskNodes() | SeenNodes():
            return _nodes_parts(frame)


def _nodes_parts(frame: AskNodes | SeenNodes) -> tuple[int, tuple[bytes, ...]]:
    if isinstance(frame, AskNodes):
        return ASK_NODES, ()
    heartbeats = b"".join(frame.heartbeats)
    count = _U32.pack(len(frame.times))
    return SEEN_NODES, (count, frame.times.tobytes(), _lengths(frame.heartbeats), heartbeats)


def _lengths(messages: list[bytes]) -> bytes:
    return array("I", map(len, messages)).tobytes()


def _send_parts(frame: Send) -> tuple[bytes, ...]:
    ids = b"\n".join(frame.ids)
    head = _SEND.pack(frame.batch, len(frame.messages), len(ids), frame.verb, frame.wait)
    lengths = _lengths(frame.messages)
    return head, lengths, frame.lanes.tobytes(), ids, b"".join(frame.messages)


def _deliver_parts(frame: Deliver) -> tuple[bytes, ...]:
    publishers = b"\n".join(frame.publishers)
    head = _DELIVER.pack(frame.batch, len(frame.messages), len(frame.handles), len(publishers))
    return (
        head,
        _lengths(frame.messages),
        frame.counts.tobytes(),
        frame.handles.tobytes(),
        publishers,
        b"".join(frame.messages),
    )


class FrameReader:
    """Bytes in, frames out, whatever the pieces in which the bytes come."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = _HEAD.size

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes.

        Raises FrameError for a frame that is malformed, unknown or longer than
        MAX_FRAME; the link is of no use after that.
        """
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._needed:
            return []
        frames: list[Frame] = []
        start, end = 0, len(buffer)
        self._needed = _HEAD.size
        while end - start >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, start)
            if length > MAX_FRAME:
                raise FrameError(f"A frame of {length} bytes is longer than {MAX_FRAME}.")
            if end - start - _HEAD.size < length:
                self._needed = _HEAD.size + length
                break
            start += _HEAD.size + length
            frames.append(_decode(kind, bytes(buffer[start - length : start])))
        del buffer[:start]
        return frames


def _decode(kind: int, body: bytes) -> Frame:
    try:
        decode = _DECODERS[kind]
    except KeyError:
        raise FrameError(f"No frame has kind {kind}.") from None
    try:
        return decode(body)
    except (struct.error, ValueError) as error:
        raise FrameError(f"Malformed frame of kind {kind}: {error}") from None


def _numbers(code: str, raw: bytes) -> "array[int]":
    numbers = array(code)
    numbers.frombytes(raw)
    return numbers


def _split(body: bytes, start: int, lengths: "array[int]") -> list[bytes]:
    """Cut the messages out of `body`, from `start` to its end."""
    ends = list(accumulate(lengths, initial=start))
    if ends[-1] != len(body):
        raise ValueError("the messages' lengths don't add up")
    return [body[start:end] for start, end in zip(ends, ends[1:])]  # noqa: B905, RUF007 (hot)


def _ids(raw: bytes, count: int) -> list[bytes]:
    ids = raw.split(b"\n") if raw else []
    if len(ids) != count:
        raise ValueError(f"{count} ids announced, {len(ids)} there")
    return ids


def _empty(body: bytes) -> None:
    if body:
        raise ValueError("a body where none belongs")


def _synced(body: bytes) -> Synced:
    _empty(body)
    return Synced()


def _ready(body: bytes) -> Ready:
    _empty(body)
    return Ready()


def _login(body: bytes) -> Login:
    (count,) = _U32.unpack_from(body)
    end = 4 + 8 * count
    return Login(_numbers("Q", body[4:end]), _ids(body[end:], count))


def _send(body: bytes) -> Send:
    batch, count, ids_length, verb, wait = _SEND.unpack_from(body)
    if wait > 1:
        raise ValueError("wait is neither 0 nor 1")
    lanes_start = _SEND.size + 4 * count
    ids_start = lanes_start + 4 * count * (verb == Verb.PUBLISH)
    messages_start = ids_start + ids_length
    lengths = _numbers("I", body[_SEND.size : lanes_start])
    lanes = _numbers("I", body[lanes_start:ids_start])
    ids = _ids(body[ids_start:messages_start], count)
    messages = _split(body, messages_start, lengths)
    return Send(batch, ids, messages, Verb(verb), bool(wait), lanes)


def _deliver(body: bytes) -> Deliver:
    batch, count, total, publishers_length = _DELIVER.unpack_from(body)
    counts_start = _DELIVER.size + 4 * count
    handles_start = counts_start + 4 * count
    publishers_start = handles_start + 8 * total
    messages_start = publishers_start + publishers_length
    lengths = _numbers("I", body[_DELIVER.size : counts_start])
    counts = _numbers("I", body[counts_start:handles_start])
    handles = _numbers("Q", body[handles_start:publishers_start])
    if sum(counts) != total:
        raise ValueError("the messages' handles don't add up")
    publishers: list[bytes] = []
    if publishers_length:
        publishers = _ids(body[publishers_start:messages_start], count)
    return Deliver(batch, counts, handles, _split(body, messages_start, lengths), publishers)


def _result(body: bytes) -> Result:
    batch, count = _RESULT.unpack_from(body)
    end = _RESULT.size + 4 * count
    if len(body) not in (end, end + count):
        raise ValueError(f"{count} counts announced, {len(body)} bytes there")
    return Result(batch, _numbers("I", body[_RESULT.size : end]), body[end:])


def _ack(body: bytes) -> Ack:
    missed = _numbers("I", body[4:])
    if len(missed) % 2:
        raise ValueError("an index without a count")
    return Ack(_U32.unpack_from(body)[0], missed)


def _hello(body: bytes) -> Hello:
    return Hello(_U32.unpack(body)[0])


def _ask_nodes(body: bytes) -> AskNodes:
    _empty(body)
    return AskNodes()


def _seen_nodes(body: bytes) -> SeenNodes:
    (count,) = _U32.unpack_from(body)
    lengths_start = 4 + 8 * count
    heartbeats_start = lengths_start + 4 * count
    times = _numbers("Q", body[4:lengths_start])
    lengths = _numbers("I", body[lengths_start:heartbeats_start])
    if not len(times) == len(lengths) == count:
        raise ValueError(f"{count} nodes announced, {len(lengths)} there")
    return SeenNodes(times, _split(body, heartbeats_start, lengths))


_DECODERS: dict[int, Callable[[bytes], Frame]] = {
    HELLO: _hello,
    LOGIN: _login,
    LOGOUT: lambda body: Logout(_numbers("Q", body)),
    SYNCED: _synced,
    SEND: _send,
    ACK: _ack,
    READY: _ready,
    LOGGED_IN: lambda body: LoggedIn(_numbers("Q", body)),
    DELIVER: _deliver,
    RESULT: _result,
    ASK_NODES: _ask_nodes,
    SEEN_NODES: _seen_nodes,
}
