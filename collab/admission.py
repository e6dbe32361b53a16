"""The one door in: who may come, and whether there is room for one more.

Invariants borne here:

* What is cheap to tell is told first: nobody's token is looked at for a connection that there is no room for.
* Every session and connection that was counted in is counted out, whatever ends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from collab.auth import Authenticator
from collab.clock import now
from collab.config import Settings
from collab.errors import Forbidden, HandshakeRefused
from collab.identity import Credentials, User
from collab.limits import Meter
from collab.networks import network_of

if TYPE_CHECKING:
    from collab.session import Session

MAX_BANS: Final = 10_000
"""Users that are kept out at once; over that the earliest are let in again."""

_RETRY: Final = {"Retry-After": "10"}


class Admission:
    """Lets users into documents.

    Args:
        settings: the limits.
        auth: who they are.
        documents: those that are open.

    Attributes:
        auth: may be set to another one before the first request.
        expiring: the sessions whose users are to be asked again some time.
        sessions: how many there are, by dialect.
    """

    def __init__(self, settings: Settings, auth: Authenticator, documents: Collection[str]) -> None:
        self.auth = auth
        self.expiring: set[Session] = set()
        self.sessions: Counter[str] = Counter()
        self._settings = settings
        self._documents = documents
        self._connections = 0
        self._by_network: Counter[str] = Counter()
        self._by_user: Counter[str] = Counter()
        self._by_document: Counter[str] = Counter()
        self._banned: dict[tuple[str, str | None], float] = {}
        self._meters: WeakValueDictionary[str, Meter] = WeakValueDictionary()

    # ---- decisions

    def check_room(self, address: str) -> None:
        """Make sure that there is room for one more connection from `address`, or its network.

        Raises:
            HandshakeRefused: 503, there is none in this process; 429, there are too many from there.
        """
        settings = self._settings
        if self._connections >= settings.max_connections:
            text = f"The server is full: {settings.max_connections} connections (COLLAB_MAX_CONNECTIONS)"
            raise HandshakeRefused(503, "full", text, _RETRY)
        if self._by_network[network_of(address)] >= settings.max_connections_per_address:
            text = "Too many connections from your address or network"
            raise HandshakeRefused(429, "too_many_connections", text, _RETRY)

    def decide(self, document_id: str, credentials: Credentials) -> User:
        """Who this is, if they may come into the document now. May switch greenlets.

        Raises:
            HandshakeRefused: they may not, or there is no room: 401, 403, 429 or 503.
        """
        user = self.auth.decide(document_id, credentials)
        self.check_ban(document_id, user)
        settings = self._settings
        if self._by_user[user.id] >= settings.max_sessions_per_user:
            raise HandshakeRefused(429, "too_many_sessions", "You have too many sessions open: close some", _RETRY)
        if self._by_document[document_id] >= settings.max_sessions_per_document:
            text = f"The document is full: {settings.max_sessions_per_document} sessions"
            raise HandshakeRefused(503, "document_crowded", text, _RETRY)
        if len(self._documents) >= settings.max_rooms and document_id not in self._documents:
            text = f"The server is full: {settings.max_rooms} documents are open (COLLAB_MAX_ROOMS)"
            raise HandshakeRefused(503, "full", text, _RETRY)
        return user

    def check_ban(self, document_id: str, user: User) -> None:
        """Make sure that `user` is not kept out.

        Raises:
            Forbidden: they are.
        """
        at = now()
        until = max(self._banned.get((document_id, who), at) for who in (user.id, None))
        if until > at:
            raise Forbidden(f"You were sent out of this document; come back in {until - at:.0f} s", "kicked")

    def ban(self, document_id: str, user_id: str | None, seconds: float) -> None:
        """Keep a user, or everybody, out of a document for a while."""
        at = now()
        self._banned = {who: until for who, until in self._banned.items() if until > at}
        while len(self._banned) >= MAX_BANS:
            del self._banned[next(iter(self._banned))]
        self._banned[document_id, user_id] = at + seconds

    # ---- who is here

    def connect(self, address: str) -> None:
        """There is one more connection from `address`."""
        self._connections += 1
        self._by_network[network_of(address)] += 1

    def disconnect(self, address: str) -> None:
        """There is one fewer."""
        self._connections -= 1
        _lower(self._by_network, network_of(address))

    def enter(self, session: Session) -> None:
        """`session` has been let in."""
        self.sessions[session.dialect.name] += 1
        self._by_user[session.user_id] += 1
        self._by_document[session.document_id] += 1
        self.watch(session)

    def leave(self, session: Session) -> None:
        """`session` is over."""
        self.sessions[session.dialect.name] -= 1
        _lower(self._by_user, session.user_id)
        _lower(self._by_document, session.document_id)
        self.expiring.discard(session)

    def watch(self, session: Session) -> None:
        """See to it that `session` ends, or is decided anew, when its user's time is over."""
        if session.user.expires is None:
            self.expiring.discard(session)
        else:
            self.expiring.add(session)

    @property
    def users(self) -> int:
        """How many users there are."""
        return len(self._by_user)

    def meter(self, user_id: str) -> Meter:
        """What a user sends is counted here, over all of their connections."""
        meter = self._meters.get(user_id)
        if meter is None:
            meter = self._meters[user_id] = Meter(self._settings.rate_messages, self._settings.rate_bytes)
        return meter


def _lower(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
