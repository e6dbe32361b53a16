"""What the gauges of `collab.metrics` show at this moment.

Bound here: one pass over the connections and one over the rooms, without switching greenlets: all values are of one
moment, and with 20,000 sessions it takes a few milliseconds.
"""

from __future__ import annotations

from collections import Counter

from collab.clock import now
from collab.hub import Hub
from collab.metrics import SIZES, Histogram
from collab.stats import DIALECTS

Reading = float | dict[str, float] | Histogram
"""A value, values by label, or a distribution."""


def read(hub: Hub) -> dict[str, Reading]:
    """All gauges by name, but for `build_info`."""
    at = now()
    saver = hub.caretaker.saver
    return {
        "ready": float(not hub.unready()),
        "sessions": {dialect: hub.admission.sessions[dialect] for dialect in DIALECTS},
        "users": hub.admission.users,
        "rooms": len(hub.rooms),
        "loop_lag_max_seconds": hub.pulse.lag,
        "greenlets": len(hub.crew),
        "store_ready": float(saver.complaint(at) is None),
        "unstored_bytes": hub.caretaker.archive.unstored.size,
        "unstored_age_seconds": saver.age(at),
        **_connections(hub),
        **_rooms(hub),
    }


def _connections(hub: Hub) -> dict[str, Reading]:
    dialects: Counter[str] = Counter(dict.fromkeys(DIALECTS, 0))
    waiting, size = Histogram(SIZES), 0
    for connection in hub.connections:
        dialects[connection.dialect_name] += 1
        backlog = connection.backlog
        if backlog is not None:
            waiting.observe(len(backlog))
            size += backlog.bytes
    return {"open_connections": dict(dialects), "queue_messages": waiting, "queue_bytes": size}


def _rooms(hub: Hub) -> dict[str, Reading]:
    members = Histogram(SIZES)
    for size, rooms in Counter(map(len, hub.rooms.values())).items():
        members.observe(size, rooms)
    return {"room_members": members}
