"""The room map: which documents are open in this process.

Invariants borne here:

* Only the hub's greenlet changes the map (`handle`), and it does no I/O: documents are loaded in greenlets beside it,
  and all first visitors of a document share one load. After each wait the state is looked at again.
* A room leaves the map only when nobody is in it or may come back, all of it is stored and the document was left in
  order, looked at in the same breath. Who comes while that is being done finds the room as it was.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from gevent import Timeout
from gevent.event import AsyncResult
from gevent.queue import Queue

from collab.archive import Opened, Seed
from collab.caretaker import Caretaker
from collab.clock import now
from collab.config import Settings
from collab.crew import Crew
from collab.errors import CollabError, Quarantined, StoreError
from collab.events import Events
from collab.logs import logger, tell
from collab.looppass import LoopPass
from collab.member import Member
from collab.metrics import Metrics
from collab.protocol.frames import CloseCode
from collab.room import Room
from collab.stores.base import Store
from collab.tracing import Span, within

if TYPE_CHECKING:
    from collab.traced import Traces

log = logger(__name__)

LOAD_TIMEOUT: Final = 20.0
"""Seconds that a visitor waits for its document: that it is gone itself nobody sees before."""


class _Want(NamedTuple):
    """Somebody waits for a document's room."""

    document_id: str
    room: AsyncResult[Room]
    span: Span | None
    """What of that is traced, if it is."""


class _Loaded(NamedTuple):
    """A load has ended, with a document or an error."""

    document_id: str
    outcome: Opened | StoreError


class _Gone(NamedTuple):
    """A room's document is another one in the store by now, or none."""

    room: Room


Request = _Want | _Loaded | _Gone | Room | None
"""What the hub is asked to do to the map; a room is to be looked at whether it can go, None only wakes the hub."""


class Rooms:
    """The open documents of one process.

    Args:
        settings: sizes and times.
        store: where documents are kept.
        metrics: where to count.
        crew: where greenlets come from.
        events: where to tell what happens.
        seed_text: what new documents begin with.

    Attributes:
        map: by document id.
        inbox: what the hub is asked to do to it.
        caretaker: who looks after the documents.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        crew: Crew,
        events: Events,
        seed_text: Seed | None = None,
    ) -> None:
        self.map: dict[str, Room] = {}
        self.inbox: Queue[Request] = Queue()
        self._loading: dict[str, list[AsyncResult[Room]]] = {}
        maps = self.map, self._loading
        self.caretaker = Caretaker(settings, store, metrics, crew, *maps, self.release, self._gone, events, seed_text)
        self._settings = settings
        self._metrics = metrics
        self._crew = crew
        self._events = events
        self._pass = LoopPass(metrics, self.caretaker.saver.hear)

    def enter(self, document_id: str, span: Span | None = None) -> Room:
        """The document's room, opened if need be, as a part of `span`. Switches greenlets unless it is open already.

        Raises:
            Quarantined: the document cannot be read.
            StoreError: the document cannot be loaded.
        """
        while True:
            room = self.map.get(document_id)
            if room is None:
                wanted: AsyncResult[Room] = AsyncResult()
                self.inbox.put(_Want(document_id, wanted, span))
                try:
                    room = wanted.get(timeout=LOAD_TIMEOUT)
                except Timeout:
                    raise StoreError(f"document {document_id!r} was not loaded in time") from None
                assert room is not None
            # Between the hub's answer and this greenlet's turn the room may have gone again.
            if not room.closed:
                return room

    def trace(self, traces: Traces) -> None:
        """From here on have spans made of what happens."""
        self._pass.flush = traces.flush
        self.caretaker.saver.traces = traces

    def release(self, room: Room) -> None:
        """Nobody may be in `room` any more: look whether it can go."""
        self.inbox.put(room)

    def handle(self, request: Request) -> None:
        """Do what was asked. In the hub's greenlet."""
        if isinstance(request, _Want):
            self._want(request)
        elif isinstance(request, _Loaded):
            self._loaded(request)
        elif isinstance(request, _Gone):
            self._drop(request.room)
        elif request is not None:
            self._unload(request)

    def _want(self, want: _Want) -> None:
        room = self.map.get(want.document_id)
        if room is not None:
            want.room.set(room)
        elif want.document_id in self._loading:
            self._loading[want.document_id].append(want.room)
        else:
            self._loading[want.document_id] = [want.room]
            self._crew.spawn("load", within(want.span, "load", self._load, want.document_id), want.document_id)

    def _load(self, document_id: str) -> None:
        started = now()
        outcome: Opened | StoreError = StoreError("the load ended without a result")
        try:
            outcome = self.caretaker.archive.open(document_id)
        except Quarantined as error:
            outcome = error
        except CollabError as error:
            tell(
                log,
                logging.ERROR,
                "Document %(document)r could not be loaded: %(error)s",
                document=document_id,
                error=error,
            )
            self.caretaker.saver.doubt()
            outcome = StoreError(str(error))
        finally:
            self._metrics.observe("store_load_seconds", now() - started)
            self.inbox.put(_Loaded(document_id, outcome))

    def _loaded(self, loaded: _Loaded) -> None:
        waiting = self._loading.pop(loaded.document_id)
        if isinstance(loaded.outcome, StoreError):
            for wanted in waiting:
                wanted.set_exception(loaded.outcome)
            return
        document, journal, seeds = loaded.outcome
        room = Room(
            loaded.document_id,
            document,
            journal,
            self._pass.add,
            self.release,
            self._metrics,
            self._settings.max_awareness_size,
            seeds,
        )
        journal.room = room
        room.on_visit = self._visit
        self.map[loaded.document_id] = room
        self._events.tell("opened", loaded.document_id)
        for wanted in waiting:
            wanted.set(room)
        if journal.abandoned:
            self._gone(room)

    def _unload(self, room: Room) -> None:
        if not room.closed and room.deserted and self.caretaker.may_go(room):
            self._close(room)

    def _close(self, room: Room) -> None:
        room.closed = True
        del self.map[room.document_id]
        self._events.closed(room.document_id)

    def _visit(self, kind: str, room: Room, member: Member) -> None:
        self._events.tell(kind, room.document_id, member.user_id, member.user_name)

    def say_closed(self) -> None:
        """The process ends: nobody has any of them open any more."""
        for room in list(self.map.values()):
            self._close(room)

    def _drop(self, room: Room) -> None:
        if room.closed:
            return
        # Out of the map first: who comes now must not find it.
        room.closed = True
        del self.map[room.document_id]
        for member in room.members():
            member.close(CloseCode.RESTART, "the document was replaced")
        room.give_up_absent(now())
        room.journal.abandon()
        self._events.closed(room.document_id)

    def _gone(self, room: Room) -> None:
        self.inbox.put(_Gone(room))
