"""What 10,000 streams of one id cost to open and to close, beside as many of different ids.

    PYTHONPATH=. python docs/adr/measurements/crowd.py

Prints the CPU time of all processes of a node, with one gateway and with two, three times each.
"""

import resource
import socket
import time
from collections.abc import Callable

from bench.servers.encke import Encke

STREAMS = 10_000
AT_ONCE = 200


def cost(server: Encke, id_of: Callable[[int], str]) -> tuple[float, float]:
    """CPU seconds to open them, and to close them."""
    before, streams = server.cpu_seconds(), list[socket.socket]()
    for first in range(0, STREAMS, AT_ONCE):
        for number in range(first, first + AT_ONCE):
            stream = socket.create_connection(
                server.address, timeout=60, source_address=(f"127.0.0.{2 + number % 8}", 0)
            )
            stream.sendall(
                f"GET /test/{id_of(number)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            streams.append(stream)
        for stream in streams[first:]:
            if not stream.recv(65536).startswith(b"HTTP/1.1 200 "):
                raise SystemExit("a stream was refused")
    opened = server.cpu_seconds()
    for stream in streams:
        stream.close()
    server.until(lambda state: not state.connections, "all are closed", 120)
    time.sleep(1.0)  # the router may have something left to do
    return opened - before, server.cpu_seconds() - opened


def main() -> None:
    """Print them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{STREAMS:,} streams, CPU seconds to open / to close")
    for gateways in ("1", "2"):
        with Encke("--gateways", gateways, "--connections-per-user", "0") as server:
            for _ in range(3):
                same = cost(server, lambda _: "same")
                different = cost(server, lambda number: f"u{number}")
                print(
                    f"{gateways} gateway(s): one id {same[0]:.2f} / {same[1]:.2f}, "
                    f"different ids {different[0]:.2f} / {different[1]:.2f}"
                )


if __name__ == "__main__":
    main()
