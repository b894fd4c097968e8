"""HTTP on the control port: uvicorn's protocol, with limits that it hasn't.

What is limited: connections, a request's head (bytes, and the time until it's whole), bytes
that are no progress (of a trailer, of a chunk's head), the pause within a body, and requests
that wait behind another on one connection. Who goes beyond one of them is told which, as a
problem, and the connection ends. Such a refusal is written at once, also if earlier answers on
the connection are still owed: who pipelines more than he may loses them.

May import: settings, wire, problems.
"""

import asyncio
from email.utils import formatdate
from http import HTTPStatus

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ..settings import Settings
from ..wire.http import LINE_ENDS
from ..wire.response import Headers, problem
from .problems import RETRY_AFTER

PIPELINED = 16
"""Requests that may wait for the answer to an earlier one on their connection."""


class _Refused(Exception):
    """Raised inside the parser's callbacks."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        self.status = status
        self.detail = detail


class Limited(HttpToolsProtocol):
    """One connection; see the module's head."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._settings = settings
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        """Or before it."""
        self._unread = True
        """Whether the request under way isn't here as a whole."""
        self._fields = 0  # bytes of the head, and of a trailer, that are parsed
        self._fruitless = 0  # bytes since something came of them

    # what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self._settings.head_timeout)
        most = self._settings.control_connections
        if len(self.connections) > most:
            self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{most} connections are open here (--control-connections); try again later.",
                ((b"Retry-After", RETRY_AFTER.encode()),),
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._done_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._fruitless += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there's nothing to upgrade to
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._refuse(cause.status, cause.detail)
            else:
                self._refuse(
                    HTTPStatus.BAD_REQUEST, f"This is not a well-formed HTTP/1.1 request: {error}."
                )
            return
        if self._fruitless > self._settings.head_limit:
            self._refuse(*self._too_large())
        elif self._unread and not self._in_head:
            self._wait(self._settings.body_timeout)

    # what the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._unread = True
        self._fields = LINE_ENDS
        self._wait(self._settings.head_timeout)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if self._in_head:  # nobody here needs a trailer
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._count(len(self.parser.get_method()))
        self._in_head = False
        self._fruitless = 0
        if len(self.pipeline) >= PIPELINED:
            raise _Refused(
                HTTPStatus.BAD_REQUEST,
                f"More than {PIPELINED} requests wait for their answers on this connection.",
            )
        super().on_headers_complete()

    def on_body(self, piece: bytes) -> None:
        self._fruitless = 0
        super().on_body(piece)

    def on_message_complete(self) -> None:
        self._fruitless = 0
        self._unread = False
        self._done_waiting()
        super().on_message_complete()

    # limits

    def _count(self, size: int) -> None:
        self._fields += size
        if self._fields > self._settings.head_limit:
            raise _Refused(*self._too_large())

    def _too_large(self) -> tuple[HTTPStatus, str]:
        limit = self._settings.head_limit
        return (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The request's head is larger than {limit} bytes; send fewer headers.",
        )

    def _wait(self, seconds: float) -> None:
        """Something must come within so many seconds."""
        self._done_waiting()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _done_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self.flow.read_paused:  # it's us who are slow
            self._wait(self._settings.body_timeout)
        elif self._in_head and not self._fruitless:
            self.transport.close()  # it has said nothing
        else:
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT, "The request came too slowly; send it in one go."
            )

    def _refuse(self, status: HTTPStatus, detail: str, headers: Headers = ()) -> None:
        """Say why, unless an answer has begun; then end the connection."""
        self._done_waiting()
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle  # of the last request whose head was whole
        if cycle is None or (
            cycle.response_complete if self._in_head else not cycle.response_started
        ):
            date = formatdate(usegmt=True).encode()
            self.transport.write(problem(status, detail, date=date, headers=headers, close=True))
        self.transport.close()
