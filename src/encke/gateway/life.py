"""The life of a connection: one table.

A connection is in one state, which stands in its row. Something happens to it (an event), and
the table says in which state it is then. The rules, in words:

- It is born NEW and waits for its first request, as an IDLE one waits for its next. Nothing of
  it is kept but its row.
- While a request is half read it is in its HEAD or in its BODY. When all that came was whole
  requests, and answers are owed, it is OWING; the last answer makes it IDLE again. The next
  request may come before that.
- A client that asks for a stream is WAITING until all earlier answers are out, then LOGGING_IN
  until the router has said yes. From then on it is a STREAM, until one of the two sides ends it.
- A connection that will bring no other request (one was refused, or too slow, or said
  `Connection: close`; or the client has ended its side) is ENDING while answers are owed, LEAVING
  while they wait to be written, and then LINGERING, see `Connections.linger`. What comes in
  these states is dropped; in WAITING and LOGGING_IN it's counted too, see `Streams.unasked`.
- A row is FREE when its descriptor is closed. Whatever is broken is closed, in any state.

    NEW ---.     .----------------------------------------------.
           |     v                                              |
           |   IDLE --.                                         |
           '----------+--> HEAD --> BODY --> OWING -------------'
                             |        |        |   \
                             '--------+--------'    '--> WAITING --> LOGGING_IN --> STREAM
                                      |                                  | too slow
                                   ENDING <------------------------------'
                                      |
                                   LEAVING --> LINGERING --> FREE

The picture shows the usual ways, the table all. What comes first may be more than a piece of a
head, or be refused, so NEW and IDLE lead to BODY, OWING, WAITING and ENDING too, and, if it's the
client's end, to LEAVING; so WAITING leads to ENDING.

What epoll is to report of a connection says `interest` alone. It is told whether the connection is
held (`Connections.hold`), or has bytes that wait; in which epoll it stands, so that it's served in
its turn, says the poller. How long a state may last says `PATIENCE`: a client that takes longer is
closed, or told so; of what takes the server too long (OWING, WAITING, LOGGING_IN, ENDING) the
client is told that it isn't known.

Pure.
"""

import enum
import select

FREE, NEW, IDLE, HEAD, BODY, OWING, WAITING, LOGGING_IN, ENDING, LEAVING, LINGERING = range(11)
"""The states, as they stand in a row. In those before WAITING requests may come, and are read:
`state < WAITING` says so."""

STREAM = 16
"""The first of the states that are streams: one for each kind of them, see `stream`."""


class Event(enum.IntEnum):
    """What happens to a connection."""

    TAKEN = 0
    """It was accepted."""
    HEAD_BEGAN = enum.auto()
    """All before was whole requests; now some of a head has come."""
    BODY_BEGAN = enum.auto()
    """A head is whole, and some of its body is to come, or has come."""
    WHOLE = enum.auto()
    """All that came was whole requests, and answers are owed."""
    STREAM_ASKED = enum.auto()
    """A request asks for a stream."""
    LAST = enum.auto()
    """There won't be another request: its end is said, it's refused, or it's too slow."""
    ANSWERED = enum.auto()
    """Every answer that was owed is on its way."""
    WRITTEN = enum.auto()
    """And written."""
    LOGGED_IN = enum.auto()
    """The router has said yes."""
    ENDED = enum.auto()
    """The client won't send anything more."""
    CLOSED = enum.auto()
    """It is broken, or the gateway has closed it."""


_REQUESTS = {
    Event.HEAD_BEGAN: HEAD,
    Event.BODY_BEGAN: BODY,
    Event.WHOLE: OWING,
    Event.STREAM_ASKED: WAITING,
    Event.LAST: ENDING,
    Event.CLOSED: FREE,
}
"""What a request leads to, wherever one may come."""

TABLE: dict[int, dict[Event, int]] = {
    FREE: {Event.TAKEN: NEW},
    NEW: _REQUESTS | {Event.ENDED: LEAVING},
    IDLE: _REQUESTS | {Event.ENDED: LEAVING},
    HEAD: _REQUESTS | {Event.ENDED: ENDING},
    BODY: _REQUESTS | {Event.ENDED: ENDING},
    OWING: _REQUESTS | {Event.ENDED: ENDING, Event.ANSWERED: IDLE},
    WAITING: {
        Event.ENDED: ENDING,
        Event.LAST: ENDING,
        Event.ANSWERED: LOGGING_IN,
        Event.CLOSED: FREE,
    },
    LOGGING_IN: {Event.LOGGED_IN: STREAM, Event.LAST: ENDING, Event.CLOSED: FREE},
    ENDING: {Event.ENDED: ENDING, Event.ANSWERED: LEAVING, Event.CLOSED: FREE},
    LEAVING: {Event.ENDED: LEAVING, Event.WRITTEN: LINGERING, Event.CLOSED: FREE},
    LINGERING: {Event.CLOSED: FREE},
    STREAM: {Event.CLOSED: FREE},
}
"""(state, event) -> state; what isn't in it can't happen."""

PATIENCE: dict[int, str | float] = {
    NEW: "head_timeout",  # since it was accepted: the first head's time is the same
    IDLE: "idle_timeout",
    HEAD: "head_timeout",
    BODY: "body_timeout",  # since it began; its pieces extend it, see Requests._read_on_body
    OWING: "answer_timeout",  # since the last request
    WAITING: "answer_timeout",
    LOGGING_IN: "head_timeout",
    ENDING: "answer_timeout",
    LEAVING: "body_timeout",
    LINGERING: 2.0,
}
"""How long a state may last: a setting, or seconds. Of a STREAM there's no end."""

SENDING = frozenset((NEW, IDLE, HEAD, BODY, OWING, ENDING, LEAVING, LINGERING))
"""The states in which a client may be sending requests, or what is dropped: one that sends much is
served apart (heavy)."""

READ = select.EPOLLIN | select.EPOLLRDHUP
WRITE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP
"""What epoll reports without being asked."""

NEVER = 255
"""In `AFTER`: this can't happen."""


def interest(state: int, *, unwritten: bool, held: bool) -> int:
    """What epoll is to report of a connection in `state`, besides BROKEN.

    `unwritten`: bytes wait for it that the kernel didn't take. `held`: it isn't to be read from
    for now, see `Connections.hold`.
    """
    if state >= STREAM:
        return READ | WRITE if unwritten else READ  # who is gone is noticed by reading
    if unwritten:
        return WRITE  # who doesn't take answers doesn't ask for more
    if held and state != LINGERING:
        return 0
    return READ


def stream(protocol: int, *, chunked: bool) -> int:
    """The state of a stream of the protocol at that place in the table of protocols."""
    return STREAM + 2 * protocol + (not chunked)


def protocol(state: int) -> int:
    """The place of a stream's protocol in the table of protocols."""
    return state - STREAM >> 1


def chunked(state: int) -> bool:
    """Whether a stream's bytes are chunks (not for HTTP/1.0)."""
    return not state & 1


def _after(event: Event) -> bytes:
    """By state: the one that `event` leads to."""
    rows = [TABLE.get(min(state, STREAM), {}).get(event, NEVER) for state in range(256)]
    return bytes(rows)


AFTER = tuple(map(_after, Event))
"""The table by event, then by state: what `AFTER[event][state]` is costs no call."""
