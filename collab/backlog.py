"""What waits for a reader that is slower than its room, and what it will need when it has caught up.

Bound here: the waiting is bounded in messages and bytes, whatever the room says and however long it takes. Over the
bound, all that can be said again from the room's state is forgotten (updates, presence, who is here); only the state
vector that the client will be at when it has read the rest is kept, and one diff from there repairs it. Answers to
the client's own messages are kept; `congested` tells its reader to stop taking more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gevent.queue import Queue

from collab.member import Part
from collab.protocol.messages import Relay

JOIN_SIZE: Final = 65536
"""Bytes up to which waiting frames are joined into one write."""


class Backlog:
    """The queue of one session, from the moment that its socket did not take everything until it is empty again.

    Args:
        rest: what the socket did not take; goes out first, whatever happens.
        most: messages that may wait.
        most_bytes: bytes that may wait, on top of `rest`.
        now: seconds on the monotonic clock.
    """

    __slots__ = (
        "_most",
        "_most_bytes",
        "_queue",
        "_replies",
        "_reply_bytes",
        "_size",
        "dropped_relays",
        "missed",
        "owed",
        "progress",
        "state_vector",
    )

    def __init__(self, rest: bytes | memoryview, most: int, most_bytes: int, now: float) -> None:
        self._queue: Queue[Part] = Queue()
        self._most = most
        self._most_bytes = most_bytes
        self.progress = now  # when the socket last took something
        self.owed: bytes | None = None  # state vector of a SyncStep1 that waits for its answer
        self.start(rest)

    def start(self, rest: bytes | memoryview) -> None:
        """Begin anew behind `rest`."""
        self.state_vector: bytes | None = None  # the document that the client has when it has read what is kept
        self.missed: set[type] = set()  # kinds of messages that were forgotten since
        self.dropped_relays = 0
        self._replies = self._reply_bytes = 0
        self._size = 0
        self._queue.put(Part(rest, None))

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def congested(self) -> bool:
        """Whether the client's own questions have piled up more answers than may wait."""
        return self._replies >= self._most or self._reply_bytes >= self._most_bytes

    def mark(self, state_vector: bytes) -> None:
        """All that was broadcast up to here is in what is kept: from `state_vector` on, it may be forgotten."""
        self.state_vector = state_vector

    def add(self, parts: Sequence[Part]) -> None:
        """Queue a broadcast, or forget it where a repair is due anyway. Before the mark all is kept."""
        for part in parts:
            if self.state_vector is None or part.message is None:
                self._queue.put(Part(part.frame, None))
            elif self.missed:
                self._miss(part)
            else:
                self._size += len(part.frame)
                self._queue.put(part)
        if not self.missed and (self._queue.qsize() > self._most or self._size > self._most_bytes):
            self._forget()

    def reply(self, frame: bytes) -> None:
        """Queue an answer to the client; answers are kept."""
        self._replies += 1
        self._reply_bytes += len(frame)
        self._queue.put(Part(frame, None))

    def _forget(self) -> None:
        waiting = [self._queue.get() for _ in range(self._queue.qsize())]
        for part in waiting:
            if part.message is None:
                self._queue.put(part)
            else:
                self._size -= len(part.frame)
                self._miss(part)

    def _miss(self, part: Part) -> None:
        self.missed.add(type(part.message))
        self.dropped_relays += isinstance(part.message, Relay)

    def take(self) -> bytes | memoryview:
        """The next bytes to write, joined up to `JOIN_SIZE` or one larger frame alone; empty when nothing waits."""
        frames: list[bytes | memoryview] = []
        size = 0
        while self._queue.qsize() and (not frames or size + len(self._queue.peek().frame) <= JOIN_SIZE):
            frame, message = self._queue.get()
            frames.append(frame)
            size += len(frame)
            if message is not None:
                self._size -= len(frame)
        if not self._queue.qsize():
            self._replies = self._reply_bytes = 0
        return frames[0] if len(frames) == 1 else b"".join(frames)
