"""The end: streams end properly, senders are answered, and nothing is left behind."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from bench.checker import Checker
from bench.crowd import Crowd, End
from encke.settings import Settings

from .node import Address, Node, lives, until
from .raw import Raw, chunked, post, request, send, stream

HUGE = b"x" * 8 * 1024 * 1024
"""A message larger than what the kernel's buffers take."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("gateways", ["1", "2"])
def test_streams_end_with_the_last_chunk(gateways: str, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end each stream properly, and the server with code 0."""
    with Node("--gateways", gateways) as node:
        lines = stream(node.address, "end")
        events = stream(node.address, "end", "events")
        old = Raw(node.address)
        old.send(request("GET", "/test/end", version="1.0"))
        old.head()
        assert send(node.address, "end", "x") == 3
        node.signal(number)
        assert lines.rest() == b"12\r\nRecvd msg #1: 'x'\n\r\n0\r\n\r\n"
        assert events.rest() == b"9\r\ndata: x\n\n\r\n0\r\n\r\n"
        assert old.rest() == b"Recvd msg #1: 'x'\n"
        assert node.wait() == 0
        assert any(f"event=stopping signal={number.name}" in line for line in node.log)
        for listener in (lines, events, old):
            listener.close()


def test_ten_thousand_streams() -> None:
    """With 10,000 streams open all get their last chunk, and the server ends within 5 s."""
    with Node("--gateways", "2") as node, Crowd(node.address) as crowd:
        streams = crowd.open(str(number) for number in range(10_000))
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        crowd.until(lambda: all(it.end is not End.OPEN for it in streams), "all have ended")
        assert node.wait() == 0
        assert time.monotonic() - began < 5.0
        assert {it.end for it in streams} == {End.PROPER}


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_under_load(gateways: str) -> None:
    """Ended under load, the server breaks no promise: what was acknowledged comes before the end.

    And the last chunk is the last thing that a stream gets. (Several times: the signal
    may come at any moment.)
    """
    for seed in range(3):
        with (
            Node("--gateways", gateways) as node,
            Checker(node.address, seed=seed, senders=3, lines=500, bulk=True) as checker,
        ):
            checker.open(f"u{number}" for number in range(300))
            checker.start_sending()
            checker.until_answered(20)
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
            until(lambda: all(it.end is not End.OPEN for it in checker.crowd.streams), "all ended")
            checker.stop_sending()
            assert {it.end for it in checker.crowd.streams} == {End.PROPER}
            assert not checker.failures
            verdict = checker.verdict(deaths_excuse=False)
            assert verdict.is_clean, str(verdict)


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_requests_under_way_are_answered(gateways: str) -> None:
    """Who is in the middle of a request may finish it while the server is ending."""
    with (
        Node("--gateways", gateways) as node,
        Raw(node.address) as single,
        Raw(node.address) as many,
        Raw(node.address) as idle,
    ):
        single.send(
            b"POST /send/nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf "
        )
        many.send(request("POST", "/send", "Transfer-Encoding: chunked"))
        many.send(chunked(b'{"id": "1", "data": "x"}\n')[:-5])
        idle.send(post("/send/nobody", b"x"))
        assert idle.answer().json() == {"delivered": 0}
        node.until(lambda state: state.requests == 3, "all were read")
        node.signal(signal.SIGTERM)
        node.until(lambda state: state.status == "draining", "it is ending")
        assert idle.rest() == b""
        idle.close()
        single.send(b"whole")
        assert single.answer().json() == {"delivered": 0}
        assert single.rest() == b""
        single.close()
        many.send(chunked(b'{"id": "1", "data": "x"}\n'))
        assert many.answer().json() == {"accepted": 2, "delivered": 0}
        assert many.rest() == b""
        many.close()
        assert node.wait(5) == 0


def refused(address: Address) -> bool:
    """Whether a new connection is refused."""
    try:
        socket.create_connection(address, 1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(("gateways", "timeout"), [("1", 1.0), ("2", Settings().drain_timeout)])
def test_while_it_is_ending(gateways: str, timeout: float) -> None:
    """While it's ending, the server says so, and takes no new connection.

    It ends anyway after --drain-timeout; by default that makes 5 s at most.
    """
    flags = ("--gateways", gateways, "--drain-timeout", str(timeout))
    with Node(*flags) as node, Raw(node.address) as straggler:
        assert node.get("/health") == (200, b'{"status":"ready"}')
        straggler.send(b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        node.until(lambda state: state.requests == 1, "it was read")
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        until(lambda: node.get("/health") == (503, b'{"status":"draining"}'), "it says so")
        until(lambda: refused(node.address), "new connections are refused", 2)
        assert node.wait() == 0
        assert timeout < time.monotonic() - began < timeout + 1.0 <= 5.0


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_a_client_that_does_not_read_does_not_hold_it_up(gateways: str) -> None:
    """Clients that don't take what waits for them don't keep the server from ending in time."""
    flags = ("--gateways", gateways, "--body-limit", str(len(HUGE)), "--drain-timeout", "1")
    with Node(*flags) as node, stream(node.address, "stuck") as stuck:
        assert send(node.address, "stuck", HUGE) == 1
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert time.monotonic() - began < 2.0
        assert not stuck.everything().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_a_client_that_reads_late_gets_all_of_it(gateways: str) -> None:
    """What waits for a client at the end still goes out, followed by the last chunk."""
    flags = ("--gateways", gateways, "--body-limit", str(len(HUGE)))
    with Node(*flags) as node, stream(node.address, "late") as late:
        assert send(node.address, "late", HUGE) == 1
        node.signal(signal.SIGTERM)
        node.until(lambda state: state.status == "draining", "it is ending")
        assert late.chunk() == b"Recvd msg #1: '%b'\n" % HUGE
        assert late.rest() == b"0\r\n\r\n"
        assert node.wait(5) == 0


def test_the_port_is_free_at_once() -> None:
    """Another server can take the same port right after, though connections had been open."""
    port = 0
    for _ in range(3):
        with Node("--gateways", "2", listen=f"127.0.0.1:{port}") as node:
            port = node.address[1]
            with stream(node.address, "x"), Raw(node.address) as sender:
                sender.send(post("/send/x", b"x"))
                assert sender.answer().json() == {"delivered": 1}
                node.stop()


def test_nothing_is_left(tmp_path: Path) -> None:
    """After a proper end there is no process, and no file in the directory for such."""
    with Node("--gateways", "2", environment={"TMPDIR": str(tmp_path)}) as node:
        node.stop()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_supervisor_killed(gateways: str, tmp_path: Path) -> None:
    """If the supervisor is killed, all of its processes end by themselves, and leave nothing."""
    with Node("--gateways", gateways, environment={"TMPDIR": str(tmp_path)}) as node:
        children = node.pids()
        assert len(children) >= 2
        with stream(node.address, "x") as listener:
            os.kill(node.pid, signal.SIGKILL)
            node.wait()
            until(lambda: not any(map(lives, children)), "they ended", 5)
            listener.everything()
        with pytest.raises(ConnectionRefusedError):
            Raw(node.address)
    assert not list(tmp_path.iterdir())


def test_a_second_signal_does_no_harm() -> None:
    """Impatient operators send it twice; streams still end properly."""
    with Node("--gateways", "2") as node, Crowd(node.address) as crowd:
        streams = crowd.open(str(number) for number in range(500))

        def press() -> None:
            for _ in range(20):
                with contextlib.suppress(ProcessLookupError):
                    node.signal(signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        crowd.until(lambda: all(it.end is not End.OPEN for it in streams), "all have ended")
        thread.join()
        assert node.wait() == 0
        assert {it.end for it in streams} == {End.PROPER}


def test_ctrl_c_reaches_the_whole_terminal() -> None:
    """Ctrl-C signals every process of the terminal's group: only the supervisor acts on it."""
    with Node("--gateways", "2") as node, stream(node.address, "x") as listener:
        for pid in node.pids():
            os.kill(pid, signal.SIGINT)
        assert send(node.address, "x", "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"
        node.signal(signal.SIGINT)
        assert listener.rest() == b"0\r\n\r\n"
        assert node.wait() == 0
