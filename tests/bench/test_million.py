"""python -m bench million: a smoke run on real processes, its arithmetic, and its reports."""

import re
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import msgspec
import pytest
from smoke import Smoke, run

from bench import beside, capacity, counts, growth, kernel, machine, report
from bench import million_report as reports
from bench.__main__ import main
from bench.course import Mark, noted
from bench.growth import Step
from bench.kernel import Cache, Objects
from bench.million import FEW, Options, Results, sized
from bench.servers.processes import BenchError
from bench.stage import Cost, Opening, Seen, Sending
from encke.errors import EnckeError
from encke.tools.doctor import Machine
from encke.tools.load import usage
from encke.tools.load.summary import Durations
from encke.tools.watch import Sample
from encke.tools.watch.log import read as read_log

# ---- the smoke run ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke[Results]:
    return run(tmp_path_factory, "million", Results)


@pytest.fixture
def results(smoke: Smoke[Results]) -> Results:
    return smoke.results


@pytest.mark.timeout(120)
def test_every_message_came_once(results: Results) -> None:
    """With all streams, with few, after they were cut off: nothing is lost or doubled."""
    assert not any(results.faults.values())
    assert [step.streams for step in results.steps] == [100, 1_000]
    assert results.each.messages == results.each_again.messages == 1_000
    for sending in results.sendings:
        assert sending.messages == sending.accepted == sending.delivered
    for step in results.steps:
        assert step.seen.latency.count == step.sending.messages
    assert results.returned.died == []


def test_what_it_costs(smoke: Smoke[Results]) -> None:
    """Memory is that of all processes, before and after; what watches is told apart."""
    results = smoke.results
    opening = results.run.opening
    assert len(opening.empty) == len(opening.opened) == 5
    assert opening.memory > sum(opening.empty) * 0.9 > 10 * 2**20
    assert opening.kernel.sockets == 2_000
    assert 0 <= opening.cost.server < opening.cost.seconds * smoke.kept.machine.cores
    assert sum(sending.cost.server for sending in results.sendings) > 0  # it's told in 10 ms
    assert results.watched_seconds > results.run.sending.seconds
    assert 0 < results.recorder_cpu_seconds < results.watched_seconds


def test_nchan_went_through_the_same(smoke: Smoke[Results]) -> None:
    """nchan is opened, sent to, cut off and watched, or a notice says why not."""
    nchan = smoke.results.nchan
    if nchan is None:
        assert "nchan" in str(smoke.kept.notices)
        return
    assert nchan.opening.streams == nchan.returned.streams == 500
    assert not nchan.sending.wrong
    watched = [it for it in smoke.results.timeline if it.source == beside.NAME]
    assert max(sample.delivered or 0 for sample in watched) == nchan.sending.messages


