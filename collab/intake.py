"""The way into a connection: what comes off its socket becomes messages, one after the other, within bounds.

Invariants borne here:

* What is one small binary message, as nearly all is, takes effect in the loop's own greenlet and wakes no other one.
  For all else the reader greenlet is woken, and only that one ever waits.
* It switches greenlets only between messages, or where it waits for the socket: never while one takes effect.
* Who sends too much is not read for a while, and whoever's own socket is congested is not read either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gevent import sleep
from gevent.event import Event

from collab.clock import now
from collab.config import Settings
from collab.crew import Crew
from collab.door import OPEN, Door
from collab.errors import FrameError, RateLimited
from collab.limits import Meter
from collab.metrics import Metrics
from collab.protocol.frames import BINARY, CLOSE, PING, PONG, TEXT, CloseCode, FrameParser, encode_frame
from collab.transport import CHUNK, Socket

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


class Intake(Door):
    """The receiving side of a connection.

    Attributes:
        on_message: what becomes of a message: given its payload, and whether it is text. Whoever extends this says so.
        meter: what its user may send; its own until it is known who that is.
        heard: when there was the last sign of life.
        active: when there was the last message.
        bytes_in: that were read.
        messages_in: that were read, pings and the like included.
    """

    __slots__ = ("_parser", "active", "bytes_in", "heard", "messages_in", "meter", "on_message")

    def __init__(self, socket: Socket, settings: Settings, metrics: Metrics, crew: Crew) -> None:
        super().__init__(socket, settings, metrics, crew)
        self.meter = Meter(settings.rate_messages, settings.rate_bytes)
        self._parser = FrameParser(settings.max_message_size)
        self.on_message: Callable[[bytes, bool], None]
        self.bytes_in = self.messages_in = 0
        self.heard = self.active = now()

    def took(self, count: int) -> None:
        """So many messages that were read when the client was last `heard` have been taken."""
        raise NotImplementedError

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Say goodbye."""
        raise NotImplementedError

    def on_close(self, payload: bytes) -> bool:
        """The client says goodbye; whether it is to be read on all the same."""
        raise NotImplementedError

    def fail(self, error: FrameError) -> None:
        """Close because of a broken stream: nothing from here on can be read."""
        raise NotImplementedError

    def read(self) -> None:
        """Take what comes in until the end. Switches greenlets."""
        while data := self._socket.receive(self._take_lone, CHUNK if self.meter.flooding_since is None else SLICE):
            self.heard = now()
            messages = self._parser.feed(data)
            self.bytes_in += len(data)
            self.messages_in += len(messages)
            wait = self.meter.spend(len(messages), len(data), self.heard)
            if not self._take(messages):
                return
            if wait:
                self._slow_down(wait)

    def _take_lone(self, data: bytes) -> bool:
        """In the loop's own greenlet, take what is one small message; False: it is something else."""
        if self.backlog is not None or self.state is not OPEN or self.meter.flooding_since is not None:
            return False
        payload = self._parser.lone(data)
        if payload is None:
            return False
        self.heard = self.active = at = now()
        self.bytes_in += len(data)
        self.messages_in += 1
        self.meter.spend(1, len(data), at)  # the pause, should it be due one, comes with what it sends next
        self.on_message(payload, False)
        self.took(1)
        return True

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
                self.put(encode_frame(PONG, payload))
            elif opcode == CLOSE:
                self.took(taken)
                return self.on_close(payload)
        if taken:
            self.took(taken)
        if self._parser.failure is not None and self.state is OPEN:
            self.fail(self._parser.failure)
        return True
