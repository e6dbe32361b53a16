"""One client's connection: a reader greenlet that takes what comes in, its end, and what time does to it.

Bound here: only the reader switches greenlets, and only between messages or where it waits for the socket (or, before
the first message, for the document). `close` and `tick` never do.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final

from gevent import sleep
from gevent.event import Event

from collab.clock import now
from collab.comings import LOST, Ending
from collab.config import Settings
from collab.crew import Crew
from collab.door import CLOSED, CLOSING, OPEN, Door
from collab.errors import FrameError, RateLimited
from collab.limits import Meter
from collab.metrics import Metrics
from collab.protocol import frames
from collab.protocol.frames import BINARY, CLOSE, DELIBERATE, PING, PONG, TEXT, CloseCode, FrameParser
from collab.tracing import Span
from collab.transport import CHUNK, Socket

if TYPE_CHECKING:
    from collab.session import Session

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a client has to answer a close frame."""

LOOK_MESSAGES: Final = 64
TURN_TIME: Final = 0.002
"""Seconds after which a reader lets the others go on, looked at every so many messages."""

TURN_MESSAGES: Final = 256
"""Messages after which it does so in any case: what they bring takes its time at the end of the loop pass."""

BREATH: Final = 1e-6
"""Seconds that a reader then pauses: with 0 only those would go on who have been read already."""

SLICE: Final = 4096
"""Bytes that are read at once of a client that sends too much, so that nobody else waits for it."""

LONGEST_PAUSE: Final = 1.0
"""Seconds for which a client that sends too much is not read, at most: it may have gone meanwhile."""

_MINUTE: Final = 60.0

_numbers = count(1)

_PING_FRAME: Final = frames.encode_frame(PING, b"")


