"""What waits for a reader that is slower than its room, and what it will need when it has caught up.

Bound here: the waiting is bounded in messages and bytes, whatever the rooms say and however long it takes. Over the
bound, all that can be said again from a room's state is forgotten (updates, presence, who is here); only the state
vector that the client will be at when it has read the rest is kept, and one diff from there repairs it. Answers to
the client's own messages are kept; `congested` tells its reader to stop taking more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gevent.queue import Queue

from collab.member import Part
from collab.protocol.messages import Relay, Say, ServerMessage

JOIN_SIZE: Final = 65536
"""Bytes up to which waiting frames are joined into one write."""


class Repair:
    """What one of the sessions on a connection will need.

    Attributes:
        state_vector: the document that the client has when it has read what is kept; None: nothing may be forgotten.
        missed: kinds of messages that were forgotten since.
        dropped_relays: how many of them were others' own messages, or the server's.
        owed: state vector of a SyncStep1 that waits for its answer.
    """

    __slots__ = ("dropped_relays", "missed", "owed", "state_vector")

    def __init__(self) -> None:
        self.state_vector: bytes | None = None
        self.missed: set[type] = set()
        self.dropped_relays = 0
        self.owed: bytes | None = None

    def miss(self, message: ServerMessage) -> None:
        """`message` was forgotten."""
        self.missed.add(type(message))
        self.dropped_relays += isinstance(message, Relay | Say)


class _Waiting(NamedTuple):
    """A frame; if it may be forgotten what it says and whose repair that calls for, and when that was read."""

    frame: bytes | memoryview
    message: ServerMessage | None = None
    repair: Repair | None = None
    read_at: float = 0.0


class Backlog:
    """The queue of one connection, from the moment that its socket did not take everything until it is empty again.

    Args:
        rest: what the socket did not take; goes out first, whatever happens.
        most: messages that may wait.
        most_bytes: bytes that may wait, on top of `rest`.
        now: seconds on the monotonic clock.

    Attributes:
        bytes: that wait.
        repairs: what each session on the connection will need.
        progress: when the socket last took something.
        carried: how many messages are in what is to be written next, by when they were read.
    """

    __slots__ = (
        "_forgetting",
        "_missed_at",
        "_most",
        "_most_bytes",
        "_queue",
        "_replies",
        "_reply_bytes",
        "_size",
        "bytes",
        "carried",
        "progress",
        "repairs",
    )

    def __init__(self, rest: bytes | memoryview, most: int, most_bytes: int, now: float) -> None:
        self._queue: Queue[_Waiting] = Queue()
        self._most = most
        self._most_bytes = most_bytes
        self.progress = now
        self._missed_at: float | None = None  # when the first message was read that was forgotten
        self.start(rest)

    def start(self, rest: bytes | memoryview) -> None:
        """Begin anew behind `rest`."""
        self.repairs: dict[Any, Repair] = {}
        self._forgetting = False
        self._replies = self._reply_bytes = 0
        self._size = 0
        self.carried: dict[float, int] = {}
        if self._missed_at is not None:
            self.carry(self._missed_at)
            self._missed_at = None
        self.bytes = len(rest)
        self._queue.put(_Waiting(rest))

    def carry(self, read_at: float, count: int = 1) -> None:
        """What is to be written next has so many messages that were read at `read_at`."""
        self.carried[read_at] = self.carried.get(read_at, 0) + count

    def of(self, session: Any) -> Repair:
        """What `session` will need."""
        repair = self.repairs.get(session)
        if repair is None:
            repair = self.repairs[session] = Repair()
        return repair

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def congested(self) -> bool:
        """Whether the client's own questions have piled up more answers than may wait."""
        return self._replies >= self._most or self._reply_bytes >= self._most_bytes

    def add(self, parts: Sequence[Part], repair: Repair, read_at: float) -> None:
        """Queue a broadcast, or forget it where a repair is due anyway. Without a state vector there all is kept."""
        for frame, message in parts:
            if repair.state_vector is None or message is None:
                self.bytes += len(frame)
                self._queue.put(_Waiting(frame))
            elif self._forgetting:
                self._miss(message, repair, read_at)
            else:
                self.bytes += len(frame)
                self._size += len(frame)
                self._queue.put(_Waiting(frame, message, repair, read_at))
        if not self._forgetting and (self._queue.qsize() > self._most or self._size > self._most_bytes):
            self._forget()

    def reply(self, frame: bytes) -> None:
        """Queue an answer to the client; answers are kept."""
        self._replies += 1
        self._reply_bytes += len(frame)
        self.bytes += len(frame)
        self._queue.put(_Waiting(frame))

    def _forget(self) -> None:
        self._forgetting = True
        waiting = [self._queue.get() for _ in range(self._queue.qsize())]
        for kept in waiting:
            if kept.message is None or kept.repair is None:
                self._queue.put(kept)
            else:
                self._size -= len(kept.frame)
                self.bytes -= len(kept.frame)
                self._miss(kept.message, kept.repair, kept.read_at)

    def _miss(self, message: ServerMessage, repair: Repair, read_at: float) -> None:
        repair.miss(message)
        if self._missed_at is None:
            self._missed_at = read_at

    def take(self) -> bytes | memoryview:
        """The next bytes to write, joined up to `JOIN_SIZE` or one larger frame alone; empty when nothing waits."""
        frames: list[bytes | memoryview] = []
        size = 0
        while self._queue.qsize() and (not frames or size + len(self._queue.peek().frame) <= JOIN_SIZE):
            frame, message, _, read_at = self._queue.get()
            frames.append(frame)
            size += len(frame)
            if message is not None:
                self._size -= len(frame)
                self.carry(read_at)
        self.bytes -= size
        if not self._queue.qsize():
            self._replies = self._reply_bytes = 0
        return frames[0] if len(frames) == 1 else b"".join(frames)
