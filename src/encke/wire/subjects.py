"""Subjects: where in NATS what is published. A public contract.

With the prefix P ("encke", unless settings say otherwise), and TOKEN, which is a user's id
with a comma for every dot::

    P.user.TOKEN          a message to a user
    P.publish.TOKEN       a message to everyone subscribed to a user, and to that user
    P.ask.user.TOKEN      as the first two, but every node answers at the reply subject
    P.ask.publish.TOKEN   how many connections got it: see encke.wire.nodes
    P.reply.NODE.LINK-SECRET-NUMBER   where a node gets such answers
    P.link.NODE.LINK      stands where the reply subject of a node's messages would: it
                          says which of its links (by number) carried them. Nobody listens there
    P.node.NODE           what a node says of itself every second: see encke.wire.nodes. Only
                          nodes may publish there

    user id               subject of messages to this user
    123                   encke.user.123
    ada@example.org       encke.user.ada@example,org

That's all there is to it, since a user id has none of what NATS gives a meaning to but the
dot, and no comma: different ids have different tokens, each token is one id, and a token
is neither a wildcard nor several tokens.

Pure.
"""

import re
from collections.abc import Iterable

from ..errors import BadSettings, BadUserId
from ..ids import is_user_id

DEFAULT_PREFIX = "encke"

MAX_PREFIX = 128
"""Longest prefix, in characters: a subject stays far below nats-server's 4,096 bytes a line."""

NOBODY = b".,"
"""Ends the subjects to which nodes publish to see whether they may: no user has this token."""

_is_prefix = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*").fullmatch


def token(id: bytes) -> bytes:
    """The token of user `id`, which must be a user id."""
    return id.replace(b".", b",")


def user_id(token: bytes) -> bytes:
    """The user id whose token is `token`; raises BadUserId if it isn't one's."""
    id = token.replace(b",", b".")
    if b"." in token or not is_user_id(id):
        raise BadUserId("That is no user id's token: see encke.wire.subjects.")
    return id


class Subjects:
    """The subjects of one system: several with different prefixes can share a NATS."""

    __slots__ = (
        "_begin",
        "_publication",
        "_user",
        "link",
        "node",
        "prefix",
        "reply",
        "to_publish",
        "to_send",
    )

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        """Raises BadSettings if `prefix` can't be one."""
        if not _is_prefix(prefix) or len(prefix) > MAX_PREFIX:
            raise BadSettings(
                f"{prefix!r} can't begin a NATS subject; it takes 1 to {MAX_PREFIX} characters of "
                "A-Z a-z 0-9 - _, and dots between them."
            )
        self.prefix = prefix
        begin = prefix.encode()
        self._begin = begin + b"."
        self._user = b"%b.user." % begin
        self._publication = b"%b.publish." % begin
        self.to_send = b"%b.ask.user." % begin
        """Begins the subject of a message that all nodes answer; the user's token follows."""
        self.to_publish = b"%b.ask.publish." % begin
        """The same of a publication."""
        self.reply = b"%b.reply." % begin
        """Begins the subjects at which a node gets answers; its name and more follow."""
        self.link = b"%b.link." % begin
        """Begins what the messages of a node say of their way: see encke.cluster.origins."""
        self.node = b"%b.node." % begin
        """Begins the subject at which a node says that it lives; its name follows."""

    def user(self, id: bytes) -> bytes:
        """The subject of user `id`, which must be a user id."""
        return self._user + id.replace(b".", b",")

    def users(self, ids: Iterable[bytes]) -> list[bytes]:
        """The subjects of many."""
        prefix = self._user
        return [prefix + id.replace(b".", b",") for id in ids]

    def publications(self, ids: Iterable[bytes]) -> list[bytes]:
        """The subjects of publications of `ids`."""
        prefix = self._publication
        return [prefix + id.replace(b".", b",") for id in ids]

    def probes(self) -> list[bytes]:
        """A subject of each kind for messages, and nobody's."""
        kinds = self._user, self._publication, self.to_send, self.to_publish
        return [kind[:-1] + NOBODY for kind in kinds]

    def owns(self, subject: bytes) -> bool:
        """Whether it's a subject of this system."""
        return subject.startswith(self._begin)

    @property
    def all_publications(self) -> bytes:
        """The subjects of publications of whomever."""
        return self._publication + b"*"

    def user_id(self, subject: bytes) -> bytes:
        """The id of the user whose subject is `subject`; raises BadUserId if it's nobody's."""
        if not subject.startswith(self._user):
            raise BadUserId("That is no user's subject: see encke.wire.subjects.")
        return user_id(subject[len(self._user) :])
