"""Which changes a client that is told of each has not been told of yet.

@hocuspocus/provider counts: from 1 anew when it sends a SyncStep1, 1 more for each Update, 1 less for each `Taken`. So
an Update is worth one, and so is the SyncStep2 by which it answers the SyncStep1 that answered its own. One that was
asked for besides is worth what it makes good: the updates that could not be taken when they came. What came before a
SyncStep1, and is not confirmed by then, is worth nothing any more.
"""

from __future__ import annotations


class Statuses:
    """The account of one session; updates go by their numbers."""

    __slots__ = ("_confirmed", "_expected", "_later", "_worth")

    def __init__(self) -> None:
        self._confirmed = 0
        self._expected = False
        self._later = 0
        self._worth: dict[int, int] = {}  # of those that are not worth one

    def expect(self, sent: int) -> None:
        """The client counts anew, after so many updates, and will answer with a SyncStep2 that it counts."""
        self._expected = True
        self._confirmed = sent
        self._later = 0
        self._worth.clear()

    def answer(self, number: int) -> None:
        """A SyncStep2 has come, as this number."""
        if self._expected:
            self._expected = False
        else:
            self._worth[number], self._later = self._later, 0

    def refuse(self, number: int, *, later: bool) -> None:
        """Update `number` was refused; `later`: the client will be asked for it again."""
        if number <= self._confirmed:
            return
        worth = self._worth.get(number, 1)
        self._worth[number] = 0
        if later:
            self._later += worth

    def confirm(self, number: int) -> int:
        """All up to `number` are done with: how many times the client is to hear so."""
        if number <= self._confirmed:
            return 0
        count = number - self._confirmed
        self._confirmed = number
        for done in [done for done in self._worth if done <= number]:
            count += self._worth.pop(done) - 1
        return count
