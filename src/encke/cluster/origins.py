"""By which link of which node a message came: what comes late by a lost one isn't taken.

A NATS server that hangs holds what a node has written to it. The node waits for some seconds,
then goes on at another server; when the first one comes to itself, it hands the old
messages out: behind newer ones, and even to the node that they are from, by its new link. So a
node says with every message which of its links carries it, counted from 1, in place of a reply
subject (`Subjects.link`), or in it if it wants answers.

Which link is the newest one each node announces where only nodes may publish, with its
heartbeats, the first of which precedes all else on a link. What comes by an older one is late. A
message's own word is no announcement: whoever may send could call any number, and all that the
node itself sends would be late. Nor may they answer for others: where answers come to has a
secret in it.

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
    """No link that we know to be lost; no answer is wanted."""
    ANSWER = 1
    """An answer is wanted there."""
    LATE = 2
    """A link that its node has lost since: it's not taken."""
    OURS = 3
    """It's of this node: it's not taken either."""


class Origins:
    """The newest link of each node, as far as they were announced, and our own."""

    def __init__(self, subjects: Subjects, node: str, secret: str) -> None:
        """We're called `node`; `secret` is 16 hexadecimal digits that only nodes see."""
        self.newest: dict[bytes, bytes] = {}
        """What messages by a node's newest link say, and that node."""
        self._node = node.encode()
        self._secret = secret.encode()
        self._subjects = subjects
        self._links: dict[bytes, int] = {}
        self.number = 0
        """Of our link."""
        kinds = re.escape(subjects.link), re.escape(subjects.reply)
        self._said = re.compile(
            rb"(?:%b([0-9a-f]{12})\.(\d{1,9})|%b([0-9a-f]{12})\.(\d{1,9})-[0-9a-f]{16}-\d{1,18})"
            % kinds
        ).fullmatch
        self.linked()

    def linked(self) -> None:
        """We have another link."""
        self.number += 1
        self.ours = self._by(self._node, self.number)
        """What our messages say."""
        begin = self._subjects.reply, self._node, self.number, self._secret
        self.reply = b"%b%b.%d-%b-" % begin
        """Begins where we want answers; a number follows."""

    def judge(self, reply: bytes) -> Verdict:
        """What to do with a message of this reply subject, which is not in `newest`."""
        said = self._said(reply)
        if said is None:
            return Verdict.ANSWER
        node, number = said[1] or said[3], int(said[2] or said[4])
        if node == self._node:
            return Verdict.OURS
        if number < self._links.get(node, 0):
            return Verdict.LATE
        return Verdict.ANSWER if said[3] else Verdict.TAKE

    def announced(self, name: str, number: int) -> None:
        """A node has said, where only nodes can, by which of its links it says so."""
        node = name.encode()
        before = self._links.get(node, 0)
        if number <= before:
            return
        self.newest.pop(self._by(node, before), None)
        if not before and len(self._links) >= MAX_NODES:
            oldest = next(iter(self._links))
            self.newest.pop(self._by(oldest, self._links.pop(oldest)), None)
        self._links[node] = number
        self.newest[self._by(node, number)] = node

    def _by(self, node: bytes, number: int) -> bytes:
        return b"%b%b.%d" % (self._subjects.link, node, number)
