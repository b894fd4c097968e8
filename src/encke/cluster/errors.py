"""What a link to NATS refuses to do, and why. May import: errors."""

from ..errors import EnckeError


class LinkError(EnckeError):
    """Nothing was published; the base of why."""


class NotLinked(LinkError):
    """There is no link to NATS now: publish again once there is."""


class LinkFull(LinkError):
    """NATS doesn't take messages as fast as they come: refuse senders for a while."""


class MessageTooLarge(LinkError, ValueError):
    """A message is larger than the NATS server takes: make it smaller, or raise max_payload."""
