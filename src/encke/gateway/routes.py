"""Which request leads where.

    GET, HEAD  /{protocol}/{id}     a stream (the table of protocols)
    POST       /send/{id}           one message
    POST       /send                NDJSON
    POST       /publish/{id}        one message for everyone subscribed to id, and for id
    POST       /publish             NDJSON
    OPTIONS    any of these         whether a page may (a preflight, see wire.cors)

With ``?wait=cluster`` a sender is told how many connections of all nodes got it.
"""

import enum

import msgspec

from ..errors import BadUserId
from ..ids import user_id
from ..wire.cors import Cors
from ..wire.http import percent_decoded
from ..wire.message import SEND, Order, Verb
from ..wire.protocols import PROTOCOLS
from ..wire.request import Request
from ..wire.response import Headers


class Problem(msgspec.Struct, frozen=True):
    """A request that is refused: its status, and a sentence on what to do."""

    status: int
    detail: str
    headers: Headers = ()


class Action(enum.Enum):
    """What a request asks for."""

    STREAM = enum.auto()
    SEND = enum.auto()
    SEND_MANY = enum.auto()
    PREFLIGHT = enum.auto()


class Route(msgspec.Struct, frozen=True):
    """Where a request leads: `id` is the user id ("" for NDJSON), `protocol` the place of a
    stream's in the table, `order` what is to be done with messages, `headers` are those of the
    answer to a preflight."""

    action: Action
    id: bytes = b""
    protocol: int = -1
    order: Order = SEND
    headers: Headers = ()


_PROTOCOLS = {protocol.name: place for place, protocol in enumerate(PROTOCOLS)}
_PATHS = "; ".join(
    [f"GET /{protocol.name.decode()}/ID" for protocol in PROTOCOLS]
    + [f"POST /{path}" for path in ("send/ID", "send", "publish/ID", "publish")]
)
_STREAM_METHODS = frozenset((b"GET", b"HEAD"))
_SEND_METHODS = frozenset((b"POST",))
_WITHOUT_BODY = frozenset((Action.STREAM, Action.PREFLIGHT))
_ORDERS = {
    (name, wait): Order(verb, wait)
    for name, verb in ((b"send", Verb.SEND), (b"publish", Verb.PUBLISH))
    for wait in (False, True)
}


def route(request: Request, api_key: str, cors: Cors) -> Route | Problem:
    """Where `request` leads, or why it leads nowhere."""
    where = _route(request, api_key, cors)
    if type(where) is Route and where.action in _WITHOUT_BODY and request.has_body:
        return Problem(400, "This is asked for without a body; send none.")
    return where


def _route(request: Request, api_key: str, cors: Cors) -> Route | Problem:
    path = request.path
    first, slash, rest = path[1:].partition(b"/")
    sends = (first, False) in _ORDERS
    protocol = _PROTOCOLS.get(first, -1)
    if not sends and (protocol < 0 or not slash):
        return Problem(404, f"Nothing is here; there are: {_PATHS}.")
    methods = _SEND_METHODS if sends else _STREAM_METHODS
    if request.method not in methods:
        return _other_method(request, methods, cors)
    if sends:
        return _sender(request, first, rest if slash else None, api_key)
    return _with_id(Action.STREAM, rest, protocol)


def _sender(request: Request, name: bytes, segment: bytes | None, api_key: str) -> Route | Problem:
    """Where a request leads that brings messages: for `segment`'s id, or as NDJSON."""
    if api_key and not _may_send(request, api_key):
        return Problem(
            401,
            "Sending takes the API key; send it as 'Authorization: Bearer KEY'.",
            ((b"WWW-Authenticate", b'Bearer realm="encke"'),),
        )
    wait = _wait(request.target.partition(b"?")[2])
    if wait is None:
        return Problem(400, "?wait takes one value: cluster.")
    order = _ORDERS[name, wait]
    if segment is None:
        return Route(Action.SEND_MANY, order=order)
    return _with_id(Action.SEND, segment, order=order)


def _wait(query: bytes) -> bool | None:
    """Whether a query asks to wait for all nodes; None if it's something else to wait for."""
    values = {it[5:] for it in query.split(b"&") if it.startswith(b"wait=") or it == b"wait"}
    return bool(values) if values <= {b"cluster"} else None


def _with_id(
    action: Action, segment: bytes, protocol: int = -1, order: Order = SEND
) -> Route | Problem:
    try:
        return Route(action, user_id(percent_decoded(segment)), protocol, order)
    except BadUserId as error:
        return Problem(400, str(error))


def _other_method(request: Request, allowed: frozenset[bytes], cors: Cors) -> Route | Problem:
    """Where a request with none of the `allowed` methods leads."""
    names = b", ".join(sorted(allowed))
    if request.method == b"OPTIONS":
        headers = cors.preflight(request.headers.get(b"origin"), names)
        if headers is not None:
            return Route(Action.PREFLIGHT, headers=headers)
    return Problem(405, f"This path takes {names.decode()}.", ((b"Allow", names),))


def _may_send(request: Request, api_key: str) -> bool:
    # imported only where a key is set: it brings OpenSSL, 3 MB
    from hmac import compare_digest

    scheme, _, key = request.headers.get(b"authorization", b"").partition(b" ")
    return scheme.lower() == b"bearer" and compare_digest(key.strip(), api_key.encode())
