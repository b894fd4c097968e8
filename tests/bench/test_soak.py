"""python -m bench soak: a smoke run on real processes, and what its report makes of figures."""

import mmap
import os
import random
from pathlib import Path

import msgspec
import pytest
from smoke import Smoke, run

from bench import soak, soak_report
from bench.counts import Difference
from bench.soak import Options, Results
from bench.soak_readings import OWN, WHOLE, Inventory, Track, anonymous, more
from encke.errors import BadSettings
from encke.tools.watch import Slope
from encke.tools.watch.trend import BLOCKS

QUICK = Options().quick()
PROCESSES = {"supervisor", "router", "control", "gateway-0", "gateway-1"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke[Results]:
    return run(tmp_path_factory, "soak", Results)


@pytest.fixture
def results(smoke: Smoke[Results]) -> Results:
    return smoke.results


# ---- the smoke run ---------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_every_message_is_accounted_for(results: Results) -> None:
    """To the streams that stay exactly what the server accepted for them has come."""
    assert results.sent == results.ndjson.accepted + results.post.accepted > 10_000
    assert results.refused == 0
    assert results.due == results.staying.messages > 1_000
    assert results.wrong == Difference()
    assert results.staying.violations == results.churning.violations == 0
    delivered = results.ndjson.delivered + results.post.delivered
    assert 0 <= delivered - results.staying.messages - results.churning.messages < 100


def test_the_other_half_churns(results: Results) -> None:
    """So many logins as were asked for, and as many logouts; only the churning half leaves."""
    assert results.logins == results.logouts >= QUICK.logins
    under_way = results.logins - results.staying.opened - results.churning.opened
    assert 0 <= under_way <= results.churning.waiting  # when it was stopped
    assert results.staying.closed == 0
    assert results.churning.closed > 300


def test_the_node_returns_to_where_it_was(results: Results) -> None:
    """As the streams leave, connections, users, open files and threads are given back."""
    before, opened, _, half, emptied = results.inventories
    assert before.held == emptied.held == (0, 0)
    assert opened.logins >= QUICK.streams
    assert half.held == (QUICK.staying, QUICK.staying)
    assert set(before.files) == set(emptied.files) == PROCESSES
    assert emptied.returned_to(before)
    assert not opened.returned_to(before)
    assert results.replaced == 0


def test_each_process_has_a_slope(results: Results) -> None:
    """Of the memory of each process, and of all together, with its noise."""
    memory = [track for track in results.tracks if track.quantity == OWN]
    assert {track.process for track in memory} == {WHOLE, *PROCESSES}
    for track in memory:
        assert track.slope is not None
        assert track.slope.readings >= BLOCKS
        assert track.slope.noise >= 0
        assert 1_000 < track.lowest <= track.mean <= track.highest
    (users,) = [track.mean for track in results.tracks if track.quantity == "users"]
    assert QUICK.staying < users < QUICK.streams


def test_the_budgets(smoke: Smoke[Results]) -> None:
    """All is judged but growth, which so short a run can't tell."""
    verdicts = {budget.what: budget.met for budget in smoke.kept.budgets}
    assert smoke.kept.benchmark == "soak"
    assert [what for what, met in verdicts.items() if met is None] == [
        soak_report.growth(smoke.results).what
    ]
    slow = {"messages", "logins, and logouts"}  # a machine that's busy may not be fast enough
    assert all(met for what, met in verdicts.items() if what not in slow and met is not None)


def test_the_folder(smoke: Smoke[Results]) -> None:
    """The page with graphs, and all readings as a table."""
    folder, page, results = smoke.folder, smoke.page, smoke.results
    assert (folder / "soak.png").read_bytes().startswith(b"\x89PNG")
    assert f"{results.sent:,} messages, {results.logins:,} logins" in page
    assert "How the noise is determined" in page
    assert "![" in page
    names, *rows = (line.split("\t") for line in (folder / "readings.tsv").read_text().splitlines())
    assert len(rows) == results.readings
    assert all(len(row) == len(names) for row in rows)
    at = names.index("gateway-1 open files")
    assert all(int(row[at]) > 5 for row in rows)


# ---- what is made of the figures -------------------------------------------------------


def track(kb_per_hour: float, noise: float, process: str = "router") -> Track:
    return Track(process, OWN, 9_900, 10_000, 10_100, Slope(kb_per_hour, noise, 0.9, 660))


def a_day(results: Results, *tracks: Track) -> Results:
    """Results of a whole day's messages in one hour, with these slopes."""
    ndjson = msgspec.structs.replace(results.ndjson, accepted=soak.DAY, sent=soak.DAY)
    post = msgspec.structs.replace(results.post, accepted=0, sent=0)
    return msgspec.structs.replace(
        results, ndjson=ndjson, post=post, seconds=3600.0, tracks=list(tracks)
    )


@pytest.mark.parametrize(
    ("kb_per_hour", "noise", "verdict", "met"),
    [
        (50.0, 51.0, "flat", True),
        (-50.0, 51.0, "flat", True),
        (0.0, 0.0, "flat", True),
        (50.0, 49.0, "no bending", True),  # 0.5 % a day
        (150.0, 49.0, "**grows**", False),  # 1.5 % a day
        (-150.0, 49.0, "shrinks", True),
    ],
)
def test_verdict(
    results: Results, kb_per_hour: float, noise: float, verdict: str, met: bool
) -> None:
    """Flat is what's within the noise; beyond it, growth is judged by what it is in a day."""
    day = a_day(results, track(kb_per_hour, noise), track(0.0, 1.0, WHOLE))
    assert soak_report.verdict(day.tracks[0], day) == verdict
    assert soak_report.growth(day).met is met
    assert soak_report.faulty(day, QUICK) is not met


def test_the_verdict_is_said_first(results: Results) -> None:
    """The page begins with what was found: flat, or what is beyond the noise, in numbers."""

    def found(*tracks: Track) -> str:
        return soak_report._found(a_day(results, *tracks))

    flat, bent = track(10.0, 49.0), track(50.0, 49.0, "gateway-0")
    assert found(flat).startswith("**Memory is flat**")
    assert "gateway-0 +50 KB in a day, +0.50% of it (no bending); the slopes" in found(flat, bent)
    assert found(bent).endswith("(no bending).")
    assert "too short" in soak_report._found(results)


def test_a_day_is_as_many_messages(results: Results) -> None:
    """A slope is projected to as many messages as a day has, not to 24 hours."""
    day = a_day(results, track(150.0, 49.0))
    assert day.hours_a_day == pytest.approx(1.0)
    half = msgspec.structs.replace(
        day, ndjson=msgspec.structs.replace(day.ndjson, accepted=soak.DAY // 2)
    )
    assert half.hours_a_day == pytest.approx(2.0)
    assert soak_report.growth(half).found == "+3.00%"


def test_a_short_run_is_not_projected(results: Results) -> None:
    """From less than a third of a day nothing is said of a day."""
    grown = msgspec.structs.replace(results, tracks=[track(150.0, 49.0)])
    assert soak_report.verdict(grown.tracks[0], grown) == "beyond the noise"
    assert soak_report.growth(grown).met is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"wrong": Difference(3, 0, 1)}, "lost, of those to the staying half"),
        ({"wrong": Difference(0, 3, 1)}, "doubled, of those"),
        ({"replaced": 1}, "processes that died"),
    ],
)
def test_faults(results: Results, change: dict[str, object], what: str) -> None:
    """What must not be fails the run, by name."""
    faulty = msgspec.structs.replace(results, **change)
    assert not soak_report.faulty(results, QUICK)
    assert soak_report.faulty(faulty, QUICK)
    missed = [budget.what for budget in soak_report.faults(faulty, QUICK) if not budget.met]
    assert missed == [what]