class Connection(Door):
    """The WebSocket side of one or more sessions; it owns `socket`, which is past the handshake, from here on.

    Attributes:
        address: where the client is.
        number: of this connection in this process.
        since: when it began.
        trace: the span of its upgrade, if it is sampled.
        ending: why it is over, or will be.
        bytes_in: that were read.
        messages_in: that were read, pings and the like included.
        meter: what its user may send; its own until it is known who that is.
    """

    __slots__ = (
        "_beat_at",
        "_close_by",
        "_invalid",
        "_invalid_since",
        "_parser",
        "_ping_at",
        "active",
        "address",
        "bytes_in",
        "due",
        "ending",
        "heard",
        "messages_in",
        "meter",
        "number",
        "on_message",
        "since",
        "trace",
        "vanished",
    )

    def __init__(self, socket: Socket, settings: Settings, metrics: Metrics, crew: Crew, address: str = "") -> None:
        super().__init__(socket, settings, metrics, crew)
        self.address = address
        self.trace: Span | None = None
        self.number = next(_numbers)
        self.meter = Meter(settings.rate_messages, settings.rate_bytes)
        self._parser = FrameParser(settings.max_message_size)
        self.on_message: Callable[[bytes, bool], None]  # what becomes of a message; whoever extends this says so
        self.vanished = True  # it ends without anybody having meant it to
        self.ending = LOST
        self.bytes_in = self.messages_in = 0
        self.since = self.heard = self.active = now()  # last sign of life, last message
        self._ping_at = self.due = self.heard + settings.ping_interval
        self._beat_at = float("inf")
        self._close_by = 0.0
        self._invalid, self._invalid_since = 0, 0.0

    # ---- what the kinds of connections add

    @property
    def dialect_name(self) -> str:
        """What the client speaks, in metrics."""
        raise NotImplementedError

    def begin(self) -> None:
        """What comes before the first message. May switch greenlets."""

    def on_end(self) -> None:
        """Nothing more will be taken from the client. Idempotent."""
        raise NotImplementedError

    def took(self, count: int) -> None:
        """So many messages that were read when the client was last `heard` have been taken."""
        raise NotImplementedError

    def dismiss(self, session: Session, code: CloseCode, reason: str) -> None:
        """End the stay of one of the sessions on this connection."""
        raise NotImplementedError

    def beat(self) -> float:
        """Say something, for a client that counts no pings; in how many seconds to do so again."""
        raise NotImplementedError

    # ---- in

    def run(self) -> None:
        """The reader greenlet. Switches greenlets."""
        try:
            self.begin()
            if self.trace is not None:
                self.trace.end()
            self.read()
        except BaseException:
            self.close(CloseCode.INTERNAL_ERROR, "internal error")
            raise
        finally:
            self.over()

    def read(self) -> None:
        """Take what comes in until the end. Switches greenlets."""
        while data := self._socket.receive(CHUNK if self.meter.flooding_since is None else SLICE):
            self.heard = now()
            messages = self._parser.feed(data)
            self.bytes_in += len(data)
            self.messages_in += len(messages)
            wait = self.meter.spend(len(messages), len(data), self.heard)
            if not self._take(messages):
                return
            if wait:
                self._slow_down(wait)

    def _slow_down(self, wait: float) -> None:
        """Read nothing for a while, so that TCP slows the client down; close on one that goes on all the same."""
        since = self.meter.flooding_since
        if self.state is OPEN and since is not None and self.heard - since >= self._settings.flood_timeout:
            self._metrics.count("refused", RateLimited.code)
            self.close(CloseCode.ABUSE, "more messages than the server reads, for too long")
        self._metrics.count("throttled")
        sleep(min(wait, LONGEST_PAUSE))

    def _take(self, messages: list[tuple[int, bytes]]) -> bool:
        """Take messages that came in; False when the client has said goodbye. May switch greenlets between them."""
        started = self.heard
        taken = 0  # of which `took` does not know yet
        for number, (opcode, payload) in enumerate(messages, 1):
            if self.backlog is not None and self.backlog.congested:
                self.took(taken)
                taken = 0
                self._resume = Event()
                self._resume.wait()
            if not number % LOOK_MESSAGES and (not number % TURN_MESSAGES or now() - started > TURN_TIME):
                self.took(taken)
                taken = 0
                sleep(BREATH)
                started = now()
            if opcode in (BINARY, TEXT):
                if self.state is OPEN:
                    taken += 1
                    self.active = self.heard
                    self.on_message(payload, opcode == TEXT)
            elif opcode == PING:
                self.put(frames.encode_frame(PONG, payload))
            elif opcode == CLOSE:
                self.took(taken)
                return self._on_close(payload)
        if taken:
            self.took(taken)
        if self._parser.failure is not None and self.state is OPEN:
            self._fail(self._parser.failure)
        return True

    def _on_close(self, payload: bytes) -> bool:
        if self.state is not OPEN:
            return False
        try:
            code, reason = frames.parse_close(payload)
        except FrameError as error:
            self._fail(error)
            return True
        self.vanished = code not in DELIBERATE
        self.ending = Ending("client", code, reason)
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

    # ---- the end

    def count_invalid(self) -> None:
        """The client has sent something wrong; close on one that sends little else."""
        at = now()
        if at - self._invalid_since > _MINUTE:
            self._invalid, self._invalid_since = 0, at
        self._invalid += 1
        if self._invalid >= self._settings.max_invalid:
            self.close(CloseCode.ABUSE, "too many invalid messages")

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Say goodbye; the connection ends when the client has answered, or `CLOSE_TIMEOUT` later. Idempotent."""
        if self.state is not OPEN:
            return
        self.vanished = False
        self.ending = Ending("server", int(code), reason)
        self.on_end()
        self.put(frames.encode_close(code, reason))
        self.state = CLOSING
        self._close_by = self.due = now() + CLOSE_TIMEOUT
        self._metrics.count("closed", str(int(code)))

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
                self.ending = LOST._replace(reason="no sign of life")
                self.lost()
            elif self.backlog is None:
                self.put(_PING_FRAME)
            self._ping_at = at + self._settings.ping_interval
        if at >= self._beat_at:
            self._beat_at = at + self.beat()
        self.due = min(self._ping_at, self._beat_at)

    def beat_by(self, at: float) -> None:
        """Say something by then at the latest."""
        self._beat_at = min(self._beat_at, at)
        self.due = min(self.due, at)

    def heard_since(self, when: float) -> bool:
        """Whether the client has said anything, or taken anything that waited, after `when`."""
        return self.heard > when or (self.backlog is not None and self.backlog.progress > when)

    def stuck_since(self, when: float) -> bool:
        """Whether something waits of which the client took nothing after `when`."""
        return self.backlog is not None and self.backlog.progress <= when

    def probe(self) -> None:
        """Ask for a sign of life."""
        self.put(_PING_FRAME)
