"""``encke generate``: sends messages to random users, at a given pace, and times the answers.

    cli         its arguments
    plan        what is to be done
    draw        who gets the next message (pure)
    compose     the bytes of a message (pure)
    account     what became of the messages
    connection  one connection: writes, reads answers, reconnects
    poller      waits, precisely
    posts       a request a message, pipelined
    bodies      NDJSON: many messages a request, written as they are due
    generator   the pace: who writes what when
    teller      what is printed

One process. A user's messages always take the same connection, since a server keeps the
order of what one sender sent. The load is open: a message is due at a time that doesn't
depend on the answers before it; how late it was written is told beside the answers' times.

It works against any server that takes a message as ``POST /path/{id}``.
"""
