"""How much the hub does at once: all of its bounds, with their reasons.

A *handle* is a connection that a message goes to, a *row* a subscriber whom the friends' store
names; a million may be subscribed to somebody of whom a thousand are here.

Pure.
"""

# messages to users

SLICE = 8_192
"""Handles after which a delivery is cut: some 50 ms of writes for a gateway."""

UNDER_WAY = 16 * SLICE
"""Handles in deliveries that aren't written yet, from which on nothing more is expanded, if
gateways are apart from the router: 1 MiB of them."""

NEAR_A_TURN = 2 * SLICE
"""The same if router and gateway are one process, and so what it writes in a turn for those who
have more than one connection: some 100 ms. What more there is waits for the next turns, and no
sender is read from meanwhile."""

BEHIND = 1.0
"""Seconds after which a gateway that has deliveries in hand, and settles none, is behind: it's
hung, or nearly so. What it has in hand counts no more, so that nobody waits for it."""

BEHIND_MOST = 8 * UNDER_WAY
"""Handles that a gateway that is behind may have in hand: 8 MiB of them. What else is for it is
given up at once."""

# publications: small ones

FIRST_PAGE = 256
"""Rows looked up with a publication's first page; nearly everyone has fewer."""

LOOKUP = 128
"""Publications whose first page is looked up together."""

QUANTUM = 16
"""Publications of a lane that are looked up before it's another lane's turn."""

PUBLISHED_BYTES = 1024 * 1024
"""Bytes of publications after which a delivery of several is cut: it has to fit into a frame."""

LARGE = 128 * 1024
"""Bytes of a message that shares a delivery with no other: it may take several turns to be written,
and those of a delivery are answered together."""

PUBLISHED_UNDER_WAY = 1_024
"""Handles in deliveries of publications that aren't written yet, from which on no more are looked
up: some 8 ms of writes."""

# publications: large ones, which have further pages

PAGE_HANDLES = 200
"""Handles that a further page should have: some 0.2 ms of writes for each of six gateways."""

PAGE_ROWS = 256, 2_000
"""Rows of such a page, at least and at most: as many as should bring PAGE_HANDLES, going by the
last one."""

FEW = 64
"""Handles of a page below which it goes out at once, as any other does: nobody's messages wait for
so few, and who has some hundred subscribers doesn't hold up what else their sender publishes."""

REST = 1
"""How long the next page, or piece of who sends much (gateway.heavy), waits if others send: so many
times as long as the last one took."""

LATELY = 0.1
"""Seconds for which others count as sending: many senders gather for some 20 ms."""
