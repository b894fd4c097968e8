"""``/events/{id}``: Server-Sent Events (WHATWG HTML, 9.2), for `EventSource`.

A message of several lines becomes several ``data:`` lines; the browser joins them
with LF again. The format has three line ends (LF, CRLF, CR) and can't tell them
apart, so a CR of the message arrives as LF. (9.2.6)

What somebody published to their subscribers is an event of another type, whose data says in one
line of JSON who it was::

    event: friend
    data: {"from":"123","data":"Hello World"}

What isn't an event, ``retry:`` and the comments that keep the connection, has no blank line behind
it: the standard's readers would ignore an event without data, many others show an empty message.
"""

import msgspec

from ..message import Message
from ..request import Request
from ..response import EVENTS, Headers
from .base import Documentation, Protocol, json_size


def _headers(_request: Request) -> Headers:
    return (
        (b"Content-Type", EVENTS),
        # nginx: pass each event on at once
        (b"X-Accel-Buffering", b"no"),
    )


def _encode(message: Message, _number: int) -> bytes:
    data = message.data
    if message.publisher:
        text = msgspec.json.encode(data.decode())
        return b'event: friend\ndata: {"from":"%b","data":%b}\n\n' % (message.publisher, text)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"data: %b\n\n" % data


def _size(data: bytes) -> int:
    ends, pairs = data.count(b"\n") + data.count(b"\r"), data.count(b"\r\n")
    lines = len(data) - pairs + 6 * (ends - pairs)  # each line end is LF and "data: "
    return max(lines, json_size(data))


def _greeting(retry: float) -> bytes:
    return b"retry: %d\n" % int(retry * 1000)


PROTOCOL = Protocol(
    name=b"events",
    documentation=Documentation(
        summary="A stream for EventSource (Server-Sent Events).",
        description="The answer doesn't end until the server stops. Each message is one event "
        "without a name; retry: says when to connect again. Comment lines keep the connection "
        "alive.",
        media_type="text/event-stream",
        body="Events.",
        example="retry: 2718\ndata: Hello World\n\n",
    ),
    headers=_headers,
    greeting=_greeting,
    encode=_encode,
    size=_size,
    growth=7,
    heartbeat=b":\n",
)
