"""What a NATS server takes for each user who is subscribed to, and how fast others know of it.

Memory: one server, or three that are joined; a client at the first one subscribes to very
many users, as a node's router does. Printed: seconds, and bytes a user that each server
has grown by, right after and once its collector has run.

Propagation: at one server a client subscribes and waits for PONG, then at another one a
client publishes until the first message arrives. Printed: milliseconds from PONG to then.

    python docs/adr/measurements/nats_interest.py [USERS]

It takes nats-server, on the PATH or beside Python, and some 2 GB for a million users.
"""

import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from encke.wire import nats
from encke.wire.subjects import Subjects

PROGRAM = shutil.which("nats-server") or str(Path(sys.executable).with_name("nats-server"))
USERS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
SLICE = 5_000
HELLO = b'CONNECT {"verbose":false,"echo":false}\r\n'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Server:
    """One NATS server, maybe with routes to others."""

    def __init__(self, *routes: int) -> None:
        self.port, self.route = free_port(), free_port()
        command = [PROGRAM, "-a", "127.0.0.1", "-p", str(self.port)]
        command += ["--cluster_name", "c", "--cluster", f"nats://127.0.0.1:{self.route}"]
        if routes:
            command += ["--routes", ",".join(f"nats://127.0.0.1:{port}" for port in routes)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not self._listens():
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def memory(self) -> int:
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line[:6] == "VmRSS:")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Client:
    """A blocking connection."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = nats.Decoder()
        self.socket.sendall(HELLO)
        self.flush()

    def flush(self) -> None:
        """Wait until the server has processed all."""
        self.socket.sendall(nats.PING)
        while not any(isinstance(event, nats.Pong) for event in self.read()):
            pass

    def read(self) -> list[nats.Event]:
        return self.decoder.feed(self.socket.recv(1 << 18))


def memory(servers: list[Server]) -> None:
    user = Subjects().user
    before = [server.memory() for server in servers]
    client = Client(servers[0])
    began = time.monotonic()
    for start in range(0, USERS, SLICE):
        ids = range(start, min(start + SLICE, USERS))
        client.socket.sendall(nats.subscribe(user(b"%d" % (10**9 + id)) for id in ids))
        client.flush()
    seconds = time.monotonic() - began
    print(f"{len(servers)} server(s), {USERS:,} users: {seconds:.1f} s;", end=" ", flush=True)
    time.sleep(2)
    for settle in (0, 150):  # Go's collector runs at least every two minutes
        time.sleep(settle)
        grown = [server.memory() - old for server, old in zip(servers, before, strict=True)]
        each = ", ".join(f"{size / USERS:.0f}" for size in grown)
        print(f"after {settle} s {each} bytes a user;", end=" ", flush=True)
    print()
    client.socket.close()


def propagation(one: Server, other: Server, times: int = 300) -> list[float]:
    user = Subjects().user
    near, far = Client(one), Client(other)
    taken = []
    for number in range(times):
        subject = user(b"p%d" % number)
        near.socket.sendall(nats.subscribe([subject]))
        near.flush()
        began = time.perf_counter()
        near.socket.settimeout(0.0002)
        while True:
            far.socket.sendall(nats.publish([subject], [b"x"]))
            try:
                if any(isinstance(event, nats.Message) for event in near.read()):
                    break
            except TimeoutError:
                pass
        taken.append((time.perf_counter() - began) * 1000)
        near.socket.settimeout(None)
        time.sleep(random.uniform(0, 0.005))
    return taken


def main() -> None:
    lone = Server()
    try:
        memory([lone])
    finally:
        lone.end()
    servers: list[Server] = []
    try:
        for _ in range(3):
            servers.append(Server(*(server.route for server in servers)))
        time.sleep(2)
        taken = sorted(propagation(servers[0], servers[1]))
        print(
            f"propagation: median {statistics.median(taken):.2f} ms, "
            f"p99 {taken[len(taken) * 99 // 100]:.2f} ms, longest {taken[-1]:.2f} ms"
        )
        memory(servers)
    finally:
        for server in servers:
            server.end()


if __name__ == "__main__":
    main()
