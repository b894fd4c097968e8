"""Link frames: every kind comes back as it was, and bytes that are no frame are refused."""

import struct
from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encke.errors import FrameError
from encke.wire import link
from encke.wire.link import (
    Ack,
    Alive,
    AskNodes,
    Deliver,
    Frame,
    FrameReader,
    Hello,
    LoggedIn,
    Login,
    LoginRefused,
    Logout,
    Ready,
    Result,
    SeenNodes,
    Send,
    Synced,
)
from encke.wire.message import SEND, Messages, Order, Verb

from .ways import PLACES, Feed, cut, fed, three_ways

HEAD = struct.Struct("=IB")


def encode(frame: Frame) -> bytes:
    return frame.encode()


def make() -> Feed[Frame]:
    return FrameReader().feed


def raw(kind: int, body: bytes) -> bytes:
    """A frame with any body."""
    return HEAD.pack(len(body), kind) + body


def u32(*numbers: int) -> bytes:
    return array("I", numbers).tobytes()


def u64(*numbers: int) -> bytes:
    return array("Q", numbers).tobytes()


U32 = st.integers(0, 2**32 - 1)
HANDLES = st.lists(st.integers(0, 2**64 - 1), max_size=8).map(lambda numbers: array("Q", numbers))
COUNTS = st.lists(U32, max_size=8).map(lambda numbers: array("I", numbers))
IDS = st.text("azAZ09-_.~@:", min_size=1, max_size=128).map(str.encode)
MESSAGES = st.binary(max_size=50)


@st.composite
def logins(draw: st.DrawFn) -> Login:
    handles = draw(HANDLES)
    return Login(handles, draw(st.lists(IDS, min_size=len(handles), max_size=len(handles))))


@st.composite
def sends(draw: st.DrawFn) -> Send:
    pairs = draw(st.lists(st.tuples(IDS, MESSAGES), max_size=8))
    ids, messages = [id for id, _ in pairs], [message for _, message in pairs]
    verb = draw(st.sampled_from(Verb))
    lanes = draw(st.lists(U32, min_size=len(ids), max_size=len(ids))) if verb else []
    order = Order(verb, draw(st.booleans()))
    return Send(draw(U32), Messages(ids, messages), order, array("I", lanes))


@st.composite
def delivers(draw: st.DrawFn) -> Deliver:
    messages = draw(st.lists(MESSAGES, max_size=5))
    size = len(messages)
    counts = array("I", draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)))
    total = sum(counts)
    handles = draw(st.lists(st.integers(0, 2**64 - 1), min_size=total, max_size=total))
    publishers = draw(st.just([]) | st.lists(IDS, min_size=size, max_size=size)) or ()
    return Deliver(draw(U32), Messages([], messages, publishers), counts, array("Q", handles))


@st.composite
def results(draw: st.DrawFn) -> Result:
    counts = draw(COUNTS)
    statuses = draw(st.just(b"") | st.binary(min_size=len(counts), max_size=len(counts)))
    return Result(draw(U32), counts, statuses)


@st.composite
def seen_nodes(draw: st.DrawFn) -> SeenNodes:
    times = draw(HANDLES)
    heartbeats = draw(st.lists(MESSAGES, min_size=len(times), max_size=len(times)))
    return SeenNodes(times, heartbeats)


FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, U32),
    logins(),
    st.builds(Logout, HANDLES),
    st.just(Synced()),
    sends(),
    st.builds(Ack, U32, COUNTS.filter(lambda missed: len(missed) % 2 == 0)),
    st.just(Ready()),
    st.builds(LoggedIn, HANDLES),
    st.builds(LoginRefused, HANDLES),
    delivers(),
    results(),
    st.just(AskNodes()),
    st.just(Alive()),
    seen_nodes(),
)


@settings(max_examples=300, deadline=None)
@given(FRAMES, FRAMES)
def test_every_frame_comes_back(frame: Frame, following: Frame) -> None:
    """A frame of any kind is read as it was written: whole, byte by byte, and followed."""
    assert three_ways(make, frame.encode(), following.encode()) == [frame]


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAMES, max_size=8), PLACES)
def test_any_split_of_many_frames(frames: list[Frame], places: list[int]) -> None:
    """Wherever a stream of frames is cut, and however many come at once, each comes once."""
    stream = b"".join(map(encode, frames))
    assert fed(make, [stream]) == frames
    assert fed(make, cut(stream, places)) == frames


