"""A gateway: the process that holds connections.

In reading order: `columns` (what is known of a sleeping connection), `life` (the states that it
goes through), `poller` (which of them is ready), `outbox` (bytes on their way to clients),
`connections` (all of them together: taken in, moved on, closed), `sockets` (what only the socket
knows), `exchange` (an awake connection), `bodies` (what is kept of unfinished ones), `routes`
(where a request leads), `refusals` (what it's refused with), `requests` (what clients send), `cap`
(what happens when all places are taken), `heavy` (who sends much), `senders` (POST /send, and what
becomes of it), `answers` (its bytes), `pages` (the same for pages of other origins), `streams`
(login, delivery, heartbeats), `slices` (large messages, a little a turn),
`port` with `far` and `near` (the router, apart or in this process), `gateway` (accept, a turn, the
clock), `process` (a gateway as a process).
"""
