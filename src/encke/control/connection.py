"""One connection of the control port: a client's requests, one after the other.

    state      what it is                            waits for   ends after
    ---------  ------------------------------------  ----------  --------------------------
    NEW        has said nothing yet                  bytes       --head-timeout: closed
    IDLE       between two requests                  bytes       --idle-timeout: closed
    HEAD       half a head is here                   bytes       --head-timeout: 408
    BODY       a head is here, and not all of its    bytes       --body-timeout without
               body                                              any: 408
    WORKING    a whole request or a piece of a body  the server  -
               is here, or a handler is at one
    WRITING    the client takes its answer slowly    room        --body-timeout without
                                                                 any of it: closed
    LINGERING  all is said; what still comes is      the end     LINGER_SECONDS: closed
               dropped

Invariants: no bytes are read while a request is being worked at or an answer waits for the
client. So what a connection holds is bounded: what one read brought, and one answer. Answers
leave in the order of the requests, a refusal behind the answers to the good requests before
it. Whatever the client does, each state but WORKING ends by itself; that one ends with the
handler. A `step` reads once, or handles one event: it's for the server to say who's next.

Who is refused gets the answer rather than a reset: nothing more is written, and what comes is
read for a while (RFC 9112, 9.6).
"""

import enum
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from ..reactor.loop import IN, OUT
from ..settings import Settings
from ..wire.http import RequestParser
from ..wire.request import END, HttpEvent, Refusal, Request
from ..wire.response import CONTINUE
from .app import Control
from .problems import problem
from .response import Body, Later, Outcome, Response

READ_SIZE = 32 * 1024
"""Bytes that are read at once, also of a bulk body: other requests go on in between."""

PIPELINED = 16
"""Requests that may wait for the answer to an earlier one, of those that one read brought."""

DROPPED = 16 * 1024
"""The longest body that is read although nobody wants it. After a longer one, or one that
doesn't say how long it is, the connection is of no use: it ends with the answer."""

LINGER_SECONDS = 2.0
"""Time for the client to read the last answer and to end its side."""

_BROKEN = select.EPOLLHUP | select.EPOLLERR
"""Both sides have ended, or one is broken. Who has only ended theirs may still read."""

TOO_SLOW = problem(HTTPStatus.REQUEST_TIMEOUT, "The request came too slowly; send it in one go.")
NO_END = problem(HTTPStatus.BAD_REQUEST, "The request has no end.")


class State(enum.Enum):
    """See the module's head."""

    NEW = enum.auto()
    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    WORKING = enum.auto()
    WRITING = enum.auto()
    LINGERING = enum.auto()
    CLOSED = enum.auto()


_READING = frozenset((State.NEW, State.IDLE, State.HEAD, State.BODY, State.LINGERING))


class Owner(Protocol):
    """The server, as a connection sees it."""

    settings: Settings
    control: Control
    draining: bool
    """No further requests are taken."""

    def queue(self, connection: "Connection") -> None:
        """Let it `step` soon."""

    def interest(self, connection: "Connection", events: int) -> None:
        """Wait for these."""

    def closed(self, connection: "Connection") -> None:
        """It's over."""


