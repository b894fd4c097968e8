"""What the generator tells: lines for people, or JSON for programs."""

import time

import msgspec

from ..load.screen import Rate
from ..load.summary import Durations, durations
from .generator import Generator


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``encke generate --json``; `elapsed` in seconds, durations in milliseconds."""

    event: str
    """stats: a period has passed; end: the last line."""
    elapsed: float
    sent: int
    """Messages written, also those written again."""
    accepted: int
    """Of these, the ones that the server answered with success."""
    delivered: int
    """Connections that got them, as Encke says; other servers don't."""
    errors: dict[str, int]
    """Messages that were not accepted: by status, or by what happened to the connection."""
    retried: int
    """Of these, the ones that were written again."""
    failed: int
    """The rest of them."""
    rate: float
    """Messages accepted a second."""
    lag: Durations
    """How much later than due they were written; nothing without a rate."""
    answers: Durations
    """From writing a request (NDJSON: its end) to its answer."""
    cpu_seconds: float
    cpu_cores: float
    """The same as a share of the elapsed time: 1 is one core, fully used."""


class Teller:
    """Makes figures of what became of the messages."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._cpu = time.process_time()
        self._rate = Rate()

    def figures(self, event: str) -> Figures:
        """All figures, now."""
        account, started = self._generator.account, self._generator.started
        elapsed = max(1, time.monotonic_ns() - started) / 1e9
        cpu = time.process_time() - self._cpu
        return Figures(
            event=event,
            elapsed=round(elapsed, 3),
            sent=account.sent,
            accepted=account.accepted,
            delivered=account.delivered,
            errors=dict(account.errors),
            retried=account.retried,
            failed=account.failed,
            rate=round(account.accepted / elapsed, 1),
            lag=durations(account.lag),
            answers=durations(account.answers),
            cpu_seconds=round(cpu, 2),
            cpu_cores=round(cpu / elapsed, 4),
        )

    def line(self) -> str:
        """Where it stands, in one line."""
        account = self._generator.account
        elapsed = (time.monotonic_ns() - self._generator.started) / 1e9
        return (
            f"{elapsed:.0f} s  {account.sent:,} sent  "
            f"{account.accepted:,} accepted  {self._rate.of(account.accepted):,.0f}/s  "
            f"{account.delivered:,} delivered  {account.failed:,} failed"
        )

    def summary(self) -> list[str]:
        """The end, for people."""
        figures, account = self.figures("end"), self._generator.account
        errors = ", ".join(f"{count:,} {reason}" for reason, count in figures.errors.items())
        retried = f" ({figures.retried:,} sent again)" if figures.retried else ""
        messages = (
            f"{figures.sent:,} sent, {figures.accepted:,} accepted, "
            f"{figures.delivered:,} delivered; errors: {errors or 0}{retried}"
        )
        rate = f"{figures.rate:,.0f}/s for {figures.elapsed:.2f} s"
        lines = [f"messages   {messages}", f"rate       {rate}"]
        if figures.lag.count:
            lines.append(f"lag        {figures.lag}")
        if figures.answers.count:
            lines += [f"answers    {figures.answers}", *account.answers.drawing()]
        tool = f"{figures.cpu_seconds:.1f} s of CPU: {figures.cpu_cores:.2f} cores"
        return [*lines, f"this tool  {tool}"]
