"""HTTP/1.1 requests: bytes in, events out.

Parsing is llhttp's (through httptools), which is strict: both Content-Length and
Transfer-Encoding, several Content-Lengths, a bare LF, obsolete folding and whitespace
before a colon are errors (RFC 9112, 5.2, 6.1, 6.3, 11.2). Here it gets limits and
becomes a list of events; whom it's for is checked (RFC 9112, 3.2), and that no foreign page asks
(`cross_origin`)::

    feed(bytes) -> [Request, b"piece of its body", ..., END, Request, END, ...]
               ... Refusal     always the last event: the connection is of no use after it

Pipelined requests come out one after the other. The caller decides what a body is
allowed to be; a body's pieces are passed on, never gathered here.

A program that sends messages says the same with each of them, but for the user id and the body.
What llhttp has once accepted below such a request line, byte for byte, it would accept again
with the same result: so it isn't asked again (`KnownHeads`). That takes a fifth of the time of
a parser which calls back for each header. Only what can't be read in two ways is recognized: a
POST of HTTP/1.1 whose target has no character but those of `_request_line`, on a connection that
stays open, with a Content-Length, and wholly there. All else, whatever follows it, and everything
new is llhttp's.

Pure.
"""

import re

import httptools

from .cross_origin import CrossOriginProtection
from .request import END, End, HttpEvent, Refusal, Request

HEAD_LIMIT = 16 * 1024
"""Default for the longest request head. nginx takes 4 x 8 KiB, h11 16 KiB, Apache 8 KiB a line."""

METHODS = frozenset(b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH".split())
"""The methods of RFC 9110 and RFC 5789; any other is unknown here (501)."""

_KEPT_HEADERS = frozenset(
    b"accept authorization connection content-length content-type expect host origin"
    b" proxy-connection sec-fetch-site transfer-encoding".split()
)

LINE_ENDS = 14
"""Bytes of a request line and head besides method, target and fields: two blanks,
HTTP/1.1 and two line ends."""

LIMIT = 256
"""Heads that are known; the oldest makes room."""

LONGEST = 1024
"""Bytes of a head below its request line; a longer one isn't remembered."""

_request_line = re.compile(rb"POST (/[A-Za-z0-9\-_.~@:/]*) HTTP/1\.1\r\n").match
_ELSEWHERE = frozenset((b"connection", b"proxy-connection", b"transfer-encoding", b"expect"))
"""Headers that say how to go on: a head with one of them isn't remembered."""

_rtsp = re.compile(rb"(?:GET|POST|OPTIONS) +[^ \r\n]+ +RTSP/")
"""The request lines that llhttp takes without a word, and that aren't HTTP's (RFC 9112, 2.3)."""

_IPV6 = rb"(?:[\da-f]{0,4}:){2,7}(?:[\da-f]{0,4}|\d+(?:\.\d+){3})"
_NAME = rb"[\w\-.~!$&'()*+;=]*"
_is_authority = re.compile(
    rb"(?:\[(?:%b|v[\da-f]+\.[\w\-.~!$&'()*+;=:]+)\]|%b(?:%%[\da-f]{2}%b)*)(?::\d*)?"
    % (_IPV6, _NAME, _NAME),
    re.IGNORECASE,
).fullmatch
"""A name or an address, and perhaps a port (RFC 9112, 3.2; RFC 3986, 3.2.2). No comma, though a
name may have one: what several Hosts say is joined by it."""

_begins = re.compile(rb"[GPO]").search
"""Whether there may be the beginning of such a line."""

_absolute = re.compile(rb"[^/?]+://([^/?#]*)").match

_sub_escapes = re.compile(rb"%([0-9A-Fa-f]{2})").sub
_is_token_character = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]").match


