"""Clocks of which one thing is true, kept as runs: eight bytes for each run of a client."""

from __future__ import annotations

from array import array
from bisect import bisect_right

from collab.protocol.lib0 import read_var_string
from collab.protocol.yupdate import TEXT, Section


class Marks:
    """A set of clocks by client, to which each client's are added in ascending order."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[int, array[int]] = {}  # starts and ends by turns

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, client: int, start: int, end: int) -> None:
        """Mark the clocks from `start` up to, not including, `end`."""
        runs = self._runs.get(client)
        if runs is None:
            self._runs[client] = array("I", (start, end))
        elif start > runs[-1]:
            runs.extend((start, end))
        elif end > runs[-1]:
            runs[-1] = end

    def has(self, client: int, clock: int) -> bool:
        """Whether `clock` is marked."""
        runs = self._runs.get(client)
        return runs is not None and bisect_right(runs, clock) & 1 == 1

    def spans(self, client: int, start: int, end: int) -> bool:
        """Whether all clocks from `start` up to, not including, `end` are marked."""
        runs = self._runs.get(client, ())
        place = bisect_right(runs, start)
        return place & 1 == 1 and end <= runs[place]

    def cut(self, clocks: dict[int, int]) -> None:
        """Forget what is not before the clock of its client."""
        for client, runs in list(self._runs.items()):
            clock = clocks.get(client, 0)
            while runs and runs[-2] >= clock:
                del runs[-2:]
            if not runs:
                del self._runs[client]
            elif runs[-1] > clock:
                runs[-1] = clock

    def update(self, other: Marks) -> None:
        """Add all of `other`."""
        for client, runs in other._runs.items():
            for place in range(0, len(runs), 2):
                self.add(client, runs[place], runs[place + 1])


def mark_pairs(update: bytes, section: Section, known: int, pairs: Marks) -> None:
    """Mark the low surrogates in a client's text from the clock `known` on."""
    for struct in section.structs:
        if struct.head[0][0] & 0x0F == TEXT:
            text = read_var_string(update, struct.content_at)[0]
            if len(text) != struct.length:
                clock = struct.clock
                for character in text:
                    clock += 1
                    if character > "\uffff":
                        if clock >= known:
                            pairs.add(section.client, clock, clock + 1)
                        clock += 1
