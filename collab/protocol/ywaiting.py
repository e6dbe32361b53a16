"""Updates that came before what they build on.

Bounded in number and bytes, the oldest go first, and in how often one is looked at again: a Yjs client sends all that
a server lacks with its answer to Step1, so what is let go comes back.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from collab.protocol.yledger import Ledger

MAX_HELD: Final = 1000
MAX_HELD_BYTES: Final = 1 << 20
MAX_TRIES: Final = 16
MAX_TRIED_BYTES: Final = 1 << 20
"""Times that one update is taken apart in vain, and the bytes that this comes to."""


class Held(NamedTuple):
    """An update that waits for `clock` of `client`, looked at in vain so many times."""

    client: int
    clock: int
    update: bytes
    tag: Any
    """Whatever its sender wants to be reminded of."""
    tries: int = 0


class Waiting:
    """The updates of one document that wait for others.

    Attributes:
        lapsed: the tags of those that were let go.
    """

    __slots__ = ("_bytes", "_held", "lapsed")

    def __init__(self) -> None:
        self._held: list[Held] = []
        self._bytes = 0
        self.lapsed: list[Any] = []

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, held: Held) -> None:
        """Keep an update until what it waits for has come."""
        if held.tries > MAX_TRIES or held.tries * len(held.update) > MAX_TRIED_BYTES:
            self.lapsed.append(held.tag)
            return
        self._held.append(held)
        self._bytes += len(held.update)
        while self._bytes > MAX_HELD_BYTES or len(self._held) > MAX_HELD:
            oldest = self._held.pop(0)
            self._bytes -= len(oldest.update)
            self.lapsed.append(oldest.tag)

    def ready(self, ledger: Ledger) -> list[Held]:
        """Let go of those whose clock is in `ledger` now, in the order in which they came."""
        ready = [held for held in self._held if held.clock < ledger.clock(held.client)]
        if ready:
            self._held = [held for held in self._held if held.clock >= ledger.clock(held.client)]
            self._bytes = sum(len(held.update) for held in self._held)
        return ready
