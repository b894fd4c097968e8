"""``encke flood``: opens very many streams, keeps them, and counts what comes.

    cli         its arguments
    plan        what is to be done; how it's spread over processes
    addresses   whom each stream asks for what
    streams     the meaning of the bytes, incrementally, in packed columns (pure)
    queue       which streams are to be opened, and when (pure)
    herd        one process: opens, reads, reconnects
    crowd       all of them: forks, adds up, ends
    report      what is printed

A process forks as many herds as the open-files limit demands, each with its own
loopback source addresses, and adds up their rows of a scoreboard. What a stream costs is
its row, 33 bytes (streams.py); a herd imports
little, and shares its pages with the others.

It works against any server whose streams are chunked, or end with the connection.
"""
