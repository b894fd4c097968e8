"""How many gateways wake up for one connection: a listener in a nested epoll, or not.

N processes share a listening socket, registered with EPOLLEXCLUSIVE; a client opens
connections. ``direct``: each waits in the epoll that holds the listener; ``nested``:
that epoll is itself registered in an outer one, in which the process waits.

    python docs/adr/measurements/shared_listener.py
"""

import os
import resource
import select
import signal
import socket
import struct
import sys
import time

CONNECTIONS = 5_000
ACCEPTS_A_TURN = 16
_REPORT = struct.Struct("iiid")


def gateway(listener: socket.socket, nested: bool, report: int) -> None:
    """Accept until SIGTERM; then report turns, fruitless turns, accepted, CPU seconds."""
    turns = fruitless = 0
    kept: list[socket.socket] = []

    def end(*_: object) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = usage.ru_utime + usage.ru_stime
        os.write(report, _REPORT.pack(turns, fruitless, len(kept), cpu))
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    inner = select.epoll()
    inner.register(listener.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
    waited = inner
    if nested:
        waited = select.epoll()
        waited.register(inner.fileno(), select.EPOLLIN)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if not waited.poll(60):
            continue
        turns += 1
        before = len(kept)
        for _ in range(ACCEPTS_A_TURN if not nested or inner.poll(0) else 0):
            try:
                kept.append(listener.accept()[0])
            except BlockingIOError:
                break
        fruitless += len(kept) == before
    os._exit(1)


def measure(gateways: int, nested: bool) -> None:
    """One run; prints a line."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    reports, pids = [], []
    for _ in range(gateways):
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            gateway(listener, nested, writable)
        os.close(writable)
        reports.append(readable)
        pids.append(pid)
    time.sleep(0.5)
    begin = time.monotonic()
    clients = [socket.create_connection(listener.getsockname()) for _ in range(CONNECTIONS)]
    seconds = time.monotonic() - begin
    time.sleep(0.5)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    rows = [_REPORT.unpack(os.read(report, _REPORT.size)) for report in reports]
    for pid in pids:
        os.waitpid(pid, 0)
    for client in clients:
        client.close()
    turns, fruitless, accepted, cpu = (sum(column) for column in zip(*rows, strict=True))
    how = "nested" if nested else "direct"
    print(
        f"{how}  gateways {gateways:3}  accepted {accepted}  turns {turns:6}  "
        f"fruitless {fruitless:6}  gateways' CPU {cpu:.2f} s  to connect {seconds:.2f} s"
    )


if __name__ == "__main__":
    for count in (2, 16, 53):
        for way in (False, True):
            measure(count, way)
    sys.exit(0)
