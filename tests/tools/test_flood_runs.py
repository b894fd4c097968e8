"""encke flood as a user runs it: real processes, against real servers."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from system.node import Address, Node
from tool import (
    Counting,
    StandIn,
    ended,
    flooded,
    flooding,
    generated,
    interrupted,
    needs_nchan,
)

from bench import tools
from bench.servers.nginx import nchan
from bench.servers.processes import free_ports
from encke import cli

CHURN = ("--churn", "200", "--reconnect-delay", "0")
FLOOD = [sys.executable, "-m", "encke", "flood"]


@pytest.fixture
def server(shared: Node) -> Node:
    """One server for all tests here."""
    return shared


def url(address: Address, transport: str = "test") -> str:
    return f"http://{address[0]}:{address[1]}/{transport}/{{}}"


def test_it_prints_the_articles_line(server: Node) -> None:
    """For people: `Stats: {connected,closed,chunks}` each period, and what it came to."""
    command = [*FLOOD, "--url", url(server.address), "-n", "20", "--every", "0.2"]
    done = subprocess.run([*command, "--duration", "0.5"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"All 20 connected after \d\.\d\d s", lines[0])
    assert lines[1] == "Stats: {20,0,0}"
    assert "20 opened, 0 closed, failed: 0; all open after" in done.stdout
    assert re.search(r"this tool +1 process, .* bytes a stream.* cores", done.stdout)


def test_several_processes(server: Node) -> None:
    """More streams than a process may have are shared by several, each with its own source."""
    each = ("--connections", "300", "--connections-per-process", "100")
    with flooding(url(server.address), *each) as flood:
        server.until(lambda state: state.connections == 300, "300 streams")
        sources = {
            connection.raddr.ip
            for pid in server.pids()
            for connection in psutil.Process(pid).net_connections()
            if connection.status == "ESTABLISHED" and connection.laddr.port == server.address[1]
        }
        children = psutil.Process(flood.process.pid).children()
        code, end, complaints = interrupted(flood)
    assert (code, complaints) == (0, "")
    assert (end.processes, end.connected, end.opened, end.closed) == (3, 300, 300, 0)
    assert len(children) == 3
    assert not any(map(psutil.Process.is_running, children))
    assert len(sources) == 3
    assert all(source.startswith("127.") for source in sources)
    assert end.seconds_to_connect is not None
    assert end.memory > 1_000_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(server: Node, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it in order, with its last line; the server sees all clients go."""
    with flooding(url(server.address), "-n", "10") as flood:
        code, end, complaints = ended(flood, number)
    assert (code, end.connected, complaints) == (0, 10, "")
    server.until(lambda state: state.connections == 0, "nobody is left")


def test_a_herd_that_dies(server: Node) -> None:
    """If one of its processes is killed, it says so, ends the others, and fails."""
    with flooding(url(server.address), "-n", "60", "--connections-per-process", "20") as flood:
        herds = psutil.Process(flood.process.pid).children()
        herds[1].kill()
        code, end, complaints = ended(flood)
    assert (code, end.processes) == (1, 3)
    assert "one of its processes has died" in complaints
    assert not any(map(psutil.Process.is_running, herds))


def test_it_leaves_no_herd_behind(server: Node) -> None:
    """However the command itself ends, its processes end too."""
    with flooding(url(server.address), "-n", "60", "--connections-per-process", "20") as flood:
        herds = psutil.Process(flood.process.pid).children()
        flood.process.kill()
        assert len(psutil.wait_procs(herds, timeout=20)[0]) == 3
    server.until(lambda state: state.connections == 0, "nobody is left")


def test_addresses_from_a_file(server: Node, tmp_path: Path) -> None:
    """--urls takes an address a line, of several transports, as in the article."""
    file = tmp_path / "urls"
    lines = [url(server.address, ("test", "events")[n % 2]).format(n) for n in range(30)]
    file.write_text("\n".join(lines) + "\n")
    with tools.flood("--urls", str(file), "--connections-per-process", "20", every=0.1) as flood:
        figures = flood.until(lambda figures: figures.event == "connected")
        assert (figures.streams, figures.processes) == (30, 2)
        assert server.state().users == 30


