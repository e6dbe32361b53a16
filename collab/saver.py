"""Between the rooms and the writer: has what they gained written, and tells them of it, receipts first.

Invariants borne here:

* Nobody hears that something is stored before the store has said that it is safe.
* All of this happens on the loop's thread and switches no greenlets, but for `flush` and `close`.
* One room's fault keeps no other from being told; what traces a write can cost no more than its span.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub
from gevent.event import Event

from collab.config import Settings
from collab.crew import Crew
from collab.errors import StoreError
from collab.journal import Journal, Unstored
from collab.logs import logger, tell, tell_fault
from collab.metrics import Metrics
from collab.offloop import start_thread
from collab.stores.base import Store
from collab.writer import Outcome, Writer

if TYPE_CHECKING:
    from collab.traced import Traces

CANNOT_STORE: Final = (
    "Changes cannot be stored. They are kept in memory, up to COLLAB_MAX_UNSTORED bytes, not acknowledged, and lost if "
    "this process ends; storing is tried again all the time."
)

CANNOT_GO_ON: Final = (
    "Changes are no longer stored, since what writes them has ended by a fault. They are kept in memory, not "
    "acknowledged, and lost with this process. Restart it: clients that have them bring them back."
)

PATIENCE: Final = 5.0
"""Seconds for which the store may be at one call before that is called trouble."""

log = logger(__name__)


class Saver:
    """Sees to it that what rooms gain is stored.

    Args:
        store: nobody else's.
        unstored: what they have gained.
        settings: times.
        metrics: where to count.
        on_stored: called with the journals of which something was stored.
        on_clean: called with each journal that had to hear of it, when the store has all of it.
        on_gone: called with each journal whose document is another one in the store by now, or none.

    Attributes:
        traces: where spans are made of it, if they are.
        trouble: why nothing can be stored at present, None if it can.
    """

    def __init__(
        self,
        store: Store,
        unstored: Unstored,
        settings: Settings,
        metrics: Metrics,
        on_stored: Callable[[Sequence[Journal]], None],
        on_clean: Callable[[Journal], None],
        on_gone: Callable[[Journal], None],
    ) -> None:
        self.trouble: str | None = None
        self.traces: Traces | None = None
        self._unstored = unstored
        self._writer = Writer(store, unstored, settings.flush_interval if store.blocking else 0.0)
        self._metrics = metrics
        self._on_stored = on_stored
        self._on_clean = on_clean
        self._on_gone = on_gone
        self._idle = Event()
        self._ended: Event | None = None
        self._watcher: Any = None

    def start(self, crew: Crew) -> None:
        """Begin to write; in the process that serves, since threads do not survive a fork."""
        self._ended = Event()
        loop = get_hub().loop
        # Not at once: what other rooms gain in this pass goes along, and the two threads do not fight over the GIL.
        self._unstored.wake = partial(loop.run_callback, self._writer.wake)
        if not self._writer.store.blocking:
            crew.spawn("writer", self._writer.run, self.hear)
            return
        self._watcher = loop.async_(ref=False)
        self._watcher.start(self.hear)
        start_thread(partial(self._writer.run, self._watcher.send))

    def doubt(self) -> None:
        """Somebody could not use the store: find out whether it can be written to, and say so."""
        self._writer.doubt()

    def age(self, at: float) -> float:
        """Seconds for which the oldest of all that is not stored yet has waited."""
        return max(0.0, at - self._unstored.oldest) if self._unstored.behind else 0.0

    def complaint(self, at: float) -> str | None:
        """Why changes are not stored at present, if they are not."""
        since = self._writer.since
        if self.trouble is None and since is not None and at - since > PATIENCE:
            return f"the store (COLLAB_STORE) has not answered for {at - since:.0f} s"
        return self.trouble

    def flush(self, timeout: float) -> bool:
        """Wait until all is stored, at most so many seconds; whether it is. Switches greenlets."""
        self._idle.clear()
        self._writer.hurry(True)
        stored = not self._unstored.behind or bool(self._idle.wait(timeout))
        self._writer.hurry(False)
        return stored

    def stop(self) -> None:
        """End; what is not stored by now is lost with the process."""
        self._writer.stop()

    def close(self, timeout: float) -> None:
        """Let go of the store; what it is at is not waited for longer. Switches greenlets."""
        if self._ended is None:
            self._writer.store.close()
        elif not self._ended.wait(timeout):
            log.warning("The store is still at work, and is not waited for")

    # ---- what has become of it

    def hear(self) -> None:
        """Tell who waits for it what has become of what rooms gained."""
        ended, outcomes = self._writer.ended, self._writer.outcomes  # in this order: the last comes before the end
        while outcomes:
            outcome = outcomes.popleft()
            self._unstored.free(outcome.freed)
            if outcome.error is not None:
                self._failed(outcome.error, outcome.last)
            else:
                self._succeeded(outcome)
        if ended and self._ended is not None:
            if self._watcher is not None:
                self._watcher.stop()  # not closed: the writer is about to call it, if it has not yet
            self._ended.set()

    def _succeeded(self, outcome: Outcome) -> None:
        if self.trouble is not None:
            self.trouble = None
            tell(log, logging.WARNING, "Changes can be stored again; what had waited is stored.")
        if not outcome.journals:
            return
        # Before anybody can hear that all is stored up to there.
        for journal in outcome.gone:
            journal.abandon()
        self._unstored.stored, self._unstored.oldest = outcome.number, outcome.gathered
        self._measure(outcome)
        if not self._unstored.behind:
            self._idle.set()
        for journal in outcome.gone:
            self._do(self._on_gone, journal)
        for journal in list(self._unstored.waiting):
            self._do(self._tell, journal)
        self._on_stored(outcome.journals)

    def _do(self, work: Callable[[Journal], None], journal: Journal) -> None:
        try:
            work(journal)
        except BaseException:
            self._metrics.count("room_faults")
            for member in journal.room.members() if journal.room is not None else ():
                member.lost()
            tell_fault(log, "A room could not be told that its changes are stored; its members have to come again")

    def _tell(self, journal: Journal) -> None:
        clean = journal.clean
        if clean:
            del self._unstored.waiting[journal]
        journal.settle()
        if clean:
            self._on_clean(journal)

    def _measure(self, outcome: Outcome) -> None:
        if outcome.records:
            self._metrics.observe("store_write_seconds", outcome.seconds)
            self._metrics.observe("store_write_records", outcome.records)
        if self.traces is not None:
            try:
                ended = outcome.begun + outcome.seconds
                self.traces.stored(outcome.number, len(outcome.journals), outcome.begun, ended)
            except Exception:
                self._metrics.count("spans_dropped")
                tell_fault(log, "A write to the store could not be traced; it was made all the same")

    def _failed(self, error: BaseException, last: bool) -> None:
        self._metrics.count("store_failures")
        news = self.trouble is None or last
        self.trouble = str(error) or repr(error)
        if not news:
            return
        if isinstance(error, StoreError) and not last:
            tell(log, logging.ERROR, CANNOT_STORE + " %(error)s", error=error)
        else:  # a fault of ours
            tell_fault(log, CANNOT_GO_ON if last else CANNOT_STORE, "".join(traceback.format_exception(error)))
