"""What requests are refused with, by what kept them from being served.

Pure.
"""

from ..wire.message import Status
from .routes import Problem

_SOON = ((b"Retry-After", b"1"),)

UNAVAILABLE = Problem(
    503,
    "The router is away or being restarted, so this may not have been delivered; try again in a "
    "second.",
    _SOON,
)
FAILURES = {
    None: UNAVAILABLE,
    Status.UNFORWARDED: Problem(
        503,
        "Nobody on this node got it, and it couldn't be handed on to the other nodes: the link "
        "to NATS is down or full, or the message is larger than NATS takes. Try again in a second.",
        _SOON,
    ),
    Status.UNANSWERED: Problem(
        503,
        "Not all nodes have said how many connections got it: it may have been delivered, or not.",
        _SOON,
    ),
    Status.UNKNOWN: Problem(
        503,
        "The friends' store can't be reached, so it isn't known whom this goes to; try again in "
        "a second.",
        _SOON,
    ),
    Status.UNACKNOWLEDGED: Problem(
        503,
        "A process of the server that holds connections of this user doesn't answer: it may have "
        "been delivered, or not. Try again in a few seconds.",
        ((b"Retry-After", b"5"),),
    ),
    Status.OFF: Problem(
        409,
        "Friends are off on this node, so there is nobody to publish to: start it with --friends "
        "postgresql://..., which all nodes of a cluster can share.",
    ),
}
"""What a sender is told, by what became of the message; None: the router went away."""

NOT_UTF8 = Problem(400, "The message isn't UTF-8; encode it as UTF-8.")


def too_large(limit: int) -> Problem:
    """The problem of a message over the limit."""
    return Problem(
        413, f"The message is larger than {limit} bytes; shorten it, or send a reference to it."
    )


def grows_too_large(size: int, limit: int) -> Problem:
    """The problem of a message that's over the limit once it's written to a stream."""
    return Problem(
        413,
        f"The message takes up to {size} bytes on a stream, more than {limit}: a line end is 7 "
        "there, a control character 6. Shorten it, or send a reference to it.",
    )


NO_STREAMS = Problem(
    503,
    "This node is for senders (--gateways 0); open streams at another node of the cluster.",
    ((b"Retry-After", b"10"),),
)

FULL = Problem(
    503,
    "There are as many connections as may be here (--max-connections, or the open-files limit); "
    "come back later.",
    ((b"Retry-After", b"10"),),
)

TOO_MANY = Problem(
    503,
    "This user has as many streams as one may have here (--connections-per-user); close another.",
    ((b"Retry-After", b"10"),),
)

OVERDUE = Problem(
    503,
    "It isn't known yet what became of this (--answer-timeout): it may have been delivered, or may "
    "still be.",
    ((b"Retry-After", b"5"),),
)

TIMEOUT = Problem(408, "The request came too slowly; send it in one go.")

TOO_MUCH = Problem(
    503,
    "More unfinished bodies have come than are kept (--bodies-total), and of this one nothing for "
    "longest; send it again, in one go.",
    ((b"Retry-After", b"1"),),
)
