"""A store that fails as long as it is told to."""

from __future__ import annotations

from collections.abc import Sequence

from collab.errors import StoreError
from collab.stores.base import Record
from collab.stores.memory import MemoryStore


class FailingStore(MemoryStore):
    """Fails to append while `failing`."""

    def __init__(self, *, failing: bool = True) -> None:
        super().__init__()
        self.failing = failing
        self.tries = 0

    def append(self, records: Sequence[Record]) -> frozenset[str]:
        self.tries += 1
        if self.failing:
            raise StoreError("the disk is full: make room (COLLAB_STORE)")
        return super().append(records)
