"""The servers that benchmarks and tests start: real ones, on loopback, always ended.

processes   child processes: pinned to a core, spoken to by lines, ended by their id
server      what all servers have: a start that is waited for, a log, what they cost
encke nats postgres nginx       one each; nginx has nchan, and HAProxy beside it
"""
