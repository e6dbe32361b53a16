"""One transaction of a document: what it takes of the updates that it is given, refuses, and leaves for later.

Bound here: a bad update is refused alone, and yrs is only handed what `collab.protocol.yledger` admits, so that it
never holds anything back and no clock has a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pycrdt import _pycrdt

from collab.errors import InvalidUpdate
from collab.protocol.yledger import Ledger
from collab.protocol.ynesting import nesting
from collab.protocol.yupdate import EMPTY_STATE_VECTOR, EMPTY_UPDATE, deletions_at, encode_state_vector
from collab.protocol.ywaiting import Held
from collab.updates import contain, merge

MAX_NESTING: Final = 1000
"""Depth of shared types. Browsers delete them recursively too, and overflow at a few thousand."""

NESTING_SLACK: Final = 10_000
"""How deep the types may have become at the most before it is counted; 30,000 levels fit on a stack of 8 MB."""


class Commit:
    """A transaction, to be committed and dropped by whoever made it.

    Args:
        doc: yrs' own document.
        ledger: what is in it.
        keep: takes what waits for something else.

    Attributes:
        transaction: yrs'.
        taken: what it was given and now has, as updates; the usual ones are joined.
        refused: those that were refused, by index.
        held: those that wait, by index.
        leftovers: those that yrs gave up in the middle of: it has to be mended.
    """

    __slots__ = ("_apart", "_doc", "_keep", "_ledger", "held", "leftovers", "refused", "taken", "transaction")

    def __init__(self, doc: _pycrdt.Doc, ledger: Ledger, keep: Callable[[Held], None]) -> None:
        self._doc = doc
        self._ledger = ledger
        self._keep = keep
        self._apart = False  # whether joining has failed
        self.transaction = doc.create_transaction()
        self.taken: list[bytes] = []
        self.refused: dict[int, InvalidUpdate] = {}
        self.held: list[int] = []
        self.leftovers: list[bytes] = []

    def take(self, updates: Sequence[bytes], *, tags: Sequence[Any] = (), again: Sequence[Held] = ()) -> None:
        """Apply updates or keep them for later, the usual ones joined, which is half the work; `again`: as held."""

        def hold(index: int, missing: tuple[int, int], update: bytes) -> None:
            tag, tries = (again[index].tag, again[index].tries + 1) if again else (tags[index] if tags else None, 0)
            self.held.append(index)
            self._keep(Held(*missing, update, tag, tries))

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
                    self._put_usual(usual, hold)
                    usual = []
                    if ledger.nesting > NESTING_SLACK:
                        self._measure(update, before)
                    self._put(update, known)
            except InvalidUpdate as error:
                self.refused[index] = error
        self._put_usual(usual, hold)
        if self._apart:
            self._reset()

    def _put_usual(self, usual: list[tuple[int, bytes]], hold: Callable[[int, tuple[int, int], bytes], None]) -> None:
        """Apply admitted updates as one, or one by one if yrs does not take them so."""
        if len(usual) > 1:
            try:
                joined = merge([update for _, update in usual])
                self._doc.apply_update(self.transaction, joined)
            except BaseException as error:
                contain(error)
                if not isinstance(error, ValueError):
                    self.leftovers.append(joined)
            else:
                self.taken.append(joined)
                return
            # Admitted once more, one by one: what builds on one that is refused must wait.
            self._apart = True
            self._reset()
        for index, update in usual:
            try:
                missing = self._ledger.admit(update) if self._apart else None
                if missing is None:
                    self._put(update, self._ledger.known if self._apart else None)
                else:
                    hold(index, missing, update)
            except InvalidUpdate as error:
                self.refused[index] = error

    def _put(self, update: bytes, known: dict[int, int] | None) -> None:
        """Apply one admitted update or raise InvalidUpdate; `known` is what the ledger said of it."""
        try:
            self._doc.apply_update(self.transaction, update)
        except BaseException as error:
            contain(error)
            # ValueError comes from the decoder, before anything changes.
            if not isinstance(error, ValueError):
                self.leftovers.append(update)
            self._reset()
            raise InvalidUpdate("update that does not fit the document") from None
        if known is not None:
            update = self._news(update, known)
        if update != EMPTY_UPDATE:
            self.taken.append(update)

    def _news(self, update: bytes, known: dict[int, int]) -> bytes:
        """What an update brought beyond the clocks `known`, as the document now has it, with the update's deletions.

        What a client says again need not be what it said first, and merged with that it comes out as neither.
        """
        clocks = self._ledger.clocks() | known
        gained = self._doc.get_update(self.transaction, encode_state_vector(clocks))
        return gained[: deletions_at(gained)] + update[deletions_at(update) :]

    def _measure(self, update: bytes, before: int) -> None:
        """Count how deep shared types nest once `update` is in; raise InvalidUpdate if that is too deep."""
        ledger = self._ledger
        content = self._doc.get_update(self.transaction, EMPTY_STATE_VECTOR)
        ledger.nesting = nesting(_pycrdt.merge_updates((content, update)))
        if ledger.nesting > MAX_NESTING:
            ledger.nesting = before
            self._reset()
            raise InvalidUpdate("shared types nested too deep")

    def _reset(self) -> None:
        self._ledger.reset(self._doc.get_state(self.transaction))