def test_every_kind_is_covered() -> None:
    """The frames above are all there are."""
    covered = {Hello, Login, Logout, Synced, Send, Ack, Ready, LoggedIn, Deliver, Result}
    covered |= {AskNodes, SeenNodes, Alive, LoginRefused}
    assert covered == set(Frame.__args__)
    assert len(covered) == len(link._DECODERS)


def test_a_payload_travels_once() -> None:
    """A message costs its bytes once and 8 a handle, however many it goes to."""
    message = b"x" * 1000
    few = Deliver(1, Messages([], [message]), array("I", [1]), array("Q", [7]))
    many = Deliver(1, Messages([], [message]), array("I", [100]), array("Q", [7] * 100))
    assert len(many.encode()) - len(few.encode()) == 99 * 8


def test_empty_messages_and_nobody() -> None:
    """An empty message is a message; batches of nothing come back as such."""
    frames: list[Frame] = [
        Send(1, Messages([b"a", b"b"], [b"", b""]), SEND),
        Deliver(2, Messages([], [b"", b""]), array("I", [1, 0]), array("Q", [7])),
        Send(3, Messages([], []), SEND),
        Deliver(4, Messages([], []), array("I"), array("Q")),
        Login(array("Q"), []),
        Logout(array("Q")),
        Result(5, array("I")),
        Ack(6, array("I")),
    ]
    assert fed(make, [b"".join(map(encode, frames))]) == frames


