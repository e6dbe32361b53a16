"""What is counted, under which names. Every metric is described once, in `METRICS`.

The running totals of the hot path are plain integers that their owners raise directly; the rest goes through
`count`, which refuses a name that is not described.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

METRICS: Final = {
    "connections": "sessions opened, by dialect",
    "closed": "sessions ended by the server, by close code or `dead`",
    "upgrades_refused": "upgrades answered with an HTTP error, by error code",
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


class Metrics:
    """The counters of one server."""

    __slots__ = ("bytes_in", "commits", "labelled", "messages_in", "updates")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.messages_in = 0
        self.updates = 0
        self.commits = 0
        self.labelled: Counter[tuple[str, str]] = Counter()

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
