"""A gateway: the process that holds connections.

In reading order: `columns` (what is known of a sleeping connection), `poller` (which
of them is ready), `outbox` (bytes on their way to clients), `exchange` (an awake
connection), `streams` (login, delivery, heartbeats), `senders` (POST /send), `port`
with `far` and `near` (the router, apart or in this process), `gateway` (accept, read, close:
all of it together), `process` (a gateway as a process).
"""