class KnownHeads:
    """The heads that the parsers of one process have accepted: at most LIMIT, of at most LONGEST
    bytes."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[dict[bytes, bytes], int]] = {}

    def read(self, data: bytes, events: list[HttpEvent], limit: int) -> int:
        """Append the events of the known requests that `data` begins with; returns their bytes.

        A head longer than `limit` bytes isn't recognized.
        """
        at = 0
        known, size = self._known, len(data)
        while (line := _request_line(data, at)) is not None:
            start = line.end()
            end = data.find(b"\r\n\r\n", start, start + LONGEST)
            if end < 0 or end + 4 - at > limit:
                break
            head = known.get(data[start:end])
            if head is None:
                break
            headers, length = head
            body = end + 4
            after = body + length
            if after > size:
                break
            events += (Request(b"POST", line[1], headers, False), data[body:after], END)
            at = after
        return at

    def learn(self, data: bytes, events: list[HttpEvent]) -> None:
        """The parser has made `events` of what `data` begins with: three, or as many as came."""
        line = _request_line(data)
        if line is None:
            return
        match events:
            case [Request() as request, bytes() as body, End.END]:
                pass
            case _:
                return
        if not request.keep_alive or not _ELSEWHERE.isdisjoint(request.headers):
            return
        end = data.find(b"\r\n\r\n", line.end(), line.end() + LONGEST)
        if end < 0 or len(body) != request.content_length:
            return
        if len(self._known) >= LIMIT:
            del self._known[next(iter(self._known))]
        self._known[data[line.end() : end]] = request.headers, len(body)

    def __len__(self) -> int:
        return len(self._known)


class _Refused(Exception):
    """Raised inside a callback to stop the parser."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class RequestParser:
    """One connection's requests; see the module's head."""

    __slots__ = (
        "_events", "_field_bytes", "_first", "_fruitless", "_headers", "_in_head", "_known",
        "_limit", "_line", "_parser", "_protection", "_reads_on", "_request", "_target", "_unread",
        "between_requests", "closed",
    )  # fmt: skip

    def __init__(
        self,
        head_limit: int = HEAD_LIMIT,
        known: KnownHeads | None = None,
        protection: CrossOriginProtection | None = None,
    ) -> None:
        """`known` may be shared by parsers that have the same `protection`; None: any page's
        requests are taken."""
        self._limit = head_limit
        self._protection = protection
        self._known = KnownHeads() if known is None else known
        self._events: list[HttpEvent] = []
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.between_requests = True
        """Whether all that came was whole requests: nothing is lost if the parser goes."""
        self.closed = False
        """Whether the connection can't bring further requests."""
        self._first = b""
        self._in_head = False
        self._line = b""  # of a request, if it isn't whole
        self._unread = 0  # bytes of a body of known length
        self._field_bytes = 0
        self._fruitless = 0  # bytes since the last event: of a head, a trailer, a chunk's head
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._request: Request | None = None
        self._reads_on = False  # the body of a request whose upgrade is ignored

    def feed(self, data: bytes) -> list[HttpEvent]:
        """The events that `data` completes. Not to be called again after a Refusal."""
        events = self._events = []
        if self._parser is None:
            return events
        begins = self.between_requests
        if begins:
            known = self._known.read(data, events, self._limit)
            if known == len(data):
                return events
            data = data[known:]
            self._first = b"" if known else data
        first = len(events)
        try:
            upgraded = self._parse(data)
        except (httptools.HttpParserError, _Refused) as error:
            events.append(self._refusal(error))
            self.close()
        else:
            if upgraded is not None:
                self._ignore_upgrade(upgraded)
                return self._events
            if begins:
                self._known.learn(data, events[first : first + 3])
            self._fruitless = 0 if events else self._fruitless + len(data)
            if self._fruitless > self._limit:
                events.append(self._too_large())
                self.close()
        return events

    def _parse(self, data: bytes) -> bytes | None:
        """Let llhttp read `data`, but no request of RTSP. What follows an upgrade comes back."""
        if self._unread < len(data):  # else it's all of one body
            speaks = b"/" in data and b"RTSP/" in data  # the first is found much faster
            if speaks or self._line or _begins(data, data.rfind(b"\n") + 1):
                return self._parse_in_steps(data)
        return self._give(data)

    def _parse_in_steps(self, data: bytes) -> bytes | None:
        """Where a request begins is only known before llhttp has gone on: so it stops where one of
        RTSP may begin, and behind the last line end, before what may be half of a request line."""
        at, size = 0, len(data)
        line, lines_end = self._line + data, data.rfind(b"\n") + 1
        if self._line and _rtsp.match(line):
            raise _Refused(_no_http())
        self._line = line if self._line and not lines_end else b""
        stops = [found.start() for found in _rtsp.finditer(data)]
        stops = sorted((*stops, lines_end, size), reverse=True)
        while at < size:
            if self.between_requests:
                if _rtsp.match(data, at):
                    raise _Refused(_no_http())
                if at >= lines_end:
                    self._line = data[at:]
            while stops[-1] <= at:
                stops.pop()
            stop = min(stops[-1], at + self._unread) if self._unread > 0 else stops[-1]
            upgraded = self._give(data[at:stop])
            if upgraded is not None:
                return upgraded + data[stop:]
            at = stop
        return None

    def _give(self, data: bytes) -> bytes | None:
        """Give it to llhttp."""
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]
        return None

    def close(self) -> None:
        """Let go of the parser (which holds this object: a cycle, ended here at once)."""
        self._parser = None
        self.between_requests = False
        self.closed = True

    # what httptools calls

    def on_message_begin(self) -> None:
        self.between_requests = False
        self._in_head = True
        self._field_bytes = LINE_ENDS
        self._target = b""
        self._headers = {}

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._field_bytes += len(part)
        if self._field_bytes > self._limit:
            raise _Refused(self._too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value) + 4
        if self._field_bytes > self._limit:
            raise _Refused(self._too_large())
        name = name.lower()
        if name in _KEPT_HEADERS and self._in_head:  # else a trailer, which nobody here needs
            value = value.rstrip(b" \t")  # llhttp takes off only what stands before it
            known = self._headers.get(name)
            self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        method = parser.get_method()
        self._in_head = False
        self._first = b""
        if self._reads_on:
            return
        if self._field_bytes + len(method) > self._limit:
            raise _Refused(self._too_large())
        if method not in METHODS:
            raise _Refused(_unknown_method())
        coding = self._headers.get(b"transfer-encoding", b"chunked").lower()
        # where chunked isn't the last one, llhttp says 400
        if coding != b"chunked" and coding.replace(b" ", b"").endswith(b",chunked"):
            detail = "No transfer coding but chunked is understood; send the body as it is."
            raise _Refused(Refusal(501, detail))  # RFC 9112, 6.1
        # asked only where it can be anything but HTTP/1.1: it makes a string each time
        is_http_10 = False
        headers = self._headers
        if (
            b"connection" in headers
            or b"proxy-connection" in headers
            or not parser.should_keep_alive()
        ):
            version = parser.get_http_version()
            if version not in ("1.1", "1.0"):
                detail = f"HTTP/{version} isn't spoken here; use HTTP/1.1."
                raise _Refused(Refusal(505, detail))
            is_http_10 = version == "1.0"
        # none: as several, which are joined by what no name of a host has in it
        host = headers.get(b"host", b"" if is_http_10 else b",")
        if not _is_authority(host):
            raise _Refused(_one_host())
        named = headers.pop(b"host", None)
        if self._target[:1] != b"/":
            named = self._named_by_target() or named
        if self._protection is not None:
            refusal = self._protection.refusal(method, named, headers)
            if refusal is not None:
                raise _Refused(refusal)
        self._request = Request(method, self._target, headers, is_http_10)
        self._unread = self._request.content_length if b"content-length" in headers else 0
        self._events.append(self._request)

    def _named_by_target(self) -> bytes | None:
        """Whom a whole URI is for, whatever Host says (RFC 9112, 3.2.2); None: it's none."""
        uri = _absolute(self._target)
        if uri is not None and not (uri[1] and _is_authority(uri[1])):
            detail = "The target's host isn't a name or an address; name it, or send the path only."
            raise _Refused(Refusal(400, detail))
        return None if uri is None else uri[1]

    def on_body(self, piece: bytes) -> None:
        self._unread -= len(piece)
        self._events.append(piece)

    def on_message_complete(self) -> None:
        request, parser = self._request, self._parser
        assert request is not None
        assert parser is not None
        if request.is_http_10 or not parser.should_keep_alive():
            request.keep_alive = False
        self.between_requests = True
        self._first = b""
        self._events.append(END)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """An upgrade, or CONNECT: the connection ends with this request (RFC 9110, 7.8).

        An upgrade may be ignored, but what comes after the request can't be told from
        another protocol. llhttp takes even the request's body for that: it is read by a
        parser that hears of the body alone.
        """
        request = self._request
        assert request is not None
        request.keep_alive = False
        if not request.has_body:
            self.close()
            return
        self._events.pop()  # the END that came too soon
        self._reads_on = True
        self._parser = httptools.HttpRequestParser(self)
        framing = b"Content-Length: %d" % request.content_length
        if b"transfer-encoding" in request.headers:
            framing = b"Transfer-Encoding: " + request.headers[b"transfer-encoding"]
        head = b"POST / HTTP/1.1\r\nConnection: close\r\n%b\r\n\r\n" % framing
        known = self._events
        self._events = known + self.feed(head + rest)

    def _too_large(self) -> Refusal:
        return Refusal(
            431, f"The request's head is larger than {self._limit} bytes; send fewer headers."
        )

    def _refusal(self, error: Exception) -> Refusal:
        cause = error if isinstance(error, _Refused) else error.__context__
        if isinstance(cause, _Refused):
            return cause.refusal
        if isinstance(error, httptools.HttpParserInvalidMethodError) and (
            not self._first or _is_token_character(self._first.lstrip(b"\r\n"))
        ):
            return _unknown_method()
        return Refusal(400, f"This is not a well-formed HTTP/1.1 request: {error}.")


def _unknown_method() -> Refusal:
    return Refusal(501, "The method is unknown; use GET, HEAD or POST.")


def _one_host() -> Refusal:
    """RFC 9112, 3.2."""
    return Refusal(
        400, "HTTP/1.1 wants exactly one Host header, a name or an address and perhaps a port."
    )


def _no_http() -> Refusal:
    """RFC 9112, 2.3."""
    return Refusal(400, "This is not a request of HTTP/1.1; use HTTP/1.1.")


def percent_decoded(part: bytes) -> bytes:
    """One path segment without percent-encoding (RFC 3986, 2.1); a bare % stays as it is."""
    return _sub_escapes(lambda escape: bytes((int(escape[1], 16),)), part) if b"%" in part else part
