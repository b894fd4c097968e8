"""The NATS protocol: what comes back of what was written, and what is refused."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encke.errors import FrameError
from encke.wire import nats
from encke.wire.nats import Connect, Decoder, Err, Info, NatsMessage, Ok, Operation, Ping, Pong

from .ways import PLACES, Feed, bytewise, cut, fed, three_ways


@pytest.fixture(scope="module", autouse=True, params=[0, nats.WORTHWHILE])
def worthwhile(request: pytest.FixtureRequest) -> Iterator[None]:
    """All tests: once with the usual messages decoded by column, however few they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nats, "WORTHWHILE", request.param)
        yield


def make() -> Feed[Operation]:
    return Decoder().feed


def small() -> Feed[Operation]:
    return Decoder(max_payload=100, max_line=200).feed


# what a server may write

FIELD_BYTES = [byte for byte in range(256) if byte not in b" \t\r\n"]
FIELDS = st.lists(st.sampled_from(FIELD_BYTES), min_size=1, max_size=12).map(bytes)
USUAL_FIELDS = st.text("azAZ09-_~@:,.$", min_size=1, max_size=12).map(str.encode)
NUMBERS = st.integers(0, 10**6).map(b"%d".__mod__)
SOME_FIELDS = FIELDS | USUAL_FIELDS | NUMBERS
PAYLOADS = st.binary(max_size=60) | st.sampled_from([b"", b"\r\n", b"MSG a 1 5\r\n", b"\0" * 9])

MESSAGES = st.builds(
    NatsMessage,
    SOME_FIELDS,
    SOME_FIELDS,
    PAYLOADS,
    st.just(b"") | SOME_FIELDS,
    st.just(b"") | st.just(b"NATS/1.0\r\nA: b\r\n\r\n") | st.binary(min_size=1, max_size=20),
)
INFOS = st.builds(
    Info,
    server_id=st.text(max_size=9),
    version=st.just("2.15.1"),
    tls_required=st.booleans(),
    nonce=st.text(max_size=9),
    max_payload=st.integers(0, 2**31),
    connect_urls=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    ldm=st.booleans(),
)
# without what is stripped: blanks and quotes at the ends
ERRORS = st.text(max_size=30).filter(
    lambda text: "\r\n" not in text and text == text.strip(" '") and not text.endswith("\r")
)
EVENTS: st.SearchStrategy[Operation] = st.one_of(
    MESSAGES,
    INFOS,
    st.sampled_from([Ping(), Pong(), Ok()]),
    st.builds(Err, ERRORS),
)


def written(event: Operation) -> bytes:
    """`event` as nats-server writes it."""
    match event:
        case NatsMessage():
            return written_message(event)
        case Info():
            return (
                b"INFO %b \r\n"
                % json.dumps(
                    {name: getattr(event, name) for name in Info.__struct_fields__}
                    | {"go": "go1.25"}
                ).encode()
            )
        case Ping():
            return b"PING\r\n"
        case Pong():
            return b"PONG\r\n"
        case Ok():
            return b"+OK\r\n"
        case Err(text):
            return b"-ERR '%b'\r\n" % text.encode()


def written_message(message: NatsMessage) -> bytes:
    reply = b"%b " % message.reply if message.reply else b""
    start = b"MSG %b %b %b" % (message.subject, message.sid, reply)
    total = len(message.header) + len(message.payload)
    if message.header:
        start = b"H%b%d " % (start, len(message.header))
    return b"%b%d\r\n%b%b\r\n" % (start, total, message.header, message.payload)


@settings(max_examples=300, deadline=None)
@given(EVENTS, EVENTS)
def test_every_event_comes_back(event: Operation, following: Operation) -> None:
    """What a server may write is read: whole, byte by byte, and followed by more."""
    assert three_ways(make, written(event), written(following)) == [event]


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=8), PLACES)
def test_any_split_of_many(events: list[Operation], places: list[int]) -> None:
    """Wherever the stream is cut, and however much comes at once, each event comes once."""
    stream = b"".join(map(written, events))
    assert fed(make, [stream]) == events
    assert fed(make, cut(stream, places)) == events


