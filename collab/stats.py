"""What can be told about a running server: totals, the rooms that are open, who is in one.

Invariants borne here:

* Nothing here switches greenlets, so that an answer is of one moment.
* An answer is bounded: rooms come in pages, the users of one room are as many as `COLLAB_MAX_SESSIONS_PER_DOCUMENT`.
* Counters only grow: who wants rates or quantiles subtracts two answers.
"""

from __future__ import annotations

import os
import resource
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final

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

DIALECTS: Final = (YWebsocket.name, Native.name, Hocuspocus.name)

_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


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
            "queued": _histogram(hub.metrics.histograms["queued_seconds"]),
            "written": _histogram(hub.metrics.histograms["written_seconds"]),
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


def open_rooms(hub: Hub, prefix: str, after: str, limit: int) -> dict[str, Any]:
    """The rooms whose ids begin with `prefix` and come behind `after`, in order, at most `limit` of them.

    `next` is what `after` has to be for those that follow; None if none do.
    """
    ids = nsmallest(limit + 1, (room for room in hub.rooms if room.startswith(prefix) and room > after))
    more = ids[limit - 1] if len(ids) > limit else None
    slow = any(connection.backlog is not None for connection in hub.connections)
    return {"rooms": [_room(hub.rooms[document_id], slow) for document_id in ids[:limit]], "next": more}


def _room(room: Room, slow: bool) -> dict[str, Any]:
    """A room; if nobody at all is `slow`, there is no need to look for somebody in it."""
    return {
        "id": room.document_id,
        "sessions": len(room),
        "users": room.users,
        "updates": room.updates,
        "bytes": room.journal.base + room.journal.tail,
        "unstored": room.journal.waiting,
        "queued": sum(map(_queued, _sessions(room))) if slow else 0,
        "opened": utc(room.opened),
    }


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
