"""The hub: which connections there are, whose greenlet works on the room map, and what happens with time.

Bound here: stopping is ask, prove, deadline (`stop`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gevent import sleep
from gevent.event import Event
from gevent.queue import Empty

from collab import comings
from collab.admission import Admission
from collab.archive import Seed
from collab.auth import Authenticator, Trusting
from collab.clock import now, unix
from collab.config import Settings
from collab.connection import Connection
from collab.crew import Crew
from collab.departures import drain, send_away
from collab.events import Events
from collab.identity import Credentials
from collab.logs import LIMITER, logger
from collab.metrics import Metrics
from collab.protocol.frames import CloseCode
from collab.protocol.hocuspocus import Hocuspocus
from collab.pulse import Pulse
from collab.rooms import Rooms
from collab.session import Session
from collab.shared import Shared
from collab.solo import Arrival, Solo
from collab.steered import Steered
from collab.stores.base import Store
from collab.traced import Traces
from collab.tracing import Span
from collab.transport import Socket
from collab.versions import Versions

log = logger(__name__)

TICK: Final = 1.0
"""Seconds between looks at what is due: pings, presence, goodbyes that are not answered, what others have stored."""

PEOPLE_INTERVAL: Final = 300.0
"""Seconds between notes of who is still in a document."""

FLUSH_TIMEOUT: Final = 4.0
"""Seconds that a stopping server gives its store; with the goodbyes, well inside gunicorn's `graceful_timeout`."""

CLOSE_TIMEOUT: Final = 0.5
"""Seconds that it then gives each of the three threads that ask the store to come to an end."""


