"""What happens to documents, told to the application that they are part of.

Invariants borne here:

* Who has something to tell never waits: what happened is queued, within bounds, and a greenlet of its own calls the
  application's functions, one after the other, in the order in which things happened.
* That something of a document was stored is told once for all that was stored within `PAUSE`.
* What a function raises is logged, and keeps nothing from anybody.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from gevent import GreenletExit
from gevent.event import Event as Signal

from collab.clock import now
from collab.crew import Crew
from collab.logs import logger
from collab.metrics import Metrics

KINDS: Final = ("opened", "joined", "stored", "left", "closed")

PAUSE: Final = 2.0
"""Seconds between two times that it is told of one document that something was stored."""

FINISH: Final = 1.0
"""Seconds that a stopping server gives the application to hear of what has happened."""

MAX_QUEUE: Final = 10_000
"""Events that wait for the application's functions; what happens then is not told."""

log = logger(__name__)


class Event(NamedTuple):
    """Something that has happened to a document."""

    kind: str
    """`opened` (its first visitor is about to come in), `joined` and `left` (a user, with the first and the last of
    its sessions), `stored` (changes are on disk) or `closed` (nobody has it open any more)."""
    document_id: str
    user_id: str | None = None
    user_name: str | None = None


Listener = Callable[[Event], object]
"""A function of the application. It may wait, as a view may; the events behind this one wait as well then."""


def check_kinds(kinds: Iterable[str]) -> None:
    """Raise `ValueError` for a kind of event that there is not."""
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"there is no event {kind!r}: it is one of {', '.join(KINDS)}")


class Events:
    """Tells functions of the application what happens.

    Args:
        metrics: where to count what is not told.
        crew: where the greenlet comes from that calls them.
    """

    def __init__(self, metrics: Metrics, crew: Crew) -> None:
        self._metrics = metrics
        self._crew = crew
        self._listeners: dict[str, list[Listener]] = defaultdict(list)
        self._queue: deque[Event] = deque()
        self._stored: dict[str, float] = {}  # when it is told next of a document that something was stored
        self._idle = Signal()
        self._idle.set()

    def listen(self, kind: str, listener: Listener) -> None:
        """Call `listener` for each event of a kind."""
        self._listeners[kind].append(listener)

    def tell(self, kind: str, document_id: str, user_id: str | None = None, user_name: str | None = None) -> None:
        """Something has happened. Does not switch greenlets."""
        if kind not in self._listeners:
            return
        if len(self._queue) >= MAX_QUEUE:
            self._metrics.count("events_dropped")
            return
        self._queue.append(Event(kind, document_id, user_id, user_name))
        if self._idle.is_set():
            self._idle.clear()
            self._crew.spawn("events", self._call)

    def stored(self, document_ids: Iterable[str]) -> None:
        """Something of these documents was stored. Does not switch greenlets."""
        if "stored" in self._listeners:
            for document_id in document_ids:
                self._stored.setdefault(document_id, now() + PAUSE)

    def closed(self, document_id: str) -> None:
        """Nobody has a document open any more. Does not switch greenlets."""
        if self._stored.pop(document_id, None) is not None:
            self.tell("stored", document_id)
        self.tell("closed", document_id)

    def tick(self, at: float) -> None:
        """Tell what is due."""
        for document_id in [document_id for document_id, due in self._stored.items() if due <= at]:
            del self._stored[document_id]
            self.tell("stored", document_id)

    def _call(self) -> None:
        try:
            while self._queue:
                event = self._queue.popleft()
                for listener in self._listeners[event.kind]:
                    try:
                        listener(event)
                    except GreenletExit:
                        raise
                    except BaseException:  # gevent's Timeout included, which is none of Exception
                        log.exception("A function of the application failed at %s", event)
                        self._metrics.count("listener_failures")
        finally:
            if self._queue:  # it was ended in between
                self._crew.spawn("events", self._call)
            else:
                self._idle.set()

    def finish(self) -> None:
        """Tell all that has happened, for at most `FINISH` seconds. Switches greenlets."""
        self.tick(float("inf"))
        if not self._idle.wait(FINISH):
            log.warning("%d events could not be told to the application in time", len(self._queue) + 1)
