"""``python -m bench``: the server measured beside others, as ratios and in bytes.

Absolute figures of a machine say little, so a command measures in one run, on the
same core, what it compares: the bare C write loop (the floor that the kernel
sets), nchan (in C, in nginx), and Encke, over its public interface.

    options report graphs course    what a run is told; what it says, and while it waits
    servers                         the servers, started and ended; tests use them too
    clients one_core                one core: the C programs, who is measured there, and how
    send memory connect             one command each; map_memory is a child of memory
    tools stage counts meter        all cores: `encke flood` and `encke generate`, a server with
                                    their streams, what each user got, what it cost
    steady attackers                a steady load; its attackers, a child process
    hostile hostile_clients         good clients beside hostile ones, which are a child process
    checker crowd raw               load, and a verdict on each message; tests use them too
    faults                          a node's own processes fail
    capacity kernel machine         what this machine is, holds, and keeps for sockets
    million growth loop beside      a million streams
    soak soak_readings              a day's messages in an hour
    friends friends_*               publishing to friends
    cluster cluster_*               nodes joined through NATS
    *_report                        what the report of a command says

Load comes from two generators. `encke flood` with `encke generate` checks each message, with
several processes, at any rate; c/load.c costs a tenth of them, which is what it takes to
saturate a server from one core, but knows nothing of order, pace or latency.

The package itself must not import this (import-linter).
"""
