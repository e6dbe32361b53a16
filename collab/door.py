"""The one door out of a connection: whole frames, in order, to the last byte.

Invariants borne here:

* Pongs, closes and answers go through it like all else. A frame goes straight to the socket only while nothing waits;
  else it goes into the backlog's queue, which a writer greenlet drains. The writer lives as long as something waits, so
  that an idle connection costs one greenlet.
* A slow reader is repaired: what did not fit the backlog is made good at once when the rest is drained.
* Only the writer switches greenlets, where it waits for the socket; `put` and `push` never do.
"""

from __future__ import annotations

from gevent.event import Event

from collab.backlog import Backlog
from collab.clock import now
from collab.config import Settings
from collab.crew import Crew
from collab.metrics import Metrics
from collab.transport import Socket

OPEN, CLOSING, CLOSED = range(3)


class Door:
    """The sending side of a connection.

    Attributes:
        bytes_out: that the socket has taken.
        messages_out: that were sent or wait; what is said in one breath to one client alone counts once.
    """

    __slots__ = (
        "_crew",
        "_metrics",
        "_over",
        "_resume",
        "_send",
        "_settings",
        "_socket",
        "backlog",
        "bytes_out",
        "messages_out",
        "state",
    )

    def __init__(self, socket: Socket, settings: Settings, metrics: Metrics, crew: Crew) -> None:
        self._socket = socket
        self._send = socket.send
        self._settings = settings
        self._metrics = metrics
        self._crew = crew
        self.state = OPEN
        self.backlog: Backlog | None = None
        self.bytes_out = self.messages_out = 0
        self._resume: Event | None = None  # the reader waits for it while its client is congested
        self._over: Event | None = None

    def on_caught_up(self, backlog: Backlog) -> bytes:
        """A slow client has read all that was kept: the frames that make good what was not, if anything."""
        raise NotImplementedError

    def put(self, frame: bytes) -> None:
        """Send a frame for this client alone, behind all that waits; nothing follows a close frame."""
        if self.state is not OPEN:
            return
        self.messages_out += 1
        if self.backlog is not None:
            self.backlog.reply(frame)
        else:
            self.push(frame)

    def push(self, frame: bytes) -> None:
        """Send a frame on a connection where nothing waits; what the socket does not take begins a backlog."""
        try:
            sent = self._send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lost()
            return
        self.bytes_out += sent
        if sent < len(frame):
            settings = self._settings
            self._metrics.count("stalls")
            # A view, not a copy: a crowd of visitors that waits for the same document shares its bytes.
            self.backlog = Backlog(memoryview(frame)[sent:], settings.send_queue, settings.send_queue_bytes, now())
            self._crew.spawn("writer", self._write)

    def _write(self) -> None:
        """The writer greenlet: drain the backlog, make good what it forgot, and end when nothing waits."""
        backlog = self.backlog
        assert backlog is not None
        try:
            while self._drain(backlog):
                repair = self.on_caught_up(backlog)
                if repair:
                    backlog.start(repair)
                elif not len(backlog):
                    break
        except BaseException:
            # What was forgotten would stay so, and a frame may be cut: the client has to come again.
            self.lost()
            raise
        finally:
            self.backlog = None
            if self._resume is not None:
                self._resume.set()
            if self.state is CLOSED:
                self.finish()

    def _drain(self, backlog: Backlog) -> bool:
        """Write all that waits; False when the socket is gone."""
        while chunk := backlog.take():
            rest = memoryview(chunk)
            while rest:
                try:
                    sent = self._send(rest)
                    self.bytes_out += sent
                    rest = rest[sent:]
                    backlog.progress = now()
                except BlockingIOError:
                    self._socket.wait_writable()
                except OSError:
                    self.lost()
                    return False
            if backlog.carried:
                self._note_written(backlog)
            if self._resume is not None and not backlog.congested:
                self._resume.set()
        return True

    def _note_written(self, backlog: Backlog) -> None:
        at = now()
        for read_at, count in backlog.carried.items():
            self._metrics.observe("written_seconds", at - read_at, count)
        backlog.carried.clear()

    def lost(self) -> None:
        """Give the connection up: who waits on the socket sees its end, and ends."""
        self._socket.shut()

    def finish(self) -> None:
        """The last of reader and writer gives the socket back."""
        self._socket.shut()
        self._socket.close()
        if self._over is not None:
            self._over.set()

    def wait_over(self) -> None:
        """Wait until the socket was given back; for hosts that keep the request open so long. Switches greenlets."""
        self._over = self._over or Event()
        self._over.wait()
