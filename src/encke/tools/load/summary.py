"""A histogram in figures, for programs and for people."""

import msgspec

from .histogram import Histogram, duration


class Durations(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds, at most 1 % off; all 0 if nothing was recorded."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0
    histogram: list[tuple[float, int]] = []
    """(upper bound in milliseconds, count) of each step."""
    min: float = 0.0

    def __str__(self) -> str:
        """One line."""
        named = (("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99.9", self.p999))
        figures = [f"{name} {duration(value * 1e6)}" for name, value in named]
        return "  ".join([*figures, f"max {duration(self.max * 1e6)}"])


def durations(recorded: Histogram) -> Durations:
    """What `recorded` comes to."""
    least, p50, p90, p99, p999, most = (
        round(recorded.quantile(share) / 1e6, 6) for share in (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
    )
    steps = [(bound / 1e6, count) for bound, count in recorded.coarse()]
    return Durations(recorded.count, p50, p90, p99, p999, most, steps, least)
