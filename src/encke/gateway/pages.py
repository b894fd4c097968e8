"""Handlers, which take a request's body. Requests of pages of other origins have handlers of their
own kinds: their answers say whether the page may read them (wire.cors), and no other answer costs
more for that.
"""

from typing import TypeVar

from ..settings import Settings
from ..wire.response import Headers, with_headers
from .exchange import Exchange, Handler
from .routes import Action, Problem, Route
from .senders import Bulk, Desk, Single


class _Page:
    """Mixed into a handler: its answer gets `headers` when it's given."""

    headers: Headers
    _answer: bytes

    @property
    def data(self) -> bytes:
        """The answer; empty until it's known."""
        return self._answer

    @data.setter
    def data(self, answer: bytes) -> None:
        self._answer = answer and with_headers(answer, self.headers)


class _PageHandler(_Page, Handler):
    """Of a request that is refused."""


class _EventsHandler(Handler):
    """The same of who accepts an event stream."""

    events = True


class _PageEventsHandler(_Page, _EventsHandler):
    pass


class _PageSingle(_Page, Single):
    """POST /send/{id}"""


class _PageBulk(_Page, Bulk):
    """POST /send"""


_P = TypeVar("_P", bound=_Page)


def _telling(headers: Headers, handler: _P) -> _P:
    handler.headers = headers
    return handler


def refuser(exchange: Exchange, headers: Headers, *, events: bool) -> Handler:
    """What holds a refusal; `headers` are added to it. `events`: an event stream is accepted."""
    if headers:
        kind = _PageEventsHandler if events else _PageHandler
        return _telling(headers, kind(exchange))
    return _EventsHandler(exchange) if events else Handler(exchange)


def taker(
    exchange: Exchange, where: Route | Problem, desk: Desk, settings: Settings, headers: Headers
) -> Handler | None:
    """What takes the body of the exchange's request, which leads to `where`; None: nothing does,
    nor answers. `headers` are added to its answer."""
    if isinstance(where, Problem):
        request = exchange.request
        events = request is not None and request.method == b"GET" and request.accepts_events
        return refuser(exchange, headers, events=events)
    if where.action is Action.SEND:
        single = exchange, where.id, where.order, desk, settings.body_limit
        return _telling(headers, _PageSingle(*single)) if headers else Single(*single)
    if where.action is Action.SEND_MANY:
        bulk = exchange, where.order, desk, settings.line_limit
        return _telling(headers, _PageBulk(*bulk)) if headers else Bulk(*bulk)
    return None
