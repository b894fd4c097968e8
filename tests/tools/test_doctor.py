"""The doctor: what it finds on machines of every kind, and what it says to set."""

import json
import os
import resource
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke import cli
from encke.settings import RESERVED_FILES
from encke.tools.doctor import (
    Finding,
    Machine,
    Verdict,
    advice,
    check,
    checks,
    read_machine,
)

MILLION = 1_000_000

ROOMY = Machine(
    cores=8,
    files_soft=1024,
    files_hard=1_048_576,
    files_used=2000,
    file_max=1 << 60,
    nr_open=1_048_576,
    epoll_watches=5_000_000,
    somaxconn=4096,
    syn_backlog=2048,
    syn_cookies=1,
    ports=(32_768, 60_999),
    tcp_buckets=262_144,
    tcp_mem=2_000_000,
    tcp_rmem=4096,
    tcp_wmem=4096,
    wmem_max=212_992,
    memory=16_000_000_000,
    tracked=None,
    track_max=None,
    processes=32_768,
)


def named(findings: list[Finding], start: str) -> Finding:
    """The one finding whose check begins with `start`."""
    [finding] = [finding for finding in findings if finding.check.startswith(start)]
    return finding


def lacking(machine: Machine, connections: int = MILLION) -> list[Finding]:
    return [f for f in check(machine, connections) if f.verdict is Verdict.LACKS]


def test_a_roomy_machine_suffices() -> None:
    """Where all is there, nothing lacks, and no line is proposed."""
    findings = check(ROOMY, MILLION)
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert not any(f.sysctl or f.limits or f.unit or f.boot for f in findings)


@pytest.mark.parametrize(
    ("change", "name", "lines"),
    [
        (
            {"files_hard": 1024},
            "open files",
            ("* - nofile 131072", "LimitNOFILE=131072"),
        ),
        (
            {"files_hard": 1024, "nr_open": 65_536},
            "open files",
            ("fs.nr_open = 131072", "* - nofile 131072", "LimitNOFILE=131072"),
        ),
        ({"file_max": 800_000}, "file-max", ("fs.file-max = 1048576",)),
        ({"epoll_watches": 400_000}, "epoll", ("fs.epoll.max_user_watches = 1048576",)),
        ({"somaxconn": 128}, "somaxconn", ("net.core.somaxconn = 4096",)),
        (
            {"syn_cookies": 0},
            "tcp_max_syn_backlog",
            ("net.ipv4.tcp_syncookies = 1", "net.ipv4.tcp_max_syn_backlog = 4096"),
        ),
        ({"tcp_mem": 98_152}, "tcp_mem", ("net.ipv4.tcp_mem = 1140000 1425000 1710000",)),
        ({"tcp_buckets": 131_072}, "tcp_ehash_entries", ("thash_entries=262144",)),
        ({"tcp_rmem": 16_384}, "tcp_rmem", ("net.ipv4.tcp_rmem = 4096 131072 6291456",)),
        ({"tcp_wmem": 16_384}, "tcp_wmem", ("net.ipv4.tcp_wmem = 4096 16384 4194304",)),
        ({"wmem_max": 65_536}, "wmem_max", ("net.core.wmem_max = 196608",)),
        ({"memory": 4_000_000_000}, "memory", ()),
        (
            {"tracked": 9, "track_max": 262_144},
            "nf_conntrack_max",
            ("net.netfilter.nf_conntrack_max = 1048576",),
        ),
        ({"processes": 8}, "processes", ("TasksMax=1024",)),
        (
            {"ports": (60_000, 60_999)},
            "ip_local_port_range",
            ("net.ipv4.ip_local_port_range = 32768 60999",),
        ),
    ],
)
def test_what_lacks_is_named_with_its_lines(
    change: dict[str, int], name: str, lines: tuple[str, ...]
) -> None:
    """One thing short: that alone lacks, and the lines that mend it are proposed."""
    [finding] = lacking(msgspec.structs.replace(ROOMY, **change))
    assert finding.check.startswith(name)
    assert (*finding.sysctl, *finding.limits, *finding.unit, *finding.boot) == lines
    text = advice([finding])
    assert finding.check in text
    assert all(f"\n{line}" in text for line in lines)


def test_what_cannot_be_read_is_unknown() -> None:
    """A container that hides the kernel's settings lacks nothing, but is not praised."""
    blind = Machine(
        cores=2,
        files_soft=1024,
        files_hard=20_000,
        **{
            name: None
            for name in Machine.__struct_fields__
            if name not in ("cores", "files_soft", "files_hard")
        },
    )
    verdicts = [finding.verdict for finding in check(blind, 1000)]
    assert Verdict.UNKNOWN in verdicts
    assert Verdict.LACKS not in verdicts


