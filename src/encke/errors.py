"""Every error that Encke raises on purpose, in one tree.

Each class says in its docstring what the caller can do about it; the message of
an instance says what happened and what to do next.
"""


class EnckeError(Exception):
    """Root of the tree: catch it to catch whatever Encke raises on purpose."""


class BadUserId(EnckeError, ValueError):
    """The user id is not 1-128 characters of the allowed set, or only a dot or two: correct it."""


class BadSettings(EnckeError, ValueError):
    """A flag, variable or line of the settings file is wrong: correct it."""


class MissingExtra(EnckeError):
    """A package that was left out at the installation is needed: install it as the message says."""


class FrameError(EnckeError, ValueError):
    """Bytes on a link that are no frame: the peer is broken; drop the link."""


class SendError(EnckeError):
    """A message was not (or not surely) delivered; the base of the client's errors."""


class Unreachable(SendError, ConnectionError):
    """No Encke answers at this address: start it, or correct the address."""


class Interrupted(Unreachable):
    """The connection broke off, or the answer took too long.

    What was under way may have been delivered: send it again only if a message that
    comes twice does no harm.
    """


class Refused(SendError):
    """The server refused the request (4xx): repeating it unchanged won't help.

    `status` is the HTTP status, `detail` the server's sentence on what to do. Of many
    messages, `line` is the number of the refused one, from 1, and the ones before it
    were taken: `accepted` of them, `delivered` to so many connections.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        line: int | None = None,
        accepted: int = 0,
        delivered: int = 0,
    ) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail
        self.line = line
        self.accepted = accepted
        self.delivered = delivered


class Unavailable(Refused):
    """The server can't take messages right now (503): retry after `retry_after` seconds.

    A message that was under way when it happened may have been delivered.
    """

    def __init__(self, status: int, detail: str, retry_after: float) -> None:
        super().__init__(status, detail)
        self.retry_after = retry_after


class StoreError(EnckeError):
    """The friends' store can't be reached or used: do what the message says."""