class Connection:
    """See the module's head; `parser` is a new one."""

    def __init__(self, owner: Owner, connection: socket.socket, parser: RequestParser) -> None:
        self._owner = owner
        self._socket = connection
        self._parser = parser
        self._events: deque[HttpEvent] = deque()
        """What was read, and isn't handled yet."""
        self._request: Request | None = None
        """The request that is read or worked at."""
        self._whole = False
        """Whether it's here as a whole."""
        self._call: Callable[[], Outcome] | None = None
        """What answers it."""
        self._body: Body | None = None
        """What takes its body."""
        self._waits = False
        """Whether a handler is at it."""
        self._out = b""
        """What the client hasn't taken yet."""
        self._ending = False
        """Whether the connection ends with the answer."""
        self._state = State.NEW
        self.deadline = time.monotonic() + owner.settings.head_timeout
        self.queued = False
        """The server's: whether it's about to step."""

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    # what the server calls

    def ready(self, events: int) -> None:
        """The socket is ready for these."""
        if events & _BROKEN:
            self.close()
        elif events & OUT:
            self._write_on()
        elif self._state in _READING:
            self._owner.queue(self)

    def step(self) -> None:
        """Read once, or handle one event of what was read."""
        if self._state is State.LINGERING:
            self._drop()
        elif self._state is not State.CLOSED and not self._waits and not self._out:
            if self._events:
                self._handle(self._events.popleft())
            else:
                self._read()
            self._settle()

    def expire(self) -> None:
        """The deadline has passed."""
        if self._state in (State.HEAD, State.BODY):
            self.refuse(TOO_SLOW)
        else:
            self.close()

    def refuse(self, response: Response) -> None:
        """Say why no more requests are taken, and end the connection."""
        self._ending = True
        self._request = None
        self._send(response)
        self._settle()

    def end(self) -> None:
        """The server is to end: nothing new is taken."""
        if self._state in (State.NEW, State.IDLE):
            self.close()

    def close(self) -> None:
        """Close it, whatever it's doing."""
        if self._state is not State.CLOSED:
            self._state = State.CLOSED
            self._parser.close()
            self._events.clear()
            self._call = self._body = None
            self._owner.closed(self)
            self._socket.close()

    # reading

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if data:
            self._events.extend(self._few(self._parser.feed(data)))
            if self._state is State.BODY:
                self.deadline = time.monotonic() + self._owner.settings.body_timeout
        elif self._state in (State.NEW, State.IDLE):
            self.close()
        else:
            self.refuse(NO_END)

    def _few(self, events: list[HttpEvent]) -> list[HttpEvent]:
        """`events`, cut where more than PIPELINED requests would wait."""
        waiting = 0 if self._request is None else 1
        for index, event in enumerate(events):
            if type(event) is Request:
                waiting += 1
                if waiting > 1 + PIPELINED:
                    self._parser.close()
                    too_many = (
                        f"More than {PIPELINED} requests wait for their answers on this connection."
                    )
                    return [*events[:index], Refusal(HTTPStatus.BAD_REQUEST, too_many)]
        return events

    def _drop(self) -> None:
        try:
            if not self._socket.recv(READ_SIZE):
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    # a request's way

    def _handle(self, event: HttpEvent) -> None:
        if type(event) is Request:
            self._begin(event)
        elif type(event) is bytes:
            self._piece(event)
        elif event is END:
            self._complete()
        else:
            assert type(event) is Refusal
            self.refuse(problem(event.status, event.detail))

    def _begin(self, request: Request) -> None:
        """A head is here: see who takes the body."""
        self._request, self._whole, self._body = request, False, None
        call = self._owner.control.find(request)
        self._call = call.answer
        if call.takes_body:
            outcome = call.answer()
            if isinstance(outcome, Response):  # it won't do it
                self._call = lambda: outcome
            else:
                assert not isinstance(outcome, Later)
                self._body = outcome
        waits_for_leave = b"expect" in request.headers and not request.is_http_10
        if self._body is not None:
            if waits_for_leave and not self._events:  # RFC 9110, 10.1.1
                self._write(CONTINUE)
        elif request.has_body and (waits_for_leave or not _is_short(request)):
            self._ending = True
            self._answer(self._call())

    def _piece(self, piece: bytes) -> None:
        """A piece of the body, and those that came with it."""
        pieces = [piece]
        while self._events and type(self._events[0]) is bytes:
            pieces.append(self._events.popleft())  # type: ignore[arg-type]
        if self._body is not None:
            self._answer(self._body.feed(b"".join(pieces)))

    def _complete(self) -> None:
        """The request is here as a whole."""
        assert self._request is not None
        self._whole = True
        if not self._request.keep_alive:
            self._ending = True
        if self._body is not None:
            self._answer(self._body.finish())
        else:
            assert self._call is not None
            self._answer(self._call())

    def _answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Response):
            self._send(outcome)
        else:
            assert isinstance(outcome, Later)
            self._waits = True
            outcome.then(self._came)

    def _came(self, response: Response | None) -> None:
        """A handler has done its work."""
        self._waits = False
        if self._state is State.CLOSED:
            return
        if response is not None:
            self._ending = self._ending or not self._whole
            self._send(response)
        self._settle()

    # answers

    def _send(self, response: Response) -> None:
        """Write the answer to the request that is worked at."""
        request = self._request
        if self._owner.draining:
            self._ending = True
        if self._ending:
            self._parser.close()
            self._events.clear()
        self._request = self._call = self._body = None
        data = response.encoded(
            date=time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode(),
            close=self._ending,
            head_only=request is not None and request.method == b"HEAD",
        )
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Write `data`; what the client doesn't take now waits."""
        try:
            written = self._socket.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            self.close()
            return
        self._out = data[written:]

    def _write_on(self) -> None:
        if self._out:
            self._write(self._out)
            self.deadline = time.monotonic() + self._owner.settings.body_timeout
            self._settle()

    # states

    def _settle(self) -> None:
        """Find out the state, and what is to be waited for in it."""
        state = self._state
        if state is State.CLOSED:
            return
        if self._out:
            new = State.WRITING
        elif self._ending and self._request is None:
            new = State.LINGERING
        elif self._waits or self._events:
            new = State.WORKING
        elif self._request is not None:
            new = State.BODY
        elif not self._parser.between_requests:
            new = State.HEAD
        else:
            new = State.NEW if state is State.NEW else State.IDLE
        if new is not state:
            self._enter(new)
        if new is State.WORKING and not self._waits:
            self._owner.queue(self)

    def _enter(self, new: State) -> None:
        old, self._state = self._state, new
        if new is State.LINGERING:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
                return
        if not (old is State.NEW and new is State.HEAD):  # a new one's time runs already
            self.deadline = time.monotonic() + self._patience(new)
        if new is State.WRITING:
            self._owner.interest(self, OUT)
        else:
            self._owner.interest(self, IN if new in _READING else 0)

    def _patience(self, state: State) -> float:
        """Seconds that the client has in `state`."""
        settings = self._owner.settings
        match state:
            case State.IDLE:
                return settings.idle_timeout
            case State.HEAD:
                return settings.head_timeout
            case State.BODY | State.WRITING:
                return settings.body_timeout
            case State.LINGERING:
                return LINGER_SECONDS
            case _:
                return float("inf")


def _is_short(request: Request) -> bool:
    return b"transfer-encoding" not in request.headers and request.content_length <= DROPPED
