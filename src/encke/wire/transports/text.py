"""``/test/{id}``: the article's stream. Each message is one chunk, one line::

    Recvd msg #1: 'Hello World'

It is labelled as HTML, as in the article, so that a browser shows it while it grows;
the sandbox keeps a message that has markup in it from running any script.
"""

from ..message import Message
from .base import Transport


def _encode(message: Message, number: int) -> bytes:
    return b"Recvd msg #%d: '%b'\n" % (number, message.data)


TRANSPORT = Transport(
    name=b"test",
    headers=(
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
        (b"X-Content-Type-Options", b"nosniff"),
    ),
    encode=_encode,
    counts=True,
)
