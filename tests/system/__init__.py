"""System tests: the running server, with real processes and real sockets.

`node` runs a server, `raw` speaks to it byte by byte; `bench.crowd` holds many streams,
`bench.checker` proves what senders were told against what the streams got.
"""
