"""One open document and those who are in it.

Invariants borne here:

* No method switches greenlets, so a room needs no lock; what it calls (`deliver`, `schedule`) must not either.
* What a loop pass brings in takes effect at once, is encoded once per dialect, and reaches each member as one write.
  A message that depends on the document or on order (Step1, a relay, a newcomer) commits first, so the messages of one
  session take effect in the order sent.
* A bad update is refused alone: its sender is told, nobody else ever sees it. Only should yrs refuse what was admitted
  as a client's next text, which it has never done, it is told and stored by then (`Document.lacking`).
* Updates go to their authors as well: everybody gets the same bytes, and some clients wait for their own to come back.
* What takes effect goes into the journal in the same breath. A member's receipt covers only what took effect: one
  that has sent what builds on something missing gets none beyond that until it has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from collab.clock import now, unix
from collab.document import Document
from collab.errors import DOCUMENT_FULL, NOT_STORABLE, DocumentFull, InvalidMessage, InvalidUpdate, NotStorable
from collab.gathering import Gathering
from collab.journal import Journal
from collab.member import Member, present
from collab.metrics import Metrics
from collab.protocol.dialect import Dialect
from collab.protocol.messages import InitialState, SyncStep1, SyncStep2, Update
from collab.protocol.yupdate import EMPTY_STATE_VECTOR, EMPTY_UPDATE, parse_state_vector
from collab.seeds import seed_clients, withdraw
from collab.updates import is_known

MAX_STEP2: Final = 4
"""Dialects for which a frame with the whole document is kept: each address of a Hocuspocus client is one."""


class Room(Gathering):
    """One open document.

    Args:
        document_id: its name in all dialects.
        document: its content.
        journal: its account with the store.
        schedule: called with the room when it has something for the end of this loop pass; must call `flush` then.
        on_empty: called with the room when nobody is in it any more and nobody may come back.
        metrics: where to count.
        max_state: largest awareness state in bytes.
        seeds: the clients in the document under which it was begun from plain text (`collab.seeds.seed`).

    Attributes:
        opened: when that was, in seconds since 1970.
        updates: how many have been applied since.
    """

    __slots__ = (
        "_clients",
        "_pending",
        "_step2",
        "_step2_generation",
        "closed",
        "document",
        "document_id",
        "journal",
        "opened",
        "seeds",
        "turned_away",
        "updates",
    )

    def __init__(
        self,
        document_id: str,
        document: Document,
        journal: Journal,
        schedule: Callable[[Room], None],
        on_empty: Callable[[Room], None],
        metrics: Metrics,
        max_state: int,
        seeds: set[int] | None = None,
    ) -> None:
        super().__init__(schedule, on_empty, metrics, max_state)
        self.document_id = document_id
        self.document = document
        self.journal = journal
        self.seeds = seeds
        self.opened = unix()
        self.updates = 0
        self.closed = False  # set by the hub when the room has left the map: join another one
        self._pending: list[tuple[bytes, Member, int]] = []  # updates of this pass: bytes, sender, number
        self.turned_away: dict[Member, None] = {}  # whose updates were refused for want of room
        self._clients = 0  # in the document when it was last looked at for others' seeds
        self._step2: dict[Dialect, bytes] = {}  # frames with the whole document, while it stays as it is
        self._step2_generation = -1

    def initial_state(self, member: Member) -> InitialState:
        """What `member` needs to know of the room."""
        present = self.presences.awareness.present()
        return InitialState(member.describe(), self.others(member), present, self.journal.epoch)

    # ---- the document

    def submit(self, member: Member, update: bytes, number: int = 0) -> None:
        """Take an update for this pass; `number` is its number among the member's updates if those are numbered."""
        if number:
            self._receipts.owe(member, number)
        if update != EMPTY_UPDATE:
            journal = self.journal
            if journal.unstored.full:
                self._turn_away(member, number, NotStorable(NOT_STORABLE))
            elif journal.full and update[0]:  # it brings more than deletions
                self._turn_away(member, number, DocumentFull(DOCUMENT_FULL))
            else:
                self._pending.append((update, member, number))
        elif not number:
            return
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self)

    def _turn_away(self, member: Member, number: int, error: InvalidMessage) -> None:
        """Refuse an update for now; its sender is asked for it again."""
        self.turned_away[member] = None
        if not member.dialect.numbers_updates:
            # Its receipts cannot tell of which updates they are not.
            self._receipts.turn_away(member, number)
        member.refuse(error, number)

    def fill(self, member: Member, update: bytes, number: int = 0) -> None:
        """Take a Step2, the client's answer to our Step1.

        Raises:
            InvalidUpdate: it is malformed or hostile.
        """
        if update == EMPTY_UPDATE or not (self.journal.unstored.full or self.journal.full):
            self._receipts.take_up(member)
        # It brings the delete set of the whole document each time: told and stored only if there was something new.
        if update == EMPTY_UPDATE:
            self.submit(member, update, number)
            return
        self.commit()
        before = self._content()
        if update == before[1]:
            self.submit(member, EMPTY_UPDATE, number)
            return
        self.submit(member, update, number)
        news = self._apply()
        if news and self._content() != before:
            self._tell(news)

    def has(self, update: bytes) -> bool:
        """Whether nothing in `update` is new.

        Raises:
            InvalidUpdate: it is malformed or hostile.
        """
        self.commit()
        state_vector = self.document.state_vector()
        return is_known(update, state_vector, self.document.diff(state_vector, ours=True))

    def _content(self) -> tuple[bytes, bytes]:
        state_vector = self.document.state_vector()
        return state_vector, self.document.diff(state_vector, ours=True)

    def commit(self) -> None:
        """Let the updates take effect that have come in so far."""
        if len(self._pending) == 1 and not self.seeds and self._commit_one():
            return
        if news := self._apply():
            self._tell(news)

    def _commit_one(self) -> bool:
        """`commit` of one update that is its author's next text, as nearly all are; False: it is something else."""
        update = self._pending[0][0]
        if not self.document.apply_next(update):
            return False
        self._pending = []
        self.updates += 1
        self._metrics.lone_commits += 1
        self.journal.record((update,))
        self._out.append((Update(update), None))
        return True

    def _tell(self, news: Sequence[bytes]) -> None:
        self.journal.record(news)
        self._out += [(Update(update), None) for update in news]

    def _apply(self) -> Sequence[bytes]:
        """Apply what has come in; what took effect."""
        pending = self._pending
        if not pending:
            return ()
        self._pending = []
        document = self.document
        refused = document.apply([update for update, _, _ in pending], pending)
        news = document.news() if document.taken else ()
        for index, error in refused.items():
            _, member, number = pending[index]
            member.refuse(error, number)
        if document.early or document.released or document.lapsed:
            self._look_after_early([pending[index] for index in document.early])
        if not news:
            return ()
        applied = len(pending) - len(refused) - len(document.early)
        self.updates += applied
        self._metrics.observe("commit_updates", applied)
        return [*news, *self._give_way(self.seeds)] if self.seeds else news

    def _look_after_early(self, early: list[tuple[bytes, Member, int]]) -> None:
        """Give no receipt for what came too early, ask its sender for what is missing, and tell what became of it."""
        document = self.document
        for _, member, number in early:
            self._receipts.hold(member, number)
        for _, member, number in (*document.released, *document.lapsed):
            self._receipts.free(present(member), number)
        for _, member, number in document.lapsed:
            present(member).refuse(InvalidUpdate("update that builds on what has not come"), number)
        for member in {member for _, member, _ in early}:
            member.reply(SyncStep1(document.state_vector()))
        self._wake()

    def adopt(self, content: bytes) -> None:
        """Take what the store has from elsewhere."""
        self.commit()
        self.document.apply([content])
        news = self.document.news()
        if self.document.released:
            # What had waited for it is not in the store yet.
            self.journal.record(news)
        self._look_after_early([])
        self._out += [(Update(update), None) for update in news]

    def amend(self, update: bytes) -> None:
        """Make an edit that is nobody's: the server's own.

        Raises:
            InvalidUpdate: the document does not take it.
        """
        self.commit()
        for error in self.document.apply([update]).values():
            raise error
        self._tell(self.document.news())
        self._wake()

    def ask_again(self) -> None:
        """Updates can be taken again: ask those whose updates were refused for what they have."""
        members, self.turned_away = self.turned_away, {}
        for member in members:
            member.reply(SyncStep1(self.document.state_vector()))

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
            if len(self._step2) >= MAX_STEP2:
                del self._step2[next(iter(self._step2))]
            self._step2[dialect] = dialect.encode(SyncStep2(self.document.diff(state_vector)))
        return self._step2[dialect]

    def _give_way(self, seeds: set[int]) -> Sequence[bytes]:
        """Take the text back that this document began with, where somebody has brought one begun with another text."""
        clocks = parse_state_vector(self.document.state_vector(), ours=True)
        if len(clocks) == self._clients:
            return ()
        self._clients = len(clocks)
        others = seed_clients(self.document_id, clocks) - seeds
        if not others:
            return ()
        self.seeds = seeds | others
        self.document.apply([withdraw(client, clocks[client]) for client in seeds & clocks.keys()])
        return self.document.news()

    def tidy(self) -> None:
        """Give back memory that only saves work."""
        self._step2.clear()

    def flush(self) -> None:
        """End this pass: commit, and tell everybody what is new, in one write each."""
        self._scheduled = False
        self.commit()
        self.broadcast()
        if self._turns:
            turns, self._turns = self._turns, []
            self._metrics.told(turns, now())
        if self._receipts.due:
            self.journal.promise(self._receipts.take())
