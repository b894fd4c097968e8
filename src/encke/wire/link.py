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
      ALIVE      -                                once a second, whatever else is said
      READY      -                                the map is complete: sends are taken
      LOGGED_IN  handle u64 * n
      REFUSED    handle u64 * n                   whose id has too many connections
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

Each kind is a class: its columns, how it's written (`encode`) and how it's read (`decode`). They
are spelled out, without helpers: a message takes four frames, and each call would be made four
times a message.

Pure.
"""

import struct
from array import array
from collections.abc import Callable
from typing import Self

import msgspec

from ..errors import FrameError
from ..sizes import MAX_MESSAGE
from .message import Messages, Order, Verb

MAX_FRAME = 2 * MAX_MESSAGE
"""Largest body that a reader takes. Frames are cut at about 1 MiB, but one message of the largest
size, for a million handles (8 MiB), goes into one."""

HEAD = 5
"""Bytes before a frame's body."""

_HEAD = struct.Struct("=IB")
_U32 = struct.Struct("=I")
_SEND = struct.Struct("=IIIBB")
_DELIVER = struct.Struct("=IIII")
_RESULT = struct.Struct("=II")
_NUMBERED = struct.Struct("=IBI")  # a frame's head, and the number that its body begins with
_SEND_HEAD = struct.Struct("=IBIIIBB")
_DELIVER_HEAD = struct.Struct("=IBIIII")
_RESULT_HEAD = struct.Struct("=IBII")

(HELLO, LOGIN, LOGOUT, SYNCED, SEND, ACK, READY, LOGGED_IN, DELIVER, RESULT) = range(1, 11)
(ASK_NODES, SEEN_NODES, ALIVE, REFUSED) = range(11, 15)

_ORDERS = {(verb.value, int(wait)): Order(verb, wait) for verb in Verb for wait in (False, True)}


class Hello(msgspec.Struct, frozen=True):
    """First frame of a gateway: its number, as in its handles."""

    gateway: int

    def encode(self) -> bytes:
        return _NUMBERED.pack(4, HELLO, self.gateway)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(_U32.unpack(body)[0])


class Login(msgspec.Struct, frozen=True):
    """`handles[k]` logs in as `ids[k]`."""

    handles: "array[int]"
    ids: list[bytes]

    def encode(self) -> bytes:
        count, ids = len(self.handles), b"\n".join(self.ids)
        head = _NUMBERED.pack(4 + 8 * count + len(ids), LOGIN, count)
        return b"".join((head, self.handles, ids))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        (count,) = _U32.unpack_from(body)
        end = 4 + 8 * count
        ids = body[end:].split(b"\n") if len(body) > end else []
        if len(ids) != count:
            raise ValueError(f"{count} ids announced, {len(ids)} there")
        return cls(array("Q", body[4:end]), ids)


class Logout(msgspec.Struct, frozen=True):
    """These connections are gone."""

    handles: "array[int]"

    def encode(self) -> bytes:
        return b"".join((_HEAD.pack(8 * len(self.handles), LOGOUT), self.handles))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(array("Q", body))


class Synced(msgspec.Struct, frozen=True):
    """Everyone who was logged in before the link came up has been logged in again."""

    def encode(self) -> bytes:
        return _HEAD.pack(0, SYNCED)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        if body:
            raise ValueError("a body where none belongs")
        return cls()


class Send(msgspec.Struct, frozen=True):
    """`messages`, each for a user; answered by the Result of the same batch.

    What is published goes to everyone subscribed to that user too; publications of the same lane
    (a sender) keep their order. Who waits (`order.wait`) is told of the connections of all nodes.
    """

    batch: int
    messages: Messages
    order: Order
    lanes: "array[int]" = msgspec.field(default_factory=lambda: array("I"))
    """Each publication's; of messages that are sent to their users there are none."""

    def encode(self) -> bytes:
        messages, order, lanes = self.messages, self.order, self.lanes
        ids, data = b"\n".join(messages.to), messages.data
        lengths = array("I", map(len, data))
        head = _SEND_HEAD.pack(
            _SEND.size + 4 * len(lengths) + 4 * len(lanes) + len(ids) + sum(lengths),
            SEND,
            self.batch,
            len(lengths),
            len(ids),
            order.verb,
            order.wait,
        )
        return b"".join((head, lengths, lanes, ids, *data))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        batch, count, ids_length, verb, wait = _SEND.unpack_from(body)
        order = _ORDERS.get((verb, wait))
        if order is None:
            raise ValueError("no such verb, or wait is neither 0 nor 1")
        lanes_start = _SEND.size + 4 * count
        ids_start = lanes_start + 4 * count * (verb == Verb.PUBLISH)
        start = ids_start + ids_length
        lengths = array("I", body[_SEND.size : lanes_start])
        lanes = array("I", body[lanes_start:ids_start])
        ids = body[ids_start:start].split(b"\n") if ids_length else []
        if len(ids) != count:
            raise ValueError(f"{count} ids announced, {len(ids)} there")
        data = []
        for length in lengths:
            data.append(body[start : start + length])
            start += length
        if start != len(body) or len(data) != count:
            raise ValueError("the messages' lengths don't add up")
        return cls(batch, Messages(ids, data), order, lanes)


