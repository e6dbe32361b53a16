"""What is counted and measured, under which names. Every metric is described once, in `METRICS`.

A metric's name for Prometheus is its own behind `collab_`, and before `_total` if it is a counter. Counters are raised
and histograms are fed here while things happen; gauges are looked up when somebody asks (`collab.gauges`).

Invariants borne here:

* What happens once a message costs no more than a few additions: the owners of the hot path raise plain lists, and
  what has to be sorted into classes is kept until there is much of it, or somebody looks.
* A label has at most `MAX_LABELS` values, whatever clients or applications come up with; what is over that is `other`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

COUNTER, GAUGE, HISTOGRAM, GAUGE_HISTOGRAM = "counter", "gauge", "histogram", "gauge histogram"
"""How a metric's values come about: raised, looked up, observed, or looked up as a distribution."""

MAX_LABELS: Final = 64
"""Values that one label is told apart by."""

OTHER: Final = "other"

INVALID: Final = "invalid"
"""What a message is called that cannot be read."""


class Metric(NamedTuple):
    """What a name stands for.

    Attributes:
        text: what is counted or measured, for people; a part of the README.
        label: what it is told apart by, if it is.
        kind: `COUNTER`, `GAUGE`, `HISTOGRAM` or `GAUGE_HISTOGRAM`.
    """

    text: str
    label: str = ""
    kind: str = COUNTER


METRICS: Final = {
    "build_info": Metric("1, and which version this is", "version", GAUGE),
    "ready": Metric("whether visitors are to be sent here (`/readyz`): 1 or 0", kind=GAUGE),
    "open_connections": Metric("connections now", "dialect", GAUGE),
    "sessions": Metric("sessions now; a Hocuspocus connection has one for each document", "dialect", GAUGE),
    "users": Metric("users that are here now", kind=GAUGE),
    "rooms": Metric("documents that are open now", kind=GAUGE),
    "room_members": Metric("sessions in one of these rooms", kind=GAUGE_HISTOGRAM),
    "connections": Metric("sessions opened, by dialect", "dialect"),
    "closed": Metric("sessions ended by the server, by close code or `dead`", "code"),
    "upgrades_refused": Metric("upgrades answered with an HTTP error, by error code", "code"),
    "admin_refused": Metric(
        "requests to the admin interface, or for metrics, answered with an error, by error code", "code"
    ),
    "requests_refused": Metric("requests to the document API answered with an HTTP error, by error code", "code"),
    "received_messages": Metric("messages of clients, by what they are", "type"),
    "received_bytes": Metric("bytes of these messages", "type"),
    "sent_messages": Metric("messages to clients, by what they are, those that wait included", "type"),
    "sent_bytes": Metric("bytes of these messages, with their frames", "type"),
    "updates": Metric("document updates applied"),
    "commits": Metric("transactions that applied them: one per room and loop pass"),
    "commit_updates": Metric("updates in one transaction", kind=HISTOGRAM),
    "queued_seconds": Metric(
        "seconds from reading a message off its socket until all that it brings was sent or queued", kind=HISTOGRAM
    ),
    "written_seconds": Metric(
        "seconds from reading a message until what it brings was written to the sockets that took it at once; "
        "once more for each slow reader, when it has it",
        kind=HISTOGRAM,
    ),
    "loop_lag_seconds": Metric("seconds by which the event loop came late, ten times a second", kind=HISTOGRAM),
    "loop_lag_max_seconds": Metric("the most of the last two seconds", kind=GAUGE),
    "greenlets": Metric("greenlets at work", kind=GAUGE),
    "refused": Metric("messages refused, by error code", "code"),
    "ignored": Metric("messages overlooked because the dialect says so, by what they were", "what"),
    "throttled": Metric("pauses in reading from users who send more than may be"),
    "stalls": Metric("times that a socket did not take everything at once"),
    "queue_messages": Metric("messages that wait for one slow reader now", kind=GAUGE_HISTOGRAM),
    "queue_bytes": Metric("bytes that wait for slow readers now", kind=GAUGE),
    "repairs": Metric("slow readers brought up to date with one diff"),
    "slow_closed": Metric("slow readers closed because they took nothing for `COLLAB_SLOW_TIMEOUT`"),
    "relays_dropped": Metric("custom messages that a slow reader missed"),
    "store_ready": Metric("whether the store takes changes: 1 or 0", kind=GAUGE),
    "unstored_bytes": Metric("bytes of changes that the store does not have yet", kind=GAUGE),
    "unstored_age_seconds": Metric("seconds for which the oldest of them has waited", kind=GAUGE),
    "store_commits": Metric("writes to the store, each with all that waited"),
    "store_records": Metric("records in them: what a room gains in a loop pass is one, and many at once are joined"),
    "store_write_records": Metric("records in one write", kind=HISTOGRAM),
    "store_write_seconds": Metric("seconds that the store took for a write", kind=HISTOGRAM),
    "store_load_seconds": Metric("seconds that it took to open a document", kind=HISTOGRAM),
    "store_failures": Metric("times that the store could not do what was asked"),
    "compactions": Metric("documents of which the store got one update in place of many"),
    "versions": Metric("versions saved by themselves"),
    "quarantined": Metric("documents put in quarantine because they cannot be read"),
    "resumed": Metric("native sessions that went on over another connection"),
    "claims_dropped": Metric("claims of an awareness id that belongs to another live session"),
    "room_faults": Metric("times that a room failed to tell its news, which is a fault of ours"),
    "listener_failures": Metric("functions of the application that failed at an event"),
    "events_dropped": Metric("events that the application was not told of, since its functions take too long"),
    "hub_faults": Metric("steps that the hub failed at, which is a fault of ours"),
    "log_lines_left_out": Metric("lines of the log that were left out because many alike had been written"),
    "spans_exported": Metric("spans that a collector has taken"),
    "spans_dropped": Metric("spans that no collector got: too many, or it could not be reached"),
    "greenlet_deaths": Metric("greenlets that ended by an unexpected error"),
}


