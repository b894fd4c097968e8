"""Reads what comes back on a connection: bytes in, answers out. Pure."""

import httptools

from ..errors import Interrupted

LONGEST = 4 * 1024 * 1024
"""Bytes of an answer, of a stream those that weren't taken yet. Encke's longest, a page of 1,000
ids, has 130 KB."""

LONGEST_HEAD = 64 * 1024

_KEEPS_LENGTH = ("content-length", "transfer-encoding")


class Answer:
    """One response. Of a stream, `body` is what came and wasn't taken yet."""

    __slots__ = ("body", "headers", "reason", "status", "whole")

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        """By names in small letters."""
        self.body = bytearray()
        self.whole = False


class Reader:
    """Of one connection, request after request; `expect` before each of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._parser = httptools.HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """Another answer comes now."""
        self.answer = Answer()
        self.headed = False
        """Whether the answer's head is here."""
        self.keep = True
        """Whether the connection can take another request after this answer."""
        self._came = 0

    @property
    def begun(self) -> bool:
        """Whether something of the answer is here."""
        return self.headed or self._came > 0

    def feed(self, piece: bytes) -> None:
        """Take what came; b"" is the end of the connection.

        Raises Interrupted if that's no answer, or not all of it.
        """
        if not piece:
            self._ended()
            return
        self._came += len(piece)
        try:
            self._parser.feed_data(piece)
            if not self.headed and self._came > LONGEST_HEAD:
                raise httptools.HttpParserError("its head doesn't end")
        except httptools.HttpParserError as error:
            self.keep = False
            if not self.answer.whole:  # else it's only that more came than was asked for
                raise self._broken("what answers speaks no HTTP, or other than Encke's") from error

    def _ended(self) -> None:
        self.keep = False
        if self.headed and self._until_the_end():
            self.answer.whole = True
        if not self.answer.whole:
            raise self._broken("it was closed by the other side")

    def _until_the_end(self) -> bool:
        """Whether the body ends with the connection (RFC 9112, 6.3)."""
        return not any(name in self.answer.headers for name in _KEEPS_LENGTH)

    def _broken(self, why: str) -> Interrupted:
        return Interrupted(f"The connection with {self._url} broke off ({why}).")

    # what the parser calls

    def on_message_begin(self) -> None:
        if self.answer.whole:
            raise ValueError("nothing more was asked for")

    def on_status(self, reason: bytes) -> None:
        self.answer.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.answer.status = self._parser.get_status_code()
        self.headed = not 100 <= self.answer.status < 200

    def on_body(self, body: bytes) -> None:
        self.answer.body += body
        if len(self.answer.body) > LONGEST:
            raise ValueError("it's too long")

    def on_message_complete(self) -> None:
        if self.headed:
            self.answer.whole = True
            self.keep = self.keep and self._parser.should_keep_alive()
        else:
            self.answer = Answer()  # 100 and the like come before the answer (RFC 9110, 15.2)
            self._came = 0
