"""How the people in a room are told what a loop pass has brought.

Bound here: a message is encoded once per dialect, and what is said in one pass reaches each member as one write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collab.member import Member, Part
from collab.metrics import Traffic
from collab.protocol.dialect import Dialect
from collab.protocol.messages import ServerMessage

Deliver = Callable[[bytes, Sequence[Part]], None]
Groups = dict[Dialect, dict[Member, Deliver]]
"""The members of a room by what they speak, each with what takes a broadcast for it."""

Saying = tuple[ServerMessage, Member | None]
"""What is to be said, and who is not to be told, if anybody."""


def tell(groups: Groups, out: Sequence[Saying], sent: Traffic) -> None:
    """Say all of `out`, in one write to each."""
    if len(out) > 1:
        for dialect, group in groups.items():
            _tell_group(dialect, group, out, sent)
        return
    message, excluded = out[0]  # nearly all traffic, and each function on its way is one more that is cold
    for dialect, group in groups.items():
        frame = dialect.encode(message)
        if not frame:
            continue
        told = (Part(frame, message),)
        count = 0
        for member, deliver in group.items():
            if member is not excluded:
                deliver(frame, told)
                count += 1
        if count:
            tally = sent[type(message)]  # as `note` does it
            tally[0] += count
            tally[1] += len(frame) * count


def _tell_group(dialect: Dialect, group: dict[Member, Deliver], out: Sequence[Saying], sent: Traffic) -> None:
    parts = [(Part(dialect.encode(message), message), exclude) for message, exclude in out]
    for_all = [part for part, _ in parts if part.frame]
    if not for_all:
        return
    excluded = {exclude for _, exclude in parts if exclude is not None}
    frame = b"".join([part.frame for part in for_all])
    if not excluded and len({type(part.message) for part in for_all}) == 1:  # nearly always
        sent.note(type(for_all[0].message), len(frame) * len(group), len(for_all) * len(group))
    else:
        for part, exclude in parts:
            if part.frame and (members := len(group) - (exclude in group)):
                sent.note(type(part.message), len(part.frame) * members, members)
    for member, deliver in group.items():
        if member in excluded:
            mine = [part for part, exclude in parts if part.frame and exclude is not member]
            if mine:
                deliver(b"".join([part.frame for part in mine]), mine)
        else:
            deliver(frame, for_all)
