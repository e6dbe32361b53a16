"""One shared document.

Invariants borne here:

* No method switches greenlets, calls back, or keeps a transaction open: it is dropped on errors as well.
* A bad update is refused alone; nothing but `InvalidUpdate` tells of it, and no input ends the process.
* What took effect is in `taken` or was given to `apply_next`, complete and in order: who passes on and stores just that
  has the same document.
* `generation` grows whenever something takes effect, and only then do cached bytes go stale.
* What took effect may be given to yrs later, but is in all that is read.

It uses the classes below pycrdt's public ones, for a twentieth of the memory and half of the time: pycrdt is pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from collab.commit import Commit
from collab.errors import InvalidUpdate
from collab.protocol.yledger import Ledger
from collab.protocol.yupdate import (
    EMPTY_STATE_VECTOR,
    EMPTY_UPDATE,
    check_state_vector,
    encode_state_vector,
    parse_update,
)
from collab.protocol.ywaiting import Held, Waiting
from collab.updates import apply, contain, drop, load, merge, read

PUT_OFF: Final = 32
"""Updates that take effect before yrs is given them, at most: one by itself is twenty times its share of these."""


class Document:
    """The content of one document, and what waits to become part of it.

    Args:
        content: what `diff` of the empty state vector gave, or `merge` of what was in `taken`; it is trusted.

    Attributes:
        generation: how often something has taken effect.
        taken: what took effect in the last `apply`, as updates: those it was given without the refused and the
            waiting ones (the usual ones joined), then those that had waited for them.
        early: which of those it was given came before what they build on, by index.
        released: the tags of those that had come too early and have now taken effect.
        lapsed: the tags of those that had come too early and never will.
        lacking: whether something that took effect is not in the document after all, since yrs did not take it later.
    """

    __slots__ = (
        "_doc",
        "_late",
        "_ledger",
        "_state_vector",
        "_waiting",
        "early",
        "generation",
        "lacking",
        "lapsed",
        "released",
        "taken",
    )

    def __init__(self, content: bytes | None = None) -> None:
        self.generation = 0
        self.lacking = False
        self.taken: Sequence[bytes] = ()
        self.early: Sequence[int] = ()
        self.released: Sequence[Any] = ()
        self.lapsed: Sequence[Any] = ()
        self._doc = load(content or EMPTY_UPDATE)
        self._late: list[bytes] = []  # what has taken effect, and yrs does not have yet
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
        self._catch_up()
        commit = Commit(self._doc, self._ledger, self._keep)
        self.early = self.released = self.lapsed = ()
        refused, sound = commit.refused, False
        try:
            commit.take(updates, tags=tags)
            self.early = commit.held
            if self._waiting is not None:
                self._release(commit, self._waiting)
            commit.transaction.commit()
            sound = not commit.leftovers
        except BaseException as error:
            contain(error)
        finally:
            drop(commit.transaction)
        self.taken = commit.taken if sound else self._mend(commit.leftovers, commit.taken)
        if self.taken:
            self._change()
        return refused

    def apply_next(self, update: bytes) -> bool:
        """Let an update take effect if it is its client's next text, as nearly all are; else do nothing.

        yrs takes whatever the ledger admits as such, so that it can be given it later.
        """
        # First, so that nothing can fail once it has taken effect.
        if len(self._late) >= PUT_OFF:
            self._catch_up()
        if self._waiting or not self._ledger.admit_next(update):
            return False
        self._late.append(update)
        self.generation += 1
        self._state_vector = None
        return True

    def _catch_up(self) -> None:
        """Have yrs take what was put off; what it then refuses, of which nothing is known, is `lacking`."""
        late = self._late
        if not late:
            return
        try:
            apply(self._doc, *late)
            self._late = []
        except BaseException as error:
            contain(error)
            lacking, self.lacking, self._late = self.lacking, True, []
            self._mend([], [])
            self.lacking = bool(self.apply(late) or self.early) or lacking

    def _change(self) -> None:
        self.generation += 1
        self._state_vector = None

    def _keep(self, held: Held) -> None:
        if self._waiting is None:
            self._waiting = Waiting()
        self._waiting.hold(held)

    def _release(self, commit: Commit, waiting: Waiting) -> None:
        """Apply what has waited for what came, and for what comes of that."""
        released: list[Any] = []
        while waiting and commit.taken and (ready := waiting.ready(self._ledger)):
            commit.refused, commit.held = {}, []
            commit.take([held.update for held in ready], again=ready)
            waiting.lapsed += [ready[index].tag for index in commit.refused]
            gone = {*commit.refused, *commit.held}
            released += [held.tag for index, held in enumerate(ready) if index not in gone and held.tag is not None]
        self.released = released
        self.lapsed, waiting.lapsed = [tag for tag in waiting.lapsed if tag is not None], []

    def state_vector(self) -> bytes:
        """The clocks that this document has; the same object until it changes."""
        if self._state_vector is None:
            self._catch_up()
            self._state_vector = read(self._doc, self._doc.get_state)
        return self._state_vector

    def diff(self, state_vector: bytes, *, ours: bool = False) -> bytes:
        """What `state_vector` lacks, as an update; `ours` for one that this document gave.

        Raises:
            InvalidUpdate: the state vector is malformed or hostile.
        """
        if not ours:
            check_state_vector(state_vector)
        self._catch_up()
        return read(self._doc, self._doc.get_update, state_vector)

    def news(self) -> Sequence[bytes]:
        """`taken`, joined into one update unless yrs cannot."""
        try:
            return [merge(self.taken)] if len(self.taken) > 1 else self.taken
        except BaseException as error:
            contain(error)
            return self.taken

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
