"""Who is here: the presence entries of one document, and whose they are.

Rules, those of y-protocols with ownership added:

* An entry is taken if its clock is greater than the known one, or equal with state None while the client is present.
  An unknown client counts as clock 0. What is not taken is not told to anybody: clients echo all that they hear.
* An id belongs to the session that first used it, while that session lives. A claim of another session of the same
  user takes it over at once; a claim of anybody else is returned for the room to settle.
* An entry that nobody renewed for `EXPIRY` seconds is gone, unless the server itself holds it for its owner.
* A gone entry's clock is remembered for `EXPIRY` seconds. Whoever comes back with an older clock meanwhile is told
  that it is gone, upon which y-protocols clients raise their clock and are seen again.

Nothing here reads a clock: `now` is in seconds and the caller's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from collab.errors import TooLarge
from collab.protocol.yawareness import Entry

EXPIRY: Final = 30.0
RENEWAL: Final = 15.0
MAX_CLIENTS: Final = 64
"""Awareness clients that one session may be: a tab is one, a bridge several."""
MAX_GONE: Final = 4096
"""Clients that are remembered to be gone; over that the longest gone are forgotten first."""


class Owner(Protocol):
    """A session, as far as presence knows it."""

    @property
    def user_id(self) -> Hashable:
        """Sessions with equal ids are one user's."""


@dataclass(slots=True)
class Record:
    """What is known of one client; `state` is JSON text, None for gone; `held` if the server renews it."""

    clock: int
    state: str | None
    owner: Owner | None
    seen: float
    held: bool = False


class Outcome(NamedTuple):
    """What became of the entries of one awareness update."""

    changed: list[int]
    """Ids whose entries were taken."""
    stale: list[int]
    """Ids which the sender must be told are gone."""
    claims: list[Entry]
    """Entries for ids that belong to somebody else."""
    over: list[Entry]
    """Entries of more than `MAX_CLIENTS` clients."""


class Awareness:
    """The presence entries of one document."""

    __slots__ = ("_gone", "_next_expiry", "_owned", "records")

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self._owned: dict[Owner, set[int]] = {}
        self._gone: dict[int, None] = {}  # the longest gone first
        self._next_expiry = 0.0

    def apply(self, entries: Iterable[Entry], sender: Owner, now: float) -> Outcome:
        """Take what `sender` says, and tell what became of it."""
        outcome = Outcome([], [], [], [])
        for entry in entries:
            record = self.records.get(entry.client)
            if record is None:
                if entry.state is None or entry.clock < 1:
                    continue
            elif not self._advances(record, entry):
                if record.state is None and entry.state is not None and entry.clock <= record.clock:
                    outcome.stale.append(entry.client)
                continue
            elif record.owner is not None and record.owner is not sender and record.owner.user_id != sender.user_id:
                outcome.claims.append(entry)
                continue
            try:
                self.take(entry, sender, now)
            except TooLarge:
                outcome.over.append(entry)
            else:
                outcome.changed.append(entry.client)
        return outcome

    @staticmethod
    def _advances(record: Record, entry: Entry) -> bool:
        if entry.clock == record.clock:
            return entry.state is None and record.state is not None
        return entry.clock > record.clock

    def take(self, entry: Entry, owner: Owner, now: float, held: bool = False) -> None:
        """Make `entry` what is known of its client, and the client `owner`'s while it is present.

        Raises:
            TooLarge: the owner would be more than `MAX_CLIENTS` awareness clients.
        """
        ids = self._owned.get(owner)
        if entry.state is not None and ids is not None and len(ids) >= MAX_CLIENTS and entry.client not in ids:
            raise TooLarge(f"more than {MAX_CLIENTS} awareness clients on one connection")
        self._disown(entry.client)
        if entry.state is None:
            self._bury(entry.client, entry.clock, now)
        else:
            self._gone.pop(entry.client, None)
            self.records[entry.client] = Record(entry.clock, entry.state, owner, now, held)
            self._owned.setdefault(owner, set()).add(entry.client)

    def _disown(self, client: int) -> None:
        record = self.records.get(client)
        if record is None or record.owner is None:
            return
        ids = self._owned[record.owner]
        ids.discard(client)
        if not ids:
            del self._owned[record.owner]

    def remove(self, owner: Owner, now: float) -> list[int]:
        """Mark all that is `owner`'s as gone; the ids."""
        ids = list(self._owned.get(owner, ()))
        for client in ids:
            self._disown(client)
            self._bury(client, self.records[client].clock, now)
        return ids

    def pass_on(self, old: Owner, new: Owner) -> None:
        """Make all that is `old`'s `new`'s."""
        ids = self._owned.pop(old, set())
        for client in ids:
            self.records[client].owner = new
        if ids:
            self._owned[new] = ids | self._owned.get(new, set())

    def _bury(self, client: int, clock: int, now: float) -> None:
        self.records[client] = Record(clock, None, None, now)
        self._gone.pop(client, None)
        self._gone[client] = None
        if len(self._gone) > MAX_GONE:
            self._forget(next(iter(self._gone)))

    def _forget(self, client: int) -> None:
        self._gone.pop(client, None)
        self.records.pop(client, None)

    def expire(self, now: float) -> list[int]:
        """Renew what the server holds, mark as gone what nobody renewed, forget what is long gone.

        Returns:
            Ids whose entries changed.
        """
        if now < self._next_expiry:
            return []
        self._next_expiry = now + 1.0
        changed = []
        for client, record in list(self.records.items()):
            age = now - record.seen
            if record.held and age >= RENEWAL:
                record.clock += 1
                record.seen = now
                changed.append(client)
            elif age < EXPIRY:
                continue
            elif record.state is None:
                self._forget(client)
            else:
                self._disown(client)
                self._bury(client, record.clock, now)
                changed.append(client)
        return changed

    def entries(self, clients: Iterable[int]) -> dict[int, tuple[int, str | None]]:
        """(clock, state) of those of `clients` that are known."""
        records = self.records
        return {client: (records[client].clock, records[client].state) for client in clients if client in records}

    def present(self) -> dict[int, tuple[int, str | None]]:
        """(clock, state) of all who are here."""
        return {
            client: (record.clock, record.state) for client, record in self.records.items() if record.state is not None
        }

    def known(self) -> dict[int, tuple[int, str | None]]:
        """(clock, state) of all who are here and of those gone a short while ago."""
        return self.entries(self.records)
