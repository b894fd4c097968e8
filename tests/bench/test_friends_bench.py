"""python -m bench friends: a smoke run on real processes, and what its report makes of figures."""

from pathlib import Path

import msgspec
import pytest
from smoke import Smoke, run

from bench import capacity, friends_report, friends_stores
from bench.capacity import Bound
from bench.counts import Difference
from bench.friends import Options, Results, Steady, sized
from bench.friends_due import Mismatch
from bench.friends_popular import write
from bench.friends_stores import Loaded
from bench.servers.postgres import Postgres, missing
from bench.servers.processes import BenchError
from encke.tools.doctor import read_machine

needs_postgres = pytest.mark.skipif(bool(missing()), reason=str(missing()))


pytestmark = pytest.mark.timeout(300)  # the first test waits for the run, also on a slow machine


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke[Results]:
    return run(tmp_path_factory, "friends", Results)


@pytest.fixture
def results(smoke: Smoke[Results]) -> Results:
    return smoke.results


# ---- the smoke run ---------------------------------------------------------------------


def test_every_store_has_the_graph(smoke: Smoke[Results]) -> None:
    """The whole graph is in SQLite, and in PostgreSQL or a notice says why not."""
    results = smoke.results
    options = Options().quick()
    sqlite, *others, popular = results.stores
    least = options.users * options.friends - options.friends**2
    assert least <= results.graph.subscriptions <= options.users * options.friends
    for store in (sqlite, *others):
        assert store.subscriptions == results.graph.subscriptions
        assert store.bytes > 0
    left_out = "PostgreSQL" in str(smoke.kept.notices)
    assert [store.store for store in others] == ["PostgreSQL"] or left_out
    assert popular.subscriptions == options.subscribers


def test_every_delivery_is_as_the_graph_says(results: Results) -> None:
    """As fast as possible and paced: what came is what was due, and what the server said."""
    assert results.fastest is not None
    assert results.steady is not None
    for part in (results.fastest, results.steady):
        it = part.published
        assert it.wrong == Mismatch()
        assert it.refused == part.seen.closed == part.seen.violations == 0
        assert it.deliveries == it.claimed == part.seen.messages > it.publications / 10
        assert part.seen.latency.count == it.deliveries
    assert results.steady.published.deliveries > results.steady.published.publications
    assert not results.faulty


def test_where_the_time_goes(results: Results) -> None:
    """The server's CPU time is that of its processes, each with its share."""
    assert results.fastest is not None
    it = results.fastest.published
    shares = {share.name: share.user + share.system for share in it.shares}
    assert set(shares) == {"supervisor", "router", "control", "gateway", "flood"}
    assert sum(shares.values()) - shares["flood"] == pytest.approx(it.cost.server, abs=0.3)


def test_the_popular_one(results: Results) -> None:
    """Each online subscriber gets each message of theirs, and others get theirs, meanwhile too."""
    popular = results.popular
    assert popular is not None
    assert popular.alone.answered.delivered == popular.online == popular.alone.arrivals.count
    assert 0 < popular.alone.arrivals.min <= popular.alone.arrivals.max
    meanwhile = popular.meanwhile
    count = len(meanwhile.publications)
    assert count > 1
    assert {each.delivered for each in meanwhile.publications} == {popular.online}
    assert meanwhile.arrivals.count == count * popular.online
    assert popular.wrongs == [Mismatch(), Mismatch(), Difference(), Difference()]
    assert popular.before.seen.violations == meanwhile.others.seen.violations == 0
    assert popular.ratio > 0


def test_the_report_has_all_that_its_page_names(smoke: Smoke[Results]) -> None:
    """Each graph is there, is named in the page, and nothing else is left."""
    assert smoke.files - smoke.links == {"README.md", "memory.log", "memory.log.jsonl"}
    assert {"fastest.png", "steady.png", "steady-latency.png", "popular.png"} <= smoke.links
    assert "none missing, extra, or doubled | 0 | met |" in smoke.page


def test_a_smoke_run_is_not_judged(smoke: Smoke[Results]) -> None:
    """Only what must never be is."""
    judged = {
        budget.what.partition(",")[0] for budget in smoke.kept.budgets if budget.met is not None
    }
    assert len([it for it in smoke.kept.budgets if it.met is None]) >= 6
    assert {"publications refused", "streams closed", "wrong among these"} <= judged


def test_faults_are_found(results: Results) -> None:
    """A run in which one message went astray fails, and says so."""
    assert results.steady is not None
    published = msgspec.structs.replace(results.steady.published, wrong=Mismatch(1, 1, 0, 2))
    steady: Steady = msgspec.structs.replace(results.steady, published=published)
    astray = msgspec.structs.replace(results, steady=steady)
    assert astray.faulty
    said = [it.found for it in friends_report.budgets(astray, Options().quick()) if it.met is False]
    assert said == [
        "1 missing, 1 extra or doubled, others than due on 0 streams; wrong on 2 streams"
    ]


# ---- its parts -------------------------------------------------------------------------


def test_what_the_machine_can_hold() -> None:
    """By default as many are online as it can hold, and no more than there are users."""
    bounds = [Bound("memory", 50_000, "it's small")]
    options = Options(users=100_000, online=20_000, others=1_000, subscribers=30_000)
    assert sized(options, bounds).connections == 50_000
    assert sized(msgspec.structs.replace(options, users=30_000), bounds).connections == 30_000
    assert sized(msgspec.structs.replace(options, subscribers=5_000), bounds).online == 5_000
    with pytest.raises(BenchError, match="can't hold 60,000 connections with both ends: memory"):
        sized(msgspec.structs.replace(options, connections=60_000), bounds)
    with pytest.raises(BenchError, match="can't hold"):
        sized(msgspec.structs.replace(options, online=90_000, subscribers=90_000), bounds)
    assert capacity.most(capacity.bounds(read_machine())) > 0


def test_budgets_of_loading() -> None:
    """Thirty seconds and 400 MB, for the article's graph."""
    full = Options(connections=1_000_000)
    graph = friends_stores.Made(1_000_000, 15_000_000, 60.0)
    for seconds, size, met in ((29.9, 400_000_000, True), (30.1, 400_000_001, False)):
        loaded = Loaded("SQLite", 15_000_000, seconds, size, 10.0)
        results = Results(bounds=[], graph=graph, stores=[loaded])
        budgets = list(friends_report.budgets(results, full))
        assert [it.met for it in budgets] == [met, met, True, True]


def test_the_popular_ones_subscribers(tmp_path: Path) -> None:
    """Everyone up to their number is subscribed to the one after them."""
    write(3, tmp_path / "popular.tsv")
    assert (tmp_path / "popular.tsv").read_text() == "1\t4\n2\t4\n3\t4\n"
    assert friends_stores.count(tmp_path / "popular.tsv") == 3


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    """What `encke friends` complains of is told."""
    with pytest.raises(BenchError, match=r"encke friends load failed:\n.*none\.tsv"):
        friends_stores.load(
            "SQLite", tmp_path / "none.tsv", 1, friends="sqlite", data=tmp_path / "data"
        )


@needs_postgres
def test_a_database_for_a_measurement() -> None:
    """It starts empty, has a size, and is gone with its files afterwards."""
    with Postgres() as database:
        assert 0 < database.bytes() < 20 * 2**20
