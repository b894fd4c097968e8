"""The benchmarks: their arithmetic, their care for child processes, and a smoke run of each."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench import clients, hostile_clients, machine, one_core, send, steady
from bench.__main__ import BENCHMARKS, main
from bench.servers import nginx
from bench.servers.encke import PROGRAM, Encke
from bench.servers.processes import BenchError, Talker, child, running
from encke.tools.load import usage
from encke.tools.watch import Sample

needs_cc = pytest.mark.skipif(clients.missing() is not None, reason="no C compiler")
CORE = min(os.sched_getaffinity(0))


# ---- growth ------------------------------------------------------------------------------


def test_growth() -> None:
    """Growth is told by slope after the first minute, and by the medians at both ends."""
    readings = [Sample(source="Encke", time=t, kb=1000 + t // 60) for t in range(0, 601, 5)]
    growth = steady.growth(readings)
    assert growth.slope_kb_a_minute == pytest.approx(1.0, abs=0.01)
    assert growth.last_minute - growth.first_minute == pytest.approx(1024 * 9, rel=0.01)


def test_growth_of_a_short_run() -> None:
    """Too few readings have no slope."""
    readings = [Sample(source="Encke", time=t, kb=kb) for t, kb in ((0, 100), (3, 101))]
    growth = steady.growth(readings)
    assert (growth.first_minute, growth.last_minute) == (100 * 1024, 101 * 1024)
    assert growth.slope_kb_a_minute is None


# ---- ratios ----------------------------------------------------------------------------


def sample(contestant: str, how: str, round: int, rate: int) -> one_core.Sample:
    return one_core.Sample(contestant, how, round, rate, 1.0, 0.5, 0.1, 0.0)


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that's slow in one round is slow for both: the ratio doesn't show it."""
    options = send.Options(depths=(1,))
    samples = []
    for number, speed in enumerate((1000, 10, 1000), 1):
        samples += [
            sample("nchan", "POST x1", number, 10 * speed),
            sample("Encke, 1 gateway", "POST x1", number, 15 * speed),
        ]
    (ratio,) = send.ratios(samples, options)
    assert (ratio.wall, ratio.cpu) == (1.5, 1.5)
    assert ratio.wall_rounds == [1.5, 1.5, 1.5]


def test_a_sample_that_lost_messages_fails_the_run() -> None:
    """Speed counts only if everything was delivered."""
    good, bad = sample("Encke, 1 gateway", "NDJSON", 1, 5), sample("nchan", "POST x1", 1, 5)
    bad.error = "10 messages were sent, 9 came"
    assert not send.failed(send.Results([good], []))
    assert send.failed(send.Results([good, bad], []))


# ---- processes -------------------------------------------------------------------------

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    return bool(usage.process_tree(pid))


def test_running_ends_the_process_and_its_children() -> None:
    """Whatever happens, nothing that a benchmark started stays behind."""
    with pytest.raises(RuntimeError), running([sys.executable, "-c", _PARENT], CORE) as process:
        child = Talker(process, "parent").hear(int)
        assert usage.process_tree(process.pid) == [process.pid, child]
        assert os.sched_getaffinity(process.pid) == os.sched_getaffinity(child) == {CORE}
        raise RuntimeError
    assert not alive(process.pid)
    assert not alive(child)


@pytest.mark.parametrize("own", [True, False])
def test_no_child_gets_our_signals(own: bool) -> None:
    """Ctrl-C isn't for children, be it in a session of their own or in ours."""
    with running([sys.executable, "-c", "input()"], CORE, own_session=own) as process:
        assert os.getpgid(process.pid) == process.pid
        assert os.getsid(process.pid) == (process.pid if own else os.getsid(0))


def test_a_child_that_ends_early_is_named() -> None:
    """A child's silent death is an error that names it."""
    with (
        running([sys.executable, "-c", ""], CORE) as process,
        pytest.raises(BenchError, match="the child has ended"),
    ):
        Talker(process, "the child").hear(int)


def test_cpu_and_memory_of_this_process() -> None:
    """CPU time grows with work, and memory with memory."""
    before, memory = usage.cpu_seconds([os.getpid()]), usage.pss(os.getpid())
    held = bytearray(os.urandom(32 * 2**20))
    while usage.cpu_seconds([os.getpid()]) == before:
        hash(bytes(held[:100_000]))
    assert usage.pss(os.getpid()) - memory >= len(held) * 0.9
    assert usage.busy_seconds() > 0


