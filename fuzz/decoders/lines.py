"""Lines: NDJSON bodies, and subscriptions in both of their forms."""

from collections.abc import Iterable

from encke.ids import is_user_id
from encke.wire import ndjson, subscriptions

from ..engine import Decoder, Outcome
from ..promises import LIMIT, bounded, hold, ways

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
    """NDJSON: see `promises`; and a line means the same by itself as among others."""
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
    """Subscriptions: see `promises`; and a line means the same by itself as among others,
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


NDJSON = Decoder(
    "ndjson",
    check_ndjson,
    (
        b"\n", b"\r\n", b'{"id":"1","data":"a"}', b'{"id":"1","data":"a"}\n', b"{", b"}", b"[",
        b"]", b'"', b":", b",", b"\\u", b"\\ud800", b"\\udc00", b'"id"', b'"data"', b"null",
        b"1e9", b" ", b"\t", b"\xc3\xa9", b"\xff", b'{"x":', b"\\", b"\\n",
    ),
)  # fmt: skip

SUBSCRIPTIONS = Decoder(
    "subscriptions",
    check_subscriptions,
    (
        b"\n", b"\r\n", b"\t", b"1\t2\n", b"1", b'{"subscriber":"1","publisher":"2"}', b"{",
        b'{"subscriber":"1","publisher":"2"}\n', b"}", b"[", b'"', b":", b",", b"\\u", b" ",
        b'"subscriber"', b'"publisher"', b"null", b"\xc3\xa9", b"\xff", b"\\", b"x" * 4096,
    ),
)  # fmt: skip
