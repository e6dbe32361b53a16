"""The writer: what all rooms have gained goes to the store in one go, off the loop, and then the receipts go out.

Invariants borne here:

* There is one write at a time, and what it holds is kept until it is stored: when the store fails, the same records
  are tried again, after pauses that grow. Rooms go on meanwhile; what they gain waits in their journals.
* A room's journal hears of what is stored only after the store has said that it is safe.
* Nothing that the store does can end this greenlet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from gevent import GreenletExit, sleep
from gevent.event import Event

from collab.clock import now
from collab.config import Settings
from collab.errors import StoreError
from collab.metrics import Metrics
from collab.offloop import OffLoop
from collab.room import Room
from collab.stores.base import Record, Store
from collab.updates import contain, merge

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between tries while the store fails."""

log = logging.getLogger(__name__)


class _Entry(NamedTuple):
    """What a room gained: `changes` is what its journal counts, `size` the bytes that it gave."""

    room: Room
    changes: int
    records: list[Record]
    size: int


class Saver:
    """Writes what rooms gain.

    Args:
        store: nobody else's.
        settings: times.
        metrics: where to count.
        on_stored: called with each room of which something was stored.
        on_gone: called with each room whose document is another one in the store by now, or none.

    Attributes:
        trouble: why nothing can be stored at present, None if it can.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        metrics: Metrics,
        on_stored: Callable[[Room], None],
        on_gone: Callable[[Room], None],
    ) -> None:
        self.trouble: str | None = None
        self._off = OffLoop(store)
        self._interval = settings.flush_interval if store.blocking else 0.0
        self._metrics = metrics
        self._on_stored = on_stored
        self._on_gone = on_gone
        self._dirty: dict[Room, None] = {}
        self._work = Event()
        self._idle = Event()
        self._idle.set()
        self._hurry = Event()
        self._over = False

    def want(self, room: Room) -> None:
        """`room` has something to store. Does not switch greenlets."""
        self._dirty[room] = None
        self._idle.clear()
        self._work.set()

    def run(self) -> None:
        """The saver greenlet."""
        while True:
            self._work.wait()
            if self._over:
                return
            self._work.clear()
            rooms, self._dirty = self._dirty, {}
            next_at = now() + self._interval
            self._store([entry for entry in map(self._entry, rooms) if entry.records])
            if not self._dirty:
                self._idle.set()
            self._hurry.wait(max(0.0, next_at - now()))

    def flush(self, timeout: float) -> bool:
        """Wait until all is stored, at most so many seconds; whether it is. Switches greenlets."""
        self._hurry.set()
        stored = bool(self._idle.wait(timeout))
        self._hurry.clear()
        return stored

    def stop(self) -> None:
        """End; what is not stored by now is lost with the process."""
        self._over = True
        self._work.set()
        self._hurry.set()

    def close(self, timeout: float) -> None:
        """Let go of the store. Switches greenlets."""
        self._off.close(timeout)

    def _entry(self, room: Room) -> _Entry:
        journal = room.journal
        changes, updates = journal.take()
        try:
            joined = [merge(updates)] if updates else []
        except BaseException as error:
            contain(error)
            joined = updates
        records = [Record(room.document_id, journal.epoch, update, journal.new) for update in joined]
        return _Entry(room, changes, records, sum(map(len, updates)))

    def _store(self, entries: list[_Entry]) -> None:
        if not entries:
            return
        gone = self._append([record for entry in entries for record in entry.records])
        for room, changes, records, size in entries:
            room.journal.unstored.change(-size)
            if room.document_id in gone:
                self._on_gone(room)
            else:
                room.journal.settle(changes, sum(len(record.update) for record in records))
                self._on_stored(room)

    def _append(self, records: list[Record]) -> frozenset[str]:
        pause = FIRST_PAUSE
        while True:
            started = now()
            try:
                gone = self._off.call(self._off.store.append, records)
            except Exception as error:  # a fault of ours must not lose anything either
                self._failed(error)
                if self._over:
                    raise GreenletExit from error
                if self._hurry.wait(pause):
                    sleep(FIRST_PAUSE)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._succeeded(len(records), now() - started)
                return gone

    def _failed(self, error: Exception) -> None:
        self._metrics.count("store_failures")
        if self.trouble is None:
            log.error(
                "Changes cannot be stored. They are kept in memory, up to COLLAB_MAX_UNSTORED bytes, not acknowledged, "
                "and lost if this process ends; storing is tried again all the time. %s",
                error,
                exc_info=None if isinstance(error, StoreError) else error,
            )
        self.trouble = str(error)

    def _succeeded(self, records: int, seconds: float) -> None:
        metrics = self._metrics
        metrics.count("store_commits")
        metrics.count("store_records", by=records)
        metrics.count("store_microseconds", by=int(seconds * 1e6))
        if self.trouble is not None:
            log.warning("Changes can be stored again; what had waited is stored.")
            self.trouble = None
