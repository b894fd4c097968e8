"""encke generate: its draws; and whole runs against real servers, with encke flood."""

import json
import re
import signal
import struct
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from system.node import Address, Node
from tool import (
    Flooded,
    StandIn,
    answer,
    ended,
    flooding,
    generated,
    interrupted,
    needs_nchan,
)

from bench import tools
from bench.servers.nginx import nchan
from bench.servers.processes import free_ports
from encke.errors import BadSettings
from encke.tools.generate.compose import Composer
from encke.tools.generate.draw import draws, uniform, zipf
from encke.tools.generate.plan import Distribution, Plan
from encke.tools.load.stamp import key

GENERATE = [sys.executable, "-m", "encke", "generate"]


def messages_are(count: int) -> Callable[[Flooded], bool]:
    return lambda figures: figures.messages == count


def url(address: Address) -> str:
    return f"http://{address[0]}:{address[1]}"


# ---- who gets what ---------------------------------------------------------------------


def test_uniform() -> None:
    """Each user gets as much as any other."""
    counts = Counter(islice(uniform(10, Random(1)), 10_000))
    assert sorted(counts) == list(range(10))
    assert max(counts.values()) < 1.2 * min(counts.values())


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 1.5, 3.0])
def test_zipf(exponent: float) -> None:
    """User k gets in proportion to (k + 1)^-exponent."""
    users, messages = 20, 50_000
    counts = Counter(islice(zipf(users, exponent, Random(1)), messages))
    weights = [(k + 1) ** -exponent for k in range(users)]
    for k, weight in enumerate(weights):
        expected = messages * weight / sum(weights)
        assert counts[k] == pytest.approx(expected, abs=5 * expected**0.5 + 1)


@given(st.integers(1, 10**9), st.floats(0, 10), st.integers())
def test_zipf_stays_within(users: int, exponent: float, seed: int) -> None:
    """Whatever the exponent and number of users, only they are drawn."""
    assert all(0 <= user < users for user in islice(zipf(users, exponent, Random(seed)), 20))


def test_a_seed_repeats() -> None:
    """The same seed draws the same users; another one others."""
    plan = Plan(seed=7, distribution=Distribution.ZIPF)
    assert list(islice(draws(plan), 50)) == list(islice(draws(plan), 50))
    assert list(islice(draws(plan), 50)) != list(islice(draws(Plan(seed=8)), 50))


def test_each_is_drawn_once() -> None:
    """--each: all users, in order, and then it's over."""
    assert list(draws(Plan(first_id=5, max_id=9, each=True))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(first_id=2, max_id=1),
        Plan(each=True, count=1),
        Plan(senders=5000),
        Plan(sums="file", publish=True),
        Plan(sums="file", stamp=True),
    ],
)
def test_what_cannot_be_done(plan: Plan) -> None:
    """Flags that contradict each other are refused."""
    with pytest.raises(BadSettings):
        plan.check()


def test_compose() -> None:
    """A message has stamp and text, and is filled up to its size."""
    assert Composer(b"Hi", 0, stamped=False).compose(1, 1) == b"Hi"
    assert Composer(b"Hi", 5, stamped=False).compose(1, 1) == b"Hi..."
    message = Composer(b"Hi", 80, stamped=True).compose(12, 34)
    assert re.fullmatch(rb"t=\d{19} s=12\.34 Hi\.+", message)
    assert len(message) == 80
    assert Composer(b"", 0, stamped=True).compose(1, 2).endswith(b" s=1.2")
    published = Composer(b"Hi", 0, stamped=True, published=True).compose(1, 2)
    assert re.fullmatch(rb"t=\d{19} p=%d Hi" % key(1, 2), published)


@pytest.fixture
def server(shared: Node) -> Node:
    """One server for all tests here."""
    return shared


# ---- together with flood ---------------------------------------------------------------


