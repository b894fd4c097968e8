"""The stamp that ``encke generate --stamp`` puts at the beginning of a message.

    t=1763888888123456789 s=7224380952576.42

``t``  when the message was written to the sender's connection: nanoseconds since the
       epoch (CLOCK_REALTIME, so that sender and receiver may be on two machines whose
       clocks agree).
``s``  the sender: a number that no other sender has, also not one of another run; and,
       behind the dot, the how-manieth message of this sender to this user it is, from 1.
       A user's messages come from one sender, so that a receiver sees one gap for a lost
       message, and a number again for a doubled one.

A blank follows if there is more of the message.

Pure. May import: nothing of Encke.
"""

import re
import time

PREFIX = 96
"""Bytes at the beginning of a message, at most, in which everything stands that a receiver
looks at: the article's ``Recvd msg #N: '`` and the stamp."""

SENDERS = 4096
"""Senders of one run, at most."""

said = re.compile(
    rb"(?:Recvd msg #(\d{1,9}): ')?(?:t=(\d{1,19}) s=(\d{1,18})\.(\d{1,9})(?!\d))?"
).match
"""What a message begins with: (N of ``Recvd msg #N``, t, sender, how-manieth), each None if it
isn't there. Matches anything. The lengths keep the numbers within 64 and 32 bits."""


def first_sender() -> int:
    """The number of a run's first sender; the others follow."""
    return time.time_ns() // 1_000_000 % (1 << 40) * SENDERS


def stamp(sender: int, sequence: int) -> bytes:
    """The stamp of a message that is written now."""
    return b"t=%d s=%d.%d" % (time.time_ns(), sender, sequence)
