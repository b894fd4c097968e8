"""What must hold of each decoder, whatever bytes it is fed.

- No exception but the one that its docstring names.
- The same comes out however the bytes are cut.
- What is kept of unfinished input is bounded.

How an input is cut depends on the input alone, so an input that breaks a decoder once
breaks it again.
"""

import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from urllib.parse import unquote_to_bytes

from encke.errors import BadUserId, FrameError
from encke.ids import is_user_id, user_id
from encke.wire import link, nats, ndjson, nodes, subscriptions
from encke.wire.http import METHODS, RequestParser, percent_decoded
from encke.wire.known_heads import KnownHeads
from encke.wire.message import SEND, Messages, Verb
from encke.wire.request import END, Refusal, Request
from encke.wire.request import Event as HttpEvent
from encke.wire.sse_reader import Event, SseReader

from .engine import Decoder, Outcome

LIMIT = 1024
"""For what the decoders keep: small, so that inputs reach it."""

READ = 512
"""Bytes of one read, where a read's size matters."""

SLACK = 8 * 1024
"""Bytes of memory that may come and go for other reasons than what a decoder keeps."""


class Broken(AssertionError):
    """A promise that doesn't hold."""


def hold(promise: bool, what: str) -> None:
    """Raise Broken if `promise` doesn't hold."""
    if not promise:
        raise Broken(what[:1000])


def rng_of(data: bytes) -> random.Random:
    """Randomness that depends on the input alone."""
    return random.Random(zlib.crc32(data))


def ways(data: bytes) -> list[Sequence[bytes]]:
    """`data` cut in several ways: some large pieces, many small ones."""
    rng = rng_of(data)
    few = [0, *sorted(rng.choices(range(len(data) + 1), k=rng.randint(1, 4))), len(data)]
    step = 1 if len(data) <= READ else rng.randint(2, 64)
    return [
        [data[a:b] for a, b in pairwise(few)],
        [data[i : i + step] for i in range(0, len(data), step)],
    ]


def bounded(data: bytes, filler: Sequence[bytes], feed: Callable[[bytes], object]) -> None:
    """Hold that after `data` no filler makes `feed` keep more than LIMIT and one read.

    Measured for one input in 8: it takes long. `feed` must drop what it gets out.
    """
    rng = rng_of(data)
    if rng.randrange(8):
        return
    piece = (rng.choice(filler) * READ)[:READ]
    tracemalloc.start()
    try:
        feed(data)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2 * (LIMIT + SLACK) // READ):
            feed(piece)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    hold(kept <= LIMIT + READ + SLACK, f"{kept} bytes kept of {piece[:8]!r}...")


# wire.http


def http_events(
    pieces: Iterable[bytes], limit: int, known: KnownHeads | None = None
) -> tuple[RequestParser, list[HttpEvent]]:
    """What comes out of `pieces`, with the pieces of a body put together."""
    parser = RequestParser(limit, known)
    events: list[HttpEvent] = []
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] += event
            else:
                events.append(event)
    return parser, events


def http_seen(events: list[HttpEvent]) -> list[object]:
    """`events` as far as they must be the same however the bytes are cut.

    Behind another request in the same read it can't be told whether a bad method is a
    word (501) or garbage (400).
    """
    return [
        ("method" if "method" in event.detail.lower() else event.status)
        if isinstance(event, Refusal)
        else event
        for event in events
    ]


def check_http(data: bytes) -> Outcome:
    """Requests: see the module's head; and their events keep to their grammar."""
    parser, events = http_events([data], 1 << 20)
    for pieces in ways(data):
        cut = http_events(pieces, 1 << 20)[1]
        hold(http_seen(cut) == http_seen(events), f"cut {pieces!r} gives {cut!r}, not {events!r}")
        http_grammar(http_events(pieces, LIMIT)[1])
    seen = KnownHeads()
    for _ in range(2):
        again = http_events([data], 1 << 20, seen)[1]
        hold(
            http_seen(again) == http_seen(events), f"known heads make it {again!r}, not {events!r}"
        )
    last = http_grammar(events)
    if last is not None and parser.between_requests:
        more = parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        hold(not last.keep_alive or more[-1] is END, f"kept alive, but next comes {more!r}")
    bounded(data, (b"a", b"0", b" ", b"a:b\r\n", b"\r\n"), RequestParser(LIMIT).feed)
    return tuple(
        event.detail if isinstance(event, Refusal) else type(event).__name__ for event in events
    )


