"""One client in one document: what it says takes effect here, message by message, in the order sent.

What a client sends wrongly costs it an error message, and its connection when it goes on with it; nobody else
notices. What does not depend on the others (answers, acks, errors) goes out at once; the rest is the room's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from collab.backlog import Backlog
from collab.clock import ksuid, now, utc
from collab.connection import OPEN, Connection
from collab.errors import NotStorable, ProtocolError, Quarantined, StoreError
from collab.handlers import HANDLERS
from collab.member import Identity, Member, present
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.protocol.messages import (
    Ack,
    Error,
    Ignored,
    Join,
    Leave,
    Presence,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    Update,
)
from collab.room import Room
from collab.transport import Socket

if TYPE_CHECKING:
    from collab.hub import Hub

log = logging.getLogger(__name__)

STATUS_BEAT: Final = 1.0
"""Seconds between messages to a client that waits for a status: y-sweet's gives a connection up after three without."""

_MINUTE: Final = 60.0
_WHO_IS_HERE: Final = frozenset((Presence, Join, Leave))


class Session(Connection):
    """One client in one document.

    Args:
        hub: who knows the rooms.
        socket: the connection, past the handshake; the session owns it.
        dialect: what the client speaks.
        document_id: the document that it asked for.
        identity: who it is.
    """

    __slots__ = (
        "_beat_at",
        "_confirmed",
        "_hub",
        "_invalid",
        "_invalid_since",
        "_resumes",
        "_status",
        "_updates",
        "anonymous",
        "connected_at",
        "dialect",
        "document_id",
        "heir",
        "id",
        "room",
        "user_id",
        "user_name",
    )

    def __init__(self, hub: Hub, socket: Socket, dialect: Dialect, document_id: str, identity: Identity) -> None:
        super().__init__(socket, hub.settings, hub.metrics, hub.crew)
        self._hub = hub
        self.id = ksuid()
        self.dialect = dialect
        self.document_id = document_id
        self.user_id = identity.user_id
        self.user_name = identity.user_name
        self.anonymous = identity.anonymous
        self.connected_at = utc()
        self.room: Room | None = None
        self.heir: Member | None = None
        self._resumes = identity.session_id
        self._updates = 0  # those of a client that is given receipts for them
        self._confirmed = 0
        self._status: tuple[int, SyncStatus] | None = None  # asked after so many updates, and not answered yet
        self._invalid = 0
        self._invalid_since = 0.0
        self._beat_at = self.heard + dialect.keepalive if dialect.keepalive else float("inf")
        self.due = min(self.due, self._beat_at)

    def describe(self) -> dict[str, str | int]:
        """The session as its own client gets to know it; one that goes on also how many of its updates have come."""
        described: dict[str, str | int] = {
            "id": self.id,
            "document_id": self.document_id,
            "user_id": self.user_id,
            "user_name": self.user_name,
            "connected_at": self.connected_at,
        }
        return described if self._resumes is None else {**described, "updates": self._updates}

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
        except Quarantined:
            text = "The document is in quarantine, since it cannot be read: whoever runs this server has to look at it"
            self.reply(Error("quarantined", text))
            self.close(CloseCode.QUARANTINED, "the document is in quarantine")
            return
        except StoreError:
            self.close(CloseCode.TRY_AGAIN_LATER, "the document cannot be loaded now; come back later")
            return
        if self.state is not OPEN:  # closed while the document was loading
            self._hub.release(room)
            return
        self.room = room
        if not self._go_on(room):
            room.join(self)
        present = room.presences.awareness.present()
        welcome: list[ServerMessage] = [room.initial_state(self), SyncStep1(room.document.state_vector())]
        if present and not self.dialect.json_presence:
            welcome.append(Presence(present))
        if self._confirmed:
            welcome.append(Ack(self._confirmed))
        self.put(b"".join(map(self.dialect.encode, welcome)))

    def _go_on(self, room: Room) -> bool:
        """Go on with the session that this client says it had, if it had it."""
        old = room.find(self._resumes) if self._resumes is not None else None
        if not isinstance(old, Session) or (not old.anonymous if self.anonymous else old.user_id != self.user_id):
            self._resumes = None
            return False
        self.id, self.connected_at = old.id, old.connected_at
        self.user_id, self.user_name, self.anonymous = old.user_id, old.user_name, old.anonymous
        self._updates, self._confirmed = old._updates, old._confirmed
        if old.dialect.json_presence:
            self.dialect = self.dialect.with_json_presence()
        room.resume(old, self)
        old.heir = self
        old.room = None
        old.lost()
        self._metrics.count("resumed")
        return True

    def on_end(self) -> None:
        if self.room is not None:
            room, self.room = self.room, None
            # Nobody can come back as somebody without a name, unless by the session's id.
            may_return = self.vanished and (self.dialect.numbers_updates or not self.anonymous)
            room.leave(self, now(), self._settings.resume_grace if may_return else 0.0)

    # ---- what the client says

    def on_message(self, payload: bytes, text: bool) -> None:
        try:
            message = self.dialect.decode(payload, text)
            if self.room is not None:
                HANDLERS[type(message)](self, self.room, message)
        except ProtocolError as error:
            self.refuse(error)

    def number(self) -> int:
        """The next update's number; 0 for a client that is not given receipts."""
        if not self._updates and not self.dialect.numbers_updates:
            return 0
        self._updates += 1
        return self._updates

    def await_status(self, status: SyncStatus) -> int:
        """The client wants `status` back once all that it has sent is done with; the number that this takes.

        A later question takes the place of one that still waits.
        """
        self._updates += 1
        self._status = (self._updates, status)
        self._beat_at = min(self._beat_at, now() + STATUS_BEAT)
        self.due = min(self.due, self._beat_at)
        return self._updates

    def overlook(self, message: Ignored) -> None:
        """The client has said something that its dialect says to ignore."""
        self._metrics.count("ignored", message.what)

    # ---- what it is told

    def reply(self, message: ServerMessage) -> None:
        """Send one message to this client alone."""
        frame = self.dialect.encode(message)
        if frame:
            self.put(frame)

    def confirm(self, number: int) -> None:
        """All updates that this client has sent, up to this number, are done with."""
        if self.heir is not None:
            present(self).confirm(number)
            return
        self._confirmed = number
        if self.dialect.numbers_updates:
            self.reply(Ack(number))
        if self._status is not None and self._status[0] <= number:
            status, self._status = self._status[1], None
            self.reply(status)

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        """Tell the client that something was not taken; close on one that sends little else."""
        self._metrics.count("refused", error.code)
        if self.state is not OPEN:
            return
        self.reply(Error.of(error, update or None))
        if isinstance(error, NotStorable):
            return
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
            self._beat_at = at + (STATUS_BEAT if self._status is not None else self.dialect.keepalive)
        self.due = min(self.due, self._beat_at)