def test_all_are_cut_and_come_back(server: Node) -> None:
    """SIGUSR1 cuts all streams at once; it's told when all are back. Nobody else is disturbed."""
    soon = ("--reconnect-delay", "0.1", "--connections-per-process", "30")
    with flooding(url(server.address), "-n", "100", *soon) as flood:
        for cut in (1, 2):
            flood.process.send_signal(signal.SIGUSR1)
            flood.until(lambda figures: figures.event == "cut")
            back = flood.until(lambda figures: figures.event == "back")
            assert (back.connected, back.closed, back.opened) == (100, 100 * cut, 100 + 100 * cut)
            assert back.seconds_to_return is not None
            assert 0.05 <= back.seconds_to_return < 20
        server.until(lambda state: state.connections == 100, "100 streams")
        code, end, _ = interrupted(flood)
    assert (code, end.failed.total) == (0, 0)


def test_cut_by_itself(server: Node) -> None:
    """--cut does the same so long after all were open."""
    with flooding(
        url(server.address), "-n", "10", "--cut", "0.1", "--reconnect-delay", "0"
    ) as flood:
        assert flood.until(lambda figures: figures.event == "back").closed == 10


def test_churn(server: Node) -> None:
    """--churn: so many a second leave and come back, and what they get counts from 1 again."""
    spread = ("--connections-per-process", "30", "--reconnect-delay", "0.05")
    verified = ("--verify", "--churn", "200", *spread)
    with flooding(url(server.address), "-n", "100", *verified) as flood:
        to = url(server.address).removesuffix("/test/{}")
        generated(to, "--ndjson", "--stamp", "--max-id", "100", "--count", "20000")
        seen = flood.until(lambda figures: figures.closed >= 250)
        assert seen.elapsed - (seen.seconds_to_connect or 0) >= 250 / 200 - 0.15
        code, end, complaints = interrupted(flood)
    assert (code, end.violations, end.failed.total, complaints) == (0, 0, 0, "")
    assert end.messages > 10_000
    assert end.cpu_seconds > 0
    assert end.opened == end.closed + end.connected
    assert end.connected > 50
    assert end.connected + end.waiting == 100
    server.until(lambda state: state.connections == state.users == 0, "nobody is left")


def test_churn_takes_turns() -> None:
    """Of each process, each stream leaves as often as any other, alternately by FIN and by RST."""
    spread = ("-n", "12", "--connections-per-process", "4")
    with Counting() as server, flooding(f"{server.url}/{{}}", *CHURN, *spread) as flood:
        flood.until(lambda figures: figures.closed >= 60)
        opened, fins, resets = server.opened.copy(), server.fins, server.resets
        interrupted(flood)
    assert len(opened) == 12
    for herd in range(3):
        its = [opened[f"/{number}"] for number in range(1 + herd, 13, 3)]
        assert max(its) - min(its) <= 2
    assert abs(fins - resets) <= 6


def test_reconnect() -> None:
    """--reconnect: when the server is started again, all streams are opened again."""
    (port,) = free_ports(1)
    listen = f"127.0.0.1:{port}"
    soon = ("--reconnect", "--reconnect-delay", "0.1")
    with Node(listen=listen) as server, flooding(url(server.address), "-n", "50", *soon) as flood:
        server.stop()
        flood.until(lambda figures: figures.closed == 50 and figures.failed.refused > 0)
        with Node(listen=listen):
            flood.until(lambda figures: figures.connected == 50 and not figures.waiting)
            code, end, _ = interrupted(flood)
    assert (code, end.closed, end.opened) == (0, 50, 100)


def test_retry() -> None:
    """--retry: it waits for a server that isn't there yet, and doesn't spin meanwhile."""
    (port,) = free_ports(1)
    address = ("127.0.0.1", port)
    with tools.flood("--url", url(address), "-n", "20", "--retry", every=0.1) as flood:
        flood.until(lambda figures: figures.failed.refused > 0 and figures.elapsed > 1)
        with Node(listen=f"127.0.0.1:{port}"):
            connected = flood.until(lambda figures: figures.event == "connected")
            assert connected.failed.refused < 1000
            assert interrupted(flood)[0] == 0