@settings(max_examples=300, deadline=None)
@given(
    st.lists(MESSAGES.filter(lambda message: not message.header), max_size=6),
    st.integers(0, 60),
    EVENTS,
)
def test_many_messages_that_are_alike(
    messages: list[NatsMessage], left: int, other: Operation
) -> None:
    """Messages only, with something else behind, or cut off anywhere, are the same as a few."""
    stream = b"".join(map(written, [*messages, other]))
    whole, few = make(), make()
    assert whole(stream[:-left]) == fed(lambda: few, cut(stream[:-left], range(0, 999, 7)))
    assert whole(stream[-left:]) == few(stream[-left:])


def test_nothing_is_left_behind() -> None:
    """`idle` says whether something is unfinished."""
    decoder = Decoder()
    seen = []
    for piece in (b"", b"PING\r\nMSG a 1 2\r\nhi\r", b"\n", b"P"):
        decoder.feed(piece)
        seen.append(decoder.idle)
    assert seen == [True, False, True, False]


def test_a_real_servers_greeting() -> None:
    """INFO as nats-server 2.15 writes it; what isn't known is passed over."""
    line = (
        b'INFO {"server_id":"NBXE","server_name":"n1","version":"2.15.1","proto":1,'
        b'"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":43569,"headers":true,'
        b'"tls_available":true,"max_payload":1048576,"client_id":5,"client_ip":"127.0.0.1",'
        b'"nonce":"abc","cluster":"t","connect_urls":["127.0.0.1:43569","[::1]:4222"]} \r\n'
    )
    (info,) = three_ways(make, line, b"PING\r\n")
    assert info == Info(
        server_id="NBXE",
        server_name="n1",
        version="2.15.1",
        headers=True,
        tls_available=True,
        max_payload=1048576,
        nonce="abc",
        connect_urls=("127.0.0.1:43569", "[::1]:4222"),
    )


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"-ERR 'Authorization Violation'\r\n", "Authorization Violation"),
        (b"-ERR\r\n", ""),
        (
            b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n",
            'Permissions Violation for Publish to "a"',
        ),
        (b"-ERR 'Invalid \xff'\r\n", "Invalid \\xff"),
    ],
)
def test_errors(line: bytes, text: str) -> None:
    """-ERR comes without its quotes, whatever bytes a subject in it has."""
    assert three_ways(make, line, b"PONG\r\n") == [Err(text)]


def test_nobody_answers() -> None:
    """The server's own answer to a request that nobody gets is told from others."""
    nobody, answer = (
        NatsMessage(b"i", b"1", b"", b"", b"NATS/1.0 503\r\n\r\n"),
        NatsMessage(b"i", b"1", b"503", b"", b"NATS/1.0\r\nA: 503\r\n\r\n"),
    )
    assert nobody.no_responders
    assert not answer.no_responders
    assert not NatsMessage(b"i", b"1", b"").no_responders


