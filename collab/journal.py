"""What rooms have gained and the store does not have yet, and who waits to hear that it has.

Invariants borne here:

* What all rooms gain is numbered in one order, and stored in that order: all up to `Unstored.stored` is safe, so that
  nothing has to be noted for each room when something is.
* A receipt is confirmed only when everything that was recorded before it is stored.

Only the loop's thread calls anything here. Whoever writes to the store in another one takes `gains` from the left, and
reads or sets single attributes as they say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from collab.clock import now
from collab.member import Member

if TYPE_CHECKING:
    from collab.room import Room

RECORD_COST: Final = 64
"""Bytes that an update costs a store beside its own."""

UPDATE_COST: Final = 256
"""Bytes that an update which waits to be stored costs this process beside its own."""

MANY: Final = 128
"""Receipts of one room that wait one by one; more are given together, with the latest."""


Gain = tuple["Journal", Sequence[bytes], int, bool]
"""What a document has gained at once, its cost in bytes as `Unstored` counts it, and whether the store has yet to make
the document."""


class Unstored:
    """What waits to be stored in all rooms together.

    Args:
        limit: bytes at which it is full: no more updates are taken.

    Attributes:
        gains: what nobody has begun to store.
        newest: the number of the latest of all.
        stored: the number up to which all are stored.
        oldest: when the first came of those that are not, at the earliest.
        size: bytes of these.
        waiting: the journals that are to hear when more is stored.
        asleep: whether the writer has to be woken when there is something to store; set by it.
        wake: does so.
    """

    __slots__ = ("asleep", "full", "gains", "limit", "newest", "oldest", "size", "stored", "waiting", "wake")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.gains: deque[Gain] = deque()
        self.newest = self.stored = self.size = 0
        self.oldest = 0.0
        self.full = False
        self.waiting: dict[Journal, None] = {}
        self.asleep = False
        self.wake: Callable[[], object]

    @property
    def behind(self) -> int:
        """How many gains these are."""
        return self.newest - self.stored

    def put(self, journal: Journal, updates: Sequence[bytes], cost: int, new: bool) -> int:
        """Have something stored; its number."""
        if self.newest == self.stored:
            self.oldest = now()
        self.size += cost
        self.full = self.size >= self.limit
        self.newest += 1
        self.gains.append((journal, updates, cost, new))
        if self.asleep:
            self.wake()
        return self.newest

    def free(self, size: int) -> None:
        """So many bytes wait no longer."""
        self.size -= size
        self.full = self.size >= self.limit


class Journal:
    """A document's account with the store.

    Args:
        unstored: shared with the other documents.
        document_id: its name.
        epoch: of the document.
        new: the store does not have the document yet.
        base: bytes of the first update that the store has of it, which is usually most of it.
        tail: bytes that the others come to.
        versioned: when its latest version was saved, in seconds since 1970.
        at_once: whether receipts do not wait for the store (`COLLAB_ACK=applied`).
        most: bytes that the store may have of it.

    Attributes:
        room: where it is open; None before that.
        changes: how many times something was recorded.
        latest: the number of the latest of them in `unstored`.
        full: whether the store has as much of it as it may; a compaction may change that.
        finished: up to which of `changes` the document was left in order when nobody was there.
        versioned_changes: up to which of `changes` a version holds.
        busy: whether somebody is keeping the document in order right now.
        abandoned: whether the document is no more, and nothing of it is to be stored.
    """

    __slots__ = (
        "_after",
        "_before",
        "_made",
        "_mark",
        "_receipts",
        "abandoned",
        "at_once",
        "base",
        "busy",
        "changes",
        "document_id",
        "epoch",
        "finished",
        "full",
        "latest",
        "most",
        "room",
        "tail",
        "unstored",
        "versioned",
        "versioned_changes",
    )

    def __init__(
        self,
        unstored: Unstored,
        document_id: str,
        epoch: str,
        *,
        new: bool,
        base: int = 0,
        tail: int = 0,
        versioned: float = 0.0,
        at_once: bool = False,
        most: float = float("inf"),
    ) -> None:
        self.unstored = unstored
        self.document_id = document_id
        self.epoch = epoch
        self.base = base
        self.tail = tail
        self.versioned = versioned
        self.at_once = at_once
        self.most = most
        self.full = base + tail > most
        self.room: Room | None = None
        self.changes = self.latest = self.finished = self.versioned_changes = 0
        self.busy = self.abandoned = False
        self._made = float("inf") if new else 0  # the number of what makes the document
        self._mark = self._before = self._after = 0  # bytes recorded up to the number, and later
        self._receipts: deque[tuple[int, dict[Member, int]]] = deque()

    @property
    def clean(self) -> bool:
        """Whether the store has everything."""
        return self.latest <= self.unstored.stored

    @property
    def new(self) -> bool:
        """Whether the store does not have the document yet."""
        return self._made > self.unstored.stored

    @property
    def waiting(self) -> int:
        """Bytes that the store does not have yet, those of a write that has just been made at times included."""
        stored = self.unstored.stored
        return (self._before if self._mark > stored else 0) + (self._after if self.latest > stored else 0)

    def record(self, updates: Sequence[bytes]) -> None:
        """Something has changed."""
        unstored, count = self.unstored, len(updates)
        size = sum(map(len, updates))
        cost = size + UPDATE_COST * count
        if self._mark <= unstored.stored:
            self._before, self._after, self._mark = self._after, 0, self.latest
        self._after += cost
        self.changes += 1
        self.tail += size + RECORD_COST * count
        self.full = self.base + self.tail > self.most
        makes = self._made == float("inf")
        self.latest = unstored.put(self, updates, cost, makes)
        if makes:
            self._made = self.latest

    def compacted(self, base: int) -> None:
        """The store has one update of so many bytes in place of all that it had."""
        self.base, self.tail = base, self.waiting
        self.full = self.base + self.tail > self.most

    def promise(self, receipts: dict[Member, int]) -> None:
        """Confirm each member's number once all that was recorded so far is stored."""
        if self.abandoned:
            return
        if self.at_once or self.clean:
            _confirm(receipts)
            return
        if self._receipts and (self._receipts[-1][0] == self.latest or len(self._receipts) >= MANY):
            receipts = {**self._receipts.pop()[1], **receipts}
        self._receipts.append((self.latest, receipts))
        self.follow()

    def follow(self) -> None:
        """Hear of it when more is stored, until all of this is."""
        self.unstored.waiting[self] = None

    def settle(self) -> None:
        """Give the receipts that are due, since more is stored."""
        receipts: dict[Member, int] = {}
        while self._receipts and self._receipts[0][0] <= self.unstored.stored:
            receipts |= self._receipts.popleft()[1]
        _confirm(receipts)

    def abandon(self) -> None:
        """The document that this belongs to is no more: nothing is to be stored, and nobody's receipt comes."""
        self.abandoned = True
        self._receipts.clear()
        self.latest = 0
        self.finished = self.changes


def _confirm(receipts: dict[Member, int]) -> None:
    for member, number in receipts.items():
        member.confirm(number)
