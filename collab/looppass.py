"""The end of a loop pass: rooms that have something to tell do so once, whatever number of messages brought it."""

from __future__ import annotations

from collections.abc import Callable

from gevent import get_hub

from collab.logs import logger, tell_fault
from collab.metrics import Metrics
from collab.room import Room

log = logger(__name__)


class LoopPass:
    """Rooms that have something for the end of this pass of the loop.

    Args:
        metrics: where to count.
        after: called after them.

    Attributes:
        flush: what is then called with each; may be set to something that does so in its turn.
    """

    def __init__(self, metrics: Metrics, after: Callable[[], None]) -> None:
        self.flush: Callable[[Room], None] = Room.flush
        self._after = after
        self._metrics = metrics
        self._rooms: list[Room] = []

    def add(self, room: Room) -> None:
        """Flush `room` when all that can run now has run."""
        if not self._rooms:
            get_hub().loop.run_callback(self._end)
        self._rooms.append(room)

    def _end(self) -> None:
        rooms, self._rooms = self._rooms, []
        for room in rooms:
            try:
                self.flush(room)
            except BaseException:
                # One room's fault must not keep the others from their news; its own members have missed some.
                self._metrics.count("room_faults")
                for member in room.members():
                    member.lost()
                tell_fault(log, "A room could not tell its news; its members have to come again")
        self._after()