@pytest.mark.parametrize("transport", ["test", "events"])
@pytest.mark.parametrize(
    "way",
    [
        ["--senders", "3", "--count", "3000"],
        ["--senders", "3", "--count", "3000", "--ndjson", "--batch", "100"],
        ["--senders", "2", "--count", "3000", "--ndjson", "--distribution", "zipf"],
        ["--rate", "2000", "--duration", "0.5"],
        ["--rate", "2000", "--duration", "0.5", "--ndjson", "--linger", "20"],
    ],
    ids=["posts", "ndjson", "zipf", "paced", "gathered"],
)
def test_every_message_comes_once(
    server: Node, tmp_path: Path, transport: str, way: list[str]
) -> None:
    """What was sent to each user came to each user, once and in order; with its latency."""
    sent, got = tmp_path / "sent", tmp_path / "got"
    streams = ("-n", "200", "--first-id", "7", "--connections-per-process", "90", "--verify")
    where = f"{url(server.address)}/{transport}/{{}}"
    users = ("--first-id", "7", "--max-id", "206", "--counts", str(sent))
    with flooding(where, *streams, "--counts", str(got)) as flood:
        code, run, _ = generated(url(server.address), *way, *users, "--stamp")
        assert (code, run.errors, run.failed) == (0, {}, 0)
        assert run.sent == run.accepted == run.delivered
        flood.until(lambda figures: figures.messages == run.sent)
        code, end, complaints = interrupted(flood)
    assert (code, complaints) == (0, "")
    assert (end.messages, end.violations, end.latency.count) == (run.sent, 0, run.sent)
    assert 0 < end.latency.p50 <= end.latency.p99 <= end.latency.max < 30_000
    assert sent.read_bytes() == got.read_bytes()
    assert sum(struct.unpack("<200I", got.read_bytes())) == run.sent


def test_linger_gathers(server: Node) -> None:
    """With --linger, messages wait for each other, and still leave at the rate."""
    paced = ("--rate", "1000", "--count", "500", "--max-id", "9")
    _, at_once, _ = generated(url(server.address), *paced)
    _, gathered, _ = generated(url(server.address), *paced, "--linger", "100")
    assert at_once.lag.p50 < gathered.lag.p50
    assert 25 < gathered.lag.p50 < gathered.lag.max
    assert gathered.sent == gathered.accepted == 500
    assert 0.4 < gathered.elapsed < 2


def test_each_gets_one(server: Node, tmp_path: Path) -> None:
    """--each --ndjson: a message to each user, also to those who aren't there."""
    got = tmp_path / "got"
    with flooding(f"{url(server.address)}/test/{{}}", "-n", "500", "--counts", str(got)) as flood:
        all_of_them = ("--each", "--ndjson", "--max-id", "600")
        code, run, _ = generated(url(server.address), *all_of_them)
        assert (code, run.sent, run.accepted, run.delivered) == (0, 600, 600, 500)
        flood.until(lambda figures: figures.messages == 500)
        interrupted(flood)
    assert set(struct.unpack("<500I", got.read_bytes())) == {1}


def test_an_old_run_is_no_hole(server: Node) -> None:
    """A second run begins to count anew, and --verify knows."""
    with flooding(f"{url(server.address)}/test/{{}}", "-n", "5", "--verify") as flood:
        for run in (1, 2):
            generated(url(server.address), "--count", "50", "--max-id", "5", "--stamp")
            flood.until(messages_are(50 * run))
        assert interrupted(flood)[1].violations == 0


@needs_nchan
@pytest.mark.parametrize("transport", ["test", "events"])
def test_nchan(tmp_path: Path, transport: str) -> None:
    """Both work against nchan: every message comes once, with its latency."""
    sent, got = tmp_path / "sent", tmp_path / "got"
    with nchan(0) as server:
        where = f"http://127.0.0.1:{server.port}"
        streams = ("-n", "200", "--verify", "--counts", str(got))
        with flooding(f"{where}/{transport}/{{}}", *streams) as flood:
            messages = ("--count", "3000", "--max-id", "200", "--senders", "3", "--stamp")
            code, run, _ = generated(where, *messages, "--counts", str(sent))
            assert (code, run.accepted, run.delivered) == (0, 3000, 0)  # nchan doesn't say
            flood.until(lambda figures: figures.messages == 3000)
            code, end, complaints = interrupted(flood)
    assert (code, complaints, end.violations, end.latency.count) == (0, "", 0, 3000)
    assert sent.read_bytes() == got.read_bytes()


# ---- its own course --------------------------------------------------------------------


