"""Every error that Encke raises on purpose, in one tree.

Each class says in its docstring what the caller can do about it; the message of
an instance says what happened and what to do next.

The client's errors about a message are siblings, for each says something else of what became
of it: who catches one doesn't catch another by accident. docs/client.md has them in a table.
"""


class EnckeError(Exception):
    """Root of the tree: catch it to catch whatever Encke raises on purpose."""


class BadUserId(EnckeError, ValueError):
    """The user id is no `str` of 1-128 characters of the allowed set, or only a dot or two:
    correct it. Nothing was sent."""


class BadMessage(EnckeError, ValueError):
    """The message is neither a `str` nor bytes in UTF-8: correct it. Nothing was sent."""


class BadSettings(EnckeError, ValueError):
    """A flag, variable, argument or line of the settings file is wrong: correct it."""


class MissingExtra(EnckeError):
    """A package that was left out at the installation is needed: install it as the message says."""


class FrameError(EnckeError, ValueError):
    """Bytes on a link that are no frame: the peer is broken; drop the link."""


class SendError(EnckeError):
    """A message was not (or not surely) delivered; the base of the client's errors."""


class Closed(SendError):
    """Not sent: the client was closed before. Use one that is open."""


class Unreachable(SendError, ConnectionError):
    """Not sent: no Encke answers at this address. Start it, or correct the address; sending it
    again can't double it."""


class Interrupted(SendError):
    """Unknown: the connection broke off, or the answer took too long, or was none of Encke's.

    What was under way may have been delivered: send it again only if a message that
    comes twice does no harm.
    """


class Refused(SendError):
    """Refused for good (4xx): repeating it unchanged won't help.

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


class Unavailable(SendError):
    """Not now (503): try again after `retry_after` seconds.

    `status` and `detail` are as in Refused; `detail` says so if the message may have been
    delivered all the same. Of many messages the first `accepted` were taken, and `delivered` to so
    many connections: go on with the one behind them.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        retry_after: float,
        accepted: int = 0,
        delivered: int = 0,
    ) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.accepted = accepted
        self.delivered = delivered


class StoreError(EnckeError):
    """The friends' store can't be reached or used: do what the message says."""
