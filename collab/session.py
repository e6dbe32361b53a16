"""One client in one document: what it says takes effect here, message by message, in the order sent.

What a client sends wrongly costs it an error message, and its connection when it goes on with it; nobody else
notices. What does not depend on the others (answers, acks, errors) goes out at once; the rest is the room's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collab import comings
from collab.clock import ksuid, now, utc
from collab.connection import Connection
from collab.door import OPEN
from collab.errors import Forbidden, HandshakeRefused, ProtocolError, Quarantined, StoreError
from collab.handlers import HANDLERS
from collab.identity import Credentials, Rights, User
from collab.limits import Bucket
from collab.listener import Listener
from collab.metrics import INVALID
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.protocol.messages import Ack, AskToken, Error, Granted, Presence, ServerMessage, SyncStep1
from collab.room import Room

if TYPE_CHECKING:
    from collab.hub import Hub

ASK_AHEAD: Final = 30.0
"""Seconds before a token expires in which its client is asked for another one."""


class Session(Listener):
    """One client in one document.

    Args:
        hub: who knows the rooms.
        connection: what it comes over; with some dialects other sessions do as well.
        dialect: what the client speaks.
        document_id: the document that it asked for.
        user: who it is.
        credentials: what the decision on that can be made by once more.
        session_id: the session that it wants to go on with.

    Attributes:
        may_write: whether its changes are taken.
        changes: how many of those it has sent.
        presences: how often it may tell its presence.
    """

    __slots__ = (
        "_asked",
        "_counted",
        "_credentials",
        "_deciding",
        "_hub",
        "_resumes",
        "changes",
        "connected_at",
        "document_id",
        "id",
        "may_write",
        "presences",
        "user",
    )

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        dialect: Dialect,
        document_id: str,
        user: User,
        credentials: Credentials,
        session_id: str | None = None,
    ) -> None:
        super().__init__(connection, dialect, hub.metrics)
        self._hub = hub
        self._credentials = credentials
        self._counted = self._deciding = self._asked = False
        self.presences = Bucket(hub.settings.rate_awareness)
        self.id = ksuid()
        self.document_id = document_id
        self.user = user
        self.may_write = user.rights >= Rights.WRITE
        self.changes = 0
        self.connected_at = utc()
        self._resumes = session_id

    @property
    def user_id(self) -> str:
        """Sessions with equal ids are one user's."""
        return self.user.id

    @property
    def user_name(self) -> str:
        """As the others see it."""
        return self.user.name

    @property
    def anonymous(self) -> bool:
        """Whether nobody can come back under its id."""
        return self.user.anonymous

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

    def initial_state(self, room: Room) -> ServerMessage:
        return room.initial_state(self)

    # ---- its life

    def enter(self) -> None:
        """Go into the document's room, and welcome the client. Switches greenlets."""
        if not self._counted:
            self._counted = True
            self._hub.admission.enter(self)
        try:
            room = self._hub.documents.enter(self.document_id, self.connection.trace)
        except Quarantined:
            text = "The document is in quarantine, since it cannot be read: whoever runs this server has to look at it"
            self.reply(Error("quarantined", text))
            self.close(CloseCode.QUARANTINED, "the document is in quarantine")
            return
        except StoreError:
            self.close(CloseCode.TRY_AGAIN_LATER, "the document cannot be loaded now; come back later")
            return
        if self.connection.state is not OPEN:  # closed while the document was loading
            self._hub.documents.release(room)
            return
        self.room = room
        if not self._go_on(room):
            room.join(self)
        self.connection.put(b"".join(map(self.frame, self._welcome(room))))

    def _welcome(self, room: Room) -> list[ServerMessage]:
        present = room.presences.awareness.present()
        welcome: list[ServerMessage] = [self.initial_state(room)]
        if self._statuses is None:
            welcome.append(SyncStep1(room.document.state_vector()))
        else:
            welcome.append(Granted(self.user.rights.word))
        if present and not self.dialect.json_presence:
            welcome.append(Presence(present))
        if self._confirmed:
            welcome.append(Ack(self._confirmed))
        return welcome

    def _go_on(self, room: Room) -> bool:
        """Go on with the session that this client says it had, if it had it."""
        old = room.find(self._resumes) if self._resumes is not None else None
        if not isinstance(old, Session) or (not old.anonymous if self.anonymous else old.user_id != self.user_id):
            self._resumes = None
            return False
        was, self.id, self.connected_at = self.id, old.id, old.connected_at
        self._hub.admission.leave(self)
        self.user = self.user._replace(id=old.user_id, name=old.user_name, anonymous=old.anonymous)
        self._hub.admission.enter(self)
        self._updates, self._confirmed, self.changes = old._updates, old._confirmed, old.changes
        self.numbered = self.numbered or old.numbered
        if old.dialect.json_presence:
            self.dialect = self.dialect.with_json_presence()
        room.resume(old, self)
        old.heir = self
        old.room = None
        old.lost()
        self._metrics.count("resumed")
        comings.resumed(self, was)
        return True

    def leave(self, *, for_good: bool = False) -> None:
        """Go out of the room. Idempotent."""
        if self._counted:
            self._counted = False
            self._hub.admission.leave(self)
        if self.room is not None:
            room, self.room = self.room, None
            # Nobody can come back as somebody without a name, unless by the session's id.
            may_return = (
                not for_good and self.connection.vanished and (self.dialect.numbers_updates or not self.anonymous)
            )
            room.leave(self, now(), self._hub.settings.resume_grace if may_return else 0.0)

    def close(self, code: CloseCode, reason: str) -> None:
        """End its stay in the document, and tell the client why."""
        self.connection.dismiss(self, code, reason)

    # ---- what the client says

    def on_message(self, payload: bytes, text: bool) -> None:
        try:
            message = self.dialect.decode(payload, text)
        except ProtocolError as error:
            self._metrics.received.note(INVALID, len(payload))
            self.refuse(error)
            return
        kind = type(message)
        tally = self._metrics.received[kind]
        tally[0] += 1
        tally[1] += len(payload)
        if self.room is not None:
            try:
                HANDLERS[kind](self, self.room, message)
            except ProtocolError as error:
                self.refuse(error)

    def refused(self, error: ProtocolError) -> None:
        comings.refused_message(self, error)

    # ---- what it may do

    def renew(self, token: str) -> None:
        """The client shows another token, to go on with."""
        self._decide(self._credentials._replace(token=token), None)

    def recheck(self, code: CloseCode = CloseCode.FORBIDDEN) -> None:
        """Make the decision on it once more; close with `code` if it may not be here any more."""
        self._decide(self._credentials, code)

    def _decide(self, credentials: Credentials, code: CloseCode | None) -> None:
        if not self._deciding:
            self._deciding = True
            self._hub.crew.spawn("decision", self._decide_anew, credentials, code)

    def _decide_anew(self, credentials: Credentials, code: CloseCode | None) -> None:
        auth = self._hub.admission.auth
        try:
            user = auth.decide_again(self.document_id, credentials, self.user)
            if user.id != self.user.id:
                raise Forbidden("You cannot go on as another user: connect anew")
            self._hub.admission.check_ban(self.document_id, user)
        except HandshakeRefused as error:
            if code is None and self._statuses is None:
                self.reply(Error(error.code, error.message))
            elif error.status < 500:  # else nothing was decided
                self.close(code or CloseCode.UNAUTHORIZED, error.message)
            return
        finally:
            self._deciding = False
        self.user = user._replace(name=self.user.name, anonymous=self.user.anonymous)
        self.may_write = user.rights >= Rights.WRITE
        self._credentials = auth.kept(credentials)
        self._asked = False
        if self._counted:
            self._hub.admission.watch(self)
            self.reply(Granted(user.rights.word))

    def expire(self, at: float) -> None:
        """Ask for a fresh token when the time of this one, in seconds since 1970, is nearly over; then end."""
        expires = self.user.expires
        if expires is None:
            return
        if at >= expires:
            self.recheck(CloseCode.UNAUTHORIZED)
        elif at >= expires - ASK_AHEAD and not self._asked:
            self._asked = True
            self.reply(AskToken())

    # ---- whether it lives

    def probe(self) -> None:
        """Ask for a sign of life."""
        self.connection.probe()

    def heard_since(self, when: float) -> bool:
        """Whether there was one after `when`."""
        return self.connection.heard_since(when)

    def lost(self) -> None:
        """Give the connection up."""
        self.connection.lost()
