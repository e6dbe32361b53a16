"""One shared document.

Invariants borne here:

* No method switches greenlets, calls back, or keeps a transaction open: it is dropped on errors as well.
* A bad update is refused alone; nothing but `InvalidUpdate` tells of it, and no input ends the process. yrs is only
  handed what `collab.protocol.yledger` admits, so that it never holds anything back and no clock has a gap.
* What took effect is in `taken`, complete and in order: who passes on and stores just that has the same document.
* `generation` grows with each commit that applied something, and only then do cached bytes go stale.

It uses the classes below pycrdt's public ones, for a twentieth of the memory and half of the time: pycrdt is pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pycrdt import _pycrdt

from collab.errors import InvalidUpdate
from collab.protocol.yledger import Ledger
from collab.protocol.ynesting import nesting
from collab.protocol.yupdate import (
    EMPTY_STATE_VECTOR,
    EMPTY_UPDATE,
    check_state_vector,
    deletions_at,
    encode_state_vector,
    parse_update,
)
from collab.protocol.ywaiting import Held, Waiting
from collab.updates import contain, drop, load, merge, read

MAX_NESTING: Final = 1000
"""Depth of shared types. Browsers delete them recursively too, and overflow at a few thousand."""

NESTING_SLACK: Final = 10_000
"""How deep the types may have become at the most before it is counted; 30,000 levels fit on a stack of 8 MB."""

UNFIT: Final = "update that does not fit the document"


class _Commit:
    """One `apply`: what was taken, refused or held by index, or left half done by yrs, and whether joining failed."""

    __slots__ = ("apart", "held", "leftovers", "refused", "taken", "transaction")

    def __init__(self, transaction: _pycrdt.Transaction) -> None:
        self.transaction = transaction
        self.taken: list[bytes] = []
        self.refused: dict[int, InvalidUpdate] = {}
        self.held: list[int] = []
        self.leftovers: list[bytes] = []
        self.apart = False


class Document:
    """The content of one document, and what waits to become part of it.

    Args:
        content: what `diff` of the empty state vector gave, or `merge` of what was in `taken`; it is trusted.

    Attributes:
        generation: how many commits have applied something.
        taken: what took effect in the last `apply`, as updates: those it was given without the refused and the
            waiting ones (the usual ones joined), then those that had waited for them.
        early: which of those it was given came before what they build on, by index.
        released: the tags of those that had come too early and have now taken effect.
        lapsed: the tags of those that had come too early and never will.
    """

    __slots__ = ("_doc", "_ledger", "_state_vector", "_waiting", "early", "generation", "lapsed", "released", "taken")

    def __init__(self, content: bytes | None = None) -> None:
        self.generation = 0
        self.taken: Sequence[bytes] = ()
        self.early: Sequence[int] = ()
        self.released: Sequence[Any] = ()
        self.lapsed: Sequence[Any] = ()
        self._doc = load(content or EMPTY_UPDATE)
        self._ledger = Ledger()
        self._waiting: Waiting | None = None  # made when it is needed, which in most documents is never
        self._state_vector: bytes | None = None
        if content and content != EMPTY_UPDATE:
            self._ledger.load(content, self.state_vector())

    @property
    def waiting(self) -> int:
        """Number of updates that wait for others to come before them."""
        return len(self._waiting or ())

    def apply(self, updates: Sequence[bytes], tags: Sequence[Any] = ()) -> dict[int, InvalidUpdate]:
        """Apply updates in one transaction; the refused ones by index.

        One that builds on what has not come yet is not in `taken` either, but kept; `tags`, one for each, name these.
        """
        commit = _Commit(self._doc.create_transaction())
        self.early = self.released = self.lapsed = ()
        refused, sound = commit.refused, False
        try:
            self._take(commit, updates, tags=tags)
            self.early = commit.held
            if self._waiting is not None:
                self._release(commit, self._waiting)
            commit.transaction.commit()
            sound = not commit.leftovers
        except BaseException as error:
            contain(error)
        finally:
            drop(commit.transaction)
        self._settle(commit.taken if sound else self._mend(commit.leftovers, commit.taken))
        return refused

    def apply_next(self, update: bytes) -> bool:
        """`apply` one update in the shortest way, if it is its client's next text, as nearly all are; else do nothing.

        Raises:
            InvalidUpdate: it is refused; something of it may be in `taken` all the same.
        """
        if self._waiting or not self._ledger.admit_next(update):
            return False
        self.early = self.released = self.lapsed = ()
        transaction = self._doc.create_transaction()
        fits = False
        try:
            self._doc.apply_update(transaction, update)
            transaction.commit()
            fits = True
        except ValueError:  # yrs cannot read it, and has changed nothing
            self._ledger.reset(self._doc.get_state(transaction))
            return False
        except BaseException as error:
            contain(error)
        finally:
            drop(transaction)
        if not fits:
            self._settle(self._mend([update], []))
            raise InvalidUpdate(UNFIT)
        self._settle([update])
        return True

    def _settle(self, taken: list[bytes]) -> None:
        self.taken = taken
        if taken:
            self.generation += 1
            self._state_vector = None

    def _release(self, commit: _Commit, waiting: Waiting) -> None:
        """Apply what has waited for what came, and for what comes of that."""
        released: list[Any] = []
        while waiting and commit.taken and (ready := waiting.ready(self._ledger)):
            commit.refused, commit.held = {}, []
            self._take(commit, [held.update for held in ready], again=ready)
            waiting.lapsed += [ready[index].tag for index in commit.refused]
            gone = {*commit.refused, *commit.held}
            released += [held.tag for index, held in enumerate(ready) if index not in gone and held.tag is not None]
        self.released = released
        self.lapsed, waiting.lapsed = [tag for tag in waiting.lapsed if tag is not None], []

    def state_vector(self) -> bytes:
        """The clocks that this document has; the same object until it changes."""
        if self._state_vector is None:
            self._state_vector = read(self._doc, self._doc.get_state)
        return self._state_vector

    def diff(self, state_vector: bytes, *, ours: bool = False) -> bytes:
        """What `state_vector` lacks, as an update; `ours` for one that this document gave.

        Raises:
            InvalidUpdate: the state vector is malformed or hostile.
        """
        if not ours:
            check_state_vector(state_vector)
        return read(self._doc, self._doc.get_update, state_vector)

    def news(self) -> Sequence[bytes]:
        """`taken`, joined into one update unless yrs cannot."""
        try:
            return [merge(self.taken)] if len(self.taken) > 1 else self.taken
        except BaseException as error:
            contain(error)
            return self.taken

    def _take(
        self, commit: _Commit, updates: Sequence[bytes], *, tags: Sequence[Any] = (), again: Sequence[Held] = ()
    ) -> None:
        """Apply updates or keep them for later, the usual ones joined, which is half the work; `again`: as held."""

        def hold(index: int, missing: tuple[int, int], update: bytes) -> None:
            if self._waiting is None:
                self._waiting = Waiting()
            tag, tries = (again[index].tag, again[index].tries + 1) if again else (tags[index] if tags else None, 0)
            commit.held.append(index)
            self._waiting.hold(Held(*missing, update, tag, tries))

        ledger = self._ledger
        usual: list[tuple[int, bytes]] = []
        for index, update in enumerate(updates):
            before = ledger.nesting
            try:
                missing = ledger.admit(update)
                if missing is not None:
                    hold(index, missing, update)
                elif not ledger.new:
                    continue
                elif ledger.usual and ledger.known is None:
                    usual.append((index, update))
                else:
                    known = ledger.known
                    self._put_usual(commit, usual, hold)
                    usual = []
                    if ledger.nesting > NESTING_SLACK:
                        self._measure(commit.transaction, update, before)
                    self._put(commit, update, known)
            except InvalidUpdate as error:
                commit.refused[index] = error
        self._put_usual(commit, usual, hold)
        if commit.apart:
            ledger.reset(self._doc.get_state(commit.transaction))

    def _put_usual(
        self, commit: _Commit, usual: list[tuple[int, bytes]], hold: Callable[[int, tuple[int, int], bytes], None]
    ) -> None:
        """Apply admitted updates as one, or one by one if yrs does not take them so."""
        if len(usual) > 1:
            try:
                joined = merge([update for _, update in usual])
                self._doc.apply_update(commit.transaction, joined)
            except BaseException as error:
                contain(error)
                if not isinstance(error, ValueError):
                    commit.leftovers.append(joined)
            else:
                commit.taken.append(joined)
                return
            # Admitted once more, one by one: what builds on one that is refused must wait.
            commit.apart = True
            self._ledger.reset(self._doc.get_state(commit.transaction))
        for index, update in usual:
            try:
                missing = self._ledger.admit(update) if commit.apart else None
                if missing is None:
                    self._put(commit, update, self._ledger.known if commit.apart else None)
                else:
                    hold(index, missing, update)
            except InvalidUpdate as error:
                commit.refused[index] = error

    def _put(self, commit: _Commit, update: bytes, known: dict[int, int] | None) -> None:
        """Apply one admitted update or raise InvalidUpdate; `known` is what the ledger said of it."""
        try:
            self._doc.apply_update(commit.transaction, update)
        except BaseException as error:
            contain(error)
            # ValueError comes from the decoder, before anything changes.
            if not isinstance(error, ValueError):
                commit.leftovers.append(update)
            self._ledger.reset(self._doc.get_state(commit.transaction))
            raise InvalidUpdate(UNFIT) from None
        if known is not None:
            update = self._news(commit.transaction, update, known)
        if update != EMPTY_UPDATE:
            commit.taken.append(update)

    def _news(self, transaction: _pycrdt.Transaction, update: bytes, known: dict[int, int]) -> bytes:
        """What an update brought beyond the clocks `known`, as the document now has it, with the update's deletions.

        What a client says again need not be what it said first, and merged with that it comes out as neither.
        """
        clocks = self._ledger.clocks() | known
        gained = self._doc.get_update(transaction, encode_state_vector(clocks))
        return gained[: deletions_at(gained)] + update[deletions_at(update) :]

    def _measure(self, transaction: _pycrdt.Transaction, update: bytes, before: int) -> None:
        """Count how deep shared types nest once `update` is in; raise InvalidUpdate if that is too deep."""
        ledger = self._ledger
        content = self._doc.get_update(transaction, EMPTY_STATE_VECTOR)
        ledger.nesting = nesting(_pycrdt.merge_updates((content, update)))
        if ledger.nesting > MAX_NESTING:
            ledger.nesting = before
            ledger.reset(self._doc.get_state(transaction))
            raise InvalidUpdate("shared types nested too deep")

    def _mend(self, leftovers: list[bytes], taken: list[bytes]) -> list[bytes]:
        """Get to a sound state after yrs gave up in the middle of updates; all that was taken.

        What it had integrated by then stays, and counts as taken: others could not place what builds on it.
        """
        content = read(self._doc, self._doc.get_update, EMPTY_STATE_VECTOR)
        self._doc = load(content)
        self._state_vector = None
        self._ledger.load(content, self.state_vector())
        clocks = {
            section.client: min(section.start, self._ledger.clock(section.client))
            for update in leftovers
            for section in parse_update(update).sections
        }
        rest = self.diff(encode_state_vector(self._ledger.clocks() | clocks), ours=True)
        return [*taken, rest] if rest != EMPTY_UPDATE else taken