def test_no_server() -> None:
    """Nobody listens: exit code 69, and the system's words."""
    code, end, complaints = flooded("--url", url(("127.0.0.1", 1)), "-n", "7")
    assert (code, end.failed.refused, end.opened) == (69, 7, 0)
    assert "http://127.0.0.1:1/test/1: Connection refused." in complaints


def test_no_stream(server: Node) -> None:
    """What isn't a stream is told by reason and address, and the exit code is 1."""
    code, end, complaints = flooded("--url", url(server.address, "nothing"), "-n", "7")
    assert (code, end.failed.status, end.connected) == (1, 7, 0)
    assert "/nothing/3: It answers HTTP/1.1 404 Not Found." in complaints


def test_a_server_that_says_nothing() -> None:
    """Without an answer in --timeout, a stream has failed."""
    with StandIn(lambda request: b"") as silent:
        address = silent.url + "/{}"
        code, end, complaints = flooded("--url", address, "-n", "2", "--timeout", "0.2")
    assert (code, end.failed.timeout) == (1, 2)
    assert "No answer in 0.2 s." in complaints


def test_verify_finds_a_hole() -> None:
    """--verify: a message that isn't the one that was due makes the exit code 1."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    messages = b"".join(b"13\r\nRecvd msg #%d: 'Hi'\n\r\n" % number for number in (1, 3))
    with StandIn(lambda request: head + messages) as wrong:
        code, end, complaints = flooded("--url", wrong.url + "/{}", "-n", "1", "--verify")
    assert (code, end.messages, end.violations, end.closed) == (1, 2, 1, 1)
    assert "/1: Wrong: message #3 came where #2 was due." in complaints


@pytest.mark.parametrize("command", ["flood", "generate"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help shows examples that can be typed."""
    assert cli.run([command, "--help"]) == 0
    assert f"\n  encke {command} --" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rate", "1", "--interval", "1"], "either --interval or --rate"),
        (["--url", "http://127.0.0.1:1/", "--urls", "x"], "either --url or --urls"),
        (["--url", "https://127.0.0.1/{}"], "write http://HOST:PORT/PATH"),
        (["--url", "http://127.0.0.1/1"], "write {} where"),
        (["--header", "a\r\nb: c"], "--header"),
        (["--connections", "-1"], "--connections"),
        (["--counts", "/nowhere/at/all"], "No such file"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str) -> None:
    """Wrong usage is said in a line, and nothing is opened."""
    done = subprocess.run([*FLOOD, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.startswith("encke: ")
    assert done.stderr.count("\n") == 1


def test_opens_at_a_rate(server: Node) -> None:
    """--rate: so many opens a second, of all processes together."""
    spread = ("--rate", "100", "--connections-per-process", "20")
    with flooding(url(server.address), "-n", "60", *spread) as flood:
        code, end, _ = interrupted(flood)
    assert code == 0
    assert end.seconds_to_connect is not None
    assert 0.58 <= end.seconds_to_connect < 5


@needs_nchan
def test_nchan_with_churn() -> None:
    """--churn works against nchan too."""
    with (
        nchan(0) as server,
        flooding(url(("127.0.0.1", server.port)), "-n", "50", *CHURN) as flood,
    ):
        flood.until(lambda figures: figures.closed >= 150)
        code, end, complaints = interrupted(flood)
    assert (code, end.connected + end.waiting, complaints) == (0, 50, "")


@needs_nchan
@pytest.mark.parametrize("transport", ["test", "events"])
def test_nchan(transport: str) -> None:
    """It works against nchan, chunked and with Server-Sent Events."""
    with (
        nchan(0) as server,
        flooding(url(("127.0.0.1", server.port), transport), "-n", "200") as flood,
    ):
        code, end, complaints = interrupted(flood)
    assert (code, end.connected, complaints) == (0, 200, "")
