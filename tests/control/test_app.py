"""What the control port answers, over real sockets."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from encke.control import state as encke_state
from encke.control.state import NodeState
from encke.scoreboard import CONTROL, FIRST_GATEWAY, NODE, ROUTER, Field, State
from encke.settings import Settings

from .alone import Alone

PATHS = ("/", "/state", "/metrics", "/openapi.json", "/docs")
"""All but /health."""


def state(control: Alone) -> NodeState:
    """What /state says, whose form is checked."""
    answer = control.get("/state")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return msgspec.json.decode(answer.content, type=NodeState)


def metrics(control: Alone) -> dict[str, float]:
    """What /metrics says: name, and the process in brackets -> value."""
    text = control.get("/metrics").text
    return {
        f"{sample.name}[{sample.labels['process']}]"
        if "process" in sample.labels
        else sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def assert_problem(answer: httpx.Response, status: int) -> None:
    """`answer` is problem details, with a sentence on what to do."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"].endswith(".")


# ---- health ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "status", "said"),
    [
        (State.ABSENT, 503, "starting"),
        (State.STARTING, 503, "starting"),
        (State.READY, 200, "ready"),
        (State.FULL, 200, "full"),
        (State.DRAINING, 503, "draining"),
    ],
)
def test_health_is_200_only_while_the_node_takes_connections(
    control: Alone, node: State, status: int, said: str
) -> None:
    """Before and after it is 503, and says when to ask again."""
    control.status(node)
    answer = control.get("/health")
    assert answer.status_code == status
    assert answer.json() == {"status": said}
    assert ("retry-after" in answer.headers) == (status == 503)


# ---- state -----------------------------------------------------------------------------


def test_state_sums_over_the_processes(control: Alone) -> None:
    """Gauges and counters of the node are those of its processes, and of its dead."""
    control.process(ROUTER, os.getpid(), users=3, logins_held=4)
    control.process(FIRST_GATEWAY, os.getpid(), connections=5, capacity=10, delivered=7)
    control.process(FIRST_GATEWAY + 1, os.getpid(), connections=6, capacity=10, delivered=8)
    control.scoreboard.row(NODE)[Field.DELIVERED] = 100
    said = state(control)
    assert (said.users, said.logins_held) == (3, 4)
    assert (said.connections, said.capacity, said.delivered) == (11, 20, 115)
    assert (said.status, said.uptime < 60) == ("ready", True)
    names = ["supervisor", "router", "control", "gateway-0", "gateway-1"]
    assert [process.name for process in said.processes] == names
    assert [process.connections for process in said.processes] == [0, 0, 0, 5, 6]


def test_what_tcp_takes_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It's told in bytes, as the kernel counts it in pages; 0 where it doesn't tell."""
    told = tmp_path / "sockstat"
    monkeypatch.setattr(encke_state, "_SOCKSTAT", str(told))
    assert encke_state.tcp_memory() == 0
    told.write_text("sockets: used 17\nTCP: inuse 3 orphan 0 tw 0 alloc 3 mem 38\nUDP: mem 1\n")
    assert encke_state.tcp_memory() == 38 * os.sysconf("SC_PAGE_SIZE")


def test_state_of_a_node_with_one_gateway(control: Alone) -> None:
    """Its router lives in the gateway: no router is listed, the users are counted."""
    control.process(FIRST_GATEWAY, os.getpid(), users=3)
    said = state(control)
    assert said.users == 3
    assert [process.name for process in said.processes] == ["supervisor", "control", "gateway-0"]


def test_state_tells_memory_and_time(control: Alone) -> None:
    """Each process's memory is its PSS, its time what the kernel says; they sum up."""
    said = state(control)
    memory = {process.name: process.memory_bytes for process in said.processes}
    pid = next(process.pid for process in said.processes if process.name == "control")
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:")
    assert memory["control"] == pytest.approx(kilobytes * 1024, rel=0.3)
    assert said.memory_bytes == sum(memory.values())
    times = os.times()
    own = next(process for process in said.processes if process.pid == os.getpid())
    assert own.cpu_seconds == pytest.approx(times.user + times.system, abs=1)


def test_state_leaves_out_who_just_died(control: Alone) -> None:
    """A process that ended, but is still on the scoreboard, does no harm."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    control.process(FIRST_GATEWAY, gone.pid, connections=1)
    assert [process.name for process in state(control).processes] == ["supervisor", "control"]


def test_state_leaves_out_a_zombie(control: Alone) -> None:
    """So does one that its parent hasn't buried yet, which has no memory any more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        control.process(FIRST_GATEWAY, zombie.pid)
        assert [process.name for process in state(control).processes] == ["supervisor", "control"]


