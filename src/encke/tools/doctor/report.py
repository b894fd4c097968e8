"""What was found: a table and advice for people, or JSON for programs."""

import msgspec

from ...settings import Settings, connection_limit
from ..options import Doctor
from .checks import Finding, Verdict, check
from .machine import read_machine


class Report(msgspec.Struct, frozen=True):
    """What ``encke doctor --json`` prints."""

    connections: int
    suffices: bool
    findings: list[Finding]


def run(asked: Doctor) -> int:
    """Print what `check` finds; 0 if it suffices, else 1."""
    connections = asked.connections or connection_limit(Settings())
    findings = check(read_machine(), connections)
    suffices = all(finding.verdict is not Verdict.LACKS for finding in findings)
    if asked.json:
        report = Report(connections, suffices, findings)
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        _print_table(findings, connections)
        print("This machine suffices." if suffices else advice(findings))
    return 0 if suffices else 1


def _print_table(findings: list[Finding], connections: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    colour = {Verdict.OK: "green", Verdict.LACKS: "bold red", Verdict.UNKNOWN: "yellow"}
    title = f"To hold {connections:,} connections"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("check", no_wrap=True)
    table.add_column("have", justify="right", no_wrap=True)
    table.add_column("need", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("note")
    for finding in findings:
        table.add_row(
            finding.check,
            "?" if finding.have is None else f"{finding.have:,}",
            f"{finding.need:,}",
            f"[{colour[finding.verdict]}]{finding.verdict}[/]",
            finding.note,
        )
    Console().print(table)


def advice(findings: list[Finding]) -> str:
    """The lines to put into the machine's files, for what lacks; a block a file."""
    blocks = [
        (
            "/etc/sysctl.d/90-encke.conf (then: sysctl --system)",
            [line for finding in findings for line in finding.sysctl],
        ),
        (
            "/etc/security/limits.d/90-encke.conf (for shells; log in anew)",
            [line for finding in findings for line in finding.limits],
        ),
        (
            "[Service] section of encke.service (then: systemctl daemon-reload)",
            [line for finding in findings for line in finding.unit],
        ),
        (
            "the kernel's command line (then: reboot; or see docs/deployment.md)",
            [line for finding in findings for line in finding.boot],
        ),
    ]
    lacks = ", ".join(f.check for f in findings if f.verdict is Verdict.LACKS)
    text = [f"What lacks: {lacks}.\n"]
    text += ["\n".join([f"# {file}", *lines, ""]) for file, lines in blocks if lines]
    return "\n".join(text).rstrip()