def http_grammar(events: list[HttpEvent]) -> Request | None:
    """Hold that `events` are whole requests, then maybe a part of one, then maybe a Refusal.

    Returns the last request if it is whole, and no Refusal came.
    """
    request: Request | None = None
    body: bytes | None = None
    for place, event in enumerate(events):
        if isinstance(event, Refusal):
            hold(place == len(events) - 1, "something came after a Refusal")
            hold(event.status in (400, 431, 501, 505), f"status {event.status}")
            return None
        if isinstance(event, Request):
            hold(body is None, "a request came within another")
            request, body = event, b""
            hold(request.path in request.target or request.path == b"/", "path")
            hold(request.method in METHODS, "method")
        elif isinstance(event, bytes):
            hold(body == b"" and event != b"", "a body without a request, or an empty piece")
            body = event
        else:
            hold(body is not None and request is not None, "an end without a request")
            if request is not None and body is not None:
                http_framing(request, body)
            body = None
    return request if body is None else None


def http_framing(request: Request, body: bytes) -> None:
    """Hold that a whole request has the body that its head announced."""
    length = request.headers.get(b"content-length")
    if length is not None:
        hold(len(body) == int(length[-20:]), f"{length!r} bytes announced, {len(body)} came")
        hold(b"transfer-encoding" not in request.headers, "both length and coding")
    elif b"transfer-encoding" not in request.headers:
        hold(not body, "a body that wasn't announced")
    hold(request.has_body or not body, "has_body is wrong")


# wire.link


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
    """Link frames: see the module's head; and what is read is written as it came."""
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


# wire.nats


def nats_decoder() -> nats.Decoder:
    """One whose line and payload together stay below LIMIT."""
    return nats.Decoder(max_payload=LIMIT // 2, max_line=LIMIT // 2 - 4)


def nats_events(pieces: Iterable[bytes]) -> tuple[list[nats.Event], bool]:
    """What comes out of `pieces`, and whether it ended in a FrameError."""
    decoder = nats_decoder()
    events: list[nats.Event] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
    except FrameError:
        return events, True
    return events, False


def check_nats(data: bytes) -> Outcome:
    """The NATS protocol: see the module's head; and messages are what was written."""
    whole, failed = nats_events([data])
    for pieces in ways(data):
        events, cut_failed = nats_events(pieces)
        hold(cut_failed == failed, f"cut {pieces!r} fails: {cut_failed}, whole: {failed}")
        hold(failed or events == whole, f"cut {pieces!r} gives {events!r}, not {whole!r}")
    start = 0
    for event in whole:
        if isinstance(event, nats.Message):
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
        if isinstance(event, nats.Message)
        else type(event).__name__
        for event in whole[:8]
    )


def nats_message(message: nats.Message) -> bytes:
    """`message` from its subject on, as it was written, however its size is."""
    reply = b" " + message.reply if message.reply else b""
    return b"%b %b%b " % (message.subject, message.sid, reply)


# wire.nodes


def check_nodes(data: bytes) -> Outcome:
    """What nodes say: refused, or read as it's written."""
    outcome = []
    for read in (nodes.heartbeat, nodes.answer):
        try:
            said = read(data)
        except FrameError as error:
            outcome.append("".join(filter(str.isalpha, str(error)))[:60])
            continue
        hold(len(said.node) == 12 and said.node.isalnum(), f"a node called {said.node!r}")
        hold(read(nodes.encode(said)) == said, f"{said!r} reads otherwise")
        outcome.append("")
    return tuple(outcome)


# wire.ndjson


def ndjson_body(pieces: Iterable[bytes], limit: int) -> tuple[list[tuple[bytes, bytes]], int, int]:
    """The messages of a body, how many lines they took, and the number of the bad line (or 0).

    Reads as a gateway does: block by block, until a line is bad or too long.
    """
    cutter = ndjson.LineCutter(limit)
    messages: list[tuple[bytes, bytes]] = []
    lines = 0
    for piece in (*pieces, None):
        block = cutter.finish() if piece is None else cutter.feed(piece)
        decoded = ndjson.decode(block, lines + 1, limit)
        messages += zip(decoded.ids, decoded.messages, strict=True)
        lines += decoded.lines
        if decoded.bad is not None:
            return messages, lines, decoded.bad.number
        if cutter.too_long:
            return messages, lines, lines + 1
    return messages, lines, 0


