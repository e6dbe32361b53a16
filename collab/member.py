"""A session as its room knows it, and what it is given of a broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from collab.awareness import Owner
from collab.errors import ProtocolError
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.protocol.messages import ServerMessage


class Part(NamedTuple):
    """One message of a broadcast: its frame in a dialect, and what it says (None: must not be forgotten)."""

    frame: bytes | memoryview
    message: ServerMessage | None


class Member(Owner, Protocol):
    """A session, as far as its room knows it. None of this switches greenlets."""

    id: str
    dialect: Dialect
    heir: Member | None
    """The session that goes on in its place, once its client has come back over another connection."""

    @property
    def user_id(self) -> str:
        """Sessions with equal ids are one user's."""

    @property
    def user_name(self) -> str:
        """As the others see it."""

    @property
    def anonymous(self) -> bool:
        """Whether nobody can come back under its id."""

    def deliver(self, frame: bytes, parts: Sequence[Part]) -> None:
        """Take a broadcast: `frame` is all of `parts` joined."""

    def reply(self, message: ServerMessage) -> None:
        """Send one message to this member alone."""

    def confirm(self, number: int) -> None:
        """All updates that this member has submitted, up to this number, are done with."""

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        """Tell the member that something was not taken; `update` is its number if it was a numbered update."""

    def describe(self) -> dict[str, str | int]:
        """The session as its own client gets to know it."""

    def probe(self) -> None:
        """Ask for a sign of life."""

    def heard_since(self, when: float) -> bool:
        """Whether there was one after `when`."""

    def recheck(self) -> None:
        """Make the decision whether it may be here once more."""

    def close(self, code: CloseCode, reason: str) -> None:
        """End its stay in the document, and tell it why."""

    def lost(self) -> None:
        """Give the connection up."""


def present(member: Member) -> Member:
    """Who goes on in place of `member` by now."""
    while member.heir is not None:
        member = member.heir
    return member
