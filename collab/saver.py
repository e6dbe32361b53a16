"""The writer: what all rooms have gained goes to the store in one go, off the loop, and then the receipts go out.

Invariants borne here:

* There is one write at a time, and what it holds is kept until it is stored: when the store fails, the same records
  are tried again, after pauses that grow. Rooms go on meanwhile; what they gain waits in their journals.
* A room's journal hears of what is stored only after the store has said that it is safe.
* Nothing that the store does, or what traces it, can end this greenlet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, TypeVar

from gevent import GreenletExit, sleep
from gevent.event import Event

from collab.clock import now
from collab.config import Settings
from collab.errors import StoreError
from collab.logs import logger, tell_fault
from collab.metrics import Metrics
from collab.offloop import OffLoop
from collab.room import Room
from collab.stores.base import Record, Store
from collab.updates import contain, merge

if TYPE_CHECKING:
    from collab.traced import Traces

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between tries while the store fails."""

PATIENCE: Final = 5.0
"""Seconds for which the store may be at one call before that is called trouble."""

P = ParamSpec("P")
R = TypeVar("R")

log = logger(__name__)


class _Entry(NamedTuple):
    """What a room gained."""

    room: Room
    changes: int
    """As its journal counts them."""
    records: list[Record]
    unstored: int
    """Bytes, as its journal has counted them."""
    size: int
    """Bytes of the records."""


class Saver:
    """Writes what rooms gain.

    Args:
        store: nobody else's.
        settings: times.
        metrics: where to count.
        on_stored: called with each room of which something was stored.
        on_gone: called with each room whose document is another one in the store by now, or none.

    Attributes:
        traces: where spans are made of it, if they are.
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
        self.traces: Traces | None = None
        self._off = OffLoop(store)
        self._interval = settings.flush_interval if store.blocking else 0.0
        self._metrics = metrics
        self._on_stored = on_stored
        self._on_gone = on_gone
        self._dirty: dict[Room, None] = {}
        self._dirty_since = float("inf")  # when the first of them came
        self._writing_since = float("inf")  # when the first of those came that are being stored
        self._doubted = True
        self._since: float | None = None  # when the call began that the store is at
        self._work = Event()
        self._work.set()
        self._idle = Event()
        self._idle.set()
        self._hurry = Event()
        self._over = False

    def want(self, room: Room) -> None:
        """`room` has something to store. Does not switch greenlets."""
        if not self._dirty:
            self._dirty_since = now()
            self._idle.clear()
            self._work.set()
        self._dirty[room] = None

    def doubt(self) -> None:
        """Somebody could not use the store: find out whether it can be written to, and say so. Does not switch."""
        self._doubted = True
        self._work.set()

    def age(self, at: float) -> float:
        """Seconds for which the oldest of all that is not stored yet has waited."""
        return max(0.0, at - min(self._dirty_since, self._writing_since))

    def complaint(self, at: float) -> str | None:
        """Why changes are not stored at present, if they are not."""
        if self.trouble is None and self._since is not None and at - self._since > PATIENCE:
            return f"the store (COLLAB_STORE) has not answered for {at - self._since:.0f} s"
        return self.trouble

    def run(self) -> None:
        """The saver greenlet."""
        while True:
            self._work.wait()
            if self._over:
                return
            self._work.clear()
            if self._doubted:
                self._doubted = False
                self._insist(self._off.store.check)
            rooms, self._dirty = self._dirty, {}
            self._writing_since, self._dirty_since = self._dirty_since, float("inf")
            next_at = now() + self._interval
            self._store([entry for entry in map(self._entry, rooms) if entry.records])
            self._writing_since = float("inf")
            if not self._dirty:
                self._idle.set()
            pause = next_at - now()
            if pause > 0:
                self._hurry.wait(pause)

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
        changes, updates, size = journal.take()
        if len(updates) > 1:
            try:
                updates = [merge(updates)]
            except BaseException as error:
                contain(error)
        records = [Record(room.document_id, journal.epoch, update, journal.new) for update in updates]
        return _Entry(room, changes, records, size, sum(map(len, updates)))

    def _store(self, entries: list[_Entry]) -> None:
        if not entries:
            return
        with self._traced([entry.room for entry in entries]):
            gone = self._append([record for entry in entries for record in entry.records])
        for entry in entries:
            try:
                self._settle(entry, entry.room.document_id in gone)
            except Exception:  # one room's fault must not keep the others from being stored
                self._metrics.count("room_faults")
                for member in entry.room.members():
                    member.lost()
                tell_fault(log, "A room could not be told that its changes are stored; its members have to come again")

    @contextmanager
    def _traced(self, rooms: list[Room]) -> Iterator[None]:
        """A span around what is done meanwhile, if one of the rooms is traced; a fault in that costs the span alone."""
        span = None
        if self.traces is not None:
            try:
                span = self.traces.store(rooms)
            except Exception:
                self._lost_span()
        yield
        if span is not None:
            try:
                span.end()
            except Exception:
                self._lost_span()

    def _lost_span(self) -> None:
        self._metrics.count("spans_dropped")
        tell_fault(log, "A write to the store could not be traced; it was made all the same")

    def _settle(self, entry: _Entry, gone: bool) -> None:
        room = entry.room
        room.journal.unstored.change(-entry.unstored)
        if gone:
            self._on_gone(room)
        else:
            room.journal.settle(entry.changes, entry.size)
            self._on_stored(room)

    def _append(self, records: list[Record]) -> frozenset[str]:
        started = now()
        gone = self._insist(self._off.store.append, records)
        self._metrics.histograms["store_write_seconds"].observe(now() - started)
        self._metrics.histograms["store_write_records"].observe(len(records))
        return gone

    def _insist(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the store until it does what is asked."""
        pause = FIRST_PAUSE
        while True:
            self._since = now()
            try:
                answer = self._off.call(method, *args, **kwargs)
            except Exception as error:  # a fault of ours must not lose anything either
                self._failed(error)
                if self._over:
                    raise GreenletExit from error
                if self._hurry.wait(pause):
                    sleep(FIRST_PAUSE)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._succeeded()
                return answer
            finally:
                self._since = None

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

    def _succeeded(self) -> None:
        if self.trouble is not None:
            log.warning("Changes can be stored again; what had waited is stored.")
            self.trouble = None
