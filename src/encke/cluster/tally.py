"""What is counted of the messages between nodes."""

import msgspec


class MessageTally(msgspec.Struct):
    """Messages so far."""

    forwarded: int = 0
    """Handed on to NATS."""
    unforwarded: int = 0
    """That should have been, and couldn't."""
    received: int = 0
    """From other nodes, taken."""
    dropped: int = 0
    """From other nodes, not taken."""
