"""By which link of which node a message came: what comes late by a lost one isn't taken.

A NATS server that hangs holds what a node has written to it. The node waits for some seconds,
then goes on at another server; when the first one comes to itself, it hands the old
messages out: behind newer ones, and even to the node that they are from, by its new link. So a
node says with every message which of its links carries it, counted from 1, in place of a reply
subject (`Subjects.link`), or in it if it wants answers.

Once something has come by a node's newer link, what still comes by an older one is late.
Whoever else publishes says nothing of the kind, and is taken as it comes.

Pure.
"""

import re
from enum import IntEnum

from ..wire.subjects import Subjects

MAX_NODES = 10_000
"""Nodes whose newest link is known; the ones that are known for longest are forgotten."""


class Verdict(IntEnum):
    """What a reply subject says."""

    TAKE = 0
    """A node's newest link; no answer is wanted."""
    ANSWER = 1
    """An answer is wanted there."""
    LATE = 2
    """A link that its node has lost since: it's not taken."""
    OURS = 3
    """It's of this node: it's not taken either."""


class Origins:
    """The newest link of each node that something came from, and our own."""

    def __init__(self, subjects: Subjects, node: str) -> None:
        self.newest: dict[bytes, bytes] = {}
        """What messages by a node's newest link say, and that node."""
        self._node = node.encode()
        self._subjects = subjects
        self._links: dict[bytes, int] = {}
        self._number = 0
        kinds = re.escape(subjects.link), re.escape(subjects.reply)
        self._said = re.compile(
            rb"(?:%b([0-9a-f]{12})\.(\d{1,9})|%b([0-9a-f]{12})\.(\d{1,9})-\d{1,18})" % kinds
        ).fullmatch
        self.linked()

    def linked(self) -> None:
        """We have another link."""
        self._number += 1
        self.ours = b"%b%b.%d" % (self._subjects.link, self._node, self._number)
        """What our messages say."""
        self.reply = b"%b%b.%d-" % (self._subjects.reply, self._node, self._number)
        """Begins where we want answers; a number follows."""

    def judge(self, reply: bytes) -> Verdict:
        """What to do with a message of this reply subject, which is not in `newest`."""
        said = self._said(reply)
        if said is None:
            return Verdict.ANSWER
        node, number = said[1] or said[3], int(said[2] or said[4])
        if node == self._node:
            return Verdict.OURS
        newest = self._links.get(node, 0)
        if number < newest:
            return Verdict.LATE
        if number > newest:
            self._now_newest(node, newest, number)
        return Verdict.ANSWER if said[3] else Verdict.TAKE

    def _now_newest(self, node: bytes, before: int, number: int) -> None:
        self.newest.pop(self._by(node, before), None)
        if not before and len(self._links) >= MAX_NODES:
            oldest = next(iter(self._links))
            self.newest.pop(self._by(oldest, self._links.pop(oldest)), None)
        self._links[node] = number
        self.newest[self._by(node, number)] = node

    def _by(self, node: bytes, number: int) -> bytes:
        return b"%b%b.%d" % (self._subjects.link, node, number)
