"""How large a message may be at most, whatever is set.

Pure.
"""

MAX_MESSAGE = 32 * 1024 * 1024
"""Bytes of the largest message that a server may be told to take: frames between its processes
are made for it (wire.link)."""
