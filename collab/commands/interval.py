"""What has happened between two answers of a server: rates, and quantiles of what it measures.

Nothing here asks anybody or reads a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Stats = dict[str, Any]


class Interval(NamedTuple):
    """Between two answers to `stats`, or since the server's start if there is no first one.

    A server that was started anew meanwhile is told since that start.
    """

    before: Stats | None
    after: Stats

    @property
    def first(self) -> Stats | None:
        """The first answer, if it was the same server's."""
        before, after = self.before, self.after
        if before is None or before["uptime"] >= after["uptime"]:
            return None
        # In a container started anew, the node may be called as before.
        return before if all(before[what] == after[what] for what in ("node", "started")) else None

    @property
    def seconds(self) -> float:
        """How long it was."""
        passed = self.after["uptime"] - (self.first["uptime"] if self.first else 0.0)
        return max(float(passed), 1e-3)

    def gained(self, total: str) -> int:
        """What a counter has gained, over all of its labels."""
        return _sum(self.after, total) - (_sum(self.first, total) if self.first else 0)

    def rate(self, total: str) -> float:
        """That, a second."""
        return self.gained(total) / self.seconds

    def cpu(self) -> float:
        """How much of one processor was used: 1.0 is all of it."""
        used = self.after["process"]["cpu_seconds"] - (self.first["process"]["cpu_seconds"] if self.first else 0.0)
        return float(used) / self.seconds

    def latency(self, which: str, share: float) -> float | None:
        """Seconds within which that share of all messages were `queued` or `written`; None if there were none."""
        histogram = self.after["latency"][which]
        counts = histogram["counts"]
        if self.first:
            counts = [now - was for now, was in zip(counts, self.first["latency"][which]["counts"], strict=True)]
        return quantile(histogram["bounds"], counts, share)


def _sum(stats: Stats, total: str) -> int:
    value = stats["totals"][total]
    return sum(value.values()) if isinstance(value, dict) else int(value)


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value below which that share of the observations lie, as near as the classes tell; None without any.

    Args:
        bounds: the largest value of each class but the last, which has none: what lies there is told as the last bound.
        counts: observations by class.
        share: from 0 to 1.
    """
    wanted = share * sum(counts)
    if not wanted:
        return None
    below, lower = 0, 0.0
    for upper, count in zip(bounds, counts, strict=False):
        if below + count >= wanted:
            return lower + (upper - lower) * (wanted - below) / count
        below, lower = below + count, upper
    return lower