LATENCY: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Seconds between which durations are told apart."""

MANY: Final = 256
"""Turns that are kept to be sorted into classes together."""

_EDGES: Final = (float("-inf"), *LATENCY, float("inf"))

TOLD: Final = ("queued_seconds", "written_seconds")
"""What is measured when something is told; the second once more for slow readers, when they have it."""

SIZES: Final = tuple(float(1 << power) for power in range(13))
"""Numbers of things between which batches are told apart."""


class Histogram:
    """How often what was measured came between which bounds.

    Args:
        bounds: in order, the lowest first.

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

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def observe(self, value: float, count: int = 1) -> None:
        """The same value was measured `count` times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count


class Traffic(dict[type | str, list[int]]):
    """Messages in one direction, by their class or by a word: how many, and their bytes.

    The list of what has not come yet is made when it is asked for, so that the hot path raises what it finds.
    """

    def __missing__(self, kind: type | str) -> list[int]:
        tally = self[kind] = [0, 0]
        return tally

    def note(self, kind: type | str, size: int, count: int = 1) -> None:
        """There were `count` messages of this kind, and so many bytes in all."""
        tally = self[kind]
        tally[0] += count
        tally[1] += size

    @property
    def messages(self) -> int:
        """How many messages there were."""
        return sum(count for count, _ in self.values())

    def by_name(self, part: int) -> dict[str, int]:
        """The messages (0) or their bytes (1), by their kinds' names as labels have them: `SyncStep1`, `sync_step1`."""
        named: Counter[str] = Counter()
        for kind, tally in self.items():
            named[as_label(kind)] += tally[part]
        return dict(named)