def check_ndjson(data: bytes) -> Outcome:
    """NDJSON: see the module's head; and a line means the same by itself as among others."""
    whole = ndjson_body([data], LIMIT)
    for pieces in ways(data):
        cut = ndjson_body(pieces, LIMIT)
        hold(cut == whole, f"cut {pieces!r} gives {cut!r}, not {whole!r}")
    messages, lines, bad = ndjson_by_line(data)
    hold(whole[0] == messages, f"line by line it's {messages!r}, not {whole[0]!r}")
    hold(whole[2] == bad, f"line {bad} is bad, not {whole[2]}")
    hold(whole[1] == lines, f"{lines} lines, not {whole[1]}")
    hold(all(is_user_id(id) for id, _ in messages), "an id that is none")
    for _, message in messages:
        message.decode()
    reason = ndjson.decode(data, limit=LIMIT).bad
    return len(messages), "".join(filter(str.isalpha, reason.reason)) if reason else None


def ndjson_by_line(data: bytes) -> tuple[list[tuple[bytes, bytes]], int, int]:
    """As `ndjson_body`, each line decoded by itself."""
    messages: list[tuple[bytes, bytes]] = []
    rows = data.split(b"\n")
    for number, row in enumerate(rows, 1):
        decoded = ndjson.decode(row, number, LIMIT)
        messages += zip(decoded.ids, decoded.messages, strict=True)
        if decoded.bad is not None or len(row) > LIMIT:
            return messages, number - 1, number
    return messages, len(rows) - (not rows[-1]), 0


# wire.subscriptions


def subscriptions_read(
    form: subscriptions.Form, pieces: Iterable[bytes]
) -> tuple[list[subscriptions.Pair], int, int, list[ndjson.BadLine]]:
    """The pairs of a body, its lines, how many are bad, and what is wrong with the first ones."""
    reader = subscriptions.Reader(form)
    pairs = [pair for piece in pieces for pair in reader.feed(piece)]
    pairs += reader.finish()
    return pairs, reader.lines, reader.bad, reader.errors


def check_subscriptions(data: bytes) -> Outcome:
    """Subscriptions: see the module's head; and a line means the same by itself as among others,
    in both forms."""
    return tuple(map(check_form, subscriptions.FORMS.values(), (data, data)))


def check_form(form: subscriptions.Form, data: bytes) -> Outcome:
    whole = subscriptions_read(form, [data])
    for pieces in ways(data):
        cut = subscriptions_read(form, pieces)
        hold(cut == whole, f"cut {pieces!r} gives {cut!r}, not {whole!r}")
    pairs, lines, bad, errors = whole
    alone = [subscriptions_read(form, [row]) for row in data.split(b"\n")]
    hold(pairs == [pair for row in alone for pair in row[0]], f"line by line it's not {pairs!r}")
    numbers = [number for number, row in enumerate(alone, 1) if row[2]]
    hold(bad == len(numbers), f"{numbers} are bad, not {bad}")
    hold([error.number for error in errors] == numbers[: len(errors)], f"not {numbers}")
    hold(len(errors) == min(bad, subscriptions.REPORTED), f"{len(errors)} of {bad} told")
    hold(lines == len(alone) - (not data or data.endswith(b"\n")), f"{lines} lines")
    hold(all(is_user_id(id) for pair in pairs for id in pair), "an id that is none")
    reader = subscriptions.Reader(form)
    reader.feed(b"?\n" * subscriptions.REPORTED)
    bounded(data, (b"a", b"1\t2\n", b"{", b"\n", form.example.encode()), reader.feed)
    reason = errors[0].reason if errors else ""
    return len(pairs), "".join(filter(str.isalpha, reason))[:40]


# wire.sse_reader


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
    """Server-Sent Events: see the module's head."""
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
    events = [event for event in whole if isinstance(event, Event)]
    return (
        failed,
        len(events).bit_length(),
        whole[len(events) :] == [("id", ""), ("retry", None)],
        any(event.type != "message" for event in events),
        any("\n" in event.data for event in events),
    )


# ids


