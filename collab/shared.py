"""A connection with many sessions, each of which comes in and goes by itself: what the Hocuspocus dialect has.

Invariants borne here:

* Nothing of an address takes effect before it was decided who that is. What comes meanwhile is held, within bounds over
  the whole connection, and takes effect in order afterwards.
* Whoever is denied keeps the connection, and may try again; one that nobody was let in on is closed after a while.
* One address that cannot go on does not end the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gevent.event import Event

from collab import comings
from collab.backlog import Backlog
from collab.clock import now
from collab.connection import Connection
from collab.door import OPEN
from collab.errors import HandshakeRefused, InvalidMessage, ProtocolError, TooLarge
from collab.identity import Credentials
from collab.metrics import INVALID
from collab.names import is_name
from collab.protocol.frames import BINARY, CloseCode, encode_frame
from collab.protocol.hocuspocus import AUTH, AWARENESS, CLOSE, PING, PONG, SYNC, Hocuspocus, open_envelope
from collab.protocol.messages import Auth, Denied, Farewell, Ignored, Ping, Pong, Presence, Quit
from collab.seat import Held, Seat
from collab.session import Session
from collab.tracing import within
from collab.transport import Socket

if TYPE_CHECKING:
    from collab.hub import Hub

BEAT: Final = 20.0
"""Seconds between messages: the provider gives a connection up that brought it none for 30."""

RETRY: Final = 2.0
"""Seconds between tries to open a document that cannot be loaded now."""


class Shared(Connection):
    """One client in any number of documents."""

    dialect_name = Hocuspocus.name

    __slots__ = (
        "_admitted",
        "_by",
        "_credentials",
        "_denied",
        "_held",
        "_hub",
        "_seats",
        "_shows_tokens",
        "latest",
    )

    def __init__(self, hub: Hub, socket: Socket, address: str, credentials: Credentials) -> None:
        super().__init__(socket, hub.settings, hub.metrics, hub.crew, address)
        self._hub = hub
        self._credentials = credentials
        self._seats: dict[bytes, Seat] = {}
        self._denied: dict[bytes, None] = {}  # the latest addresses that were denied and not tried again
        self._held = Held(hub.settings.max_unauthenticated_bytes)
        self._admitted = self._shows_tokens = False
        self.latest: Session | None = None  # who was last spoken to
        self.on_message = self._take_message
        self._by = self.heard + self._settings.auth_timeout
        self.beat_by(self.heard + BEAT)
        self._watch()

    # ---- what the client says

    def _take_message(self, payload: bytes, text: bool) -> None:
        received = self._metrics.received
        if text:
            received.note(Ignored, len(payload))
            self._metrics.count("ignored", "text")
        elif payload == PING:
            received.note(Ping, len(payload))
            self._answer(Pong, encode_frame(BINARY, PONG))
        elif payload == PONG:
            received.note(Pong, len(payload))
        else:
            try:
                self._pass_on(payload)
            except ProtocolError as error:
                received.note(INVALID, len(payload))
                self._metrics.count("refused", error.code)
                self.count_invalid()

    def _pass_on(self, payload: bytes) -> None:
        """Give a message to the session that it is for, or hold it until there is one."""
        address, kind = open_envelope(payload)
        self._shows_tokens = self._shows_tokens or kind == AUTH
        seat = self._seats.get(address)
        if seat is not None and seat.session is not None and kind != CLOSE:
            self.latest = seat.session
            seat.session.on_message(payload, False)
        elif kind == CLOSE:
            self._metrics.received.note(Quit, len(payload))
            if seat is not None:
                self._drop(seat, "the client left")
        elif seat is not None or self._begins(address, kind):
            self._want(seat or self._take_seat(address), payload, kind)
        else:
            self._metrics.received.note(Ignored, len(payload))
            self._metrics.count("ignored", "not_in")

    def _answer(self, kind: type, frame: bytes) -> None:
        """Say something outside of all documents, or about one that nobody is in."""
        self._metrics.sent.note(kind, len(frame))
        self.put(frame)

    def took(self, count: int) -> None:
        # A turn that speaks of several documents is the last one's: all of them are told in the same loop pass.
        room = self.latest.room if self.latest is not None else None
        if room is not None:
            room.heard(self.heard, count)

    def _begins(self, address: bytes, kind: int) -> bool:
        """Whether this is of somebody who wants in, rather than a last word of who was denied or has left."""
        if address in self._denied:
            return kind == AUTH or (kind == SYNC and not self._shows_tokens)
        return kind != AWARENESS  # the provider of version 2 says that it is gone once more when it is

    def _take_seat(self, address: bytes) -> Seat:
        most = self._settings.max_documents_per_socket
        dialect = Hocuspocus(address)
        if len(self._seats) >= most:
            self._say_denied(dialect, f"more than {most} documents on one connection")
            raise TooLarge(f"more than {most} documents on one connection")
        self._check_name(dialect)
        self._denied.pop(address, None)
        seat = self._seats[address] = Seat(dialect, now() + self._settings.auth_timeout)
        self._watch()
        return seat

    def _check_name(self, dialect: Hocuspocus) -> None:
        """Raise `InvalidMessage` if no document can have that name."""
        if not is_name(dialect.document_name):
            text = "a document's name is 1 to 255 characters without control characters"
            self._say_denied(dialect, text)
            raise InvalidMessage(text)

    def _want(self, seat: Seat, payload: bytes, kind: int) -> None:
        """Somebody who is not in yet says something: begin to decide, or hold it until that is done."""
        if kind == AUTH and not seat.deciding:
            message = seat.dialect.decode(payload, False)
            assert isinstance(message, Auth)
            self._metrics.received.note(Auth, len(payload))
            seat.version = message.version
            self._decide(seat, message.token)
            return
        if not self._held.take(seat, payload):
            if seat.admitted:
                self.close(CloseCode.TRY_AGAIN_LATER, "a document cannot be loaded now; come back later")
            else:
                self.close(CloseCode.ABUSE, "too much before it was decided who this is")
            return
        if not seat.deciding and (self._credentials.token is not None or not self._hub.auth.needs_token):
            self._decide(seat, None)

    # ---- coming in

    def _decide(self, seat: Seat, token: str | None) -> None:
        seat.deciding = True
        admit = within(self.trace, "admission", self._admit, seat.dialect.document_name)
        self._crew.spawn("admission", admit, seat, token)

    def _admit(self, seat: Seat, token: str | None) -> None:
        """Let somebody in, or deny it. Switches greenlets."""
        try:
            document_id = seat.dialect.document_name
            shown = self._credentials._replace(token=token) if token else self._credentials
            user = self._hub.admission.decide(document_id, shown)
        except HandshakeRefused as error:
            self._metrics.count("upgrades_refused", error.code)
            comings.denied(self, seat.dialect.document_name, error)
            self._deny(seat, str(error))
            if error.status < 500:
                self.count_invalid()
            return
        except BaseException:
            self._deny(seat, "it could not be decided who this is")
            raise
        seat.admitted = True
        kept = self._hub.auth.kept(shown)
        session = Session(self._hub, self, seat.dialect, document_id, user, kept)
        try:
            self._wait_in(seat, session)
            self._let_in(seat, session)
        except BaseException:
            self.close(CloseCode.INTERNAL_ERROR, "internal error")
            raise

    def _wait_in(self, seat: Seat, session: Session) -> None:
        """Go into the document, as soon as it can be loaded."""
        while self.state is OPEN and not seat.gone:
            session.enter()
            if session.room is not None or seat.gone:
                return
            self._over = self._over or Event()
            self._over.wait(RETRY)

    def _let_in(self, seat: Seat, session: Session) -> None:
        if seat.gone or self.state is not OPEN or session.room is None:
            session.leave(for_good=True)
            return
        self._admitted = True
        self.meter = self._hub.admission.meter(session.user_id)
        seat.session, seat.deciding = session, False
        comings.entered(session)
        for payload in self._held.give_back(seat):
            session.on_message(payload, False)

    # ---- going

    def _drop(self, seat: Seat, reason: str) -> None:
        """Nobody is in `seat` any more, or wants to be."""
        if seat.gone:
            return
        seat.gone = True
        del self._seats[seat.dialect.address]
        self._held.give_back(seat)
        if seat.session is not None:
            seat.session.leave(for_good=True)
            comings.left(seat.session, reason)

    def _deny(self, seat: Seat, reason: str) -> None:
        if not seat.gone:
            self._drop(seat, reason)
            self._say_denied(seat.dialect, reason)

    def _say_denied(self, dialect: Hocuspocus, reason: str) -> None:
        if len(self._denied) >= self._settings.max_documents_per_socket:
            del self._denied[next(iter(self._denied))]
        self._denied[dialect.address] = None
        self._answer(Denied, dialect.encode(Denied(reason)))

    def dismiss(self, session: Session, code: CloseCode, reason: str) -> None:
        if code == CloseCode.TRY_AGAIN_LATER:
            return  # `_admit` does
        if code == CloseCode.RESTART:
            # Told in band, the provider would neither come back by itself nor sync again.
            self.close(CloseCode.RESET, reason)
            return
        for seat in list(self._seats.values()):
            if seat.dialect is session.dialect:
                self._deny(seat, reason)
                if seat.version is not None:  # the others know no such message
                    self._answer(Farewell, seat.dialect.encode(Farewell(reason)))

    def on_end(self) -> None:
        for seat in list(self._seats.values()):
            if seat.session is not None:
                seat.session.leave()

    def finish(self) -> None:
        super().finish()
        self._hub.forget(self)
        for seat in self._seats.values():
            if seat.session is not None:
                comings.left(seat.session, "the connection is over")
        comings.went(self, Hocuspocus.name, None)

    # ---- what it is told

    def on_caught_up(self, backlog: Backlog) -> bytes:
        return b"".join(session.repaired(repair) for session, repair in backlog.repairs.items())

    def tick(self, at: float) -> None:
        """Deny who has not shown a token in time, and close on a client of whom nobody was let in."""
        for seat in self._silent():
            if at >= seat.by:
                self._deny(seat, "no token has come")
        if not self._admitted and at >= self._by and not any(seat.deciding for seat in self._seats.values()):
            self.close(CloseCode.TIMEOUT, "nobody has come in")
        super().tick(at)
        self._watch()

    def _silent(self) -> list[Seat]:
        """Those who have not said yet who they are."""
        return [seat for seat in self._seats.values() if seat.session is None and not seat.deciding]

    def _watch(self) -> None:
        """See to it that `tick` is called when somebody's time to come in is over."""
        deadlines = [seat.by for seat in self._silent()]
        self.due = min([self.due, *deadlines] if self._admitted else [self.due, self._by, *deadlines])

    def beat(self) -> float:
        seated = next((seat.session for seat in self._seats.values() if seat.session is not None), None)
        if seated is not None and self.backlog is None:
            seated.reply(Presence({}))
        return BEAT