def test_the_report_has_all_that_its_page_names(smoke: Smoke[Results]) -> None:
    """Each graph is there, as PNG, is named in the page, and nothing else is left."""
    assert smoke.files - smoke.links == {"README.md", "memory.log", "memory.log.jsonl"}
    assert {"million.png", "growth.png", "latency.png"} <= smoke.links
    assert (smoke.folder / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert "| messages lost | 0 | 0 | met |" in smoke.page


def test_the_log_can_be_drawn_again(smoke: Smoke[Results]) -> None:
    """The samples are kept with each process, and with what began when."""
    samples = read_log(smoke.folder / "memory.log").samples
    assert {"supervisor", "router", "control", "gateway-0", "gateway-1"} == {
        process.name for it in samples if it.source == "Encke" for process in it.processes
    }
    notes = " / ".join(sample.note for sample in samples if sample.note)
    assert re.search("connecting / .* / all cut off / .* / the clients leave", notes)


# ---- what must not be left -------------------------------------------------------------


@pytest.mark.timeout(120)
def test_interrupted_it_ends_everything_and_writes_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends server and load; no report is left, not even its folder."""
    folder = tmp_path / "report"
    command = [sys.executable, "-m", "bench", "million", "--quick", "--no-growth"]
    bench = subprocess.Popen(
        [*command, "--report", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert bench.stdout is not None
    while b"open and logged in" not in bench.stdout.readline():
        assert bench.poll() is None
    tree = usage.process_tree(bench.pid)
    assert len(tree) > 6
    bench.send_signal(signal.SIGINT)
    bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert not [pid for pid in tree if usage.process_tree(pid)]
    assert not folder.exists()


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What draws is missed before the measurement, not at its end."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["million", "--quick", "--report", str(tmp_path / "report")]) == 1
    assert "encke[plot]" in capsys.readouterr().err


def test_a_report_is_whole_or_not_there(tmp_path: Path) -> None:
    """If a graph can't be drawn, the folder is as it was."""

    def fails(path: Path) -> None:
        path.write_text("half")
        raise EnckeError("no ink")

    page = report.Report(
        benchmark="million",
        title="A test",
        summary="",
        options=Options(connections=1),
        notices=[],
        results=counts.Difference(),
        budgets=[],
        sections=[report.Section("Graph", [report.Graph("one", "One.", fails)])],
    )
    (tmp_path / "README.md").write_text("the one before")
    with pytest.raises(EnckeError, match="no ink"):
        report.write(page, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "the one before"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """That is said before the measurement."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="No report can be written"):
        report.check_before(tmp_path / "file" / "report")


def test_a_page_of_markdown() -> None:
    """Tables, what was left out, verdicts, and what would break a table's cell."""
    page = report.Report(
        benchmark="million",
        title="A test",
        summary="It was.",
        options=Options(connections=7),
        notices=["nchan: it is not installed"],
        results=counts.Difference(),
        budgets=[
            report.Budget("one", "1", "<= 1", True),
            report.Budget("two", "2", "<= 1", False),
            report.Budget("three", "?", "<= 1", None),
        ],
        sections=[report.Section("A|B", [report.Table(("a", "b"), [("x|y", "1")]), "Words."])],
    )
    text = report.markdown(page, machine.machine("1.2.3"))
    assert "Left out: nchan: it is not installed" in text
    assert "| two | 2 | <= 1 | **missed** |" in text
    assert "| three | ? | <= 1 | not judged |" in text
    assert "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n\nWords." in text
    assert "| connections | `7` |" in text


# ---- counts ----------------------------------------------------------------------------


def numbers(path: Path, *values: int) -> Path:
    path.write_bytes(array("I", values).tobytes())
    return path


def test_counts_of_several_runs_add_up(tmp_path: Path) -> None:
    """Each run of the generator has a file; their sum is compared user by user."""
    files = [numbers(tmp_path / "1", 1, 0, 5), numbers(tmp_path / "2", 1, 1, 0)]
    assert counts.total(files) == array("I", [2, 1, 5])


def test_a_loss_is_not_made_good_by_a_double(tmp_path: Path) -> None:
    """What one user misses, another can't have got instead."""
    wrong = counts.difference(array("I", [2, 1, 5]), array("I", [2, 2, 3]))
    assert (wrong.lost, wrong.doubled, wrong.users) == (2, 1, 2)
    assert str(wrong) == "2 lost, 1 doubled, of 2 users"
    assert not counts.difference(array("I", [3]), array("I", [3]))


def test_waiting_ends_when_nothing_more_comes(tmp_path: Path) -> None:
    """What hasn't come once nothing comes any more is lost."""
    got = numbers(tmp_path / "got", 1, 1)
    assert not counts.wait_for(array("I", [1, 1]), got, 0.1)
    assert counts.wait_for(array("I", [1, 2]), got, 0.1) == counts.Difference(1, 0, 1)


# ---- the kernel's memory ---------------------------------------------------------------


def reading(slabs: int, pages: int, **caches: Cache) -> kernel.Reading:
    return kernel.Reading(slabs, pages, 1_000, caches)


def test_kernel_memory_of_sockets() -> None:
    """Slabs and data, divided by the sockets, and the objects that a socket has."""
    before = reading(1_000, 0, TCP=Cache(5, 2_368), filp=Cache(10, 192))
    after = reading(601_000, 4_096, TCP=Cache(205, 2_368), filp=Cache(210, 192))
    used = kernel.use(before, after, 200)
    assert used.bytes_a_socket == (600_000 + 4_096) / 200
    assert used.objects == [Objects("TCP", 1.0, 2_368.0), Objects("filp", 1.0, 192.0)]


def test_who_lists_open_files_is_left_out() -> None:
    """An inode of /proc and its entry aren't a socket's."""
    before = reading(0, 0, proc_inode_cache=Cache(0, 700), dentry=Cache(0, 192))
    after = reading(300_000, 0, proc_inode_cache=Cache(100, 700), dentry=Cache(300, 192))
    used = kernel.use(before, after, 200)
    assert used.listed == 100 * (700 + 192)
    assert used.total == 300_000 - used.listed
    assert used.objects == [Objects("dentry", 1.0, 192.0)]


def test_this_kernel_can_be_read() -> None:
    """What /proc tells here makes sense."""
    now = kernel.read()
    assert now.slabs > 2**20
    assert now.processes > 0


# ---- how many connections --------------------------------------------------------------

MACHINE = Machine(
    cores=2,
    files_soft=1_024,
    files_hard=20_000,
    files_used=2_000,
    file_max=2_500_000,
    nr_open=20_000,
    epoll_watches=5_000_000,
    somaxconn=4_096,
    syn_backlog=2_048,
    syn_cookies=1,
    ports=(32_768, 60_999),
    tcp_buckets=262_144,
    tcp_mem=500_000,
    tcp_rmem=4_096,
    tcp_wmem=4_096,
    wmem_max=212_992,
    memory=24 * 10**9,
    tracked=None,
    track_max=None,
    processes=32_768,
)


def test_a_large_machine_holds_a_million() -> None:
    """By default there are no more than that, and everything that bounds them is told."""
    found = capacity.bounds(MACHINE)
    assert capacity.most(found) == 1_000_000
    assert [bound.what for bound in found][:2] == ["file-max", "memory"]
    assert sized(Options(connections=0), found).connections == 1_000_000


def test_memory_bounds_a_small_machine() -> None:
    """Both ends, with the kernel's memory, must fit into what is free."""
    found = capacity.bounds(msgspec.structs.replace(MACHINE, memory=4 * 10**9))
    most = capacity.most(found)
    assert found[0].what == "memory"
    assert 250_000 < most < 350_000
    assert most % 1_000 == 0
    with pytest.raises(BenchError, match="can't hold 1,000,000 connections with both ends: memory"):
        sized(Options(connections=1_000_000), found)


def test_few_files_a_process_bound_too() -> None:
    """With the usual 1,024 files a process a million isn't possible."""
    found = capacity.bounds(msgspec.structs.replace(MACHINE, files_hard=1_024))
    assert found[0].what == "open files a process"
    assert capacity.most(found) < 1_000_000


def test_many_processes_are_read_less_often() -> None:
    """Reading the memory of a hundred processes each second would be felt."""
    found = capacity.bounds(MACHINE)
    assert sized(Options(connections=FEW), found).every == 1.0
    assert sized(Options(connections=FEW + 1), found).every == 5.0


# ---- growth ----------------------------------------------------------------------------


def step(streams: int, seconds: float, memory: int, p99: float, cpu: float = 1.0) -> Step:
    cost = Cost(cpu, 0.0, 0.0, 0.0, 1.0)
    return Step(
        Opening(
            streams=streams,
            seconds=seconds,
            cost=cost,
            failed=0,
            overflows=0,
            empty=[0],
            opened=[memory],
            kernel=kernel.use(reading(0, 0), reading(streams * 10_000, 0), 2 * streams),
            flood_processes=1,
            flood_bytes_a_stream=100,
            flood_share=0.5,
        ),
        Sending(
            messages=1_000,
            accepted=1_000,
            refused=0,
            delivered=1_000,
            seconds=1.0,
            rate=1_000,
            cost=cost,
            lag=Durations(),
            answers=Durations(),
            wrong=counts.Difference(),
        ),
        Seen(Durations(count=1, p99=p99), 0, 0, 1_000),
    )


def test_sizes() -> None:
    """Powers of ten below the run's own size; of a small run one that is smaller still."""
    assert growth.sizes(1_000_000) == [1_000, 10_000, 100_000]
    assert growth.sizes(20_000) == [1_000, 10_000]
    assert growth.sizes(500) == [50]


def test_what_grows_faster_than_the_connections_is_found() -> None:
    """Each quantity is compared from one size to the next; the kernel's where it can be."""
    steps = [step(1_000, 0.1, 10**7, 1.0), step(10_000, 2.0, 2 * 10**7, 1.0)]
    steps += [step(100_000, 20.0, 10**8, 5.0), step(1_000_000, 100.0, 10**9, 5.0)]
    found = {(it.quantity, it.fewer): it.factor for it in growth.growths(steps)}
    assert found["time to connect", 1_000] == pytest.approx(2.0)
    assert found["time to connect", 10_000] == pytest.approx(1.0)
    assert found["the server's memory", 10_000] == pytest.approx(0.5)
    assert found["latency, p99", 10_000] == pytest.approx(0.5)
    assert ("the kernel's memory", 10_000) not in found
    assert found["the kernel's memory", 100_000] == pytest.approx(1.0)


# ---- the report ------------------------------------------------------------------------


def test_budgets_judge_a_full_run_only(results: Results) -> None:
    """A smaller run is judged by its faults alone."""
    full = Options(connections=1_000_000)
    one = step(1_000_000, 100.0, 200_000_000, 80.0)
    sending = msgspec.structs.replace(one.sending, wrong=counts.Difference(0, 1, 1))
    steps = [msgspec.structs.replace(one, sending=sending)]
    results = msgspec.structs.replace(results, steps=steps)
    made = reports.budgets(results, full)
    judged = {it.what: it.met for it in made}
    assert judged["1,000,000 streams opened and logged in"] is True
    assert judged["messages doubled"] is False
    assert judged["a message to each user : C write loop"] in (False, None)  # None: no compiler
    smaller = msgspec.structs.replace(full, minutes=1)
    made = reports.budgets(results, smaller)
    judged = {it.what: it.met for it in made}
    assert judged["1,000,000 streams opened and logged in"] is None
    assert judged["messages doubled"] is False


def test_marks_are_notes_of_the_next_sample() -> None:
    """What began between two readings is told with the second; also two things at once."""
    samples = [Sample(source="Encke", time=float(at)) for at in range(4)]
    marks = [Mark(0.5, "connecting"), Mark(0.9, "sending"), Mark(3.0, "the end"), Mark(9.0, "late")]
    told = [sample.note for sample in noted(samples, marks, 0.5)]
    assert told == ["", "connecting; sending", "", "the end"]


def test_samples_that_are_too_near() -> None:
    """Of two of them that with a note stays, since there something begins; and the first does."""
    samples = [Sample(source="Encke", time=at) for at in (0.0, 0.1, 5.0, 5.1, 10.0, 10.1)]
    kept = noted(samples, [Mark(0.05, "connecting"), Mark(5.05, "sending")], 1.0)
    assert [sample.time for sample in kept] == [0.0, 0.1, 5.1, 10.0]