# ---- metrics ---------------------------------------------------------------------------


def test_metrics_say_what_the_state_says(control: Alone) -> None:
    """Each figure of the state has a metric, of the same value."""
    control.process(ROUTER, os.getpid(), users=3)
    control.process(
        FIRST_GATEWAY, os.getpid(), connections=5, streams=4, messages=9, slow_clients=1, restarts=2
    )
    said, metric = state(control), metrics(control)
    counters = {field.name.lower() for field in Field if field >= Field.ACCEPTED}
    for field in (field.name.lower() for field in Field if field >= Field.CONNECTIONS):
        if field in ("nats_link", "node"):
            continue  # not figures: a state (the next test), and a name
        name = f"encke_{field}_total" if field in counters else f"encke_{field}"
        assert metric.pop(name) == getattr(said, field)
    assert metric["encke_ready"] == 1
    assert metric["encke_process_connections[gateway-0]"] == 5
    assert metric["encke_process_restarts_total[gateway-0]"] == 2
    assert metric["encke_process_memory_bytes[control]"] > 1 << 20
    assert metric["encke_process_cpu_seconds_total[control]"] > 0


def test_the_link_is_a_metric_in_a_cluster(control: Alone) -> None:
    """Only a node of a cluster says whether it is joined."""
    assert "encke_nats_ready" not in metrics(control)
    for link, ready in ((1, 0), (4, 1)):
        control.process(ROUTER, os.getpid(), nats_link=link)
        assert metrics(control)["encke_nats_ready"] == ready


def test_metrics_have_help_and_the_right_type(control: Alone) -> None:
    """Prometheus's text format, each family explained."""
    answer = control.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert families
    assert all(family.documentation.endswith(".") for family in families)


# ---- who may ask -----------------------------------------------------------------------


def test_the_key_is_asked_for_everywhere_but_at_health() -> None:
    """With an API key, nothing is told to who doesn't show it, not even what exists."""
    with Alone(Settings(api_key="s€cret")) as control:
        assert control.get("/health").status_code == 200
        for path in (*PATHS, "/nothing"):
            for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s€cret"}):
                answer = control.client.get(path, headers=raw(shown))
                assert_problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


def test_the_key_opens_everything() -> None:
    """Who shows it is answered; the scheme's name in whatever case (RFC 9110, 11.1)."""
    with Alone(Settings(api_key="s€cret")) as control:
        for path in PATHS:
            for shown in ("Bearer s€cret", "bearer s€cret"):
                answer = control.client.get(path, headers=raw({"Authorization": shown}))
                assert answer.status_code == 200


def raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    """`headers` in UTF-8, as a shell would send them."""
    return {name.encode(): value.encode() for name, value in headers.items()}


# ---- what isn't there ------------------------------------------------------------------


def test_an_unknown_path_is_404(control: Alone) -> None:
    """Problem details say where to look."""
    assert_problem(control.get("/nothing"), 404)


def test_a_slash_too_many_leads_to_the_page(control: Alone) -> None:
    """Whatever stands behind; where nothing is, none."""
    for path, leads in (("/health/", "/health"), ("/users/a%40b/subscribers/?limit=2", "")):
        answer = control.get(path)
        assert answer.status_code == 307
        assert answer.headers["location"] == (leads or path.replace("/?", "?"))
    for path in ("/nothing/", "/health//"):
        assert_problem(control.get(path), 404)


def test_a_wrong_method_is_405(control: Alone) -> None:
    """Problem details, and the methods that there are."""
    answer = control.client.post("/state", content=b"x")
    assert_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", [*PATHS, "/health"])
def test_head_is_get_without_the_body(control: Alone, path: str) -> None:
    """HEAD has the status and type of GET."""
    head, get = control.client.head(path), control.get(path)
    assert head.content == b""
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"]


def test_the_index_leads_to_every_page(control: Alone) -> None:
    """/ links all the others."""
    page = control.get("/").text
    for path in (*PATHS[1:], "/health"):
        assert f'href="{path}"' in page


def test_the_scoreboard_can_be_read_while_it_is_written(control: Alone) -> None:
    """A process that starts and stops meanwhile breaks no answer."""
    for turn in range(200):
        control.scoreboard.row(FIRST_GATEWAY)[Field.PID] = os.getpid() if turn % 2 else 0
        assert state(control).processes[1].pid == control.scoreboard.row(CONTROL)[Field.PID]
