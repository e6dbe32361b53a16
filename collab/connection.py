"""One client's connection: its reader greenlet from beginning to end, its goodbye, and what time does to it.

Bound here: only the reader switches greenlets, as `collab.intake` says or, before the first message, where it waits for
the document. `close` and `tick` never do.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from collab.clock import now
from collab.comings import LOST, Ending
from collab.config import Settings
from collab.crew import Crew
from collab.door import CLOSED, CLOSING, OPEN
from collab.errors import FrameError
from collab.intake import Intake
from collab.metrics import Metrics
from collab.protocol import frames
from collab.protocol.frames import CLOSE, DELIBERATE, PING, CloseCode
from collab.tracing import Span
from collab.transport import Socket

if TYPE_CHECKING:
    from collab.session import Session

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a client has to answer a close frame."""

_MINUTE: Final = 60.0

_numbers = count(1)

_PING_FRAME: Final = frames.encode_frame(PING, b"")


class Connection(Intake):
    """The WebSocket side of one or more sessions; it owns `socket`, which is past the handshake, from here on.

    Attributes:
        address: where the client is.
        number: of this connection in this process.
        since: when it began.
        trace: the span of its upgrade, if it is sampled.
        ending: why it is over, or will be.
    """

    __slots__ = (
        "_beat_at",
        "_close_by",
        "_invalid",
        "_invalid_since",
        "_ping_at",
        "address",
        "due",
        "ending",
        "number",
        "since",
        "trace",
        "vanished",
    )

    def __init__(self, socket: Socket, settings: Settings, metrics: Metrics, crew: Crew, address: str = "") -> None:
        super().__init__(socket, settings, metrics, crew)
        self.address = address
        self.trace: Span | None = None
        self.number = next(_numbers)
        self.vanished = True  # it ends without anybody having meant it to
        self.ending = LOST
        self.since = self.heard
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

    def on_close(self, payload: bytes) -> bool:
        if self.state is not OPEN:
            return False
        try:
            code, reason = frames.parse_close(payload)
        except FrameError as error:
            self.fail(error)
            return True
        self.vanished = code not in DELIBERATE
        self.ending = Ending("client", code, reason)
        self.on_end()
        self.put(frames.encode_close(code) if code != 1005 else frames.encode_frame(CLOSE, b""))
        self.state = CLOSING
        return False

    def fail(self, error: FrameError) -> None:
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
