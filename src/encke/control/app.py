"""What the control port answers: health, state, metrics, friends, and their description.

Handlers never wait: what needs the friends' store gives a Later. What not every operator asks
for is imported when it is asked for. Errors are problem details (RFC 9457). With an API key
everything but /health asks for it: load balancers probe without credentials, and /health
tells nothing else.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from ..reactor.loop import Reactor
from ..scoreboard import Scoreboard
from ..settings import Settings, friends_store
from ..version import VERSION
from ..wire.request import Request
from ..wire.response import JSON, Headers
from . import state
from .problems import RETRY_AFTER, problem, problem_of
from .response import NOT_STORED, Outcome, Response
from .routes import Asked, Endpoint, find, segments_of
from .store_watch import StoreWatch

if TYPE_CHECKING:
    from .cluster import Cluster
    from .friends import Friends

WATCH = 0.25
"""Seconds between looks at the processes' ticks."""

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
HTML = b"text/html; charset=utf-8"

_PAGE_HEADERS: Headers = (
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'"),
)

_UNAUTHORIZED = problem(
    HTTPStatus.UNAUTHORIZED,
    "This server has an API key; show it: Authorization: Bearer KEY.",
    ((b"WWW-Authenticate", b"Bearer"),),
)


class Call(msgspec.Struct, frozen=True):
    """What answers a request; raises nothing. `takes_body`: see routes.Endpoint."""

    answer: Callable[[], Outcome]
    takes_body: bool = False


class Control:
    """The control port of the node whose processes write `scoreboard`."""

    def __init__(
        self, scoreboard: Scoreboard, settings: Settings, reactor: Reactor, router_path: str
    ) -> None:
        """`router_path` is the router's socket, or empty if there's no such process."""
        self._scoreboard = scoreboard
        self._settings = settings
        self._reactor = reactor
        self._key = settings.api_key.encode()
        self._friends: Friends | None = None
        self._cluster = _cluster(reactor, router_path, scoreboard) if settings.nats else None
        told = self._cluster.state if self._cluster is not None else None
        self._reader = state.StateReader(scoreboard, VERSION, told)
        reactor.every(WATCH, self._reader.tick)
        self._store = StoreWatch(
            reactor,
            friends_store(settings),
            settings.data,
            lambda answered: self._managed().check(answered),
        )
        self._store.look()
        self._table = (
            Endpoint(b"GET", "/", self.index),
            Endpoint(b"GET", "/health", self.health),
            Endpoint(b"GET", "/state", self.state),
            Endpoint(b"GET", "/metrics", self.metrics),
            Endpoint(b"GET", "/openapi.json", self.openapi),
            Endpoint(b"GET", "/docs", self.docs),
            Endpoint(
                b"PUT",
                "/users/{subscriber}/subscriptions/{publisher}",
                lambda asked: self._managed().subscribe(asked),
            ),
            Endpoint(
                b"DELETE",
                "/users/{subscriber}/subscriptions/{publisher}",
                lambda asked: self._managed().unsubscribe(asked),
            ),
            Endpoint(
                b"GET",
                "/users/{id}/subscriptions",
                lambda asked: self._managed().subscriptions(asked),
            ),
            Endpoint(
                b"GET",
                "/users/{id}/subscribers",
                lambda asked: self._managed().subscribers(asked),
            ),
            Endpoint(
                b"POST",
                "/subscriptions",
                lambda asked: self._managed().load(asked),
                takes_body=True,
            ),
        )

    def find(self, request: Request) -> Call:
        """What answers `request`."""
        if self._key and segments_of(request) != [b"health"] and not self._shows_key(request):
            return Call(lambda: _UNAUTHORIZED)
        found = find(self._table, request)
        if isinstance(found, Response):
            return Call(lambda: found)
        route, asked = found.route, found.asked
        return Call(lambda: _safely(route, asked), route.takes_body)

    def close(self) -> None:
        """Let go of the friends' store, if it was needed, and of the router."""
        if self._friends is not None:
            self._friends.close()
        if self._cluster is not None:
            self._cluster.close()

    def _shows_key(self, request: Request) -> bool:
        from hmac import compare_digest  # it brings OpenSSL, 3 MB

        kind, _, key = request.headers.get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and compare_digest(key.strip(), self._key)

    def _managed(self) -> "Friends":
        """The handlers of friends, which come into being when one is first called."""
        if self._friends is None:
            from .friends import Friends  # SQLite and a thread

            self._friends = Friends(self._settings, self._reactor)
            self._store.managed = True
        return self._friends

    def health(self, _asked: Asked) -> Response:
        """200 while the node takes connections and no gateway or router hangs, else 503: friends
        that can't be looked up are no reason to send streams elsewhere; and a node that's full must
        be found by senders."""
        health = self._reader.health(friends="unavailable" if self._store.reason else "")
        body = msgspec.json.encode(health)
        if health.status in ("ready", "full"):
            return Response(HTTPStatus.OK, body, JSON)
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, body, JSON, RETRY_AFTER)

    def state(self, _asked: Asked) -> Response:
        """The node and its processes, as JSON."""
        body = msgspec.json.encode(self._reader.read())
        return Response(HTTPStatus.OK, body, JSON, NOT_STORED)

    def metrics(self, _asked: Asked) -> Response:
        """The same for Prometheus."""
        from .metrics import exposition

        return Response(HTTPStatus.OK, exposition(self._reader.read()), METRICS_TYPE)

    def openapi(self, _asked: Asked) -> Response:
        """The description of both ports, OpenAPI 3.1."""
        from .description import description

        return Response(HTTPStatus.OK, description(), JSON)

    def docs(self, _asked: Asked) -> Response:
        """The same description, as a page to read."""
        from .description import description
        from .pages import docs

        return Response(HTTPStatus.OK, docs(description()).encode(), HTML, _PAGE_HEADERS)

    def index(self, _asked: Asked) -> Response:
        """A page that leads to the others."""
        from .pages import index

        return Response(HTTPStatus.OK, index().encode(), HTML, _PAGE_HEADERS)


def _cluster(reactor: Reactor, router_path: str, scoreboard: Scoreboard) -> "Cluster":
    from .cluster import Cluster  # a node that is alone doesn't carry it

    return Cluster(reactor, router_path, scoreboard)


def _safely(route: Endpoint, asked: Asked) -> Outcome:
    try:
        return route.handler(asked)
    except Exception as error:  # noqa: BLE001 (it's answered, and logged if it's ours)
        return problem_of(error)
