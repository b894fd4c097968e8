"""``/test/{id}``: the article's stream. Each message is one chunk, one line::

    Recvd msg #1: 'Hello World'

It is labelled as HTML, as in the article, so that a browser shows it while it grows;
the sandbox keeps a message that has markup in it from running any script.
"""

from ..message import Message
from ..request import Request
from ..response import Headers
from .base import Documentation, Protocol


def _headers(_request: Request) -> Headers:
    return (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
        (b"X-Content-Type-Options", b"nosniff"),
    )


def _encode(message: Message, number: int) -> bytes:
    return b"Recvd msg #%d: '%b'\n" % (number, message.data)


def _around(number: int) -> tuple[bytes, bytes]:
    return b"Recvd msg #%d: '" % number, b"'\n"


PROTOCOL = Protocol(
    name=b"test",
    documentation=Documentation(
        summary="A stream to look at: each message is one line.",
        description="The answer doesn't end until the server stops. Each message arrives as one "
        "HTTP chunk; N counts the messages of this connection. The head arrives once the user is "
        "reachable.",
        media_type="text/html",
        body="Lines: Recvd msg #N: 'MESSAGE'.",
        example="Recvd msg #1: 'Hello World'\n",
    ),
    headers=_headers,
    encode=_encode,
    around=_around,
)
