"""What is counted, under which names. Every metric is described once, in `METRICS`.

The running totals of the hot path are plain integers that their owners raise directly; the rest goes through
`count`, which refuses a name that is not described.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Final

METRICS: Final = {
    "connections": "sessions opened, by dialect",
    "closed": "sessions ended by the server, by close code or `dead`",
    "upgrades_refused": "upgrades answered with an HTTP error, by error code",
    "admin_refused": "requests to the admin interface answered with an error, by error code",
    "requests_refused": "requests to the document API answered with an HTTP error, by error code",
    "bytes_in": "bytes read from sessions",
    "messages_in": "messages read from sessions",
    "updates": "document updates applied",
    "commits": "transactions that applied them: one per room and loop pass",
    "refused": "messages refused, by error code",
    "ignored": "messages overlooked because the dialect says so, by what they were",
    "throttled": "pauses in reading from users who send more than may be",
    "stalls": "times that a socket did not take everything at once",
    "repairs": "slow readers brought up to date with one diff",
    "relays_dropped": "custom messages that a slow reader missed",
    "store_commits": "writes to the store, each with all that waited",
    "store_records": "records in them: one per room and write",
    "store_microseconds": "time that they took",
    "store_failures": "times that the store could not do what was asked",
    "compactions": "documents of which the store got one update in place of many",
    "versions": "versions saved by themselves",
    "quarantined": "documents put in quarantine because they cannot be read",
    "resumed": "native sessions that went on over another connection",
    "claims_dropped": "claims of an awareness id that belongs to another live session",
    "room_faults": "times that a room failed to tell its news, which is a fault of ours",
    "hub_faults": "steps that the hub failed at, which is a fault of ours",
    "greenlet_deaths": "greenlets that ended by an unexpected error",
}


LATENCY: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Seconds between which durations are told apart."""


class Histogram:
    """How often what was measured came between which bounds.

    Attributes:
        bounds: the largest value of each class but the last, which has none.
        counts: observations by class, not added up; one more than `bounds`.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = LATENCY) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """The same value was measured `count` times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count


class Metrics:
    """The counters of one server.

    Attributes:
        queued: seconds from the reading of messages until all that they bring about was sent or put in queues.
        written: seconds from the reading of messages until that was written to the sockets that took it at once; and
            once for each write to a slow one, until that was done.
        loop_lag: seconds by which the event loop came late.
    """

    __slots__ = ("bytes_in", "commits", "labelled", "loop_lag", "messages_in", "queued", "updates", "written")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.messages_in = 0
        self.updates = 0
        self.commits = 0
        self.labelled: Counter[tuple[str, str]] = Counter()
        self.queued = Histogram()
        self.written = Histogram()
        self.loop_lag = Histogram()

    def told(self, turns: Iterable[tuple[float, int]], at: float) -> None:
        """What was read at some times, so many messages each, has been told to everybody by `at`."""
        for read_at, count in turns:
            self.queued.observe(at - read_at, count)
            self.written.observe(at - read_at, count)

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Raise the counter `name` with `label`.

        Raises:
            KeyError: no metric of that name is described.
        """
        METRICS[name]
        self.labelled[name, label] += by

    def snapshot(self) -> dict[str, int | dict[str, int]]:
        """All counters by name; those with labels as a dict by label, those never raised as 0."""
        totals: dict[str, int | dict[str, int]] = {name: getattr(self, name, 0) for name in METRICS}
        for (name, label), value in self.labelled.items():
            if not label:
                totals[name] = value
            else:
                by_label = totals[name] = totals[name] or {}
                assert isinstance(by_label, dict)
                by_label[label] = value
        return totals
