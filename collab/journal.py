"""What of a room the store does not have yet, and who waits to hear that it has.

Invariants borne here:

* Whether something is unstored is the difference of two counters, never a flag: what comes in while the store is
  writing is still unstored when the write is done.
* A receipt is confirmed only when everything that was recorded before it is stored.
* What is recorded stays here or with whoever took it, and is counted in `Unstored`, until it is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from collab.member import Member
from collab.updates import contain, merge

RECORD_COST: Final = 64
"""Bytes that an update costs a store beside its own."""

UPDATE_COST: Final = 64
"""Bytes that an update costs this process beside its own."""

MANY: Final = 1000
"""Updates that wait until they are joined into one, so that there are never too many to join at once."""


class Unstored:
    """How much waits to be stored in all rooms together.

    Args:
        limit: bytes at which it is full: no more updates are taken.
    """

    __slots__ = ("full", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.full = False

    def change(self, size: int) -> None:
        """Count so many bytes more, or fewer."""
        self.size += size
        self.full = self.size >= self.limit


class Journal:
    """A room's account with the store.

    Args:
        unstored: shared with the other rooms.
        epoch: of the document.
        new: the store does not have the document yet.
        base: bytes of the first update that the store has of it, which is usually most of it.
        tail: bytes that the others come to.
        versioned: when its latest version was saved, in seconds since 1970.
        at_once: whether receipts do not wait for the store (`COLLAB_ACK=applied`).
        most: bytes that the store may have of it.

    Attributes:
        changes: how many times something was recorded.
        stored: up to which of these all is stored.
        finished: up to which of these the document was left in order when nobody was there.
        versioned_changes: up to which of these a version holds.
        busy: whether somebody is keeping the document in order right now.
    """

    __slots__ = (
        "_given",
        "_receipts",
        "_size",
        "_taken",
        "_updates",
        "_wake",
        "at_once",
        "base",
        "busy",
        "changes",
        "epoch",
        "finished",
        "most",
        "new",
        "stored",
        "tail",
        "unstored",
        "versioned",
        "versioned_changes",
    )

    def __init__(
        self,
        unstored: Unstored,
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
        self.epoch = epoch
        self.new = new
        self.base = base
        self.tail = tail
        self.versioned = versioned
        self.at_once = at_once
        self.most = most
        self.changes = self.stored = self.finished = self.versioned_changes = 0
        self._taken = 0  # up to which of these the store is being given
        self._size = 0  # of `_updates`, as counted in `unstored`
        self._given = 0  # of what the store is being given
        self.busy = False
        self._updates: list[bytes] = []
        self._receipts: deque[tuple[int, dict[Member, int]]] = deque()
        self._wake: Callable[[], None] | None = None

    def attach(self, wake: Callable[[], None]) -> None:
        """From here on call `wake` when there is something to store."""
        self._wake = wake
        if self._updates:
            wake()

    @property
    def clean(self) -> bool:
        """Whether the store has everything."""
        return self.stored == self.changes

    @property
    def waiting(self) -> int:
        """Bytes that the store does not have yet."""
        return self._size + (self._given if self.stored < self._taken else 0)

    @property
    def full(self) -> bool:
        """Whether the store has as much of it as it may; a compaction may change that."""
        return self.base + self.tail > self.most

    def record(self, updates: Sequence[bytes]) -> None:
        """Something has changed."""
        if not self._updates and self._wake is not None:
            self._wake()
        self.changes += 1
        self._updates += updates
        self._count(sum(map(len, updates)) + UPDATE_COST * len(updates))
        if len(self._updates) >= MANY:
            self._join()

    def _join(self) -> None:
        try:
            self._updates = [merge(self._updates)]
        except BaseException as error:
            contain(error)
            return
        self._count(len(self._updates[0]) + UPDATE_COST - self._size)

    def _count(self, size: int) -> None:
        self._size += size
        self.unstored.change(size)

    def promise(self, receipts: dict[Member, int]) -> None:
        """Confirm each member's number once all that was recorded so far is stored."""
        if self.at_once or self.clean:
            _confirm(receipts)
        elif self._receipts and (self._receipts[-1][0] > self._taken or self._receipts[-1][0] == self.changes):
            # All that was recorded since `take` is stored together.
            receipts = {**self._receipts.pop()[1], **receipts}
            self._receipts.append((self.changes, receipts))
        else:
            self._receipts.append((self.changes, receipts))

    def take(self) -> tuple[int, list[bytes], int]:
        """What is to be stored, what `settle` must be told when it is, and how much of `Unstored` it is."""
        updates, self._updates = self._updates, []
        size, self._size = self._size, 0
        self._given = size
        self._taken = self.changes
        return self.changes, updates, size

    def settle(self, changes: int, size: int) -> None:
        """What was taken, so many bytes, is stored as one record."""
        self.stored = changes
        self.new = False
        self.tail += size + RECORD_COST
        if self._receipts:
            receipts: dict[Member, int] = {}
            while self._receipts and self._receipts[0][0] <= changes:
                receipts |= self._receipts.popleft()[1]
            _confirm(receipts)

    def abandon(self) -> None:
        """The document that this belongs to is no more: nothing is to be stored, and nobody's receipt comes."""
        self._count(-self._size)
        self._updates = []
        self._receipts.clear()
        self.stored = self.finished = self.changes


def _confirm(receipts: dict[Member, int]) -> None:
    for member, number in receipts.items():
        member.confirm(number)
