"""The names of things: user ids and connection handles.

A *user id* is 1-128 characters of ``A-Z a-z 0-9 - _ . ~ @ :``, but not ``.`` or ``..``, which
clients and proxies remove from a path, also percent-encoded (RFC 3986, 5.2.4; WHATWG URL).
Inside the server it is `bytes`, exactly as it travels.

A *handle* is the 64-bit name of one connection::

     63        48 47          24 23           0
    +------------+--------------+--------------+
    |  gateway   |  generation  |     slot     |
    +------------+--------------+--------------+

`gateway` is the number of the gateway process (a replaced gateway gets a new
number), `slot` the connection's row there, `generation` how often that row had
been used before. A handle of a closed connection never equals that of the one
which took over its row, so a late message can't reach the wrong client.
"""

import re

from .errors import BadUserId

MAX_USER_ID = 128
"""Longest user id, in bytes. Long enough for a UUID, an e-mail address, a token hash."""

GENERATION_SHIFT = 24
_GENERATION_BITS = 24
GATEWAY_SHIFT = GENERATION_SHIFT + _GENERATION_BITS
SLOT_MASK = (1 << GENERATION_SHIFT) - 1
GENERATION_MASK = (1 << _GENERATION_BITS) - 1
_ROW_MASK = ~(GENERATION_MASK << GENERATION_SHIFT)
MAX_GATEWAY = (1 << (64 - GATEWAY_SHIFT)) - 1

is_user_id = re.compile(rb"(?!\.\.?\Z)[A-Za-z0-9\-_.~@:]{1,128}").fullmatch

DOTS = (b".", b"..")
"""No user ids, though their characters are allowed."""

_ALLOWED = "1 to 128 characters of A-Z a-z 0-9 - _ . ~ @ :"


def user_id(raw: bytes | str) -> bytes:
    """`raw` as a user id; raises BadUserId, with what is wrong, if it is none."""
    try:
        encoded = raw.encode("ascii") if isinstance(raw, str) else raw
    except UnicodeEncodeError:
        encoded = b"\xff"
    if is_user_id(encoded):
        return encoded
    if not encoded:
        raise BadUserId(f"The user id is empty; it takes {_ALLOWED}.")
    if len(encoded) > MAX_USER_ID:
        raise BadUserId(f"The user id has {len(encoded)} characters; it takes {_ALLOWED}.")
    if encoded in DOTS:
        raise BadUserId(
            f"The user id {encoded.decode()} would be taken for a part of the path; it takes "
            f"{_ALLOWED}, and not only one dot or two."
        )
    raise BadUserId(f"The user id has a character that is not allowed; it takes {_ALLOWED}.")


def handle(gateway: int, generation: int, slot: int) -> int:
    """The handle of the connection in row `slot` of `gateway`, at its `generation`-th use."""
    return gateway << GATEWAY_SHIFT | generation << GENERATION_SHIFT | slot


def row_of(handle: int) -> int:
    """The row of `handle`, whichever its use: what all that have ever had it share."""
    return handle & _ROW_MASK


def generation_of(handle: int) -> int:
    """How often the row of `handle` had been used before this connection."""
    return handle >> GENERATION_SHIFT & GENERATION_MASK