def test_it_keeps_its_pace(server: Node) -> None:
    """--rate for --duration: as many messages as that makes; how late they left is told."""
    code, run, _ = generated(url(server.address), "--rate", "500", "--duration", "1")
    assert (code, run.delivered) == (0, 0)
    assert 400 <= run.sent <= 501  # fewer if this machine had no time
    assert run.lag.count == run.answers.count == run.sent


def test_interval(server: Node) -> None:
    """--interval is that of each sender, as in the article: ten messages take 9 intervals."""
    begin = ("--interval", "200", "--senders", "4", "--count", "10", "--pipeline", "1")
    code, run, _ = generated(url(server.address), *begin)
    assert (code, run.sent) == (0, 10)
    assert run.elapsed >= 9 * 0.05


def test_people(server: Node) -> None:
    """For people: what was sent, accepted, delivered, and the time of the answers."""
    command = [*GENERATE, "--to", url(server.address), "--count", "100", "--rate", "1000"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 sent, 100 accepted, 0 delivered; errors: 0" in done.stdout
    told = r"^lag +p50 .*^answers +p50 .*^  <= .*^this tool "
    assert re.search(told, done.stdout, re.MULTILINE | re.DOTALL)


def test_ctrl_c(server: Node) -> None:
    """Without an end of its own it runs until Ctrl-C, and then waits for its answers."""
    for way in ([], ["--ndjson"]):
        with tools.generate(url(server.address), *way, every=0.1) as generator:
            generator.until(lambda figures: figures.accepted > 0)
            code, run, complaints = ended(generator, signal.SIGINT)
        assert (code, complaints) == (0, "")
        assert run.sent == run.accepted > 0


def test_api_key() -> None:
    """A server with a key takes messages with it only; what it refused is told by status."""
    with Node(environment={"ENCKE_API_KEY": "secret"}) as server:
        for way in ([], ["--ndjson", "--batch", "4"]):
            some = ("--count", "8", *way)
            assert generated(url(server.address), *some, "--api-key", "secret")[1].accepted == 8
            code, run, _ = generated(url(server.address), *some)
            assert (code, run.accepted) == (1, 0)
            assert run.errors["401"] > 0
            assert run.failed == 8


def test_no_server() -> None:
    """Nobody listens: exit code 69, and one line."""
    command = [*GENERATE, "--to", "http://127.0.0.1:1", "--count", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("encke: No server answers at http://127.0.0.1:1 (connection refu")


def test_it_waits_for_a_server() -> None:
    """--retry: it begins as soon as there is a server."""
    (port,) = free_ports(1)
    where = f"http://127.0.0.1:{port}"
    with tools.generate(where, "--count", "5", "--retry", every=0.1) as generator:
        assert generator.until(lambda figures: figures.elapsed > 0.5).sent == 0
        with Node(listen=f"127.0.0.1:{port}"):
            code, run, _ = ended(generator)
    assert (code, run.accepted, run.failed) == (0, 5, 0)


def test_retry() -> None:
    """--retry: what was answered 503 is sent again, after Retry-After; without, it has failed."""
    busy = answer("503 Service Unavailable", b"", "Retry-After: 1")
    ok = answer("200 OK", b'{"delivered": 1}')
    times: list[float] = []

    def serve(_request: bytes) -> bytes:
        times.append(time.monotonic())
        return busy if len(times) <= 2 else ok

    with StandIn(serve) as server:
        code, run, _ = generated(server.url, "--count", "2", "--retry")
        assert (code, run.sent, run.accepted, run.delivered) == (0, 4, 2, 2)
        assert (run.errors, run.retried, run.failed) == ({"503": 2}, 2, 0)
        assert times[2] - times[1] >= 0.9
    times.clear()
    with StandIn(serve) as server:
        code, run, _ = generated(server.url, "--count", "3")
        assert (code, run.sent, run.accepted, run.failed) == (1, 3, 1, 2)


def test_partly_taken_bodies(tmp_path: Path) -> None:
    """NDJSON: of a body that was refused, the lines that were accepted before count."""
    refused = json.dumps({"accepted": 3, "delivered": 2, "line": 4}).encode()
    answers = deque([answer("400 Bad Request", refused, "Connection: close")])
    bodies: list[bytes] = []

    def serve(request: bytes) -> bytes:
        bodies.append(request)
        lines = request.count(b'{"id"')
        taken = json.dumps({"accepted": lines, "delivered": lines}).encode()
        return answers.popleft() if answers else answer("200 OK", taken)

    counts = tmp_path / "counts"
    with StandIn(serve) as server:
        some = ("--each", "--max-id", "20", "--ndjson", "--batch", "5", "--counts", str(counts))
        code, run, _ = generated(server.url, *some)
    # the first body was taken in part; those behind it were not looked at, and sent again
    assert (code, run.accepted, run.delivered, run.failed) == (1, 18, 17, 2)
    assert run.errors["400"] == 2
    assert run.retried == run.errors["not looked at"] > 0
    numbers = array("I")
    numbers.frombytes(counts.read_bytes())
    assert numbers.tolist() == [1, 1, 1, 0, 0] + [1] * 15


@pytest.mark.parametrize("way", [(), ("--ndjson", "--batch", "7")], ids=["posts", "ndjson"])
def test_publish(tmp_path: Path, way: tuple[str, ...]) -> None:
    """What was published is counted for its publisher, and its keys are summed up: each once."""
    due: Counter[int] = Counter()
    keys: Counter[int] = Counter()

    def serve(request: bytes) -> bytes:
        path = request.split()[1]
        messages = re.findall(rb'\{"id":"(\d+)","data":"t=\d+ p=(\d+) Hello"\}\n', request)
        if not way:
            body = request.partition(b"\r\n\r\n")[2]
            messages = re.findall(rb"/publish/(\d+) .*t=\d+ p=(\d+) Hello", request, re.DOTALL)
            assert body.endswith(b" Hello")
        else:
            assert path == b"/publish"
        for publisher, number in messages:
            due[int(publisher)] += 1
            keys[int(publisher)] += int(number)
        counted = {"accepted": len(messages), "delivered": 3 * len(messages)}
        return answer("200 OK", json.dumps(counted).encode())

    counts, sums = tmp_path / "counts", tmp_path / "sums"
    files = ("--counts", str(counts), "--sums", str(sums))
    with StandIn(serve) as server:
        some = ("--publish", "--stamp", "--count", "50", "--max-id", "9", *files)
        code, run, _ = generated(server.url, *some, *way)
    assert (code, run.accepted, run.delivered) == (0, 50, 150)
    assert struct.unpack("<9I", counts.read_bytes()) == tuple(due[id] for id in range(1, 10))
    told = struct.unpack("<9Q", sums.read_bytes())
    assert told == tuple(keys[id] % 2**64 for id in range(1, 10))


def test_keep_alive_ends_in_order() -> None:
    """A server that ends keep-alive now and then (nginx: after 1,000 requests) loses nothing."""
    served = 0

    def serve(_request: bytes) -> bytes:
        nonlocal served
        served += 1
        closing = ["Connection: close"] if served % 10 == 0 else []
        return answer("201 Created", b"queued", *closing)

    with StandIn(serve) as server:
        code, run, _ = generated(server.url, "--path", "/pub/{}", "--count", "95")
    assert (code, served, run.accepted, run.failed) == (0, 95, 95, 0)


def test_a_lost_connection() -> None:
    """What was under way on a connection that broke off has failed, and is not sent again."""
    served = 0

    def serve(_request: bytes) -> bytes | None:
        nonlocal served
        served += 1
        return answer("200 OK") if served != 3 else None

    with StandIn(serve) as server:
        code, run, _ = generated(server.url, "--count", "20", "--pipeline", "4")
    assert code == 1
    assert (run.sent, run.accepted) == (20, 20 - run.failed)
    assert 1 <= run.failed <= 4
    assert sum(run.errors.values()) == run.failed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rate", "1", "--interval", "1"], "either --interval or --rate"),
        (["--path", "/send"], "write {} where"),
        (["--each", "--count", "1"], "leave --count out"),
        (["--distribution", "normal"], "--distribution"),
        (["--to", "127.0.0.1:8000"], "write http://HOST:PORT"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str) -> None:
    """Wrong usage is said in a line, and nothing is sent."""
    done = subprocess.run([*GENERATE, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.startswith("encke: ")
    assert done.stderr.count("\n") == 1
