"""python -m bench cluster: a smoke run on real processes, its arithmetic, and its report."""

import pytest
from smoke import Smoke, run

from bench import clients, cluster_crossing
from bench import cluster_report as reports
from bench.cluster import Options, Results
from bench.cluster_crossing import ACROSS, ALONE, GATEWAYS, WAYS
from bench.one_core import NDJSON, Sample
from bench.servers import nats

QUICK = Options().quick()

pytestmark = pytest.mark.skipif(
    nats.missing() is not None or clients.missing() is not None, reason="no nats-server, or no cc"
)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke[Results]:
    return run(tmp_path_factory, "cluster", Results)


@pytest.fixture
def results(smoke: Smoke[Results]) -> Results:
    return smoke.results


@pytest.mark.timeout(180)
def test_every_message_came_once(results: Results) -> None:
    """Of three nodes, across NATS, and after NATS was restarted."""
    assert not results.faulty
    spread, crossing, memory = results.spread, results.crossing, results.memory
    assert spread is not None
    assert crossing is not None
    assert memory is not None
    accepted = sum(it.accepted for it in spread.sent)
    assert spread.messages == accepted == spread.came.latency.count == 303
    assert memory.joined.streams == memory.alone.streams == memory.messages == QUICK.users
    assert all(sample.messages for sample in crossing.samples)
    assert len(crossing.samples) == len(GATEWAYS) * len(WAYS) * 2


def test_what_was_measured(results: Results) -> None:
    """Interest spreads, NATS has the users and costs something, the node noticed its end."""
    spread, crossing, memory = results.spread, results.crossing, results.memory
    assert spread is not None
    assert crossing is not None
    assert memory is not None
    assert 0 < spread.interest.p50 <= spread.interest.p99 <= spread.interest.max < 5
    assert spread.interest.rounds == QUICK.interest_rounds
    assert memory.subscriptions > QUICK.users
    assert memory.seconds_to_return > 0
    assert not any(it.nats_us for it in crossing.samples if it.contestant.startswith(ALONE))
    assert sum(it.us - it.nats_us for it in crossing.samples) > 0


def test_the_report_has_all_that_its_page_names(smoke: Smoke[Results]) -> None:
    """Each file that the page links is there, and nothing else."""
    assert smoke.links | {"README.md"} == smoke.files
    for title in ("Three nodes", "From the head", "Across NATS", "Very many users"):
        assert f"## {title}" in smoke.page


def test_budgets_judge_a_full_run_only(results: Results) -> None:
    """A smoke run is judged by what must never be; a full one by all."""
    small = {it.what: it.met for it in reports.budgets(results, QUICK)}
    assert set(small.values()) == {True, None}
    full = list(reports.budgets(results, Options()))
    assert {it.what for it in full} == set(small)
    assert sum(it.met is None for it in full) < sum(met is None for met in small.values())


def sample(round: int, contestant: str, seconds: float, cpu: float) -> Sample:
    """One of a thousand messages."""
    name = cluster_crossing.contestant(contestant, 1)
    return Sample(name, NDJSON, round, 1000, seconds, cpu, 0, 0, nats_cpu_seconds=cpu / 2)


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that is slow in one round is slow for both; what has no partner is left out."""
    samples = [sample(0, ALONE, 1, 1), sample(0, ACROSS, 2, 4), sample(1, ALONE, 10, 10)]
    samples += [sample(1, ACROSS, 20, 40), sample(2, ACROSS, 1, 1)]
    (ratio,) = cluster_crossing.ratios(samples)
    assert (ratio.wall, ratio.cpu) == (0.5, 0.25)