def test_what_is_not_given_back(results: Results) -> None:
    """An open file more than at first is named, with its process."""
    *others, emptied = results.inventories
    files = emptied.files | {"router": emptied.files["router"] + 2}
    leaking = msgspec.structs.replace(
        results, inventories=[*others, msgspec.structs.replace(emptied, files=files)]
    )
    missed = [budget for budget in soak_report.faults(leaking, QUICK) if not budget.met]
    assert [budget.found for budget in missed] == ["router 2"]


def test_more() -> None:
    """What there is less of, or is gone, is no growth."""
    assert more({"a": 3, "b": 1, "c": 2}, {"a": 1, "b": 2, "d": 9}) == {"a": 2, "c": 2}
    nothing = Inventory("", 0, 0, 0, 0, {"a": 1}, {"a": 1}, 0)
    assert nothing.returned_to(nothing)


def test_anonymous_memory(tmp_path: Path) -> None:
    """It grows by what a process writes, and not by the files that it maps."""
    file = tmp_path / "file"
    file.write_bytes(random.randbytes(32 * 2**20))
    before = anonymous(os.getpid())
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as map:
        assert map.find(b"\0" * 64) == -1  # every page is touched
        assert anonymous(os.getpid()).mapped - before.mapped < 8 * 1024
    held = bytearray(random.randbytes(32 * 2**20))
    after = anonymous(os.getpid())
    assert after.mapped - before.mapped > 24 * 1024
    assert after.shares - before.shares > 24 * 1024
    assert held


def test_too_many_posts() -> None:
    """If all messages were posted, there'd be no NDJSON: it's refused before anything starts."""
    with pytest.raises(BadSettings, match="--posts"):
        soak.check(Options(minutes=1, messages=1000, posts=200))
