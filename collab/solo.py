"""A connection with one session: what the native and the y-websocket dialect have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collab import comings
from collab.backlog import Backlog
from collab.connection import Connection
from collab.identity import Credentials, User
from collab.listener import STATUS_BEAT
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.protocol.messages import Presence
from collab.session import Session
from collab.transport import Socket

if TYPE_CHECKING:
    from collab.hub import Hub


class Arrival(NamedTuple):
    """Somebody who may come in."""

    dialect: Dialect
    document_id: str
    user: User
    credentials: Credentials
    """What the decision on that can be made by once more."""
    session_id: str | None = None
    """The session that it says it had, and wants to go on with."""


class Solo(Connection):
    """One client in one document."""

    __slots__ = ("_hub", "session")

    def __init__(self, hub: Hub, socket: Socket, address: str, arrival: Arrival) -> None:
        super().__init__(socket, hub.settings, hub.metrics, hub.crew, address)
        self._hub = hub
        self.session = Session(hub, self, *arrival)
        self.on_message = self.session.on_message  # once a message: no call in between
        self.meter = hub.admission.meter(arrival.user.id)
        if arrival.dialect.keepalive:
            self.beat_by(self.heard + arrival.dialect.keepalive)

    @property
    def dialect_name(self) -> str:
        return self.session.dialect.name

    def begin(self) -> None:
        self.session.enter()

    def on_end(self) -> None:
        self.session.leave()

    def finish(self) -> None:
        super().finish()
        self._hub.forget(self)
        comings.went(self, self.session.dialect.name, self.session)

    def on_caught_up(self, backlog: Backlog) -> bytes:
        return self.session.repaired(backlog.of(self.session))

    def took(self, count: int) -> None:
        room = self.session.room
        if room is not None:
            room.heard(self.heard, count)

    def dismiss(self, session: Session, code: CloseCode, reason: str) -> None:
        self.close(code, reason)

    def beat(self) -> float:
        if self.backlog is None:
            self.session.reply(Presence({}))
        return STATUS_BEAT if self.session.waits_for_status else self.session.dialect.keepalive
