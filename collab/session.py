"""One client in one document: what it says takes effect here, message by message, in the order sent.

What a client sends wrongly costs it an error message, and its connection when it goes on with it; nobody else
notices. What does not depend on the others (answers, acks, errors) goes out at once; the rest is the room's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from collab.backlog import Backlog
from collab.clock import ksuid, now, utc
from collab.connection import OPEN, Connection
from collab.errors import ProtocolError, StoreError
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.protocol.messages import (
    Ack,
    Awareness,
    AwarenessJson,
    Error,
    Ignored,
    Join,
    Leave,
    Ping,
    Pong,
    Presence,
    QueryAwareness,
    Relay,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Update,
)
from collab.protocol.yupdate import check_state_vector
from collab.room import Room
from collab.transport import Socket

if TYPE_CHECKING:
    from collab.hub import Hub

log = logging.getLogger(__name__)

_MINUTE: Final = 60.0
_WHO_IS_HERE: Final = frozenset((Presence, Join, Leave))


class Session(Connection):
    """One client in one document.

    Args:
        hub: who knows the rooms.
        socket: the connection, past the handshake; the session owns it.
        dialect: what the client speaks.
        document_id: the document that it asked for.
        user_id: who it is.
        user_name: what to call it.
    """

    __slots__ = (
        "_beat_at",
        "_hub",
        "_invalid",
        "_invalid_since",
        "_updates",
        "connected_at",
        "dialect",
        "document_id",
        "id",
        "room",
        "user_id",
        "user_name",
    )

    def __init__(
        self, hub: Hub, socket: Socket, dialect: Dialect, document_id: str, user_id: str, user_name: str
    ) -> None:
        super().__init__(socket, hub.settings, hub.metrics, hub.crew)
        self._hub = hub
        self.id = ksuid()
        self.dialect = dialect
        self.document_id = document_id
        self.user_id = user_id
        self.user_name = user_name
        self.connected_at = utc()
        self.room: Room | None = None
        self._updates = 0  # those of a client that numbers them
        self._invalid = 0
        self._invalid_since = 0.0
        self._beat_at = self.heard + dialect.keepalive if dialect.keepalive else float("inf")
        self.due = min(self.due, self._beat_at)

    def describe(self) -> dict[str, str]:
        """The session as its own client gets to know it."""
        return {
            "id": self.id,
            "document_id": self.document_id,
            "user_id": self.user_id,
            "user_name": self.user_name,
            "connected_at": self.connected_at,
        }

    # ---- its life

    def run(self) -> None:
        """The reader greenlet: enter the room, take messages until the end, leave. Switches greenlets."""
        try:
            self._enter()
            self.read()
        except BaseException:
            self.close(CloseCode.INTERNAL_ERROR, "internal error")
            raise
        finally:
            self.over()

    def finish(self) -> None:
        super().finish()
        self._hub.forget(self)

    def _enter(self) -> None:
        try:
            room = self._hub.enter(self.document_id)
        except StoreError:
            self.close(CloseCode.TRY_AGAIN_LATER, "the document cannot be loaded now; come back later")
            return
        if self.state is not OPEN:  # closed while the document was loading
            self._hub.release(room)
            return
        self.room = room
        room.join(self)
        present = room.presences.awareness.present()
        welcome: list[ServerMessage] = [room.initial_state(self), SyncStep1(room.document.state_vector())]
        if present and not self.dialect.json_presence:
            welcome.append(Presence(present))
        self.put(b"".join(map(self.dialect.encode, welcome)))

    def on_end(self) -> None:
        if self.room is not None:
            room, self.room = self.room, None
            room.leave(self, now())

    # ---- what the client says

    def on_message(self, payload: bytes, text: bool) -> None:
        try:
            message = self.dialect.decode(payload, text)
            if self.room is not None:
                _HANDLERS[type(message)](self, self.room, message)
        except ProtocolError as error:
            self.refuse(error)

    def _number(self) -> int:
        """The next update's number; 0 in a dialect that does not number them."""
        if not self.dialect.numbers_updates:
            return 0
        self._updates += 1
        return self._updates

    def _on_update(self, room: Room, message: Update) -> None:
        room.submit(self, message.update, self._number())

    def _on_step2(self, room: Room, message: SyncStep2) -> None:
        room.fill(self, message.update, self._number())

    def _on_step1(self, room: Room, message: SyncStep1) -> None:
        if self.backlog is None:
            self.put(room.step2(self.dialect, message.state_vector))
        else:
            check_state_vector(message.state_vector)
            self.backlog.owed = message.state_vector

    def _on_awareness(self, room: Room, message: Awareness) -> None:
        room.presences.update(self, message.awareness, self.heard)

    def _on_awareness_json(self, room: Room, message: AwarenessJson) -> None:
        room.regroup(self, self.dialect.with_json_presence())
        room.presences.update_json(self, message.parts, self.heard)

    def _on_query_awareness(self, room: Room, message: QueryAwareness) -> None:
        if message.json:
            room.regroup(self, self.dialect.with_json_presence())
        if self.backlog is None:
            self.reply(Presence(room.presences.awareness.present()))
        else:
            # Answered once, when all that waits has been read.
            self.backlog.missed.add(Presence)

    def _on_sync_status(self, room: Room, message: SyncStatus) -> None:
        room.commit()
        self.reply(message)

    def _on_relay(self, room: Room, message: Relay) -> None:
        room.relay(self, message.text)

    def _on_ping(self, room: Room, message: Ping) -> None:
        self.reply(Pong())

    def _on_ignored(self, room: Room, message: Ignored) -> None:
        self._metrics.count("ignored", message.what)

    # ---- what it is told

    def reply(self, message: ServerMessage) -> None:
        """Send one message to this client alone."""
        frame = self.dialect.encode(message)
        if frame:
            self.put(frame)

    def acknowledge(self) -> None:
        """All updates that this client has sent are done with."""
        self.reply(Ack(self._updates))

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        """Tell the client that something was not taken; close on one that sends little else."""
        self._metrics.count("refused", error.code)
        if self.state is not OPEN:
            return
        self.reply(Error.of(error, update or None))
        at = now()
        if at - self._invalid_since > _MINUTE:
            self._invalid_since, self._invalid = at, 0
        self._invalid += 1
        if self._invalid >= self._settings.max_invalid:
            self.close(CloseCode.ABUSE, "too many invalid messages")

    def state_vector(self) -> bytes:
        assert self.room is not None
        return self.room.document.state_vector()

    def on_caught_up(self, backlog: Backlog) -> bytes:
        room = self.room
        if room is None:
            return b""
        missed = backlog.missed
        messages: list[ServerMessage] = []
        if missed:
            self._metrics.count("repairs")
        if missed & _WHO_IS_HERE:
            messages += (room.initial_state(self), Presence(room.presences.awareness.known()))
        if Update in missed and backlog.owed is None:
            assert backlog.state_vector is not None
            room.commit()
            messages.append(Update(room.document.diff(backlog.state_vector, ours=True)))
        if backlog.dropped_relays:
            self._metrics.count("relays_dropped", by=backlog.dropped_relays)
            messages.append(Error("too_slow", f"{backlog.dropped_relays} relayed messages were dropped"))
        frames = b"".join(map(self.dialect.encode, messages))
        if backlog.owed is not None:
            owed, backlog.owed = backlog.owed, None
            frames += room.step2(self.dialect, owed)
        return frames

    def tick(self, at: float) -> None:
        super().tick(at)
        if self.state is not OPEN:
            return
        if at >= self._beat_at:
            if self.backlog is None:
                self.reply(Presence({}))
            self._beat_at = at + self.dialect.keepalive
        self.due = min(self.due, self._beat_at)


_Handler = Callable[[Session, Room, Any], None]
_HANDLERS: Final[dict[type, _Handler]] = {
    Update: Session._on_update,
    SyncStep1: Session._on_step1,
    SyncStep2: Session._on_step2,
    Awareness: Session._on_awareness,
    AwarenessJson: Session._on_awareness_json,
    QueryAwareness: Session._on_query_awareness,
    SyncStatus: Session._on_sync_status,
    Relay: Session._on_relay,
    Ping: Session._on_ping,
    Ignored: Session._on_ignored,
}