def test_a_process_that_has_gone_costs_nothing() -> None:
    """Measuring races with ending: a process that has gone is no error."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert usage.process_tree(process.pid) == []
    assert usage.cpu_seconds([process.pid]) == 0
    assert usage.pss(process.pid) == 0


def test_machine() -> None:
    """A report says where it was made."""
    found = machine.machine("1.2.3")
    assert found.cores >= 1
    assert found.memory_bytes > 2**20
    assert found.encke == "1.2.3"
    assert all((found.cpu, found.kernel, found.python, found.commit, found.date))


# ---- smoke runs ------------------------------------------------------------------------


def run(tmp_path: Path, *arguments: str) -> dict[str, dict[str, object]]:
    """Run a command of the benchmarks; what it wrote as JSON."""
    file = tmp_path / "bench.json"
    assert main([*arguments, "--quick", "--json", str(file)]) == 0
    report: dict[str, dict[str, object]] = json.loads(file.read_bytes())
    assert report["machine"]["kernel"]
    return report


@needs_cc
@pytest.mark.timeout(120)
def test_send(tmp_path: Path) -> None:
    """`bench send --quick` measures every contestant, and all that was sent arrives."""
    results = run(tmp_path, "send")["results"]
    samples = results["samples"]
    assert isinstance(samples, list)
    contestants = {sample["contestant"] for sample in samples}
    expected = {"Encke, 1 gateway", "Encke, 2 gateways", "C write loop"}
    assert contestants == expected | (set() if nginx.nchan_missing() else {"nchan"})
    assert all(sample["messages"] > 0 and not sample["error"] for sample in samples)


@needs_cc
@pytest.mark.timeout(120)
def test_memory(tmp_path: Path) -> None:
    """`bench memory --quick` gives figures for both kinds of stream, and for the map."""
    results = run(tmp_path, "memory")["results"]
    samples, router_map = results["samples"], results["map"]
    assert isinstance(samples, list)
    assert isinstance(router_map, dict)
    assert {sample["path"] for sample in samples} == {"/test/", "/events/"}
    assert all(sum(sample["opened"]) >= sum(sample["empty"]) * 0.9 > 0 for sample in samples)
    assert router_map["users"] == 10_000


@needs_cc
@pytest.mark.timeout(120)
def test_connect(tmp_path: Path) -> None:
    """`bench connect --quick` opens all streams at every contestant."""
    samples = run(tmp_path, "connect")["results"]["samples"]
    assert isinstance(samples, list)
    assert all(sample["streams"] == 200 and sample["seconds"] > 0 for sample in samples)


@pytest.mark.alone  # the attackers run at idle priority: others would keep them from it
@pytest.mark.timeout(120)
def test_steady(tmp_path: Path) -> None:
    """`bench steady --quick` finds every message delivered once, in order, also under attack."""
    results = run(tmp_path, "steady", "--attackers", "50", "--rounds", "1")["results"]
    phases, attacks = results["phases"], results["attacks"]
    assert isinstance(phases, list)
    assert isinstance(attacks, list)
    assert [phase["name"] for phase in phases] == ["steady", "attacked"]
    for phase in phases:
        sending, seen = phase["sending"], phase["seen"]
        assert sending["messages"] == seen["messages"] == sending["accepted"] == 1500
        assert sending["delivered"] == 1500
        assert not any((sending["refused"], seen["violations"], seen["closed"]))
        assert not any(sending["wrong"].values())
    p99s = [phase["seen"]["latency"]["p99"] for phase in phases]
    assert results["p99_ratio"] == p99s[1] / p99s[0]
    assert [attack["held_at_most"] for attack in attacks] == [50]
    assert attacks[0]["left"] == 0


@pytest.mark.alone  # as the attackers
@pytest.mark.timeout(120)
def test_hostile(tmp_path: Path) -> None:
    """`bench hostile --quick` measures the good clients before, beside and after hostile ones."""
    kinds = run(tmp_path, "hostile")["results"]["kinds"]
    assert isinstance(kinds, list)
    assert [kind["kind"] for kind in kinds] == ["bulk", "unread"]
    for kind in kinds:
        assert [phase["messages"] > 0 for phase in kind["rounds"][0]["phases"]] == [True] * 3
        assert all(phase["answers"]["p99"] > 0 for phase in kind["rounds"][0]["phases"])
        [once] = kind["rounds"]
        assert once["closed"] == 0
        assert 0 < once["node"][0] <= once["node"][1]
        assert once["outcome"]["sent"] > 0


@pytest.mark.parametrize("kind", hostile_clients.KINDS)
def test_hostile_clients(kind: str) -> None:
    """Clients of each kind come, and go when they are told to."""
    with Encke("--gateways", "1") as server:
        plan = hostile_clients.Plan(kind, server.port, 6)
        with child("hostile_clients", msgspec.json.encode(plan).decode()) as clients:
            outcome = clients.hear(hostile_clients.Outcome)
            assert outcome.opened == len(plan.scripts)
            server.until(lambda state: state.accepted >= outcome.opened, "they have come")
            clients.ask("stop", hostile_clients.Outcome)
        server.until(lambda state: not state.connections, "they have gone")


@pytest.mark.alone
@pytest.mark.timeout(120)
def test_faults(tmp_path: Path) -> None:
    """`bench faults --quick` has each kind of process meet faults, and nobody is lied to."""
    met = run(tmp_path, "faults", "--faults", "kill,disk")["results"]["met"]
    assert isinstance(met, list)
    assert {it["process"] for it in met} == {"supervisor", "router", "gateway", "control"}
    for it in met:
        assert it["times"] == 1
        assert it["messages"] > 0
        assert not any((*it["wrong"].values(), it["closed"], it["missed"], it["errors"]))


def test_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without cc, a benchmark whose clients are in C says so, and is no failure."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert main(["send", "--quick"]) == 0
    assert "no C compiler" in capsys.readouterr().out


@needs_cc
@pytest.mark.timeout(120)
def test_without_nchan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nchan the others are measured, and a notice says what to install."""
    monkeypatch.setattr(nginx, "NCHAN_MODULE", tmp_path / "none.so")
    report = run(tmp_path, "connect", "--streams", "50")
    assert "libnginx-mod-nchan" in str(report["notices"])
    assert report["options"]["streams"] == 50  # what is given stays, also in a smoke run
    samples = report["results"]["samples"]
    assert isinstance(samples, list)
    assert {sample["contestant"] for sample in samples} == {"Encke, 1 gateway", "Encke, 2 gateways"}


