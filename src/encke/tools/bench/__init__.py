"""``encke bench``: the server measured beside its peers, as ratios and in bytes.

Absolute figures of a machine say little, so each command measures in one run, on
the same core, what it compares: the bare C write loop (the floor that the kernel
sets), nchan (the peer, in C, in nginx), and Encke, over its public interface.

    processes   child processes: pinned to a core, spoken to by lines, always ended
    measure     CPU time and memory of a server's processes; the machine
    programs    the C programs: compiled on the spot; the clients `load`
    peers       Encke and nchan, started for a measurement
    report      tables and JSON
    send memory connect steady      one command each
    generator attackers map_memory  child processes of theirs

May import: everything below tools; of Encke's server only the router's map (for
its memory) and settings.
"""
