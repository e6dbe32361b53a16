"""One client's connection: a reader greenlet that takes what comes in, and one door out for all that goes.

Invariants borne here:

* One door out: whole frames, in order, to the last byte; pongs, closes and answers included. A frame goes straight to
  the socket only while nothing waits; else it goes into the backlog's queue, which a writer greenlet drains. The writer
  lives as long as something waits, so that an idle session costs one greenlet.
* A slow reader is repaired: what did not fit the backlog is made good at once when the rest is drained.
* Only the reader and the writer switch greenlets, and only between messages or where they wait for the socket (or,
  before the first message, for the document). `deliver`, `close` and `tick` never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gevent import sleep
from gevent.event import Event

from collab.backlog import Backlog
from collab.clock import now
from collab.config import Settings
from collab.crew import Crew
from collab.errors import FrameError
from collab.member import Part
from collab.metrics import Metrics
from collab.protocol import frames
from collab.protocol.frames import BINARY, CLOSE, DELIBERATE, PING, PONG, TEXT, CloseCode, FrameParser
from collab.transport import Socket

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a client has to answer a close frame."""

TURN_MESSAGES: Final = 64
TURN_TIME: Final = 0.02
"""Seconds after which a reader lets the others go on, looked at every so many messages."""

OPEN, CLOSING, CLOSED = range(3)
_PING_FRAME: Final = frames.encode_frame(PING, b"")


