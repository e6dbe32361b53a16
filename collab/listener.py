"""What a session tells its client, and which of the client's changes it has confirmed.

Bound here: a change is confirmed once, when it is done with, in the words of the client's dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collab.backlog import Repair
from collab.clock import now
from collab.connection import Connection
from collab.door import OPEN
from collab.errors import DocumentFull, NotStorable, ProtocolError, RateLimited, ReadOnly
from collab.member import Member, Part, present
from collab.metrics import Metrics
from collab.protocol.dialect import Dialect
from collab.protocol.messages import (
    Ack,
    Error,
    Ignored,
    Join,
    Leave,
    Presence,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Taken,
    Update,
)
from collab.room import Room
from collab.statuses import Statuses

STATUS_BEAT: Final = 1.0
"""Seconds between messages to a client that waits for a status: y-sweet's gives a connection up after three without."""

_NO_ABUSE: Final = (NotStorable, ReadOnly, DocumentFull, RateLimited)
"""What honest clients run into as well, as often as they write."""

_WHO_IS_HERE: Final = frozenset((Presence, Join, Leave))


class Listener:
    """The side of a session on which its client listens.

    Args:
        connection: what goes out by.
        dialect: what the client speaks.
        metrics: where to count.

    Attributes:
        numbered: whether it is given receipts for its updates.
    """

    __slots__ = (
        "_confirmed",
        "_metrics",
        "_status",
        "_statuses",
        "_updates",
        "connection",
        "dialect",
        "heir",
        "numbered",
        "room",
    )

    def __init__(self, connection: Connection, dialect: Dialect, metrics: Metrics) -> None:
        self.connection = connection
        self.dialect = dialect
        self.room: Room | None = None
        self.heir: Member | None = None
        self._metrics = metrics
        self._updates = 0  # those of a client that is given receipts for them
        self._confirmed = 0
        self._status: tuple[int, SyncStatus] | None = None  # asked after so many updates, and not answered yet
        self._statuses = Statuses() if dialect.told_of_each else None
        self.numbered = dialect.numbers_updates or dialect.told_of_each

    def initial_state(self, room: Room) -> ServerMessage:
        """What the client needs to know of the room."""
        raise NotImplementedError

    def refused(self, error: ProtocolError) -> None:
        """A message was refused that no client should send."""
        raise NotImplementedError

    # ---- what the client is due

    def number(self) -> int:
        """The next update's number; 0 for a client that is not given receipts."""
        if not self.numbered:
            return 0
        self._updates += 1
        return self._updates

    def number_answer(self) -> int:
        """As `number`, for a SyncStep2."""
        number = self.number()
        if self._statuses is not None:
            self._statuses.answer(number)
        return number

    def ask_back(self, room: Room) -> None:
        """The client has said what it has: ask for what the document lacks, if it wants to be asked so."""
        if self._statuses is not None:
            self._statuses.expect(self._updates)
            self.reply(SyncStep1(room.document.state_vector()))

    def await_status(self, status: SyncStatus) -> int:
        """The client wants `status` back once all that it has sent is done with; the number that this takes.

        A later question takes the place of one that still waits.
        """
        self.numbered = True
        self._updates += 1
        self._status = (self._updates, status)
        self.connection.beat_by(now() + STATUS_BEAT)
        return self._updates

    def overlook(self, message: Ignored) -> None:
        """The client has said something that its dialect says to ignore."""
        self._metrics.count("ignored", message.what)

    # ---- what it is told

    def deliver(self, frame: bytes, parts: Sequence[Part]) -> None:
        """Send a broadcast, or keep for later what the socket does not take."""
        connection = self.connection
        connection.messages_out += len(parts)
        backlog = connection.backlog
        if backlog is None:
            connection.push(frame)
            backlog = connection.backlog
            if backlog is None:
                return
            repair = backlog.of(self)
            backlog.carry(self._read_at, len(parts))
        else:
            repair = backlog.of(self)
            backlog.add(parts, repair, self._read_at)
        if repair.state_vector is None and self.room is not None:
            # All that was broadcast up to here is in what is kept: from here on it may be forgotten.
            repair.state_vector = self.room.document.state_vector()

    @property
    def _read_at(self) -> float:
        """When that was read which is being told."""
        return now() if self.room is None else self.room.read_at

    def reply(self, message: ServerMessage) -> None:
        """Send one message to this client alone."""
        frame = self.frame(message)
        if frame:
            self.connection.put(frame)

    def frame(self, message: ServerMessage) -> bytes:
        """The frame that tells this client alone of something, which is about to be sent; empty if it has no words."""
        frame = self.dialect.encode(message)
        if frame:
            self._metrics.sent.note(type(message), len(frame))
        return frame

    def bring_up(self, room: Room, state_vector: bytes) -> bytes:
        """As `frame`, for what brings this client from `state_vector` to the document.

        Raises:
            InvalidUpdate: the state vector is malformed or hostile.
        """
        frame = room.step2(self.dialect, state_vector)
        self._metrics.sent.note(SyncStep2, len(frame))
        return frame

    def confirm(self, number: int) -> None:
        """All updates that this client has sent, up to this number, are done with."""
        if self.heir is not None:
            present(self.heir).confirm(number)
            return
        self._confirmed = number
        if self.dialect.numbers_updates:
            self.reply(Ack(number))
        if self._statuses is not None and (count := self._statuses.confirm(number)):
            self.connection.put(b"".join(self.frame(Taken(True)) for _ in range(count)))
        if self._status is not None and self._status[0] <= number:
            status, self._status = self._status[1], None
            self.reply(status)

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        """Tell the client that something was not taken; close on one that sends little else."""
        self._metrics.count("refused", error.code)
        if self.connection.state is not OPEN:
            return
        if self._statuses is not None and update:
            later = isinstance(error, NotStorable | DocumentFull)  # it is asked for again
            self._statuses.refuse(update, later=later)
            if not later:
                self.reply(Taken(False))
        self.reply(Error.of(error, update or None))
        if not isinstance(error, _NO_ABUSE):
            self.refused(error)
            self.connection.count_invalid()

    def repaired(self, repair: Repair) -> bytes:
        """The frames that make good what this client has missed."""
        room = self.room
        if room is None:
            return b""
        missed = repair.missed
        messages: list[ServerMessage] = []
        if missed:
            self._metrics.count("repairs")
        if missed & _WHO_IS_HERE:
            messages += (self.initial_state(room), Presence(room.presences.awareness.known()))
        if Update in missed and repair.owed is None:
            assert repair.state_vector is not None
            room.commit()
            messages.append(Update(room.document.diff(repair.state_vector, ours=True)))
        if repair.dropped_relays:
            self._metrics.count("relays_dropped", by=repair.dropped_relays)
            messages.append(Error("too_slow", f"{repair.dropped_relays} relayed messages were dropped"))
        frames = b"".join(map(self.frame, messages))
        if repair.owed is not None:
            frames += self.bring_up(room, repair.owed)
        return frames

    @property
    def waits_for_status(self) -> bool:
        """Whether the client has asked for a status that it has not been given yet."""
        return self._status is not None