@pytest.mark.timeout(120)
def test_sigterm_ends_all_children() -> None:
    """A benchmark that is ended takes its server and its clients along."""
    command = [sys.executable, "-m", "bench", "steady", "--streams", "10"]
    bench = subprocess.Popen([*command, "--rate", "10"], stdout=subprocess.PIPE)
    assert bench.stdout is not None
    assert b"opening" in bench.stdout.readline()
    while len(tree := usage.process_tree(bench.pid)) < 4:
        assert bench.poll() is None
    bench.send_signal(signal.SIGTERM)
    assert bench.wait(30) == 128 + signal.SIGTERM
    bench.stdout.close()
    assert not [pid for pid in tree if alive(pid)]


# ---- the command line ------------------------------------------------------------------


def test_help_names_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m bench --help` has a sentence for each."""
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name in BENCHMARKS:
        assert re.search(rf"^    {name} +[A-Z]", said, re.MULTILINE), name


def test_each_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what its options are, with their defaults."""
    with pytest.raises(SystemExit):
        main(["friends", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--postgres, --no-postgres Load into PostgreSQL too. [True]" in said
    assert "--subscribers N Of the popular publisher. [1000000]" in said
    assert "Exit code 1 if somebody got what wasn't due" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send", "--streams", "0"], "--streams"),
        (["send", "--streams", "many"], "--streams"),
        (["send", "--stream", "7"], "--stream"),
        (["sned"], "sned"),
        (["hostile", "--kinds", "bulk,kind"], "kind"),
        (["faults", "--processes", ""], "--processes"),
        (["soak", "--minutes", "1", "--messages", "1000"], "--posts"),
    ],
)
def test_wrong_usage(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can't be is refused at once, with 2, and named."""
    if "soak" in arguments:
        arguments = [*arguments, "--report", str(tmp_path)]
    try:
        code: object = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_the_server_may_be_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--encke names the program that serves: here one that doesn't."""
    monkeypatch.setattr("bench.servers.encke.PROGRAM", list(PROGRAM))
    assert main(["steady", "--quick", "--encke", "/bin/false"]) == 1
    assert "encke serve did not start (exit code 1)" in capsys.readouterr().err