def check_ids(data: bytes) -> Outcome:
    """User ids and percent-encoding: as the standard library has it, and nothing passes that
    the rule for ids doesn't name."""
    decoded = percent_decoded(data)
    hold(decoded == unquote_to_bytes(data), f"decoded to {decoded!r}")
    try:
        id = user_id(decoded)
    except BadUserId as error:
        hold(not is_user_id(decoded), f"{decoded!r} was refused")
        return "".join(filter(str.isalpha, str(error)))
    hold(id == decoded and 1 <= len(id) <= 128, f"{decoded!r} became {id!r}")
    hold(all(chr(byte).isalnum() or byte in b"-_.~@:" for byte in id), f"{id!r} passed")
    hold(user_id(id.decode("ascii")) == id, f"{id!r} as text is another")
    return b"%" in data


DECODERS = (
    Decoder(
        "http",
        check_http,
        (
            b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"0\r\n\r\n", b": ", b" ", b"\t", b";a=b",
            b"GET / HTTP/1.1\r\n", b"POST /send/1 HTTP/1.1\r\n", b"HTTP/1.0", b"HTTP/2.0",
            b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Proxy-Connection: close\r\n",
            b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"CONNECT ",
            b"5\r\nhello\r\n", b"X: y\r\n", b"%41", b"http://a", b"?", b"PRI * ", b"00000000",
        ),
    ),
    Decoder(
        "link",
        check_link,
        (
            b"\n", bytes(4), bytes(8), b"\xff" * 4, *(bytes((kind,)) for kind in range(12)),
            link.Hello(1).encode(), link.Synced().encode(),
            link.Send(1, Messages([b"a"], [b"b"]), SEND).encode(),
        ),
    ),
    Decoder(
        "nats",
        check_nats,
        (
            b"\r\n", b"\r", b"\n", b" ", b"\t", b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"MSG ", b"0",
            b"-ERR 'a'\r\n", b"INFO {}\r\n", b"MSG a 1 2\r\nhi\r\n", b"MSG a 1 r 2\r\nhi\r\n",
            b"HMSG ", b"HMSG a 1 2 4\r\nhihi\r\n", b"999999999", b'INFO {"a":', b"[" * 200,
        ),
    ),
    Decoder(
        "nodes",
        check_nodes,
        (
            b"{", b"}", b'"', b":", b",", b"0", b"1e9", b"-", b".5", b"null", b"true", b"[" * 200,
            b'"node":"4be1c02f9a77"', b'"delivered":1', b'"linked":0.5', b'"users":', b"\xff",
            b'"leaving":true', b'"name":"a"', b'"error":"a"', b"\\u0000", b"9007199254740993",
        ),
    ),
    Decoder(
        "ndjson",
        check_ndjson,
        (
            b"\n", b"\r\n", b'{"id":"1","data":"a"}', b'{"id":"1","data":"a"}\n', b"{", b"}", b"[",
            b"]", b'"', b":", b",", b"\\u", b"\\ud800", b"\\udc00", b'"id"', b'"data"', b"null",
            b"1e9", b" ", b"\t", b"\xc3\xa9", b"\xff", b'{"x":', b"\\", b"\\n",
        ),
    ),
    Decoder(
        "subscriptions",
        check_subscriptions,
        (
            b"\n", b"\r\n", b"\t", b"1\t2\n", b"1", b'{"subscriber":"1","publisher":"2"}', b"{",
            b'{"subscriber":"1","publisher":"2"}\n', b"}", b"[", b'"', b":", b",", b"\\u", b" ",
            b'"subscriber"', b'"publisher"', b"null", b"\xc3\xa9", b"\xff", b"\\", b"x" * 4096,
        ),
    ),
    Decoder(
        "sse_reader",
        check_sse,
        (
            b"\n", b"\r", b"\r\n", b"\n\n", b"data", b"data: ", b"data:", b"id: ", b"event: ",
            b"retry: 1", b":", b" ", b"\xef\xbb\xbf", b"\xe2\x98\x84", b"\0", b"data: a\n\n",
        ),
    ),
    Decoder(
        "ids",
        check_ids,
        (b"%", b"%4", b"%41", b"%25", b"%00", b"%ff", b"%2F", b"a", b"0", b":", b"@", b"~", b"\n"),
    ),
)  # fmt: skip
"""Every decoder. Its name is that of its directory of seeds."""
