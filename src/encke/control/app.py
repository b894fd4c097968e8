"""What the control port answers: health, state, metrics, friends, and their description.

Handlers are coroutines, and never wait for anything but the friends' store, which is
asked on a thread of its own once it's needed; what not every operator asks for is
imported when it is asked for. Errors are problem details (RFC 9457). With an API key
everything but /health asks for it: load balancers probe without credentials, and /health
tells nothing else.

May import: scoreboard, settings, errors, state, metrics, pages, friends, problems.
"""

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import log
from ..errors import BadUserId, StoreError
from ..scoreboard import Scoreboard
from ..settings import Settings
from . import state
from .problems import RETRY_AFTER, bad_request, failed, problem, refused, unavailable

if TYPE_CHECKING:
    from .cluster import Cluster
    from .friends import Friends

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Handler = Callable[[Request], Awaitable[Response]]

_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Control:
    """The control port of the node whose processes write `scoreboard`."""

    def __init__(self, scoreboard: Scoreboard, settings: Settings) -> None:
        self._scoreboard = scoreboard
        self._settings = settings
        self._friends: Friends | None = None
        version = msgspec.json.decode(_description(), type=_Description).info.version
        self.cluster = _cluster(settings, scoreboard)
        told = self.cluster.state if self.cluster is not None else None
        self._reader = state.Reader(scoreboard, version, told)

    def application(self) -> Starlette:
        """The ASGI application."""
        pages = (self.index, self.health, self.state, self.metrics, self.openapi, self.docs)
        paths = ("/", "/health", "/state", "/metrics", "/openapi.json", "/docs")
        key = self._settings.api_key
        return Starlette(
            routes=[
                *(Route(*each, methods=["GET"]) for each in zip(paths, pages, strict=True)),
                Route(
                    "/users/{subscriber}/subscriptions/{publisher}",
                    self._managing(lambda friends: friends.subscription),
                    methods=["PUT", "DELETE"],
                ),
                Route(
                    "/users/{id}/subscriptions",
                    self._managing(lambda friends: friends.subscriptions),
                    methods=["GET"],
                ),
                Route(
                    "/users/{id}/subscribers",
                    self._managing(lambda friends: friends.subscribers),
                    methods=["GET"],
                ),
                Route(
                    "/subscriptions",
                    self._managing(lambda friends: friends.load),
                    methods=["POST"],
                ),
            ],
            middleware=[Middleware(_Key, key=key)] if key else [],
            exception_handlers={
                HTTPException: refused,
                BadUserId: bad_request,
                StoreError: unavailable,
                Exception: failed,
            },
        )

    def close(self) -> None:
        """Let the friends' store go, if it was needed."""
        if self._friends is not None:
            self._friends.close()

    def _managing(self, handler: "Callable[[Friends], Handler]") -> Handler:
        """A handler of friends, which come into being when one is first called."""

        async def handle(request: Request) -> Response:
            if self._friends is None:
                from .friends import Friends  # SQLite and a thread

                self._friends = Friends(self._settings)
            return await handler(self._friends)(request)

        return handle

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


def _cluster(settings: Settings, scoreboard: Scoreboard) -> "Cluster | None":
    if not settings.nats:
        return None
    try:
        from .cluster import Cluster
    except ModuleNotFoundError as error:  # the router does without
        log.warning("cluster-unseen", reason=error, hint="pip install 'encke[cluster]'")
        return None
    return Cluster(settings, scoreboard)


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


_UNAUTHORIZED = problem(
    HTTPStatus.UNAUTHORIZED,
    "This server has an API key; show it: Authorization: Bearer KEY.",
    {"WWW-Authenticate": "Bearer"},
)


def _description() -> bytes:
    return Path(__file__).with_name("openapi.json").read_bytes()
