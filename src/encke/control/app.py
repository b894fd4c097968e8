"""What the control port answers: health, state, metrics, and their description.

Handlers are coroutines that never wait, so no thread is ever started; what not every
operator asks for is imported when it is asked for. Errors are problem details (RFC 9457).
With an API key everything but /health asks for it: load balancers probe without
credentials, and /health tells nothing else.

May import: scoreboard, state, metrics, pages.
"""

import hmac
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..scoreboard import Scoreboard
from . import state

RETRY_AFTER = "1"
"""Seconds after which asking /health again is worth it."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Control:
    """The control port of the node whose processes write `scoreboard`.

    An empty `api_key` asks for none.
    """

    def __init__(self, scoreboard: Scoreboard, api_key: str) -> None:
        self._scoreboard = scoreboard
        self._api_key = api_key
        version = msgspec.json.decode(_description(), type=_Description).info.version
        self._reader = state.Reader(scoreboard, version)

    def application(self) -> Starlette:
        """The ASGI application."""
        pages = (self.index, self.health, self.state, self.metrics, self.openapi, self.docs)
        paths = ("/", "/health", "/state", "/metrics", "/openapi.json", "/docs")
        return Starlette(
            routes=[
                Route(path, page, methods=["GET"]) for path, page in zip(paths, pages, strict=True)
            ],
            middleware=[Middleware(_Key, key=self._api_key)] if self._api_key else [],
            exception_handlers={HTTPException: _refused, Exception: _failed},
        )

    async def health(self, _request: Request) -> Response:
        """200 while the node takes connections, else 503."""
        status = state.status(self._scoreboard)
        ready = status == "ready"
        return Response(
            msgspec.json.encode({"status": status}),
            status_code=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
            headers={} if ready else {"Retry-After": RETRY_AFTER},
            media_type="application/json",
        )

    async def state(self, _request: Request) -> Response:
        """The node and its processes, as JSON."""
        return Response(
            msgspec.json.encode(self._reader.read()),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    async def metrics(self, _request: Request) -> Response:
        """The same for Prometheus."""
        from .metrics import exposition  # 1.5 MB

        return Response(exposition(self._reader.read()), headers={"Content-Type": METRICS_TYPE})

    async def openapi(self, _request: Request) -> Response:
        """The description of both ports, OpenAPI 3.1."""
        return Response(_description(), media_type="application/json")

    async def docs(self, _request: Request) -> Response:
        """The same description, as a page to read."""
        from .pages import docs

        return HTMLResponse(docs(_description()), headers=_PAGE_HEADERS)

    async def index(self, _request: Request) -> Response:
        """A page that leads to the others."""
        from .pages import index

        return HTMLResponse(index(), headers=_PAGE_HEADERS)


class _Info(msgspec.Struct):
    version: str


class _Description(msgspec.Struct):
    """What is of interest here in openapi.json: the package's version (metadata costs 1 MB)."""

    info: _Info


class _Key:
    """Lets through who shows the API key; /health is for everyone."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            shown = Headers(scope=scope).get("authorization", "").encode("latin-1")
            kind, _, key = shown.partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self._key):
                await _UNAUTHORIZED(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return Response(
        msgspec.json.encode(body), status, headers, media_type="application/problem+json"
    )


_UNAUTHORIZED = _problem(
    HTTPStatus.UNAUTHORIZED,
    "This server has an API key; show it: Authorization: Bearer KEY.",
    {"WWW-Authenticate": "Bearer"},
)

_DETAILS = {
    HTTPStatus.NOT_FOUND: "Nothing is here; GET / lists what the control port has.",
    HTTPStatus.METHOD_NOT_ALLOWED: "Only GET and HEAD are answered here.",
}


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return _problem(status, _DETAILS.get(status, error.detail), error.headers)


async def _failed(_request: Request, _error: Exception) -> Response:
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The control process failed at this; its log has the traceback. Please report it.",
    )


def _description() -> bytes:
    return Path(__file__).with_name("openapi.json").read_bytes()
