"""Updates that came before what they build on.

Bounded in number and bytes, the oldest go first, and in how often one is looked at again: a Yjs client sends all that
a server lacks with its answer to Step1, so what is let go comes back.
"""

from __future__ import annotations

from typing import Final

from collab.protocol.yledger import Ledger

MAX_HELD: Final = 1000
MAX_HELD_BYTES: Final = 1 << 20
MAX_TRIES: Final = 16
MAX_TRIED_BYTES: Final = 1 << 20
"""Times that one update is taken apart in vain, and the bytes that this comes to."""


class Waiting:
    """The updates of one document that wait for others."""

    __slots__ = ("_bytes", "_held")

    def __init__(self) -> None:
        self._held: list[tuple[int, int, bytes, int]] = []  # client and clock that are missing, update, tries
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, client: int, clock: int, update: bytes, tries: int = 0) -> None:
        """Keep an update, tried again so many times, until `clock` of `client` has come."""
        if tries > MAX_TRIES or tries * len(update) > MAX_TRIED_BYTES:
            return
        self._held.append((client, clock, update, tries))
        self._bytes += len(update)
        while self._bytes > MAX_HELD_BYTES or len(self._held) > MAX_HELD:
            self._bytes -= len(self._held.pop(0)[2])

    def ready(self, ledger: Ledger) -> list[tuple[bytes, int]]:
        """Let go of those whose clock is in `ledger` now, in the order in which they came, with their tries."""
        ready = [held for held in self._held if held[1] < ledger.clock(held[0])]
        if ready:
            self._held = [held for held in self._held if held not in ready]
            self._bytes = sum(len(held[2]) for held in self._held)
        return [held[2:] for held in ready]
