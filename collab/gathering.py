"""The people in a room: who is here, who may still come back, and how all of them are told something.

Invariants borne here:

* No method switches greenlets.
* What is said in one loop pass is encoded once per dialect and reaches each member as one write.
* Whoever loses the connection stays for the others until it has had its time to come back; who was told of whom is
  always who is here or may come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collab import clock
from collab.awareness import Awareness
from collab.member import Member
from collab.metrics import Metrics
from collab.presence import Presences
from collab.protocol.dialect import Dialect
from collab.protocol.messages import Join, Leave, Relay, Say, ServerMessage
from collab.receipts import Receipts
from collab.telling import Groups, Saying, tell


class Gathering:
    """The people side of a room.

    Args:
        schedule: called with the room when it has something for the end of this loop pass; must call `flush` then.
        on_empty: called with the room when nobody is here any more and nobody may come back.
        metrics: where to count.
        max_state: largest awareness state in bytes.

    Attributes:
        people: names of those who have come or gone since somebody last took note of it, by user id.
        held: how many are at work on the room without being in it.
        noted_at: when all who are here were last among these.
        on_visit: called with `joined` or `left`, the room, and a user's first or last session, if somebody wants it.
    """

    __slots__ = (
        "_absent",
        "_groups",
        "_metrics",
        "_on_empty",
        "_out",
        "_receipts",
        "_schedule",
        "_scheduled",
        "_turns",
        "_users",
        "held",
        "noted_at",
        "on_visit",
        "people",
        "presences",
    )

    def __init__(
        self, schedule: Callable[[Any], None], on_empty: Callable[[Any], None], metrics: Metrics, max_state: int
    ) -> None:
        self.presences = Presences(Awareness(), max_state, metrics, self._wake)
        self.people: dict[str, str] = {}
        self.held = 0
        self.noted_at = 0.0
        self._schedule = schedule
        self._scheduled = False
        self._turns: list[tuple[float, int]] = []  # when what takes effect in this pass was read, and how much
        self._on_empty = on_empty
        self.on_visit: Callable[[str, Any, Member], None] | None = None
        self._metrics = metrics
        self._groups: Groups = {}
        self._users: dict[str, int] = {}  # sessions by user id
        self._absent: dict[Member, float] = {}  # who lost the connection, and until when it may come back
        self._receipts = Receipts()
        self._out: list[Saying] = []

    def commit(self) -> None:
        """Make what has come in so far take effect, so that it goes before what is said next."""
        raise NotImplementedError

    def flush(self) -> None:
        """Tell everybody what is new."""
        raise NotImplementedError

    def __len__(self) -> int:
        """How many sessions are here."""
        return sum(map(len, self._groups.values()))

    @property
    def awaited(self) -> bool:
        """Whether there is something for the end of this loop pass."""
        return self._scheduled

    @property
    def deserted(self) -> bool:
        """Whether nobody is here or at work, and nobody may still come back."""
        return not (self._groups or self._absent or self.held)

    def members(self) -> list[Member]:
        """The sessions that are here."""
        return [member for group in self._groups.values() for member in group]

    @property
    def users(self) -> int:
        """How many users are here, or may still come back."""
        return len(self._users)

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self)

    # ---- coming and going

    def join(self, member: Member) -> None:
        """Let `member` in and tell the others; the caller welcomes it with `initial_state`."""
        self.flush()
        self._groups.setdefault(member.dialect, {})[member] = member.deliver
        self._note(member)
        sessions = self._users.get(member.user_id, 0)
        self._users[member.user_id] = sessions + 1
        if not sessions:
            self._say(Join(member.user_id, member.user_name), member)
            self._visit("joined", member)

    def leave(self, member: Member, now: float, grace: float = 0.0) -> None:
        """Let `member` go and tell the others, unless it comes back within `grace` seconds. Idempotent."""
        group = self._groups.get(member.dialect, {})
        if member not in group:
            return
        self.commit()
        self._ungroup(member)
        if grace and not self.presences.claimed(member):
            self._absent[member] = now + grace
        else:
            self._depart(member, now)

    def _depart(self, member: Member, now: float) -> None:
        self._receipts.forget(member)
        self.presences.leave(member, now)
        self._note(member)
        self._users[member.user_id] -= 1
        if not self._users[member.user_id]:
            del self._users[member.user_id]
            self._say(Leave(member.user_id, member.user_name))
            self._visit("left", member)
        if self.deserted:
            self._on_empty(self)

    def _visit(self, kind: str, member: Member) -> None:
        if self.on_visit is not None:
            self.on_visit(kind, self, member)

    def _note(self, member: Member) -> None:
        if not member.anonymous:
            self.people[member.user_id] = member.user_name

    def note_all(self, now: float) -> None:
        """All who are here are seen now."""
        self.noted_at = now
        for member in self.members():
            self._note(member)

    def find(self, session_id: str) -> Member | None:
        """The session with this id that is here, or may still come back."""
        return next((member for member in (*self._absent, *self.members()) if member.id == session_id), None)

    def resume(self, old: Member, new: Member) -> None:
        """Let `new` go on in place of `old`; nobody hears of it."""
        self.flush()
        self._absent.pop(old, None)
        if old in self._groups.get(old.dialect, {}):
            self._ungroup(old)
        self._groups.setdefault(new.dialect, {})[new] = new.deliver
        self._receipts.pass_on(old, new)
        self.presences.pass_on(old, new)

    def give_up_absent(self, now: float) -> None:
        """Wait no longer for those who may still come back."""
        for member in list(self._absent):
            del self._absent[member]
            self._depart(member, now)

    def tick(self, now: float) -> None:
        """Let go of those who have not come back, and look after presence."""
        for member, until in list(self._absent.items()):
            if now >= until or self.presences.claimed(member):
                del self._absent[member]
                self._depart(member, now)
        self.presences.tick(now)

    def regroup(self, member: Member, dialect: Dialect) -> None:
        """Let `member` go on in another dialect."""
        if dialect is not member.dialect:
            self._ungroup(member)
            member.dialect = dialect
            self._groups.setdefault(dialect, {})[member] = member.deliver

    def _ungroup(self, member: Member) -> None:
        group = self._groups[member.dialect]
        del group[member]
        if not group:  # each address of a Hocuspocus client is a dialect of its own
            del self._groups[member.dialect]

    def others(self, member: Member) -> list[dict[str, str]]:
        """The users that are here beside `member`'s own."""
        users: dict[str, str] = {}
        for other in (*self.members(), *self._absent):
            if other.user_id != member.user_id:
                users.setdefault(other.user_id, other.user_name)
        return [{"id": user_id, "name": name} for user_id, name in users.items()]

    # ---- saying things

    def heard(self, read_at: float, count: int) -> None:
        """`count` messages that were read at `read_at` have taken effect, or do so at the end of this pass."""
        if self._scheduled:
            self._turns.append((read_at, count))
        else:
            self._metrics.told([(read_at, count)], clock.now())

    @property
    def read_at(self) -> float:
        """When the first message was read of those that are being told."""
        return self._turns[0][0] if self._turns else clock.now()

    def relay(self, member: Member, message: Relay) -> None:
        """Pass a member's own message on to the others."""
        self._say(message, member)

    def announce(self, message: Say) -> tuple[int, int]:
        """Tell everybody something in the server's name; how many are told, and how many have no words for it."""
        told = sum(len(group) for dialect, group in self._groups.items() if dialect.encode(message))
        self._say(message)
        return told, len(self) - told

    def _say(self, message: ServerMessage, exclude: Member | None = None) -> None:
        self.commit()
        self._out.append((message, exclude))
        self._wake()

    def broadcast(self) -> None:
        """Say what is to be said, in one write to each."""
        if self.presences.changed:
            self._out += self.presences.news()
        if self._out:
            out, self._out = self._out, []
            tell(self._groups, out, self._metrics.sent)
