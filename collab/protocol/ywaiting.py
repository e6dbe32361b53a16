"""Updates that came before what they build on.

Bounded in number and bytes, the oldest go first: a Yjs client sends all that a server lacks with its answer to Step1,
which is on its way when its first edits come too early.
"""

from __future__ import annotations

from typing import Final

from collab.protocol.yledger import Ledger

MAX_HELD: Final = 1000
MAX_HELD_BYTES: Final = 1 << 20


class Waiting:
    """The updates of one document that wait for others."""

    __slots__ = ("_bytes", "_held")

    def __init__(self) -> None:
        self._held: list[tuple[int, int, bytes]] = []  # client and clock that are missing, update
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, client: int, clock: int, update: bytes) -> None:
        """Keep an update until `clock` of `client` has come."""
        self._held.append((client, clock, update))
        self._bytes += len(update)
        while self._bytes > MAX_HELD_BYTES or len(self._held) > MAX_HELD:
            self._bytes -= len(self._held.pop(0)[2])

    def ready(self, ledger: Ledger) -> list[bytes]:
        """Let go of those whose clock is in `ledger` now, in the order in which they came."""
        ready = [held for held in self._held if held[1] < ledger.clock(held[0])]
        if ready:
            self._held = [held for held in self._held if held not in ready]
            self._bytes = sum(len(update) for _, _, update in self._held)
        return [update for _, _, update in ready]