def test_an_idle_tracker_tracks_nothing() -> None:
    """nf_conntrack is often loaded without a rule that uses it; then its size is no matter."""
    idle = msgspec.structs.replace(ROOMY, tracked=0, track_max=262_144)
    assert lacking(idle) == []


def test_few_files_a_process_are_made_up_by_processes() -> None:
    """20,000 open files a process are enough for a million: it takes 51 gateways then."""
    machine = msgspec.structs.replace(ROOMY, files_hard=20_000)
    assert checks.gateways_needed(machine, MILLION) == 51
    finding = named(check(machine, MILLION), "open files")
    assert finding.verdict is Verdict.OK
    assert "51 gateways" in finding.note
    assert "soft limit (1,024)" in finding.note


@given(st.integers(1, 20_000_000), st.integers(200, 2_000_000), st.integers(1, 256))
def test_the_lines_mend_what_they_are_for(connections: int, files: int, cores: int) -> None:
    """A machine that follows the proposed open-files line has enough of them."""
    machine = msgspec.structs.replace(ROOMY, files_hard=files, cores=cores)
    finding = named(check(machine, connections), "open files")
    if finding.verdict is Verdict.LACKS:
        [line] = finding.unit
        mended = msgspec.structs.replace(machine, files_hard=int(line.removeprefix("LimitNOFILE=")))
        assert named(check(mended, connections), "open files").verdict is Verdict.OK
    capacity = files - RESERVED_FILES
    assert checks.gateways_needed(machine, connections) * capacity >= connections


# reading


def test_this_machine_can_be_read() -> None:
    """The readers agree with what the system says of itself elsewhere."""
    machine = read_machine()
    assert machine.cores == len(os.sched_getaffinity(0))
    assert (machine.files_soft, machine.files_hard) == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert machine.memory is not None
    assert 0 < machine.memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.ports is not None
    assert 0 < machine.ports[0] < machine.ports[1] < 65_536


def test_an_empty_proc_is_survived(tmp_path: Path) -> None:
    """Without /proc all that is read from it is unknown."""
    machine = read_machine(tmp_path)
    assert machine.file_max is None
    assert machine.ports is None
    assert machine.memory is None


def test_a_namespace_that_shares_the_table_of_sockets(tmp_path: Path) -> None:
    """The kernel tells the size of a table that isn't the namespace's own as a negative number."""
    file = tmp_path / "proc/sys/net/ipv4/tcp_ehash_entries"
    file.parent.mkdir(parents=True)
    file.write_text("-262144\n")
    assert read_machine(tmp_path).tcp_buckets == 262_144


def test_a_container_limits_memory_and_processes(tmp_path: Path) -> None:
    """The tightest of a control group's limits and of those above it counts."""
    files = {
        "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
        "proc/self/cgroup": "0::/pod/box\n",
        "proc/sys/kernel/pid_max": "32768",
        "sys/fs/cgroup/pod/memory.max": "4000000",
        "sys/fs/cgroup/pod/memory.current": "1000000",
        "sys/fs/cgroup/pod/pids.max": "40",
        "sys/fs/cgroup/pod/box/memory.max": "max",
        "sys/fs/cgroup/pod/box/memory.current": "500000",
        "sys/fs/cgroup/pod/box/pids.max": "max",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    machine = read_machine(tmp_path)
    assert machine.memory == 3_000_000
    assert machine.processes == 40


# the command


@pytest.mark.parametrize("short", [False, True])
def test_the_exit_code_is_the_verdict(
    short: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 if all suffices, 1 with the lines to set if something lacks."""
    machine = msgspec.structs.replace(ROOMY, somaxconn=128 if short else 4096)
    monkeypatch.setattr("encke.tools.doctor.report.read_machine", lambda: machine)
    assert cli.run(["doctor", "--connections", "1000000"]) == short
    out = capsys.readouterr().out
    assert "To hold 1,000,000 connections" in out
    assert ("\nnet.core.somaxconn = 4096\n" in out) is short
    assert ("suffices" in out) is not short


def test_json_is_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json prints the same findings, and keeps the exit code."""
    monkeypatch.setattr(
        "encke.tools.doctor.report.read_machine",
        lambda: msgspec.structs.replace(ROOMY, somaxconn=128),
    )
    assert cli.run(["doctor", "--connections", "1000000", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["connections"] == MILLION
    assert report["suffices"] is False
    [lacks] = [finding for finding in report["findings"] if finding["verdict"] == "lacks"]
    assert (lacks["check"], lacks["have"], lacks["need"]) == ("somaxconn", 128, 4096)
    assert lacks["sysctl"] == ["net.core.somaxconn = 4096"]
