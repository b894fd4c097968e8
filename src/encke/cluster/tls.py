"""TLS as a filter of bytes, beside a socket that stays as it is.

Imported only once TLS is wanted: ssl costs a process a megabyte.
"""

import ssl

from ..errors import BadSettings
from .options import NatsOptions

Context = ssl.SSLContext

PIECE = 64 * 1024
"""Bytes taken out of a TLS object at once; a record has at most 16 KiB."""


def context(options: NatsOptions) -> Context:
    """What is trusted, and who we are; raises BadSettings if a file is of no use."""
    try:
        context = ssl.create_default_context(cafile=options.tls_ca or None)
        if options.tls_certificate:
            context.load_cert_chain(options.tls_certificate)
    except OSError as error:  # ssl.SSLError is one
        files = " ".join(filter(None, (options.tls_ca, options.tls_certificate)))
        raise BadSettings(f"{files}: {error.strerror or error}") from None
    return context


class Tls:
    """A client's end of one TLS connection."""

    def __init__(self, context: Context, name: str) -> None:
        """`name` is the host's, which its certificate must have."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._early: list[bytes] = []  # written before the handshake was done
        self._shaken = False
        self._shake()

    def received(self, data: bytes) -> bytes:
        """The plain bytes that the socket's `data` completes; raises OSError if it isn't TLS,
        or the certificate is not to be trusted."""
        self._incoming.write(data)
        if not self._shaken and not self._shake():
            return b""
        pieces: list[bytes] = []
        try:
            while piece := self._object.read(PIECE):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)

    def write(self, data: bytes) -> None:
        """Take plain bytes."""
        if self._shaken:
            self._object.write(data)
        else:
            self._early.append(data)

    def outgoing(self) -> bytes:
        """What is to be written to the socket."""
        return self._outgoing.read()

    def _shake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._shaken = True
        for data in self._early:
            self._object.write(data)
        self._early.clear()
        return True
