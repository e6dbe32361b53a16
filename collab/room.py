"""One open document and those who are in it.

Invariants borne here:

* No method switches greenlets, so a room needs no lock: what it calls (a member's `deliver`, `schedule`) must not
  either.
* What a loop pass brings in takes effect in one transaction, is encoded once per dialect, and reaches each member
  as one write. A message that depends on the document or on order (Step1, a relay, a newcomer) commits first, so the
  messages of one session take effect in the order sent.
* A bad update is refused alone: its sender is told, nobody else ever sees it.
* Updates go to their authors as well: everybody gets the same bytes, and some clients wait for their own to come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from collab.awareness import Awareness, Owner
from collab.document import Document
from collab.errors import ProtocolError
from collab.metrics import Metrics
from collab.presence import Presences
from collab.protocol.dialect import Dialect
from collab.protocol.messages import InitialState, Join, Leave, Relay, ServerMessage, SyncStep1, SyncStep2, Update
from collab.protocol.yupdate import EMPTY_STATE_VECTOR, EMPTY_UPDATE


class Part(NamedTuple):
    """One message of a broadcast: its frame in a dialect, and what it says (None: must not be forgotten)."""

    frame: bytes | memoryview
    message: ServerMessage | None


class Member(Owner, Protocol):
    """A session, as far as its room knows it. None of this switches greenlets."""

    dialect: Dialect
    user_id: str
    user_name: str

    def deliver(self, frame: bytes, parts: Sequence[Part]) -> None:
        """Take a broadcast: `frame` is all of `parts` joined."""

    def reply(self, message: ServerMessage) -> None:
        """Send one message to this member alone."""

    def acknowledge(self) -> None:
        """All updates that this member has submitted are done with."""

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        """Tell the member that something was not taken; `update` is its number if it was a numbered update."""

    def describe(self) -> dict[str, str]:
        """The session as its own client gets to know it."""

    def probe(self) -> None:
        """Ask for a sign of life."""

    def heard_since(self, when: float) -> bool:
        """Whether there was one after `when`."""

    def lost(self) -> None:
        """Give the connection up."""


class Room:
    """One open document.

    Args:
        document_id: its name in all dialects.
        document: its content.
        schedule: called with the room when it has something for the end of this loop pass; must call `flush` then.
        on_empty: called with the room when its last member has left.
        metrics: where to count.
        max_state: largest awareness state in bytes.
    """

    __slots__ = (
        "_ackers",
        "_groups",
        "_metrics",
        "_on_empty",
        "_out",
        "_pending",
        "_schedule",
        "_scheduled",
        "_step2",
        "_step2_generation",
        "_users",
        "closed",
        "document",
        "document_id",
        "presences",
    )

    def __init__(
        self,
        document_id: str,
        document: Document,
        schedule: Callable[[Room], None],
        on_empty: Callable[[Room], None],
        metrics: Metrics,
        max_state: int,
    ) -> None:
        self.document_id = document_id
        self.document = document
        self.closed = False  # set by the hub when the room has left the map: join another one
        self.presences = Presences(Awareness(), max_state, metrics, self._wake)
        self._schedule = schedule
        self._scheduled = False
        self._on_empty = on_empty
        self._metrics = metrics
        self._groups: dict[Dialect, dict[Member, Callable[[bytes, Sequence[Part]], None]]] = {}
        self._users: dict[str, int] = {}  # sessions by user id
        self._pending: list[tuple[bytes, Member, int]] = []  # updates of this pass: bytes, sender, number
        self._ackers: dict[Member, None] = {}
        self._out: list[tuple[ServerMessage, Member | None]] = []  # what to broadcast, and to whom not
        self._step2: dict[Dialect, bytes] = {}  # frames with the whole document, while it stays as it is
        self._step2_generation = -1

    def __len__(self) -> int:
        """How many sessions are here."""
        return sum(map(len, self._groups.values()))

    def members(self) -> list[Member]:
        """The sessions that are here."""
        return [member for group in self._groups.values() for member in group]

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self)

    # ---- coming and going

    def join(self, member: Member) -> None:
        """Let `member` in and tell the others; the caller welcomes it with `initial_state`."""
        self.flush()
        self._groups.setdefault(member.dialect, {})[member] = member.deliver
        sessions = self._users.get(member.user_id, 0)
        self._users[member.user_id] = sessions + 1
        if not sessions:
            self._say(Join(member.user_id, member.user_name), member)

    def leave(self, member: Member, now: float) -> None:
        """Let `member` go and tell the others. Idempotent."""
        group = self._groups.get(member.dialect, {})
        if member not in group:
            return
        self.commit()
        del group[member]
        self._ackers.pop(member, None)
        self.presences.leave(member, now)
        self._users[member.user_id] -= 1
        if not self._users[member.user_id]:
            del self._users[member.user_id]
            self._say(Leave(member.user_id, member.user_name))
        if not len(self):
            self._on_empty(self)

    def regroup(self, member: Member, dialect: Dialect) -> None:
        """Let `member` go on in another dialect."""
        if dialect is not member.dialect:
            del self._groups[member.dialect][member]
            member.dialect = dialect
            self._groups.setdefault(dialect, {})[member] = member.deliver

    def initial_state(self, member: Member) -> InitialState:
        """What `member` needs to know of the room."""
        users: dict[str, str] = {}
        for other in self.members():
            if other.user_id != member.user_id:
                users.setdefault(other.user_id, other.user_name)
        people = [{"id": user_id, "name": name} for user_id, name in users.items()]
        return InitialState(member.describe(), people, self.presences.awareness.present())

    # ---- the document

    def submit(self, member: Member, update: bytes, number: int = 0) -> None:
        """Take an update for this pass; `number` is its number among the member's updates if those are numbered."""
        if number:
            self._ackers[member] = None
        if update != EMPTY_UPDATE:
            self._pending.append((update, member, number))
        elif not number:
            return
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self)

    def fill(self, member: Member, update: bytes, number: int = 0) -> None:
        """Take a Step2, the client's answer to our Step1.

        Raises:
            InvalidUpdate: it is malformed or hostile.
        """
        # It brings the delete set of the whole document each time: broadcast it only if there was something new.
        if update == EMPTY_UPDATE:
            self.submit(member, update, number)
            return
        self.commit()
        before = self._content()
        self.submit(member, update, number)
        said = len(self._out)
        self.commit()
        if self._content() == before:
            self._out[said:] = [news for news in self._out[said:] if not isinstance(news[0], Update)]

    def _content(self) -> tuple[bytes, bytes]:
        state_vector = self.document.state_vector()
        return state_vector, self.document.diff(state_vector, ours=True)

    def commit(self) -> None:
        """Apply the updates that have come in so far, in one transaction."""
        pending = self._pending
        if not pending:
            return
        self._pending = []
        document = self.document
        refused = document.apply([update for update, _, _ in pending])
        for index, error in refused.items():
            _, member, number = pending[index]
            member.refuse(error, number)
        if document.taken:
            self._metrics.commits += 1
            self._metrics.updates += len(pending) - len(refused) - len(document.early)
            self._out += [(Update(update), None) for update in document.news()]
        # Who builds on what has not come is asked for that.
        for member in {pending[index][1] for index in document.early}:
            member.reply(SyncStep1(document.state_vector()))

    def step2(self, dialect: Dialect, state_vector: bytes) -> bytes:
        """The frame that brings a client from `state_vector` to this document.

        Raises:
            InvalidUpdate: the state vector is malformed or hostile.
        """
        self.commit()
        if state_vector != EMPTY_STATE_VECTOR:
            return dialect.encode(SyncStep2(self.document.diff(state_vector)))
        # Visitors of a busy document come in crowds, and all want the same bytes.
        if self._step2_generation != self.document.generation:
            self.tidy()
            self._step2_generation = self.document.generation
        if dialect not in self._step2:
            self._step2[dialect] = dialect.encode(SyncStep2(self.document.diff(state_vector)))
        return self._step2[dialect]

    def tidy(self) -> None:
        """Give back memory that only saves work."""
        self._step2.clear()

    # ---- saying things

    def relay(self, member: Member, text: str) -> None:
        """Pass a member's own JSON message on to the others."""
        self._say(Relay(text), member)

    def _say(self, message: ServerMessage, exclude: Member | None = None) -> None:
        self.commit()
        self._out.append((message, exclude))
        self._wake()

    def flush(self) -> None:
        """End this pass: commit, and tell everybody what is new, in one write each."""
        self._scheduled = False
        self.commit()
        self._out += self.presences.news()
        if self._out:
            out, self._out = self._out, []
            for dialect, group in self._groups.items():
                if group:
                    _broadcast(dialect, group, out)
        if self._ackers:
            ackers, self._ackers = self._ackers, {}
            for member in ackers:
                member.acknowledge()


def _broadcast(
    dialect: Dialect,
    group: dict[Member, Callable[[bytes, Sequence[Part]], None]],
    out: list[tuple[ServerMessage, Member | None]],
) -> None:
    parts = [(Part(dialect.encode(message), message), exclude) for message, exclude in out]
    for_all = [part for part, _ in parts if part.frame]
    if not for_all:
        return
    excluded = {exclude for _, exclude in parts if exclude is not None}
    frame = b"".join([part.frame for part in for_all])
    for member, deliver in group.items():
        if member in excluded:
            mine = [part for part, exclude in parts if part.frame and exclude is not member]
            if mine:
                deliver(b"".join([part.frame for part in mine]), mine)
        else:
            deliver(frame, for_all)
