"""The NATS client protocol, a client's side of it: what is written, and what is read.

Lines end with CR LF; MSG and HMSG have so many bytes and another CR LF behind their line
(docs.nats.io, Reference, NATS Protocols, Client Protocol)::

    client -> server
      CONNECT {json}                                answers the first INFO
      PUB subject [reply] #bytes | payload
      SUB subject sid                               sid: our name of the subscription
      UNSUB sid
      PING, PONG
    server -> client
      INFO {json}                                   first line, and whenever it changes
      MSG subject sid [reply] #bytes | payload
      HMSG subject sid [reply] #header #total | header | payload
      PING, PONG, +OK
      -ERR 'text'                                   most of them end the connection

A subscription's sid is its subject's last token, or the whole subject if that ends with a
wildcard. So nobody needs a table of sids: what it takes is that the last tokens of one
connection's subscriptions differ, and none of them has a dot.

What is read is held to the form that nats-server writes: words in capitals, one blank
between fields. Fields may have any byte but blank, tab, CR and LF: whoever may publish
chooses subject and reply, and must not be able to end another's connection.

Pure.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from ..errors import FrameError

MAX_LINE = 64 * 1024
"""Longest line that is read. nats-server takes lines of 4,096 bytes (max_control_line) from
its clients; those it writes are longer by our sid, and INFO names all servers of a cluster."""

MAX_PAYLOAD = 64 * 1024 * 1024
"""Largest payload that is read, header included: nats-server can't be set to more. What our
server takes from us (INFO's max_payload) may be less than what another in its cluster took."""

PING = b"PING\r\n"
PONG = b"PONG\r\n"


class Info(msgspec.Struct, frozen=True):
    """What the server says of itself."""

    server_id: str = ""
    server_name: str = ""
    version: str = ""
    headers: bool = False
    auth_required: bool = False
    tls_required: bool = False
    tls_available: bool = False
    nonce: str = ""
    """To be signed by who has an nkey."""
    max_payload: int = 1024 * 1024
    connect_urls: tuple[str, ...] = ()
    """host:port of the servers of its cluster."""
    ldm: bool = False
    """Lame duck mode: it is about to end, and asks its clients to go elsewhere."""


class NatsMessage(msgspec.Struct, frozen=True, gc=False):
    """MSG or HMSG: `payload`, published to `subject`, for our subscription `sid`."""

    subject: bytes
    sid: bytes
    payload: bytes
    reply: bytes = b""
    """Subject at which the publisher waits for an answer; empty: it doesn't."""
    header: bytes = b""
    """As it came, from "NATS/1.0" to the empty line; empty for MSG."""

    @property
    def no_responders(self) -> bool:
        """Whether this is the server's own answer to a request: nobody subscribes there."""
        return self.header.startswith(b"NATS/1.0 503") and not self.payload


class Ping(msgspec.Struct, frozen=True):
    """The server wants a PONG."""


class Pong(msgspec.Struct, frozen=True):
    """The server has processed all that was written before our PING."""


class Ok(msgspec.Struct, frozen=True):
    """Only in verbose mode."""


class Err(msgspec.Struct, frozen=True):
    """The server complains, e.g. Authorization Violation; without its quotes."""

    text: str


Operation = Info | NatsMessage | Ping | Pong | Ok | Err


class Connect(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of itself. Set what the server's kind of authentication takes."""

    name: str
    version: str
    lang: str = "python"
    protocol: int = 1  # INFO may come at any time
    verbose: bool = False  # no +OK
    pedantic: bool = False
    echo: bool = False  # not our own messages
    headers: bool = True
    no_responders: bool = True  # a request that nobody gets is answered at once
    tls_required: bool = False
    user: str | msgspec.UnsetType = msgspec.UNSET
    password: str | msgspec.UnsetType = msgspec.field(name="pass", default=msgspec.UNSET)
    auth_token: str | msgspec.UnsetType = msgspec.UNSET
    nkey: str | msgspec.UnsetType = msgspec.UNSET
    jwt: str | msgspec.UnsetType = msgspec.UNSET
    sig: str | msgspec.UnsetType = msgspec.UNSET


def connect(options: Connect) -> bytes:
    """CONNECT."""
    return b"CONNECT %b\r\n" % msgspec.json.encode(options)


def sid_of(subject: bytes) -> bytes:
    """The sid under which we subscribe to `subject`."""
    return subject if subject[-1:] == b"*" else subject[subject.rfind(b".") + 1 :]


def subscribe(subjects: Iterable[bytes]) -> bytes:
    """A SUB for each of `subjects`; it's for the caller to see that they are subjects."""
    return b"".join([b"SUB %b %b\r\n" % (each, sid_of(each)) for each in subjects])


def unsubscribe(subjects: Iterable[bytes]) -> bytes:
    """An UNSUB for each of `subjects`."""
    return b"".join([b"UNSUB %b\r\n" % sid_of(each) for each in subjects])


def publish(subjects: Sequence[bytes], payloads: Sequence[bytes], reply: bytes = b"") -> bytes:
    """A PUB for each pair of `subjects` and `payloads`; answers, if wanted, go to `reply`.

    Raises ValueError if there are more of the one than of the other.
    """
    count = len(payloads)
    if len(subjects) != count:
        raise ValueError(f"{len(subjects)} subjects for {count} payloads")
    if not count:
        return b""
    between = b" %b " % reply if reply else b" "
    sizes = list(map(len, payloads))
    ends = {size: b"%b%d\r\n" % (between, size) for size in set(sizes)}
    # one join for all: to format each takes three times as long
    parts = [b"\r\nPUB "] * (4 * count)
    parts[0] = b"PUB "
    parts[1::4], parts[2::4], parts[3::4] = subjects, [ends[size] for size in sizes], payloads
    parts.append(b"\r\n")
    return b"".join(parts)


# The usual MSG. A range matches faster than a set; ++, ?? and {}+ leave nothing to try again.
_usual_msg = re.compile(rb"MSG ([!-\xff]++) ([!-\xff]++) (?:([!-\xff]++) )??(\d{1,9}+)\r\n").match

WORTHWHILE = 4096
"""Bytes from which on it pays to decode messages by column; see Decoder._columns."""

_FIELD = rb"([^ \t\r\n]+)"
_msg = re.compile(rb"MSG %b %b (?:%b )?(\d{1,9})" % (_FIELD, _FIELD, _FIELD)).fullmatch
_hmsg = re.compile(rb"HMSG %b %b (?:%b )?(\d{1,9}) (\d{1,9})" % (_FIELD, _FIELD, _FIELD)).fullmatch
_WORDS: dict[bytes, Operation] = {b"PING": Ping(), b"PONG": Pong(), b"+OK": Ok()}
_info = msgspec.json.Decoder(Info)


class Decoder:
    """Bytes in, events out, whatever the pieces in which the bytes come.

    Keeps what is unfinished: one line, or one message, each within its limit.
    """

    __slots__ = ("_buffer", "_max_line", "_max_payload", "_needed")

    def __init__(self, max_payload: int = MAX_PAYLOAD, max_line: int = MAX_LINE) -> None:
        self._max_payload = max_payload
        self._max_line = max_line
        self._buffer = bytearray()
        self._needed = 0  # bytes in the buffer before it's worth looking again

    @property
    def idle(self) -> bool:
        """Whether nothing is unfinished."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Operation]:
        """The events that `data` completes.

        Raises FrameError for what isn't the protocol, or is longer than it may be; the
        connection is of no use after that.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        events: list[Operation] = []
        start = self._columns(data, events) if len(data) >= WORTHWHILE else 0
        start = self._messages(data, start, events)
        while (after := self._line(data, start, events)) is not None:
            start = self._messages(data, after, events)
        self._buffer += data[start:]
        return events

    def _columns(self, data: bytes, events: list[Operation]) -> int:
        """Decode `data` if it's nothing but usual messages that are alike, as in most cases when
        there's much of it; where the rest begins, or 0: it's not, and nothing was decoded.

        It does what `_messages` does, but field by field for all of them at once, which takes
        half the time.
        """
        lines = data.split(b"\r\n")
        count = (len(lines) - 1) // 2
        heads, payloads = lines[: 2 * count : 2], lines[1 : 2 * count : 2]
        head = b" \n ".join(heads)
        width = heads[0].count(b" ") + 1 if heads else 0
        if width not in (4, 5) or b"  " in head or b"\t" in head or b"\r" in head:
            return 0
        fields = head.split(b" ")
        sizes = list(map(len, payloads))
        digits = {size: b"%d" % size for size in set(sizes)}
        if (
            len(fields) != (width + 1) * count - 1
            or fields[width :: width + 1].count(b"\n") != count - 1
            or head.count(b"\n") != count - 1
            or fields[:: width + 1].count(b"MSG") != count
            or fields[width - 1 :: width + 1] != [digits[size] for size in sizes]
            or max(sizes) > self._max_payload
            or max(map(len, heads)) > self._max_line
        ):
            return 0
        subjects, sids = fields[1 :: width + 1], fields[2 :: width + 1]
        replies = fields[3 :: width + 1] if width == 5 else [b""] * count
        events += map(NatsMessage, subjects, sids, payloads, replies)
        return len(data) - len(b"\r\n".join(lines[2 * count :]))

    def _messages(self, data: bytes, start: int, events: list[Operation]) -> int:
        """Decode usual messages from `start` on; where the first thing is that isn't one."""
        add, max_payload, max_line = events.append, self._max_payload, self._max_line
        while (match := _usual_msg(data, start)) is not None:
            subject, sid, reply, digits = match.groups()
            body, size = match.end(), int(digits)
            end = body + size
            if (
                data[end : end + 2] != b"\r\n"
                or size > max_payload
                or body - start > max_line + 2  # 2: its CR LF
            ):
                break
            add(NatsMessage(subject, sid, data[body:end], reply or b""))
            start = end + 2
        return start

    def _line(self, data: bytes, start: int, events: list[Operation]) -> int | None:
        """Decode whatever begins at `start`; where it ends, or None if it isn't whole."""
        end = data.find(b"\r\n", start, start + self._max_line + 2)
        if end < 0:
            if len(data) - start >= self._max_line + 2:
                raise FrameError(f"A line is longer than {self._max_line} bytes.")
            self._needed = 0
            return None
        line = data[start:end]
        word = line[:4]
        if word in (b"MSG ", b"HMSG"):
            return self._message(data, start, end + 2, line, events)
        if line in _WORDS:
            events.append(_WORDS[line])
        elif word == b"-ERR":
            events.append(Err(line[4:].decode(errors="backslashreplace").strip(" '")))
        elif line.startswith(b"INFO {"):
            try:
                events.append(_info.decode(line[5:]))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise FrameError(f"INFO can't be read: {error}") from None
        else:
            raise FrameError(f"{line[:40]!r} is not a line of NATS.")
        return end + 2

    def _message(
        self, data: bytes, start: int, body: int, line: bytes, events: list[Operation]
    ) -> int | None:
        """Decode the message of `line`, whose bytes begin at `body`; where it ends, or None."""
        match = _msg(line) or _hmsg(line)
        if match is None:
            raise FrameError(f"{line[:40]!r} is not a message's line.")
        subject, sid, reply, first, *second = match.groups()
        header, total = (int(first), int(second[0])) if second else (0, int(first))
        if total > self._max_payload:
            raise FrameError(f"A message of {total} bytes is larger than {self._max_payload}.")
        if header > total:
            raise FrameError(f"A header of {header} bytes in a message of {total}.")
        payload, end = body + header, body + total
        if len(data) < end + 2:
            self._needed = end + 2 - start
            return None
        if data[end : end + 2] != b"\r\n":
            raise FrameError(f"A message of {total} bytes doesn't end there.")
        events.append(
            NatsMessage(subject, sid, data[payload:end], reply or b"", data[body:payload])
        )
        return end + 2
