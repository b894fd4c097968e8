"""``python -m bench``: the server measured beside its peers, as ratios and in bytes.

Absolute figures of a machine say little, so a command measures in one run, on the
same core, what it compares: the bare C write loop (the floor that the kernel
sets), nchan (the peer, in C, in nginx), and Encke, over its public interface.

    processes   child processes: pinned to a core, spoken to by lines, always ended
    measure     CPU time and memory of a server's processes; the machine
    programs    the C programs: compiled on the spot; the clients `load`
    peers       Encke and nchan, started for a measurement
    report      tables and JSON
    send memory connect steady      one command each
    generator attackers map_memory  child processes of theirs

Three commands measure the whole machine, with all of its cores, and leave a report:

    tools    a node, `encke flood` and `encke generate`, started and ended
    stage       a server with its streams: opened, sent to, cut off, each with its figures
    counts kernel                   what each user got; the kernel's memory for sockets
    capacity    how many connections this machine can hold, and why
    course      what is being done, for who waits, and for the graph
    document    a report that is kept: Markdown, graphs, JSON
    million     a million streams; its parts: growth loop beside
    million_report million_graphs   what its report says
    soak        a day's messages in an hour; soak_readings soak_report
    nats        NATS servers, started and restarted
    cluster     nodes joined through NATS; its parts: cluster_spread cluster_interest
                cluster_crossing cluster_memory; cluster_report

May import: everything below tools; of Encke's server only the router's map (for
its memory) and settings.
"""
