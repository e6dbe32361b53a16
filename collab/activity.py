"""How much is going on in each open document, for whoever wants to see the busiest ones.

Invariants borne here:

* It costs nothing while nobody asks, and one pass over the rooms a second however many ask and however often.
* Nothing is kept of who asks: everybody who asks within a second is told the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from operator import sub
from typing import Final

from collab.clock import now, unix
from collab.room import Room

LOOK: Final = 1.0
"""Seconds between two looks, at least."""


class Activity:
    """Updates a second of each room.

    Args:
        rooms: that are open, by document id, in the order in which they were opened.
    """

    def __init__(self, rooms: dict[str, Room]) -> None:
        self._rooms = rooms
        self._updates: dict[str, int] = {}
        self._rates: dict[str, float] = {}
        self._at = self._wall = float("-inf")

    def rates(self) -> Mapping[str, float]:
        """Updates a second since the look before the latest one; since a room's beginning, if it is younger than that.

        By document id; of rooms that are not in it there is nothing to tell.
        """
        at = now()
        if at - self._at >= LOOK:
            self._look(at, unix())
        return self._rates

    def _look(self, at: float, wall: float) -> None:
        rooms, before, passed = self._rooms, self._updates, at - self._at
        self._updates = updates = {document_id: room.updates for document_id, room in rooms.items()}
        gained = map(sub, updates.values(), map(before.get, updates, repeat(0)))
        pairs = zip(updates, gained, strict=True)
        self._rates = rates = {document_id: count / passed for document_id, count in pairs if count > 0}
        for document_id, room in reversed(rooms.items()):
            if room.opened <= self._wall:
                break  # those before it are older still: they have been in the map for longer
            rates[document_id] = room.updates / max(LOOK, wall - room.opened)
        self._at, self._wall = at, wall
