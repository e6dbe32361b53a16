"""Gives the store what rooms have gained, in a thread of its own where the store waits for anything.

Invariants borne here:

* There is one write at a time, and what is written is kept until the store has said that it is safe: a try that fails
  is made again, after pauses that grow, together with what has come meanwhile.
* Neither the store nor a fault at a try ends it or loses anything: a try that raises anything has failed. Should it end
  all the same, that is told.
* The loop's thread and this one share two deques, of what is to be stored and of what has become of it, and beside
  them single attributes that are set or read at once. So neither waits for the other.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from gevent import GreenletExit
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original

from collab.clock import now, unix
from collab.journal import UPDATE_COST, Journal, Unstored
from collab.stores.base import Record, Store
from collab.updates import contain, merge

FEW: Final = 4
"""Updates of one document that are stored one by one: to join so few is more work than to store them."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between tries while the store fails."""


class Outcome(NamedTuple):
    """What has become of a try."""

    number: int = 0
    """Up to which all is stored, as `Unstored` numbers it."""
    journals: Sequence[Journal] = ()
    """Of which something was stored."""
    records: int = 0
    """In how many records."""
    gone: Sequence[Journal] = ()
    """Those of them of which it was not, since the store has other documents in their place, or none."""
    gathered: float = 0.0
    """When, on the clock of `now`: what came earlier is among it."""
    begun: float = 0.0
    """When the store began, in seconds since 1970."""
    seconds: float = 0.0
    """How long it took."""
    freed: int = 0
    """Bytes that wait no longer."""
    error: BaseException | None = None
    """Why nothing is stored."""
    last: bool = False
    """Whether there will be no others: the writer has ended by that."""


class Writer:
    """Writes to one store.

    Args:
        store: nobody else's.
        unstored: what is to be stored.
        interval: seconds from the beginning of a write to that of the next, at least.

    Attributes:
        outcomes: what has become of it.
        since: when the call began that the store is at, None if it is at none.
        ended: whether it has let go of the store.
    """

    def __init__(self, store: Store, unstored: Unstored, interval: float) -> None:
        self.store = store
        self.outcomes: deque[Outcome] = deque()
        self.since: float | None = None
        self.ended = False
        self._unstored = unstored
        self._interval = interval
        self._doubted = True
        self._hurried = False
        self._over = False
        # gevent's serves one thread only, and a native one would hold up the loop where this is a greenlet.
        self._bell: Any = get_original("_thread", "allocate_lock")() if store.blocking else BoundedSemaphore(1)
        self._bell.acquire()
        self._number = 0  # of the latest that was gathered
        self._batch: defaultdict[Journal, list[bytes]] = defaultdict(list)  # what is being stored
        self._making: set[Journal] = set()  # those among them that make their documents
        self._cost = 0  # of all of it, as counted
        self._pause = 0.0  # before the next try, if the last one has failed

    # ---- for the loop's thread

    def wake(self) -> None:
        """There is something to do."""
        if self._unstored.asleep:
            self._ring()

    def doubt(self) -> None:
        """Find out whether the store can be written to."""
        self._doubted = True
        self.wake()

    def hurry(self, hurried: bool) -> None:
        """Somebody waits for all to be stored, or no longer does."""
        self._hurried = hurried
        self._ring()

    def stop(self) -> None:
        """End, once the store is done with what it is at."""
        self._over = True
        self._ring()

    def _ring(self) -> None:
        if self._bell.locked():
            self._bell.release()

    # ---- in a thread of its own

    def run(self, tell: Callable[[], object]) -> None:
        """Write until `stop`, then close the store; `tell` is called when outcomes should be looked at."""
        try:
            try:
                while not self._over:
                    if self._unstored.gains or self._batch or self._doubted:
                        self._turn(tell)
                    else:
                        self._sleep()
            finally:
                self.store.close()
        except GreenletExit:
            raise
        except BaseException as error:  # none is known
            self.outcomes.append(Outcome(error=error, last=True))
        finally:
            self.ended = True
            tell()

    def _turn(self, tell: Callable[[], object]) -> None:
        started, failing = now(), self._pause > 0
        self._try()
        if failing or self._pause or self._hurried or self._unstored.waiting:
            tell()
        if self._pause:
            self._rest(FIRST_PAUSE if self._hurried else self._pause)
        elif not self._hurried:
            self._rest(started + self._interval - now())
        # A busy loop has looked by now, without having been woken.
        if self.outcomes:
            tell()

    def _sleep(self) -> None:
        self._unstored.asleep = True
        # Whoever came before that was said has not rung.
        if not (self._unstored.gains or self._doubted or self._over):
            self._bell.acquire()
        self._unstored.asleep = False

    def _rest(self, seconds: float) -> None:
        if seconds > 0:
            self._bell.acquire(timeout=seconds)

    def _try(self) -> None:
        """Have all stored that there is."""
        freed = 0
        try:
            gathered = now()
            self._gather()
            if self._pause:
                freed = self._recount()
            self._check()
            begun, started = unix(), now()
            records, gone = self._append()
            if self._batch or self._pause:
                journals = tuple(self._batch)
                lost = [journal for journal in journals if journal.document_id in gone] if gone else ()
                seconds, freed = now() - started, freed + self._cost
                self.outcomes.append(Outcome(self._number, journals, records, lost, gathered, begun, seconds, freed))
            self._batch.clear()
            self._making.clear()
            self._cost, self._pause = 0, 0.0
        except GreenletExit:
            raise
        except BaseException as error:  # PanicException of a Rust library included
            self._doubted = True
            self._pause = min(2 * self._pause, LONGEST_PAUSE) or FIRST_PAUSE
            self.outcomes.append(Outcome(freed=freed, error=error))
        finally:
            self.since = None

    def _gather(self) -> None:
        gains = self._unstored.gains
        for _ in range(len(gains)):
            journal, updates, cost, new = gains[0]
            # Should this fail half-way it is done again, and to have an update twice does no harm.
            self._batch[journal] += updates
            if new:
                self._making.add(journal)
            self._cost += cost
            self._number += 1
            gains.popleft()
        for updates in self._batch.values():
            if len(updates) > FEW:
                try:
                    updates[:] = [merge(updates)]
                except BaseException as error:
                    contain(error)

    def _recount(self) -> int:
        """How much less all of it costs than was counted, now that it is joined."""
        cost = sum(len(update) + UPDATE_COST for updates in self._batch.values() for update in updates)
        saved, self._cost = self._cost - cost, cost
        return saved

    def _check(self) -> None:
        if self._doubted:
            self._doubted = False
            self.since = now()
            self.store.check()

    def _append(self) -> tuple[int, frozenset[str]]:
        """Store it; in how many records, and the ids of the documents of which it was not."""
        records = [
            Record(journal.document_id, journal.epoch, update, journal in self._making)
            for journal, updates in self._batch.items()
            if not journal.abandoned
            for update in updates
        ]
        if not records:
            return 0, frozenset()
        self.since = now()
        return len(records), self.store.append(records)