class Hub(Steered):
    """All rooms and sessions of one process.

    Args:
        settings: sizes and times.
        store: where documents are kept.
        metrics: where to count.
        seed_text: what a new document begins with: given its id, plain text or None. May wait, as a Flask view may.
        auth: who may come in; everybody by default.

    Attributes:
        ended: set when it stops.
        events: what the application is told of.
        traces: where spans are made, if they are; from the start on.
        pulse: how late the event loop comes.
        urls: where it is served, as `http://host:port`, if that is known.
        started: when it did so, in seconds since 1970; 0 before.
        warnings: what its operator has to know though all is well; to be set before it starts.
        looks: what finds more such warnings, when it starts.
        draining: whether new sessions are refused, and those that there are sent away.
        exposed: whether others than this machine can reach it, as far as its settings and its host tell.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        seed_text: Seed | None = None,
        auth: Authenticator | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.crew = Crew(metrics)
        self.events = Events(metrics, self.crew)
        self.documents = Rooms(settings, store, metrics, self.crew, self.events, seed_text)
        self.rooms = self.documents.map
        self.caretaker = self.documents.caretaker
        self.versions = Versions(store.another(), self.documents)
        self.admission = Admission(settings, auth or Trusting(), self.rooms)
        self.connections: set[Connection] = set()
        self.stopping = self.draining = False
        self.exposed = bool(settings.proxies)  # whom a proxy brings is not from this machine, wherever the proxy is
        self.urls: list[str] = []
        self.warnings: list[str] = []
        self.looks: list[Callable[[], Iterable[str]]] = []
        self.started = 0.0
        self.traces: Traces | None = None
        self._tick_at = self._clean_up_at = 0.0
        self._over = False
        self.ended = Event()
        self.pulse = Pulse(metrics, self.ended)
        self._stopped = Event()

    # ---- sessions

    def start(self) -> None:
        """Start the hub's greenlet. Idempotent; in the process that serves, since greenlets do not survive a fork."""
        if not self.started:
            self.started = unix()
            self._clean_up_at = now() + self.settings.cleanup_interval
            self.crew.spawn("hub", self._run)
            self.pulse.start()
            self.caretaker.start()
            if self.settings.traces:
                self.traces = Traces(self.settings, self.metrics, self.crew)
                self.documents.trace(self.traces)
            for look in self.looks:
                self.warnings += look()
            for warning in self.warnings:
                log.warning("%s", warning)

    def unready(self) -> list[str]:
        """Why nobody should be sent here now; nothing if all is well."""
        reasons = ["the server is stopping"] if self.stopping else []
        if self.draining and not self.stopping:
            reasons.append("the server is draining (`collab drain`): it takes no new sessions until it is started anew")
        trouble = self.caretaker.saver.complaint(now())
        reasons += [f"changes cannot be stored: {trouble}"] if trouble else []
        return reasons + list(filter(None, [self.pulse.complaint(now())]))

    @property
    def auth(self) -> Authenticator:
        """Who tells who somebody is. May be set to another one before the first request."""
        return self.admission.auth

    @auth.setter
    def auth(self, auth: Authenticator) -> None:
        self.admission.auth = auth

    def open(self, fileno: int, address: str, arrival: Arrival, trace: Span | None = None) -> Solo:
        """Begin a session on a socket past its handshake; the descriptor is the connection's from here on.

        `address` is where the client is, and `trace` the span of the upgrade, if it is sampled.
        """
        connection = Solo(self, Socket(fileno), address, arrival)
        self._begin(connection, arrival.dialect.name, trace, connection.session)
        return connection

    def open_shared(self, fileno: int, address: str, credentials: Credentials, trace: Span | None = None) -> Shared:
        """Begin a connection for many documents, as `open` does for one; who it is is told in band."""
        connection = Shared(self, Socket(fileno), address, credentials)
        self._begin(connection, Hocuspocus.name, trace)
        return connection

    def _begin(
        self, connection: Solo | Shared, dialect: str, trace: Span | None, session: Session | None = None
    ) -> None:
        self.start()
        self.connections.add(connection)
        self.admission.connect(connection.address)
        self.metrics.count("connections", dialect)
        if self.traces is not None and trace is not None:
            self.traces.follow(connection, trace)
        self.crew.spawn("reader", connection.run)
        comings.came(connection, dialect, session)

    def forget(self, connection: Connection) -> None:
        """`connection` is over."""
        self.connections.discard(connection)
        self.admission.disconnect(connection.address)

    # ---- steering

    def drain(self) -> int:
        """Take no new sessions, and send away those that there are; how many connections there still are. Idempotent.

        Before a deploy: the process goes on, not ready, until it is stopped.
        """
        if not self.draining:
            self.draining = True
            self.crew.spawn("drain", drain, self.connections, self.ended)
        return len(self.connections)

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
        self.pulse.sign(at)
        if at >= self._tick_at:
            self._tick_at = at + TICK
            self.tick(at)
            if at >= self._clean_up_at:
                self._clean_up_at = at + self.settings.cleanup_interval
                self.clean_up(at)
        try:
            request = self.documents.inbox.get(timeout=max(0.0, self._tick_at - now()))
        except Empty:
            return
        self.documents.handle(request)

    # ---- time

    def tick(self, at: float) -> None:
        """What happens every second: pings, presence that expires, connections that do not end by themselves."""
        for connection in list(self.connections):
            if at >= connection.due:
                connection.tick(at)
        for room in self.rooms.values():
            room.tick(at)
        wall = unix()
        for session in list(self.admission.expiring):
            session.expire(wall)
        self.caretaker.tick()
        self.metrics.count("log_lines_left_out", by=LIMITER.tick())
        self.events.tick(at)

    def clean_up(self, at: float) -> None:
        """What happens every clean-up interval: end who is idle or stuck, let go of rooms where nobody is."""
        settings = self.settings
        for connection in list(self.connections):
            if connection.stuck_since(at - settings.slow_timeout):
                self.metrics.count("slow_closed")
                connection.close(CloseCode.TRY_AGAIN_LATER, "too slow for too long")
            elif settings.idle_timeout and at - connection.active >= settings.idle_timeout:
                connection.close(CloseCode.IDLE, "no activity")
        for room in list(self.rooms.values()):
            room.tidy()
            if at >= room.noted_at + PEOPLE_INTERVAL:
                room.note_all(at)
            if room.deserted:
                self.documents.release(room)

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
        self.ended.set()
        deadline = now() + self.settings.stop_timeout
        send_away(self.connections, self.settings.stop_timeout / 4, sleep)
        while self.connections and now() < deadline - 0.2:
            sleep(0.02)
        for connection in list(self.connections):
            connection.lost()
        sleep(0)  # their last words
        self.caretaker.put_away(FLUSH_TIMEOUT)
        self.documents.say_closed()
        self.events.finish()
        if self.traces is not None:
            self.traces.close()
        deadline = now() + 1.0
        self._over = True
        self.documents.inbox.put(None)
        if not self.crew.join(max(0.0, deadline - now())):
            log.warning("Ended what did not end by itself: %s", ", ".join(sorted(set(self.crew.names()))))
            self.crew.kill()
        self.versions.close(CLOSE_TIMEOUT)
        self.caretaker.close(CLOSE_TIMEOUT)
        self.metrics.count("log_lines_left_out", by=LIMITER.finish())
        log.info("Stopped; counted since the start: %s", self.metrics.snapshot())
        self._stopped.set()
