"""``encke friends``: who is subscribed to whom.

    add, remove, list, subscribers      through the control port of a running server
    load, export, stats                 with the store itself: faster, and no server is needed
    generate                            a graph of friends for tests, like the article's

In reading order: `remote` (the control port), `files` (files of pairs), `loading`, `graph`,
`degrees` and `plot` (the distribution), `options` (the flags), `cli`.
"""