class Ack(msgspec.Struct, frozen=True):
    """The Deliver of the same batch was written, but for `missed`: index, count, index, ..."""

    batch: int
    missed: "array[int]"

    def encode(self) -> bytes:
        missed = self.missed
        return b"".join((_NUMBERED.pack(4 + 4 * len(missed), ACK, self.batch), missed))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        missed = array("I", body[4:])
        if len(missed) % 2:
            raise ValueError("an index without a count")
        return cls(_U32.unpack_from(body)[0], missed)


class Ready(msgspec.Struct, frozen=True):
    """The router's map is complete; sends are taken."""

    def encode(self) -> bytes:
        return _HEAD.pack(0, READY)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        if body:
            raise ValueError("a body where none belongs")
        return cls()


class Alive(msgspec.Struct, frozen=True):
    """The router isn't hung."""

    def encode(self) -> bytes:
        return _HEAD.pack(0, ALIVE)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        if body:
            raise ValueError("a body where none belongs")
        return cls()


class LoggedIn(msgspec.Struct, frozen=True):
    """These connections are reachable from now on."""

    handles: "array[int]"

    def encode(self) -> bytes:
        return b"".join((_HEAD.pack(8 * len(self.handles), LOGGED_IN), self.handles))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(array("Q", body))


class LoginRefused(msgspec.Struct, frozen=True):
    """These aren't logged in: their ids have as many connections as they may."""

    handles: "array[int]"

    def encode(self) -> bytes:
        return b"".join((_HEAD.pack(8 * len(self.handles), REFUSED), self.handles))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(array("Q", body))


class Deliver(msgspec.Struct, frozen=True):
    """The k-th of `messages` goes to the next `counts[k]` of `handles`."""

    batch: int
    messages: Messages
    """Without the users whom they are for: the handles are theirs."""
    counts: "array[int]"
    handles: "array[int]"

    def encode(self) -> bytes:
        messages, counts, handles = self.messages, self.counts, self.handles
        publishers, data = b"\n".join(messages.publishers), messages.data
        lengths = array("I", map(len, data))
        head = _DELIVER_HEAD.pack(
            _DELIVER.size + 8 * (len(lengths) + len(handles)) + len(publishers) + sum(lengths),
            DELIVER,
            self.batch,
            len(lengths),
            len(handles),
            len(publishers),
        )
        return b"".join((head, lengths, counts, handles, publishers, *data))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        batch, count, total, publishers_length = _DELIVER.unpack_from(body)
        counts_start = _DELIVER.size + 4 * count
        handles_start = counts_start + 4 * count
        publishers_start = handles_start + 8 * total
        start = publishers_start + publishers_length
        lengths = array("I", body[_DELIVER.size : counts_start])
        counts = array("I", body[counts_start:handles_start])
        handles = array("Q", body[handles_start:publishers_start])
        if sum(counts) != total or len(handles) != total:
            raise ValueError("the messages' handles don't add up")
        messages = Messages([], [])
        if publishers_length:
            messages.publishers = publishers = body[publishers_start:start].split(b"\n")
            if len(publishers) != count:
                raise ValueError(f"{count} publishers announced, {len(publishers)} there")
        data = messages.data
        for length in lengths:
            data.append(body[start : start + length])
            start += length
        if start != len(body) or len(data) != count:
            raise ValueError("the messages' lengths don't add up")
        return cls(batch, messages, counts, handles)


