"""A graph of friends for tests: a few are very popular, most are not.

It's the article's: Barabási and Albert's, in which users come one after the other, and
each chooses some of those who are there already, the more likely the more edges they
have. So an edge has a newer end, of which every user is so many times, and an older end,
of which a few are very often. Which end subscribes to which makes the difference, see
`Tail`.
"""

import enum
import random
from collections.abc import Iterator

from ...errors import BadSettings
from ...extras import needed

USERS_AT_ONCE = 1000
"""Users whose lines are handed out at once."""


NEWER_FIRST, OLDER_FIRST = "{0}\t%d\n", "%d\t{0}\n"
"""A line, subscriber and publisher: the newer end's id fills {}, the older ends' each a %d."""


class Tail(enum.StrEnum):
    """On which side of the subscriptions the popular ones are."""

    PUBLISHERS = "publishers"
    """The newer end subscribes to the older: a few have very many subscribers."""
    SUBSCRIBERS = "subscribers"
    """The older end subscribes to the newer: a few subscribe to very many, and nobody has
    more subscribers than there are friends a user. The article's list, read a row a line."""
    MUTUAL = "mutual"
    """Each to the other: twice as many subscriptions."""


def lines(users: int, friends: int, seed: int, tail: Tail, first_id: int) -> Iterator[bytes]:
    """The subscriptions of `users` users, a line each, in blocks of lines.

    Each user is the newer end of `friends` edges (the first ones of fewer); ids are numbers
    from `first_id` on. The same `seed` makes the same graph. Raises MissingExtra, and
    BadSettings if there can't be such a graph.
    """
    if friends >= users:
        raise BadSettings(f"{users} users can't have {friends} friends each: give fewer --friends.")
    igraph = needed("igraph")
    igraph.set_random_number_generator(random.Random(seed))
    try:
        # With outpref, who has come counts all edges of a user: as in an undirected graph.
        graph = igraph.Graph.Barabasi(users, friends, directed=True, outpref=True)
    finally:
        igraph.set_random_number_generator(random)
    shapes = {
        Tail.PUBLISHERS: (NEWER_FIRST,),
        Tail.SUBSCRIBERS: (OLDER_FIRST,),
        Tail.MUTUAL: (NEWER_FIRST, OLDER_FIRST),
    }[tail]
    for start in range(0, users, USERS_AT_ONCE):
        block: list[str] = []
        for newer in range(start, min(start + USERS_AT_ONCE, users)):
            older = tuple(id + first_id for id in graph.neighbors(newer, mode="out"))
            block += (shape.format(newer + first_id) * len(older) % older for shape in shapes)
        yield "".join(block).encode()
