"""Which request leads to which handler: one table of methods and paths.

A path's `{name}` stands for one segment that isn't empty, without its percent-encoding. What
answers GET answers HEAD.

Pure.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus

import msgspec

from ..wire.http import percent_decoded
from ..wire.request import Request
from .problems import problem
from .response import Outcome, Response


class Asked(msgspec.Struct, frozen=True):
    """A request, as its handler sees it; `places` is what stands in the path's `{}`, in order."""

    request: Request
    places: tuple[bytes, ...]

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, of those that wire.http keeps; None: there's none."""
        return self.request.headers.get(name)

    def query(self, name: bytes) -> bytes | None:
        """The value of ?name=, the last one of several; None: there's none."""
        found = None
        for part in self.request.target.partition(b"?")[2].split(b"&"):
            key, _, value = part.replace(b"+", b" ").partition(b"=")
            if percent_decoded(key) == name:
                found = percent_decoded(value)
        return found


class Endpoint(msgspec.Struct, frozen=True):
    """A line of the table. `takes_body`: the handler is called before the body is there, and
    may give a Body; else it's called once the request is here as a whole."""

    method: bytes
    path: str
    handler: Callable[[Asked], Outcome]
    takes_body: bool = False

    @property
    def methods(self) -> tuple[bytes, ...]:
        """What is answered."""
        return (b"GET", b"HEAD") if self.method == b"GET" else (self.method,)

    def places(self, segments: Sequence[bytes]) -> tuple[bytes, ...] | None:
        """What of a path stands in the `{}`; None if it's another path."""
        pattern = self.path[1:].split("/")
        if len(pattern) != len(segments):
            return None
        places = []
        for wanted, segment in zip(pattern, segments, strict=True):
            if not wanted.startswith("{"):
                if segment != wanted.encode():
                    return None
            elif segment:
                places.append(segment)
            else:
                return None
        return tuple(places)


class Match(msgspec.Struct, frozen=True):
    """A request, and the line that it leads to."""

    route: Endpoint
    asked: Asked


def segments_of(request: Request) -> list[bytes] | None:
    """The path's segments without percent-encoding; None if the target has no path."""
    path = request.path
    if not path.startswith(b"/"):
        return None
    return [percent_decoded(segment) for segment in path[1:].split(b"/")]


def find(table: Sequence[Endpoint], request: Request) -> Match | Response:
    """Where `request` leads, or why it leads nowhere."""
    segments = segments_of(request)
    if segments is None:
        return _NOTHING
    allowed: list[bytes] = []
    for route in table:
        places = route.places(segments)
        if places is not None:
            if request.method in route.methods:
                return Match(route, Asked(request, places))
            allowed += route.methods
    if allowed:
        names = b", ".join(allowed)
        return problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"What is answered here: {names.decode()}.",
            ((b"Allow", names),),
        )
    slash = len(segments) > 1 and segments[0] and not segments[-1]
    if slash and any(route.places(segments[:-1]) is not None for route in table):
        _, mark, query = request.target.partition(b"?")
        where = request.path[:-1] + mark + query
        return Response(HTTPStatus.TEMPORARY_REDIRECT, headers=((b"Location", where),))
    return _NOTHING


_NOTHING = problem(HTTPStatus.NOT_FOUND, "Nothing is here; GET / lists what the control port has.")