class Result(msgspec.Struct, frozen=True):
    """Message k of that Send was handed to `counts[k]` connections."""

    batch: int
    counts: "array[int]"
    statuses: bytes = b""
    """A Status each; empty if all are OK."""

    def encode(self) -> bytes:
        counts, statuses = self.counts, self.statuses
        size = _RESULT.size + 4 * len(counts) + len(statuses)
        return b"".join(
            (_RESULT_HEAD.pack(size, RESULT, self.batch, len(counts)), counts, statuses)
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        batch, count = _RESULT.unpack_from(body)
        end = _RESULT.size + 4 * count
        if len(body) not in (end, end + count):
            raise ValueError(f"{count} counts announced, {len(body)} bytes there")
        return cls(batch, array("I", body[_RESULT.size : end]), body[end:])


class AskNodes(msgspec.Struct, frozen=True):
    """Which nodes of the cluster are there? From who is no gateway; answered by SeenNodes."""

    def encode(self) -> bytes:
        return _HEAD.pack(0, ASK_NODES)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        if body:
            raise ValueError("a body where none belongs")
        return cls()


class SeenNodes(msgspec.Struct, frozen=True):
    """The nodes that live: `heartbeats[k]` (wire.nodes) was heard at `times[k]`, in
    milliseconds of the machine's monotonic clock."""

    times: "array[int]"
    heartbeats: list[bytes]

    def encode(self) -> bytes:
        lengths = array("I", map(len, self.heartbeats))
        size = 4 + 12 * len(lengths) + sum(lengths)
        head = _NUMBERED.pack(size, SEEN_NODES, len(lengths))
        return b"".join((head, self.times, lengths, *self.heartbeats))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        (count,) = _U32.unpack_from(body)
        lengths_start, start = 4 + 8 * count, 4 + 12 * count
        times = array("Q", body[4:lengths_start])
        lengths = array("I", body[lengths_start:start])
        if not len(times) == len(lengths) == count:
            raise ValueError(f"{count} nodes announced, {len(lengths)} there")
        heartbeats = []
        for length in lengths:
            heartbeats.append(body[start : start + length])
            start += length
        if start != len(body):
            raise ValueError("the heartbeats' lengths don't add up")
        return cls(times, heartbeats)


Frame = (
    Hello | Login | Logout | Synced | Send | Ack | Ready | LoggedIn | Deliver | Result
    | AskNodes | SeenNodes | Alive | LoginRefused
)  # fmt: skip

_DECODERS: dict[int, Callable[[bytes], Frame]] = {
    HELLO: Hello.decode,
    LOGIN: Login.decode,
    LOGOUT: Logout.decode,
    SYNCED: Synced.decode,
    SEND: Send.decode,
    ACK: Ack.decode,
    READY: Ready.decode,
    LOGGED_IN: LoggedIn.decode,
    DELIVER: Deliver.decode,
    RESULT: Result.decode,
    ASK_NODES: AskNodes.decode,
    SEEN_NODES: SeenNodes.decode,
    ALIVE: Alive.decode,
    REFUSED: LoginRefused.decode,
}


class FrameReader:
    """Bytes in, frames out, whatever the pieces in which the bytes come."""

    __slots__ = ("_begun", "_needed")

    def __init__(self) -> None:
        self._begun = bytearray()  # a frame of which the rest is still to come
        self._needed = HEAD

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes.

        Raises FrameError for a frame that is malformed, unknown or longer than
        MAX_FRAME; the link is of no use after that.
        """
        begun = self._begun
        if begun:
            begun += data
            if len(begun) < self._needed:
                return []
            data = bytes(begun)
            begun.clear()
        frames: list[Frame] = []
        start, end = 0, len(data)
        self._needed = HEAD
        while end - start >= HEAD:
            length, kind = _HEAD.unpack_from(data, start)
            if length > MAX_FRAME:
                raise FrameError(f"A frame of {length} bytes is longer than {MAX_FRAME}.")
            if end - start - HEAD < length:
                self._needed = HEAD + length
                break
            start += HEAD + length
            decode = _DECODERS.get(kind)
            if decode is None:
                raise FrameError(f"No frame has kind {kind}.")
            try:
                frames.append(decode(data[start - length : start]))
            except (struct.error, ValueError) as error:
                raise FrameError(f"Malformed frame of kind {kind}: {error}") from None
        if start < end:
            begun += data[start:]
        return frames
