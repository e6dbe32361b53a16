"""Which members are due a receipt for what they have sent, and for how much of it.

Bound here: a receipt never covers an update that has not taken effect. One that came before what it builds on holds
back the receipts of its sender, and only those, until it has taken effect or is refused; so does one that its sender
was turned away with, until that has come again.
"""

from __future__ import annotations

from collab.member import Member


class Receipts:
    """The receipts of one room's members, by the number of the update that they reach.

    Attributes:
        due: those that can be given, but for what holds them back.
    """

    __slots__ = ("_away", "_held", "_sent", "due")

    def __init__(self) -> None:
        self.due: dict[Member, int] = {}
        self._held: dict[Member, list[int]] = {}
        self._away: dict[Member, int] = {}  # the first number of those who were turned away
        self._sent: dict[Member, int] = {}  # the latest number of those who have something held

    def owe(self, member: Member, number: int) -> None:
        """`member` has sent update `number`."""
        self.due[member] = number

    def hold(self, member: Member, number: int) -> None:
        """Update `number` of `member` has come too early; 0 if it does not number them."""
        self._held.setdefault(member, []).append(number)

    def free(self, member: Member, number: int) -> None:
        """Update `number` of `member` is done with after all."""
        held = self._held.get(member)
        if held is None or number not in held:
            return
        held.remove(number)
        # What waits for others is behind this one; and a receipt that waited for the last of them is due.
        if member in self._sent:
            self.due.setdefault(member, self._sent[member])
        if not held:
            del self._held[member]
            self._sent.pop(member, None)

    def turn_away(self, member: Member, number: int) -> None:
        """Update `number` of `member` is not taken now, and neither is a receipt for it given before it is."""
        if member not in self._away:
            self._away[member] = number
            self.hold(member, number)

    def take_up(self, member: Member) -> None:
        """What `member` was turned away with has come again."""
        number = self._away.pop(member, None)
        if number is not None:
            self.free(member, number)

    def take(self) -> dict[Member, int]:
        """What each member can be given a receipt for now."""
        due, self.due = self.due, {}
        for member, held in self._held.items():
            if member in due:
                self._sent[member] = due[member]
                reach = min(held) - 1
                if reach > 0:
                    due[member] = reach
                else:
                    del due[member]
        return due

    def forget(self, member: Member) -> None:
        """`member` is gone."""
        self.due.pop(member, None)
        self._held.pop(member, None)
        self._away.pop(member, None)
        self._sent.pop(member, None)

    def pass_on(self, old: Member, new: Member) -> None:
        """`new` goes on in place of `old`."""
        for numbers in (self.due, self._away, self._sent):
            if old in numbers:
                numbers[new] = numbers.pop(old)
        if old in self._held:
            self._held[new] = self._held.pop(old)
