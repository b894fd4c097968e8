"""The stamp that ``encke generate --stamp`` puts at the beginning of a message.

    t=1763888888123456789 s=7224380952576.42

``t``  when the message was written to the sender's connection: nanoseconds since the
       epoch (CLOCK_REALTIME, so that sender and receiver may be on two machines whose
       clocks agree).
``s``  the sender: a number that no other sender has, also not one of another run; and,
       behind the dot, its number among this sender's messages to this user, from 1.
       A user's messages come from one sender, so that a receiver sees one gap for a lost
       message, and a number again for a doubled one.

A publication (``--publish``) goes to many, and each of them gets only some of all, so that no
receiver knows which number comes next. Instead of ``s`` it has ``p``, its key::

    t=1763888888123456789 p=4821094471203948571

A blank follows if there is more of the message.

Pure.
"""

import random
import re
import time

PREFIX = 96
"""Bytes at the beginning of a message, at most, in which everything stands that a receiver
looks at: the article's ``Recvd msg #N: '``, or ``{"from":"ID","data":"`` with an id of up to 34
characters, and the stamp."""

SENDERS = 4096
"""Senders of one run, at most."""

said = re.compile(
    rb"(?:Recvd msg #(\d{1,9}): '|\{\"from\":\"[^\"]{1,128}\",\"data\":\")?"
    rb"(?:t=(\d{1,19}) (?:s=(\d{1,18})\.(\d{1,9})|p=(\d{1,19}))(?!\d))?"
).match
"""What a message begins with: (N of ``Recvd msg #N``, t, sender, number, key), each None if
it isn't there. Matches anything. The lengths keep the numbers within 64 and 32 bits."""


def first_sender() -> int:
    """The number of a run's first sender; the others follow. By chance, since runs may begin at the
    same time, and a receiver takes senders of one number for one."""
    return random.getrandbits(40) * SENDERS


def stamp(sender: int, sequence: int) -> bytes:
    """The stamp of a message that is written now."""
    return b"t=%d s=%d.%d" % (time.time_ns(), sender, sequence)


SUM = (1 << 64) - 1
"""Sums of keys are taken modulo this, plus 1."""


def key(sender: int, number: int) -> int:
    """The key of the `number`-th publication of a run's `sender`: 63 bits, as good as random
    (the output function of SplitMix64, Steele, Lea and Flood 2014, of a state that no other
    has).

    So a receiver needs to keep no more than the sum of the keys that came, and how many: in
    whatever way they differ from those that are due, the chance that both are the same
    nevertheless is 1 to 2^63.
    """
    state = (sender * 0x9E3779B97F4A7C15 + number) & SUM
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & SUM
    state = (state ^ state >> 27) * 0x94D049BB133111EB & SUM
    return (state ^ state >> 31) >> 1


def publication(key: int) -> bytes:
    """The stamp of a publication that is written now."""
    return b"t=%d p=%d" % (time.time_ns(), key)
