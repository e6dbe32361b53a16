"""The presence side of a room: what members say of themselves, and whose word counts when two claim one id.

Nothing here switches greenlets. A claim of an id that belongs to somebody else's live session is held: the owner is
asked for a sign of life, and only if none comes within `CLAIM_TIMEOUT` is it given up and the claim taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from collab.awareness import MAX_CLIENTS, Awareness
from collab.errors import TooLarge
from collab.metrics import Metrics
from collab.protocol.jsontext import dump_json
from collab.protocol.messages import Presence
from collab.protocol.yawareness import Entry, decode_awareness

if TYPE_CHECKING:
    from collab.member import Member

CLAIM_TIMEOUT: Final = 2.0


@dataclass(slots=True)
class Claim:
    """An entry that waits for its id's owner to prove that it lives."""

    entry: Entry
    member: Member
    owner: Member
    since: float


@dataclass(slots=True)
class Own:
    """What a client without Yjs has said of itself."""

    client: int
    parts: dict[str, Any] = field(default_factory=dict)


class Presences:
    """Presence in one room.

    Args:
        awareness: the entries.
        max_state: largest state in bytes.
        metrics: where to count.
        wake: called when there is news to tell at the end of this loop pass.

    Attributes:
        changed: the clients of which there is news, and the member that is not to hear of it again, if any.
    """

    __slots__ = ("_claims", "_max_state", "_metrics", "_own", "_wake", "awareness", "changed")

    def __init__(self, awareness: Awareness, max_state: int, metrics: Metrics, wake: Callable[[], None]) -> None:
        self.awareness = awareness
        self._max_state = max_state
        self._metrics = metrics
        self._wake = wake
        self.changed: dict[int, Member | None] = {}
        self._claims: dict[int, Claim] = {}
        self._own: dict[Member, Own] = {}

    def news(self) -> list[tuple[Presence, Member | None]]:
        """What has changed since this was last asked, and who needs not be told."""
        changed, self.changed = self.changed, {}
        clients: dict[Member | None, list[int]] = {}
        for client, author in changed.items():
            clients.setdefault(author, []).append(client)
        return [(Presence(self.awareness.entries(ids)), author) for author, ids in clients.items()]

    def _tell(self, clients: Iterable[int], author: Member | None = None) -> None:
        if author is not None and author.dialect.hears_itself:
            author = None
        for client in clients:
            self.changed[client] = author
            self._wake()

    def update(self, member: Member, update: bytes, now: float) -> None:
        """Take an awareness update.

        Raises:
            InvalidUpdate: it is malformed; nothing of it is taken.
            TooLarge: a state is too large, and nothing is taken; or the member would be too many awareness clients, and
                only the others are taken.
        """
        outcome = self.awareness.apply(decode_awareness(update, self._max_state), member, now)
        self._tell(outcome.changed, member)
        if outcome.stale:
            entries = self.awareness.entries(outcome.stale)
            member.reply(Presence({client: (clock, None) for client, (clock, _) in entries.items()}))
        for entry in outcome.claims:
            self._hold(entry, member, now)
        if outcome.over:
            raise TooLarge(f"more than {MAX_CLIENTS} awareness clients on one connection")

    def _hold(self, entry: Entry, member: Member, now: float) -> None:
        claim = self._claims.get(entry.client)
        if claim is None:
            owner: Any = self.awareness.records[entry.client].owner
            self._claims[entry.client] = Claim(entry, member, owner, now)
            owner.probe()
        elif claim.member is member and entry.clock >= claim.entry.clock:
            claim.entry = entry

    def update_json(self, member: Member, parts: dict[str, Any], now: float) -> None:
        """Take what a client without Yjs says of itself: some of `user`, `cursor` and `state`, None clearing one.

        Raises:
            TooLarge: its state would be larger than the limit.
        """
        own = self._own.get(member) or Own(self._new_client())
        merged = {key: value for key, value in {**own.parts, **parts}.items() if value is not None}
        user = merged.get("user")
        # Who it is was decided when it connected; a client can add to that, but not change it.
        user = {"name": member.user_name, **(user if isinstance(user, dict) else {}), "id": member.user_id}
        text = dump_json({"client_id": own.client, **merged, "user": user})
        if len(text) > self._max_state:
            raise TooLarge(f"awareness state over the limit of {self._max_state} bytes")
        record = self.awareness.records.get(own.client)
        self.awareness.take(Entry(own.client, record.clock + 1 if record else 1, text), member, now, held=True)
        own.parts = merged
        self._own[member] = own
        self._tell([own.client], member)

    def _new_client(self) -> int:
        while True:
            client = random.getrandbits(32)
            if client not in self.awareness.records:
                return client

    def leave(self, member: Member, now: float) -> None:
        """Forget all that was `member`'s, and let the claims of others on it through."""
        self._own.pop(member, None)
        self._tell(self.awareness.remove(member, now))
        for client, claim in list(self._claims.items()):
            if claim.member is member:
                del self._claims[client]
            elif claim.owner is member:
                del self._claims[client]
                self._tell(self.awareness.apply([claim.entry], claim.member, now).changed)

    def claimed(self, member: Member) -> bool:
        """Whether somebody else waits for what is `member`'s."""
        return any(claim.owner is member for claim in self._claims.values())

    def pass_on(self, old: Member, new: Member) -> None:
        """What was `old`'s is `new`'s, which goes on in its place."""
        self.awareness.pass_on(old, new)
        if old in self._own:
            self._own[new] = self._own.pop(old)
        for claim in self._claims.values():
            claim.owner = new if claim.owner is old else claim.owner
            claim.member = new if claim.member is old else claim.member

    def tick(self, now: float) -> None:
        """Expire, renew, and settle the claims that have waited long enough."""
        self._tell(self.awareness.expire(now))
        for client, claim in list(self._claims.items()):
            if now - claim.since < CLAIM_TIMEOUT:
                continue
            if claim.owner.heard_since(claim.since):
                del self._claims[client]
                self._metrics.count("claims_dropped")
            else:
                claim.owner.lost()
