"""What can be told about a running server: totals, the rooms that are open, who is in one.

Invariants borne here:

* Nothing here switches greenlets, so that an answer is of one moment.
* An answer is bounded: rooms come in pages, the users of one room are as many as `COLLAB_MAX_SESSIONS_PER_DOCUMENT`.
* Counters only grow: who wants rates or quantiles subtracts two answers.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable
from heapq import nlargest, nsmallest
from itertools import repeat
from operator import neg
from pathlib import Path
from typing import Any, Final, NamedTuple

from collab.clock import now, unix, utc
from collab.hub import Hub
from collab.metrics import Histogram
from collab.protocol.hocuspocus import Hocuspocus
from collab.protocol.native import Native
from collab.protocol.ywebsocket import YWebsocket
from collab.room import Room
from collab.session import Session

MAX_ROOMS: Final = 1000
"""Rooms in one answer."""

ORDERS: Final = ("id", "sessions", "users", "activity", "updates", "bytes", "unstored", "queued", "opened")
"""What rooms can be ordered by."""

DIALECTS: Final = (YWebsocket.name, Native.name, Hocuspocus.name)

Columns = dict[str, Callable[[Room], float]]

_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


class Page(NamedTuple):
    """Which rooms are wanted, and in which order."""

    prefix: str = ""
    """What their ids begin with."""
    after: str = ""
    """The id that theirs come behind."""
    order: str = "id"
    """One of `ORDERS`, with `-` before it if the largest are to come first; who is equal in it comes by id."""
    offset: int = 0
    limit: int = 100


def server_stats(hub: Hub) -> dict[str, Any]:
    """The server as a whole; sizes in bytes, times in seconds."""
    at = now()
    reasons = hub.unready()
    started = hub.started or unix()
    return {
        "started": utc(started),
        "uptime": round(unix() - started, 3),
        "draining": hub.draining,
        "ready": not reasons,
        "reasons": reasons,
        "connections": len(hub.connections),
        "sessions": {dialect: hub.admission.sessions[dialect] for dialect in DIALECTS},
        "users": hub.admission.users,
        "rooms": len(hub.rooms),
        "totals": hub.metrics.snapshot(),
        "latency": {
            "queued": _histogram(hub.metrics.queued),
            "written": _histogram(hub.metrics.written),
            "stored": _histogram(hub.metrics.histograms["store_write_seconds"]),
        },
        "queues": _queues(hub),
        "store": _store(hub, at),
        "process": _process(hub),
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {"bounds": histogram.bounds, "counts": histogram.counts, "sum": histogram.sum}


def _queues(hub: Hub) -> dict[str, int]:
    backlogs = [connection.backlog for connection in hub.connections if connection.backlog is not None]
    return {
        "messages": sum(map(len, backlogs)),
        "bytes": sum(backlog.bytes for backlog in backlogs),
        "slow": len(backlogs),
    }


def _store(hub: Hub, at: float) -> dict[str, Any]:
    trouble = hub.caretaker.saver.complaint(at)
    return {
        "kind": hub.settings.store.partition(":")[0],
        "ready": trouble is None,
        "trouble": trouble,
        "unstored_bytes": hub.caretaker.archive.unstored.size,
        "unstored_age": round(hub.caretaker.saver.age(at), 3),
    }


def _process(hub: Hub) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "pid": os.getpid(),
        "rss": resident(),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "greenlets": len(hub.crew),
        "loop_lag": hub.pulse.lag,
    }


def resident() -> int | None:
    """Bytes of memory that this process has; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_SIZE
    except OSError:
        return None


def open_rooms(hub: Hub, page: Page) -> dict[str, Any]:
    """A page of the rooms that are open.

    `matching` is how many there are on all pages. By id, `next` is what `after` has to be for those that follow; None
    if none do, or in another order.
    """
    ids = list(hub.rooms)
    if page.prefix or page.after:
        ids = [one for one in ids if one.startswith(page.prefix) and one > page.after]
    columns = _columns(hub)
    end = page.offset + page.limit
    found = _first(hub, columns, ids, page.order, end)[page.offset :]
    more = found[-1] if page.order == "id" and end < len(ids) else None
    return {"rooms": [_row(hub.rooms[one], columns) for one in found], "matching": len(ids), "next": more}


def _columns(hub: Hub) -> Columns:
    """What is told of a room, but for its id."""
    rates = hub.activity.rates()
    # If nobody at all is slow, there is no need to look for somebody in each room.
    slow = any(connection.backlog is not None for connection in hub.connections)
    return {
        "sessions": len,
        "users": lambda room: room.users,
        "activity": lambda room: rates.get(room.document_id, 0.0),
        "updates": lambda room: room.updates,
        "bytes": lambda room: room.journal.base + room.journal.tail,
        "unstored": lambda room: room.journal.waiting,
        "queued": lambda room: sum(map(_queued, _sessions(room))) if slow else 0,
        "opened": lambda room: room.opened,
    }


def _first(hub: Hub, columns: Columns, ids: list[str], order: str, most: int) -> list[str]:
    """The first `most` of some ids of rooms, in an order such as `-activity`."""
    name, largest = order.removeprefix("-"), order.startswith("-")
    few = most * 8 < len(ids)  # then a heap of the first ones is faster than to sort them all
    if name == "id":
        heap = nlargest if largest else nsmallest
        return heap(most, ids) if few else sorted(ids, reverse=largest)[:most]
    values: Iterable[float]
    if name == "activity":  # without a look at each room: this is asked again and again
        values = map(hub.activity.rates().get, ids, repeat(0.0))
    else:
        values = map(columns[name], map(hub.rooms.__getitem__, ids))
    pairs = zip(map(neg, values) if largest else values, ids, strict=True)
    return [one for _, one in (nsmallest(most, pairs) if few else sorted(pairs)[:most])]


def _row(room: Room, columns: Columns) -> dict[str, Any]:
    told = {name: value(room) for name, value in columns.items()}
    return {"id": room.document_id, **told, "activity": round(told["activity"], 3), "opened": utc(room.opened)}


def room_users(room: Room) -> list[dict[str, Any]]:
    """Who is in `room`, with all of their sessions there."""
    users: dict[str, list[Session]] = {}
    for session in _sessions(room):
        users.setdefault(session.user_id, []).append(session)
    return [
        {
            "id": user_id,
            "name": sessions[0].user_name,
            "rights": max(session.user.rights for session in sessions).word,
            "sessions": [_session(session) for session in sessions],
        }
        for user_id, sessions in sorted(users.items())
    ]


def _session(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "dialect": session.dialect.name,
        "address": session.connection.address,
        "since": session.connected_at,
        "queued": _queued(session),
        "updates": session.changes,
    }


def _sessions(room: Room) -> list[Session]:
    return [member for member in room.members() if isinstance(member, Session)]


def _queued(session: Session) -> int:
    backlog = session.connection.backlog
    return 0 if backlog is None else backlog.bytes
