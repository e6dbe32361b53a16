"""What of the work of sessions and rooms becomes spans, and which of them follow from which.

A message's span is below that of its connection; what messages bring about in a room at the end of a loop pass (the
commit) is below the first of them and linked to the others, and what is stored in one go below the first commit in it.

Bound here: whoever is not sampled, and a server without tracing, runs the same code as ever: these functions take the
place of others where something is sampled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from collab.config import Settings
from collab.crew import Crew
from collab.errors import ProtocolError
from collab.exporting import Exporting
from collab.metrics import INVALID, Metrics, as_label
from collab.room import Room
from collab.session import Session
from collab.shared import Shared
from collab.solo import Solo
from collab.tracing import Span, Tracing, Value

PROCESS_MESSAGE: Final = "WebSocket.ProcessMessage"
MAX_LINKS: Final = 128
"""Messages that a commit, or commits that a write tells that it follows from."""

MAX_COMMITS: Final = 4096
"""Commits of which it is remembered that they wait for the store."""

Take = Callable[[bytes, bool], None]


class Traces:
    """What is traced in one process.

    Args:
        settings: how much, and where to.
        metrics: where to count.
        crew: where the greenlet comes from that exports.
    """

    def __init__(self, settings: Settings, metrics: Metrics, crew: Crew) -> None:
        self._exporting = Exporting(settings, metrics)
        self.connect = Tracing(settings, metrics, self._exporting.put).connect
        self._messages: dict[Room, list[Span]] = {}  # that take effect at the end of this loop pass
        self._commits: deque[tuple[int, Span]] = deque(maxlen=MAX_COMMITS)  # not stored yet, as `Unstored` numbers them
        crew.spawn("traces", self._exporting.run)

    def close(self) -> None:
        """Export the rest, soon."""
        self._exporting.close()

    # ---- messages

    def follow(self, connection: Solo | Shared, span: Span) -> None:
        """Trace each message of a connection whose upgrade was sampled, and has `span`."""
        connection.trace, take = span, connection.on_message
        span.set({"dialect": connection.dialect_name, "client.address": connection.address})
        if isinstance(connection, Solo):
            session = connection.session
            span.set({"document.id": session.document_id, "session.id": session.id})

        def on_message(payload: bytes, text: bool) -> None:
            message = span.offshoot(PROCESS_MESSAGE)
            if message is None:
                take(payload, text)
                return
            with message:
                message.set({"dialect": connection.dialect_name, "message.bytes": len(payload)})
                session = _take(connection, take, payload, text)
                if session is not None:
                    self._describe(message, session, payload, text)

        connection.on_message = on_message

    def _describe(self, span: Span, session: Session, payload: bytes, text: bool) -> None:
        facts: dict[str, Value] = {"document.id": session.document_id, "session.id": session.id}
        try:  # once more: only those who are sampled pay for it
            facts["message.type"] = as_label(type(session.dialect.decode(payload, text)))
        except ProtocolError:
            facts["message.type"] = INVALID
        room = session.room
        if room is not None:
            facts["room.size"] = len(room)
            if room.awaited:
                _add(self._messages.setdefault(room, []), span)
        span.set(facts)

    # ---- what comes of them

    def flush(self, room: Room) -> None:
        """As `Room.flush`."""
        messages = self._messages.pop(room, None) if self._messages else None
        if messages is None:
            room.flush()
            return
        facts: dict[str, Value] = {"document.id": room.document_id, "room.size": len(room), "messages": len(messages)}
        before, changes = room.updates, room.journal.changes
        with messages[0].child("commit", facts, messages[1:]) as commit:
            room.flush()
            commit.set({"updates": room.updates - before})
        if room.journal.changes > changes:
            self._commits.append((room.journal.latest, commit))

    def stored(self, number: int, rooms: int, begun: float, ended: float) -> None:
        """All up to a number of `Unstored` was stored from `begun` to `ended`, seconds since 1970, in so many rooms.

        Nothing if nobody of them is traced.
        """
        commits: list[Span] = []
        while self._commits and self._commits[0][0] <= number:
            commits.append(self._commits.popleft()[1])
        if commits:
            commits[0].child("store", {"rooms": rooms}, commits[1 : MAX_LINKS + 1], begun).end(at=ended)


def _add(spans: list[Span], span: Span) -> None:
    if len(spans) <= MAX_LINKS:
        spans.append(span)


def _take(connection: Solo | Shared, take: Take, payload: bytes, text: bool) -> Session | None:
    """Take a message; whose it was."""
    if isinstance(connection, Solo):
        take(payload, text)
        return connection.session
    before, connection.latest = connection.latest, None
    take(payload, text)
    session = connection.latest
    connection.latest = session or before
    return session
