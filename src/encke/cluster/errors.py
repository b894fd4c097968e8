"""What the uplink refuses to do, and why."""

from ..errors import EnckeError


class UplinkError(EnckeError):
    """Nothing was published; the base of why."""


class NotLinked(UplinkError):
    """There is no link to NATS now: publish again once there is."""


class UplinkFull(UplinkError):
    """NATS doesn't take messages as fast as they come: refuse senders for a while."""


class MessageTooLarge(UplinkError, ValueError):
    """A message is larger than the NATS server takes: make it smaller, or raise max_payload."""