MALFORMED = {
    "kind 0": raw(0, b""),
    "an unknown kind": raw(15, b""),
    "the last kind": raw(255, b"x"),
    "too long": HEAD.pack(link.MAX_FRAME + 1, link.SEND),
    "HELLO without a number": raw(link.HELLO, b""),
    "HELLO with half a number": raw(link.HELLO, b"\0\0"),
    "HELLO with more": raw(link.HELLO, u32(1, 2)),
    "SYNCED with a body": raw(link.SYNCED, b"x"),
    "READY with a body": raw(link.READY, b"x"),
    "LOGIN without a count": raw(link.LOGIN, b"\0"),
    "LOGIN with too few handles": raw(link.LOGIN, u32(2) + u64(7)),
    "LOGIN with half a handle": raw(link.LOGIN, u32(1) + b"\0\0\0\0"),
    "LOGIN with too few ids": raw(link.LOGIN, u32(2) + u64(7, 8) + b"a"),
    "LOGIN with too many ids": raw(link.LOGIN, u32(1) + u64(7) + b"a\nb"),
    "LOGIN with ids for nobody": raw(link.LOGIN, u32(0) + b"a"),
    "LOGIN that announces millions": raw(link.LOGIN, u32(2**32 - 1) + u64(7) + b"a"),
    "LOGOUT with half a handle": raw(link.LOGOUT, u64(7)[:5]),
    "LOGGED_IN with half a handle": raw(link.LOGGED_IN, u64(7) + b"\0"),
    "SEND without its head": raw(link.SEND, u32(1, 0)),
    "SEND with too few lengths": raw(link.SEND, u32(1, 2, 0) + u32(0)),
    "SEND with too few ids": raw(link.SEND, u32(1, 2, 1) + u32(0, 0) + b"a"),
    "SEND with too many ids": raw(link.SEND, u32(1, 1, 3) + u32(0) + b"a\nb"),
    "SEND whose ids end early": raw(link.SEND, u32(1, 1, 9) + u32(0) + b"a"),
    "SEND whose messages end early": raw(link.SEND, u32(1, 1, 1) + u32(5) + b"a" + b"hell"),
    "SEND with more behind its messages": raw(link.SEND, u32(1, 1, 1) + u32(1) + b"a" + b"hi"),
    "SEND that announces millions": raw(link.SEND, u32(1, 2**32 - 1, 0)),
    "ACK without a batch": raw(link.ACK, b""),
    "ACK with an index without a count": raw(link.ACK, u32(1, 2)),
    "ACK with half a number": raw(link.ACK, u32(1) + b"\0"),
    "DELIVER without its head": raw(link.DELIVER, u32(1)),
    "DELIVER with too few counts": raw(link.DELIVER, u32(1, 1, 0) + u32(0)),
    "DELIVER with too few handles": raw(link.DELIVER, u32(1, 1, 2) + u32(0, 2) + u64(7)),
    "DELIVER whose counts don't add up": raw(link.DELIVER, u32(1, 1, 1) + u32(0, 2) + u64(7)),
    "DELIVER whose messages end early": raw(link.DELIVER, u32(1, 1, 1) + u32(5, 1) + u64(7) + b"x"),
    "DELIVER with more behind": raw(link.DELIVER, u32(1, 1, 1) + u32(0, 1) + u64(7) + b"x"),
    "RESULT without a batch": raw(link.RESULT, b"\0\0\0"),
    "RESULT with half a count": raw(link.RESULT, u32(1) + b"\0\0"),
    "ASK_NODES with a body": raw(link.ASK_NODES, b"x"),
    "SEEN_NODES without a count": raw(link.SEEN_NODES, b"\0"),
    "SEEN_NODES with too few times": raw(link.SEEN_NODES, u32(2) + u64(7) + u32(0)),
    "SEEN_NODES with too few lengths": raw(link.SEEN_NODES, u32(1) + u64(7)),
    "SEEN_NODES whose heartbeats end early": raw(link.SEEN_NODES, u32(1) + u64(7) + u32(2) + b"x"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_frames_are_refused(name: str) -> None:
    """What is no frame raises FrameError, fed whole and byte by byte."""
    data = MALFORMED[name]
    for pieces in ([data], cut(data, range(len(data)))):
        with pytest.raises(FrameError):
            fed(make, pieces)


def test_a_frame_that_is_too_long_is_refused_at_its_head() -> None:
    """Nothing of an oversized frame is gathered: its announced length is enough."""
    reader = FrameReader()
    reader.feed(HEAD.pack(link.MAX_FRAME, link.SEND))  # as long as may be: waits
    with pytest.raises(FrameError, match="longer than"):
        FrameReader().feed(HEAD.pack(link.MAX_FRAME + 1, link.SEND))


def test_the_frames_before_a_bad_one_were_handed_out() -> None:
    """What came whole in earlier pieces stays received when the next piece is no frame."""
    reader = FrameReader()
    assert reader.feed(Hello(1).encode() + Synced().encode()) == [Hello(1), Synced()]
    with pytest.raises(FrameError):
        reader.feed(raw(99, b""))


BODIES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.integers(0, 3) | U32, max_size=12).map(lambda numbers: u32(*numbers)),
)
NEARLY_FRAMES = st.one_of(
    st.binary(max_size=60),
    st.builds(raw, st.integers(0, 12), BODIES),
    st.builds(lambda frame, flips: flip(frame.encode(), flips), FRAMES, PLACES),
)


def flip(data: bytes, places: list[int]) -> bytes:
    """`data` with a bit changed at each of `places`."""
    changed = bytearray(data)
    for place in places:
        changed[place // 8 % len(changed)] ^= 1 << place % 8
    return bytes(changed)


@settings(max_examples=500, deadline=None)
@given(st.lists(NEARLY_FRAMES, max_size=4), PLACES)
def test_arbitrary_bytes(parts: list[bytes], places: list[int]) -> None:
    """Of any bytes come frames, then maybe FrameError, and nothing else; and what is taken
    for a frame is written by `encode` as it came."""
    stream = b"".join(parts)
    frames: list[Frame] = []
    reader = FrameReader()
    try:
        for piece in cut(stream, places):
            frames += reader.feed(piece)
    except FrameError:
        pass
    ends = [0]
    for frame in frames:
        ends.append(ends[-1] + len(frame.encode()))
    written = [stream[a:b] for a, b in pairwise(ends)]
    assert list(map(encode, frames)) == written