def as_label(kind: type | str) -> str:
    """What a kind of message is called: `SyncStep1`, `sync_step1`."""
    return kind if isinstance(kind, str) else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


class Metrics:
    """What one server counts and measures.

    Attributes:
        received: messages of clients.
        sent: messages to clients.
        lone_commits: of one update, that were made since somebody looked: to be raised by who makes one.
    """

    __slots__ = ("_histograms", "_turns", "labelled", "lone_commits", "received", "sent")

    def __init__(self) -> None:
        self.received = Traffic()
        self.sent = Traffic()
        self.labelled: Counter[tuple[str, str]] = Counter()
        self.lone_commits = 0
        self._turns: list[tuple[float, int]] = []  # that were told, as if that had been at 0
        self._histograms = {
            name: Histogram(LATENCY if name.endswith("_seconds") else SIZES)
            for name, metric in METRICS.items()
            if metric.kind == HISTOGRAM
        }

    @property
    def histograms(self) -> dict[str, Histogram]:
        """By name, with all that was measured."""
        commits, self.lone_commits = self.lone_commits, 0
        self.observe("commit_updates", 1, commits)
        self._sort_kept()
        return self._histograms

    def observe(self, name: str, value: float, count: int = 1) -> None:
        """What the histogram `name` is of was measured, with the same value so many times."""
        self._histograms[name].observe(value, count)

    def told(self, turns: Sequence[tuple[float, int]], at: float) -> None:
        """What was read at some times, so many messages each, has been told to everybody by `at`."""
        if len(turns) > 1:
            self._sort(turns, at)
            return
        read_at, count = turns[0]
        self._turns.append((read_at - at, count))
        if len(self._turns) >= MANY:
            self._sort_kept()

    def _sort_kept(self) -> None:
        turns, self._turns = self._turns, []
        self._sort(turns, 0.0)

    def _sort(self, turns: Sequence[tuple[float, int]], at: float) -> None:
        low = high = total = 0.0
        place = same = 0
        for read_at, count in turns:
            late = at - read_at
            if not low < late <= high:  # mostly it is where the one before was
                self._tell(place, same)
                place, same = bisect_left(LATENCY, late), 0
                low, high = _EDGES[place], _EDGES[place + 1]
            same += count
            total += late * count
        self._tell(place, same)
        for name in TOLD:
            self._histograms[name].sum += total

    def _tell(self, place: int, count: int) -> None:
        for name in TOLD:
            self._histograms[name].counts[place] += count

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Raise the counter `name` with `label`.

        Raises:
            KeyError: no metric of that name is described.
            ValueError: it is told apart by a label, and there is none; or the other way round.
        """
        if bool(METRICS[name].label) != bool(label):
            raise ValueError(f"{name} is told apart by {METRICS[name].label or 'nothing'}, not by {label!r}")
        if (name, label) not in self.labelled and sum(known == name for known, _ in self.labelled) >= MAX_LABELS:
            label = OTHER
        self.labelled[name, label] += by

    def snapshot(self) -> dict[str, int | dict[str, int]]:
        """All counters by name; those with labels as a dict by label."""
        totals: dict[str, int | dict[str, int]] = {
            name: {} if metric.label else 0 for name, metric in METRICS.items() if metric.kind == COUNTER
        }
        for (name, label), value in self.labelled.items():
            by_label = totals[name]
            if isinstance(by_label, dict):
                by_label[label] = value
            else:
                totals[name] = value
        for traffic, messages, size in (
            (self.received, "received_messages", "received_bytes"),
            (self.sent, "sent_messages", "sent_bytes"),
        ):
            totals[messages], totals[size] = traffic.by_name(0), traffic.by_name(1)
        for histogram, batches, things in (
            (self.histograms["commit_updates"], "commits", "updates"),
            (self.histograms["store_write_records"], "store_commits", "store_records"),
        ):
            totals[batches], totals[things] = histogram.count, int(histogram.sum)
        return totals