MALFORMED = {
    "an empty line": b"\r\n",
    "a word that is none": b"HELLO\r\n",
    "a client's word": b"PUB a 2\r\nhi\r\n",
    "small letters": b"ping\r\n",
    "a blank before": b" PING\r\n",
    "a blank behind": b"PING \r\n",
    "a word and more": b"PINGS\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n",
    "a TLS record": b"\x16\x03\x01\x02\x00\r\n",
    "MSG alone": b"MSG \r\n",
    "MSG without a size": b"MSG a 1\r\n",
    "MSG with too many fields": b"MSG a 1 r s 2\r\nhi\r\n",
    "MSG with two blanks": b"MSG  a 1 2\r\nhi\r\n",
    "MSG with a tab": b"MSG\ta 1 2\r\nhi\r\n",
    "MSG with a tab between fields": b"MSG a\t1 2\r\nhi\r\n",
    "MSG with a line feed in a field": b"MSG a\nb 1 2\r\nhi\r\n",
    "MSG with a carriage return in a field": b"MSG a\rb 1 2\r\nhi\r\n",
    "MSG with a size that is none": b"MSG a 1 two\r\nhi\r\n",
    "MSG with a negative size": b"MSG a 1 -2\r\nhi\r\n",
    "MSG with a sign": b"MSG a 1 +2\r\nhi\r\n",
    "MSG with an underscore": b"MSG a 1 1_0\r\nhihihihihi\r\n",
    "MSG with another script's digit": "MSG a 1 ٢\r\nhi\r\n".encode(),
    "MSG with a size of ten digits": b"MSG a 1 0000000002\r\nhi\r\n",
    "MSG that is too large": b"MSG a 1 101\r\n" + b"x" * 101 + b"\r\n",
    "MSG that is too large, unfinished": b"MSG a 1 999999999\r\n",
    "MSG without an end": b"MSG a 1 2\r\nhiPING\r\n",
    "MSG that is longer": b"MSG a 1 2\r\nhihi\r\n",
    "MSG with a line feed only": b"MSG a 1 2\r\nhi\n\n",
    "HMSG without a size": b"HMSG a 1 2\r\nhi\r\n",
    "HMSG with too many fields": b"HMSG a 1 r s 2 2\r\nhi\r\n",
    "HMSG with more header than all": b"HMSG a 1 3 2\r\nhi\r\n",
    "HMSG that is too large": b"HMSG a 1 1 101\r\n" + b"x" * 101 + b"\r\n",
    "INFO without anything": b"INFO\r\n",
    "INFO that is no JSON": b"INFO {nothing}\r\n",
    "INFO that is no object": b"INFO []\r\n",
    "INFO with a wrong type": b'INFO {"max_payload":"many"}\r\n',
    "INFO that isn't UTF-8": b'INFO {"version":"\xff"}\r\n',
    "a line that is too long": b"INFO {%b}\r\n" % (b" " * 200),
    "a line without an end": b"x" * 202,
    "MSG with a line that is too long": b"MSG %b 1 2\r\nhi\r\n" % (b"s" * 193),
    "HMSG with a line that is too long": b"HMSG %b 1 0 2\r\nhi\r\n" % (b"s" * 190),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_the_protocol_is_refused(name: str) -> None:
    """It raises FrameError, fed whole and byte by byte, also behind what is right."""
    data = MALFORMED[name]
    for pieces in ([data], bytewise(data), [b"MSG a 1 2\r\nhi\r\n" + data]):
        with pytest.raises(FrameError):
            fed(small, pieces)


def test_json_that_is_nested_too_deep() -> None:
    """INFO with more brackets than Python may nest is refused like any that can't be read."""
    with pytest.raises(FrameError):
        fed(make, [b'INFO {"a":' + b"[" * 60_000 + b"\r\n"])


def test_what_reaches_the_limits_is_taken() -> None:
    """A line and a payload may be as long as the limits say."""
    line = b"MSG %b 1 2" % (b"s" * 192)
    assert len(line) == 200
    assert three_ways(small, line + b"\r\nhi\r\n", b"PING\r\n") == [
        NatsMessage(b"s" * 192, b"1", b"hi")
    ]
    for word, header in ((b"MSG a 1 100\r\n", b""), (b"HMSG a 1 40 100\r\n", b"x" * 40)):
        (message,) = three_ways(small, word + b"x" * 100 + b"\r\n", b"PING\r\n")
        assert message == NatsMessage(b"a", b"1", b"x" * (100 - len(header)), b"", header)


def test_what_strangers_choose_cannot_end_the_connection() -> None:
    """Who publishes chooses the reply, up to a server's 4,096 bytes a line, from any bytes but
    white space."""
    for reply in (b"r" * 4080, b"a\x0b\x0c\0\x7f\xff", b"1", b"*.>"):
        message = NatsMessage(b"encke.user.1", b"1", b"hi", reply)
        assert three_ways(make, written(message), b"PING\r\n") == [message]


def test_a_large_message_is_read_in_time_that_grows_with_it() -> None:
    """A payload of 16 MiB that comes in pieces of 4 KiB isn't copied for each piece."""
    payload = bytes(16 * 1024 * 1024)
    stream = b"MSG a 1 %d\r\n%b\r\nPING\r\n" % (len(payload), payload)
    pieces = [stream[i : i + 4096] for i in range(0, len(stream), 4096)]
    message, ping = fed(make, pieces)
    assert isinstance(message, NatsMessage)
    assert message.payload == payload
    assert ping == Ping()


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=30), EVENTS.map(written)), max_size=4),
    PLACES,
    st.lists(st.integers(0, 10_000), max_size=3),
)
def test_arbitrary_bytes(parts: list[bytes], places: list[int], flips: list[int]) -> None:
    """Of any bytes come events, then maybe FrameError, and nothing else; however they are cut,
    the same events and the same end."""
    stream = bytearray(b"".join(parts))
    for place in flips:
        if stream:
            stream[place // 8 % len(stream)] ^= 1 << place % 8
    ends = []
    for pieces in ([bytes(stream)], bytewise(bytes(stream)), cut(bytes(stream), places)):
        feed = small()
        events: list[Operation] = []
        failed = False
        try:
            for piece in pieces:
                events += feed(piece)
        except FrameError:
            failed = True
        ends.append((failed, events))
    assert len({failed for failed, _ in ends}) == 1
    if not ends[0][0]:
        assert ends[0] == ends[1] == ends[2]


# what we write


def test_connect() -> None:
    """CONNECT says what is to be otherwise than servers assume, and only the credentials that
    there are."""
    line = nats.connect(Connect(name="encke", version="1", user="ada", password='s"ecret'))
    assert line.startswith(b"CONNECT {")
    assert line.endswith(b"}\r\n")
    assert json.loads(line[8:]) == {
        "name": "encke",
        "version": "1",
        "lang": "python",
        "protocol": 1,
        "verbose": False,
        "pedantic": False,
        "echo": False,
        "headers": True,
        "no_responders": True,
        "tls_required": False,
        "user": "ada",
        "pass": 's"ecret',
    }


def test_batches() -> None:
    """Many are one piece of bytes; a subject's last token is its sid."""
    subjects = [b"encke.user.1", b"encke.user.ada@example,org", b"alone"]
    assert nats.subscribe(subjects) == (
        b"SUB encke.user.1 1\r\n"
        b"SUB encke.user.ada@example,org ada@example,org\r\n"
        b"SUB alone alone\r\n"
    )
    assert nats.unsubscribe(subjects) == b"UNSUB 1\r\nUNSUB ada@example,org\r\nUNSUB alone\r\n"
    assert nats.publish(subjects, [b"hi", b"", b"\r\n"]) == (
        b"PUB encke.user.1 2\r\nhi\r\n"
        b"PUB encke.user.ada@example,org 0\r\n\r\n"
        b"PUB alone 2\r\n\r\n\r\n"
    )
    assert nats.publish([b"a"], [b"hi"], b"r.1") == b"PUB a r.1 2\r\nhi\r\n"
    assert nats.subscribe([]) == nats.unsubscribe([]) == nats.publish([], []) == b""
    assert list(map(nats.sid_of, subjects)) == [b"1", b"ada@example,org", b"alone"]


def test_wildcards_have_sids_of_their_own() -> None:
    """The sid of a subject with a wildcard at its end is all of it, so that two differ."""
    subjects = [b"encke.publish.*", b"encke.node.*"]
    assert nats.subscribe(subjects) == (
        b"SUB encke.publish.* encke.publish.*\r\nSUB encke.node.* encke.node.*\r\n"
    )
    assert nats.unsubscribe(subjects) == b"UNSUB encke.publish.*\r\nUNSUB encke.node.*\r\n"
    assert list(map(nats.sid_of, subjects)) == subjects


def test_every_subject_has_its_payload() -> None:
    """A batch with more of the one than of the other is a mistake, and nothing is made of it."""
    with pytest.raises(ValueError, match="2 subjects for 1"):
        nats.publish([b"a", b"b"], [b"hi"])
