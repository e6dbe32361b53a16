"""The hub: which documents are open, which sessions there are, and what happens with time.

Invariants borne here:

* Only the hub's greenlet changes the room map, and it does no I/O: documents are loaded in greenlets beside it, and
  all first visitors of a document share one load. After each wait the state is looked at again.
* A room leaves the map only when nobody is in it or may come back, all of it is stored and the document was left in
  order, looked at in the same breath. Who comes while that is being done finds the room as it was.
* Stopping is: ask, prove, deadline (`stop`).
"""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from gevent import Timeout, sleep
from gevent.event import AsyncResult, Event
from gevent.queue import Empty, Queue

from collab.archive import Opened, Seed
from collab.caretaker import Caretaker
from collab.clock import now
from collab.config import Settings
from collab.crew import Crew
from collab.errors import CollabError, Quarantined, StoreError
from collab.looppass import LoopPass
from collab.member import Identity
from collab.metrics import Metrics
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.room import Room
from collab.session import Session
from collab.stores.base import Store
from collab.transport import Socket

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between looks at what is due: pings, presence, goodbyes that are not answered, what others have stored."""

LOAD_TIMEOUT: Final = 20.0
"""Seconds that a visitor waits for its document: that it is gone itself nobody sees before."""

PEOPLE_INTERVAL: Final = 300.0
"""Seconds between notes of who is still in a document."""

FLUSH_TIMEOUT: Final = 4.0
"""Seconds that a stopping server gives its store; with the goodbyes, well inside gunicorn's `graceful_timeout`."""


class _Want(NamedTuple):
    """Somebody waits for a document's room."""

    document_id: str
    room: AsyncResult[Room]


class _Loaded(NamedTuple):
    """A load has ended, with a document or an error."""

    document_id: str
    outcome: Opened | StoreError


class _Gone(NamedTuple):
    """A room's document is another one in the store by now, or none."""

    room: Room


