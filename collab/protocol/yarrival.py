"""An update on its way into a document: does it find all that it builds on, in the order in which yrs integrates it?

Invariants borne here:

* Each struct is looked at once, or once more for each clock that it has to wait for in between.
* Nothing of the document changes: what the update adds is in `reached` and `keyed`, for who admits it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_uint
from collab.protocol.ymarks import Marks
from collab.protocol.yupdate import SKIP, TEXT, VALUES, Section, Struct, Update

MAX_WAITING: Final = 10_000
"""Clients of one update that wait for each other in a row: yrs searches that row for each of its structs."""

Clock = tuple[int, int]
"""A client and one of its clocks."""


@lru_cache(maxsize=1 << 14)
def read_client(raw: bytes) -> int:
    """Decode a client that a regular expression has found; few write at a time, so nearly all are remembered."""
    return read_var_uint(raw, 0)[0]


def read_clock(raw: bytes) -> int:
    """Decode a clock that a regular expression has found."""
    size = len(raw)
    if size == 1:
        return raw[0]
    if size == 2:
        return raw[0] - 0x80 + (raw[1] << 7)
    if size == 3:
        return raw[0] - 0x4080 + (raw[1] << 7) + (raw[2] << 14)
    return read_var_uint(raw, 0)[0]


def wait_for(other: int, at: int, client: int, clock: int) -> Clock:
    """The clock that a struct waits for.

    Raises:
        InvalidUpdate: that is itself, or comes later from its own client.
    """
    if other == client and at >= clock:
        raise InvalidUpdate("struct that refers to itself")
    return other, at


class Arrival:
    """One update, followed struct by struct.

    Args:
        held: the next clock of each client in the document.
        entries: clocks of the document that are entries of maps.
        update: what is to come in.

    Attributes:
        reached: once followed, the next clock of each client in the update.
        keyed: the update's own entries of maps.
    """

    __slots__ = ("_brought", "_deletions", "_entries", "_erased", "_held", "_places", "keyed", "reached")

    def __init__(self, held: dict[int, int], entries: Marks, update: Update) -> None:
        self._held = held
        self._entries = entries
        self._deletions = update.deletions
        self._erased: Marks | None = None
        self._brought = {section.client: section for section in update.sections}
        self._places = dict.fromkeys(self._brought, 0)
        self.reached = {client: held.get(client, 0) for client in self._brought}
        self.keyed = Marks()

    def follow(self) -> Clock | None:
        """Go through all structs: None, or the first clock that is neither held nor brought along.

        Raises:
            InvalidUpdate: structs wait for themselves or for each other, or are what no map can hold.
        """
        brought = self._brought
        for section in brought.values():
            if section.start > self.reached[section.client]:
                return section.client, section.start - 1
        for client in sorted(brought, reverse=True):
            row = [(client, brought[client].end - 1)]
            waiting = {client}
            while row:
                client, until = row[-1]
                missing = self._advance(brought[client], until)
                if missing is None:
                    waiting.remove(row.pop()[0])
                    continue
                other, clock = missing
                # What a Skip stands for is missing, although the update has a struct for it.
                skipped = brought[client].structs[self._places[client]].head[0][0] == SKIP
                if skipped or other not in brought or clock >= brought[other].end:
                    return missing
                if len(row) > MAX_WAITING or other in waiting:
                    raise InvalidUpdate("structs wait for each other")
                row.append(missing)
                waiting.add(other)
        return None

    def _advance(self, section: Section, until: int) -> Clock | None:
        """Follow a client's structs up to the clock `until`: None, or the clock that the next of them waits for."""
        client, _, _, structs = section
        place = self._places[client]
        known = self.reached[client]
        missing = None
        while known <= until and place < len(structs):
            struct = structs[place]
            if struct.clock + struct.length > known:
                missing = self._missing(client, struct)
                if missing is not None:
                    break
                self._mark(client, struct, known)
                known = self.reached[client] = struct.clock + struct.length
            place += 1
        self._places[client] = place
        return missing

    def _missing(self, client: int, struct: Struct) -> Clock | None:
        """The clock that a struct waits for, or None."""
        head = struct.head
        if head[0][0] == SKIP:
            return client, struct.clock + struct.length - 1
        for group in range(2, (head.lastindex or 0) + 1, 2):
            other, at = read_client(head[group]), read_clock(head[group + 1])
            if at >= self.reached.get(other, self._held.get(other, 0)):
                return wait_for(other, at, client, struct.clock)
        return None

    def _mark(self, client: int, struct: Struct, known: int) -> None:
        """Mark an entry of a map, which is what names a key itself, or stands beside what does."""
        head = struct.head
        info = head[0][0]
        # What is left of a struct that is partly known stands beside the part that is.
        entry = info & 0xE0 == 0x20 or (struct.clock < known and self._entries.has(client, known - 1))
        if info >= 0x40:
            for group in range(2, (head.lastindex or 0) + 1, 2):
                other, at = read_client(head[group]), read_clock(head[group + 1])
                entry = entry or self._entries.has(other, at) or self.keyed.has(other, at)
        if entry:
            self._check_entry(client, struct)
            self.keyed.add(client, max(known, struct.clock), struct.clock + struct.length)

    def _check_entry(self, client: int, struct: Struct) -> None:
        """Refuse what no map holds, and what yrs would use after freeing it once a part of it is deleted."""
        kind = struct.head[0][0] & 0x0F
        # Yjs joins former values, those that an undo may bring back, and deletes them in the same update.
        if kind == TEXT or (kind == VALUES and struct.length > 1 and not self._is_erased(client, struct)):
            raise InvalidUpdate("more than one value for a key")

    def _is_erased(self, client: int, struct: Struct) -> bool:
        if self._erased is None:
            self._erased = Marks()
            for deletion in self._deletions:
                self._erased.add(*deletion)
        return self._erased.spans(client, struct.clock, struct.clock + struct.length)
