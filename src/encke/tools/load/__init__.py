"""What the load tools, ``encke flood`` and ``encke generate``, share.

    target      an http:// address, taken apart; source addresses for many connections
    stamp       the stamp of a message: when it was sent, by whom, its number
    histogram   a bounded log-scale histogram, and what is said of it
    tallies     a number for each user, packed, in a file that both tools write alike
    board       counters of several processes in shared memory
    usage       CPU time and memory of processes
    kernel      what the kernel says: open files, overflows of listening queues
    screen      a line on the terminal that's kept up to date
    signals     Ctrl-C and SIGTERM as something that can be waited for

Of the files here, those that a flood's many
processes need (target, stamp, histogram, tallies, board, kernel) import little, since
each import is paid for in each of them.
"""