class Hub:
    """All rooms and sessions of one process.

    Args:
        settings: sizes and times.
        store: where documents are kept.
        metrics: where to count.
        seed_text: what a new document begins with: given its id, plain text or None. May wait, as a Flask view may.
    """

    def __init__(self, settings: Settings, store: Store, metrics: Metrics, seed_text: Seed | None = None) -> None:
        self.settings = settings
        self.metrics = metrics
        self.crew = Crew(metrics)
        self.rooms: dict[str, Room] = {}
        self.sessions: set[Session] = set()
        self.stopping = False
        self._loading: dict[str, list[AsyncResult[Room]]] = {}
        maps = self.rooms, self._loading
        self.caretaker = Caretaker(settings, store, metrics, self.crew, *maps, self.release, self._gone, seed_text)
        self._inbox: Queue[_Want | _Loaded | _Gone | Room | None] = Queue()
        self._pass = LoopPass(metrics)
        self._tick_at = self._clean_up_at = 0.0
        self._started = self._over = False
        self._stopped = Event()

    # ---- sessions

    def start(self) -> None:
        """Start the hub's greenlet. Idempotent; in the process that serves, since greenlets do not survive a fork."""
        if not self._started:
            self._started = True
            self._clean_up_at = now() + self.settings.cleanup_interval
            self.crew.spawn("hub", self._run)
            self.caretaker.start()

    def unready(self) -> list[str]:
        """Why nobody should be sent here now; nothing if all is well."""
        reasons = ["the server is stopping"] if self.stopping else []
        trouble = self.caretaker.saver.complaint(now())
        return reasons + ([f"changes cannot be stored: {trouble}"] if trouble else [])

    def open(self, fileno: int, dialect: Dialect, document_id: str, identity: Identity) -> Session:
        """Begin a session on a socket past its handshake; the descriptor is the session's from here on."""
        self.start()
        session = Session(self, Socket(fileno), dialect, document_id, identity)
        self.sessions.add(session)
        self.metrics.count("connections", dialect.name)
        self.crew.spawn("reader", session.run)
        return session

    def enter(self, document_id: str) -> Room:
        """The document's room, opened if need be. Switches greenlets unless it is open already.

        Raises:
            Quarantined: the document cannot be read.
            StoreError: the document cannot be loaded.
        """
        while True:
            room = self.rooms.get(document_id)
            if room is None:
                wanted: AsyncResult[Room] = AsyncResult()
                self._inbox.put(_Want(document_id, wanted))
                try:
                    room = wanted.get(timeout=LOAD_TIMEOUT)
                except Timeout:
                    raise StoreError(f"document {document_id!r} was not loaded in time") from None
                assert room is not None
            # Between the hub's answer and this greenlet's turn the room may have gone again.
            if not room.closed:
                return room

    def release(self, room: Room) -> None:
        """Nobody may be in `room` any more: look whether it can go."""
        self._inbox.put(room)

    def forget(self, session: Session) -> None:
        """`session` is over."""
        self.sessions.discard(session)

    # ---- the hub's greenlet

    def _run(self) -> None:
        self._tick_at = now() + TICK
        while not self._over:
            try:
                self._step()
            except Exception:
                # Whatever went wrong with one request or one tick: without this greenlet nothing goes on at all.
                log.exception("The hub failed at one step and goes on")
                self.metrics.count("hub_faults")

    def _step(self) -> None:
        at = now()
        if at >= self._tick_at:
            self._tick_at = at + TICK
            self.tick(at)
            if at >= self._clean_up_at:
                self._clean_up_at = at + self.settings.cleanup_interval
                self.clean_up(at)
        try:
            request = self._inbox.get(timeout=max(0.0, self._tick_at - now()))
        except Empty:
            return
        if isinstance(request, _Want):
            self._want(request)
        elif isinstance(request, _Loaded):
            self._loaded(request)
        elif isinstance(request, _Gone):
            self._drop(request.room)
        elif request is not None:
            self._unload(request)

    def _want(self, want: _Want) -> None:
        room = self.rooms.get(want.document_id)
        if room is not None:
            want.room.set(room)
        elif want.document_id in self._loading:
            self._loading[want.document_id].append(want.room)
        else:
            self._loading[want.document_id] = [want.room]
            self.crew.spawn("load", self._load, want.document_id)

    def _load(self, document_id: str) -> None:
        outcome: Opened | StoreError = StoreError("the load ended without a result")
        try:
            outcome = self.caretaker.archive.open(document_id)
        except Quarantined as error:
            outcome = error
        except CollabError as error:
            log.error("Document %r could not be loaded: %s", document_id, error)
            self.caretaker.saver.doubt()
            outcome = StoreError(str(error))
        finally:
            self._inbox.put(_Loaded(document_id, outcome))

    def _loaded(self, loaded: _Loaded) -> None:
        waiting = self._loading.pop(loaded.document_id)
        if isinstance(loaded.outcome, StoreError):
            for wanted in waiting:
                wanted.set_exception(loaded.outcome)
            return
        document, journal, seeds = loaded.outcome
        size = self.settings.max_awareness_size
        room = Room(loaded.document_id, document, journal, self._pass.add, self.release, self.metrics, size, seeds)
        self.caretaker.attach(room)
        self.rooms[loaded.document_id] = room
        for wanted in waiting:
            wanted.set(room)

    def _unload(self, room: Room) -> None:
        if not room.closed and room.deserted and self.caretaker.may_go(room):
            room.closed = True
            del self.rooms[room.document_id]

    def _drop(self, room: Room) -> None:
        if room.closed:
            return
        room.closed = True
        del self.rooms[room.document_id]
        for session in list(self.sessions):
            if session.room is room:
                session.close(CloseCode.RESTART, "the document was replaced")
        room.journal.abandon()

    def _gone(self, room: Room) -> None:
        self._inbox.put(_Gone(room))

    # ---- time

    def tick(self, at: float) -> None:
        """What happens every second: pings, presence that expires, connections that do not end by themselves."""
        for session in list(self.sessions):
            if at >= session.due:
                session.tick(at)
        for room in self.rooms.values():
            room.tick(at)
        self.caretaker.tick()

    def clean_up(self, at: float) -> None:
        """What happens every clean-up interval: end who is idle or stuck, let go of rooms where nobody is."""
        settings = self.settings
        for session in list(self.sessions):
            if session.stuck_since(at - settings.slow_timeout):
                session.close(CloseCode.TRY_AGAIN_LATER, "too slow for too long")
            elif settings.idle_timeout and at - session.active >= settings.idle_timeout:
                session.close(CloseCode.IDLE, "no activity")
        for room in list(self.rooms.values()):
            room.tidy()
            if at >= room.noted_at + PEOPLE_INTERVAL:
                room.note_all(at)
            if room.deserted:
                self.release(room)

    # ---- stopping

    def stop(self) -> None:
        """End all sessions and greenlets, within `COLLAB_STOP_TIMEOUT` and `FLUSH_TIMEOUT`. Idempotent.

        Switches greenlets. First no session is begun any more (`stopping`); then each client is told to come back
        (1012), not all in one moment, since they do come back at once; then their goodbyes are waited for; whoever has
        not answered by the deadline is cut off. Then the rest is stored, and what is still at work is ended and named.
        """
        if self.stopping:
            self._stopped.wait()
            return
        self.stopping = True
        deadline = now() + self.settings.stop_timeout
        sessions = list(self.sessions)
        steps = min(len(sessions), 20)
        for step in range(steps):
            for session in sessions[step::steps]:
                session.close(CloseCode.RESTART, "the server is restarting")
            sleep(self.settings.stop_timeout / 4 / steps)
        while self.sessions and now() < deadline - 0.2:
            sleep(0.02)
        for session in list(self.sessions):
            session.lost()
        sleep(0)  # their last words
        self.caretaker.put_away(FLUSH_TIMEOUT)
        deadline = now() + 1.0
        self._over = True
        self._inbox.put(None)
        if not self.crew.join(max(0.0, deadline - now())):
            log.warning("Ended what did not end by itself: %s", ", ".join(sorted(set(self.crew.names()))))
            self.crew.kill()
        self.caretaker.close()
        log.info("Stopped; counted since the start: %s", self.metrics.snapshot())
        self._stopped.set()
