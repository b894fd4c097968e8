"""``/stream/{id}``: a line of JSON a message, for programs (newline-delimited JSON).

What somebody published to their subscribers says who it was::

    {"data":"Hello World"}
    {"from":"123","data":"Hello World"}

Whatever a message says, a line end in it too, is one line. An empty line keeps the connection
alive, and says nothing.
"""

import msgspec

from ..message import Message
from ..request import Request
from ..response import Headers
from .base import JSON_GROWTH, Documentation, Protocol, json_size


def _headers(_request: Request) -> Headers:
    return (
        (b"Content-Type", b"application/x-ndjson"),
        # nginx: pass each line on at once
        (b"X-Accel-Buffering", b"no"),
    )


def _encode(message: Message, _number: int) -> bytes:
    text = msgspec.json.encode(message.data.decode(errors="replace"))
    if message.publisher:
        return b'{"from":"%b","data":%b}\n' % (message.publisher, text)
    return b'{"data":%b}\n' % text


PROTOCOL = Protocol(
    name=b"stream",
    documentation=Documentation(
        summary="A stream for programs: a line of JSON a message.",
        description="The answer doesn't end until the server stops. Each message is one line, an "
        "object whose data is the message; from says who published it, if it was published. Empty "
        "lines keep the connection alive.",
        media_type="application/x-ndjson",
        body="Lines of JSON.",
        example='{"data":"Hello World"}\n',
    ),
    headers=_headers,
    encode=_encode,
    size=json_size,
    growth=JSON_GROWTH,
    heartbeat=b"\n",
)