class Connection:
    """The WebSocket side of a session; it owns `socket`, which is past the handshake, from here on."""

    __slots__ = (
        "_close_by",
        "_crew",
        "_metrics",
        "_over",
        "_parser",
        "_ping_at",
        "_resume",
        "_send",
        "_settings",
        "_socket",
        "active",
        "backlog",
        "due",
        "heard",
        "state",
        "vanished",
    )

    def __init__(self, socket: Socket, settings: Settings, metrics: Metrics, crew: Crew) -> None:
        self._socket = socket
        self._send = socket.send
        self._settings = settings
        self._metrics = metrics
        self._crew = crew
        self._parser = FrameParser(settings.max_message_size)
        self.state = OPEN
        self.vanished = True  # it ends without anybody having meant it to
        self.backlog: Backlog | None = None
        self.heard = self.active = now()  # last sign of life, last message
        self._ping_at = self.due = self.heard + settings.ping_interval
        self._close_by = 0.0
        self._resume: Event | None = None  # the reader waits for it while its client is congested
        self._over: Event | None = None

    # ---- what a session adds or extends

    def on_message(self, payload: bytes, text: bool) -> None:
        """A whole message has come in."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Nothing more will be taken from the client. Idempotent."""
        raise NotImplementedError

    def on_caught_up(self, backlog: Backlog) -> bytes:
        """A slow client has read all that was kept: the frames that make good what was not, if anything."""
        raise NotImplementedError

    def state_vector(self) -> bytes:
        """The document's, as of the broadcast that is being delivered."""
        raise NotImplementedError

    # ---- in

    def read(self) -> None:
        """Take what comes in until the end. Switches greenlets."""
        while data := self._socket.receive():
            self.heard = now()
            if not self._take(data):
                return

    def _take(self, data: bytes) -> bool:
        """Take bytes that came in; False when the client has said goodbye. May switch greenlets between messages."""
        self._metrics.bytes_in += len(data)
        started = self.heard
        for number, (opcode, payload) in enumerate(self._parser.feed(data), 1):
            if self.backlog is not None and self.backlog.congested:
                self._resume = Event()
                self._resume.wait()
            if not number % TURN_MESSAGES and now() - started > TURN_TIME:
                sleep(0)
                started = now()
            if opcode in (BINARY, TEXT):
                if self.state is OPEN:
                    self._metrics.messages_in += 1
                    self.active = self.heard
                    self.on_message(payload, opcode == TEXT)
            elif opcode == PING:
                self.put(frames.encode_frame(PONG, payload))
            elif opcode == CLOSE:
                return self._on_close(payload)
        if self._parser.failure is not None and self.state is OPEN:
            self._fail(self._parser.failure)
        return True

    def _on_close(self, payload: bytes) -> bool:
        if self.state is not OPEN:
            return False
        try:
            code, _ = frames.parse_close(payload)
        except FrameError as error:
            self._fail(error)
            return True
        self.vanished = code not in DELIBERATE
        self.on_end()
        self.put(frames.encode_close(code) if code != 1005 else frames.encode_frame(CLOSE, b""))
        self.state = CLOSING
        return False

    def _fail(self, error: FrameError) -> None:
        """Close because of a broken stream: nothing from here on can be read."""
        self._metrics.count("refused", error.code)
        self.close(CloseCode(error.close_code), str(error))
        if self.backlog is None:
            self._socket.half_close()

    # ---- out

    def deliver(self, frame: bytes, parts: Sequence[Part]) -> None:
        """Send a broadcast, or keep for later what the socket does not take."""
        backlog = self.backlog
        if backlog is None:
            self._push(frame)
            backlog = self.backlog
            if backlog is None:
                return
        else:
            backlog.add(parts)
        if backlog.state_vector is None:
            backlog.mark(self.state_vector())

    def put(self, frame: bytes) -> None:
        """Send a frame for this client alone, behind all that waits; nothing follows a close frame."""
        if self.state is not OPEN:
            return
        if self.backlog is not None:
            self.backlog.reply(frame)
        else:
            self._push(frame)

    def _push(self, frame: bytes) -> None:
        """Send a frame on a connection where nothing waits; what the socket does not take begins a backlog."""
        try:
            sent = self._send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lost()
            return
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
                    rest = rest[self._send(rest) :]
                    backlog.progress = now()
                except BlockingIOError:
                    self._socket.wait_writable()
                except OSError:
                    self.lost()
                    return False
            if self._resume is not None and not backlog.congested:
                self._resume.set()
        return True

    # ---- the end

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Say goodbye; the connection ends when the client has answered, or `CLOSE_TIMEOUT` later. Idempotent."""
        if self.state is not OPEN:
            return
        self.vanished = False
        self.on_end()
        self.put(frames.encode_close(code, reason))
        self.state = CLOSING
        self._close_by = self.due = now() + CLOSE_TIMEOUT
        self._metrics.count("closed", str(int(code)))

    def lost(self) -> None:
        """Give the connection up: who waits on the socket sees its end, and ends."""
        self._socket.shut()

    def over(self) -> None:
        """The reader's last act."""
        try:
            self.on_end()
        finally:
            self.state = CLOSED
            if self.backlog is None:
                self.finish()
            else:
                self._close_by = self.due = now() + CLOSE_TIMEOUT

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

    # ---- time

    def tick(self, at: float) -> None:
        """Do what is due: ping, or give up a client that shows no life or does not answer a close."""
        if self.state is not OPEN:
            if at >= self._close_by:
                self.lost()
            self.due = at + 1.0
            return
        if at >= self._ping_at:
            if not self.heard_since(at - 2 * self._settings.ping_interval):
                self._metrics.count("closed", "dead")
                self.lost()
            elif self.backlog is None:
                self.put(_PING_FRAME)
            self._ping_at = at + self._settings.ping_interval
        self.due = self._ping_at

    def heard_since(self, when: float) -> bool:
        """Whether the client has said anything, or taken anything that waited, after `when`."""
        return self.heard > when or (self.backlog is not None and self.backlog.progress > when)

    def stuck_since(self, when: float) -> bool:
        """Whether something waits of which the client took nothing after `when`."""
        return self.backlog is not None and self.backlog.progress <= when

    def probe(self) -> None:
        """Ask for a sign of life."""
        self.put(_PING_FRAME)
