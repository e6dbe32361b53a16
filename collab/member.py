"""A session as its room knows it, and what it is given of a broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from collab.awareness import Owner
from collab.errors import ProtocolError
from collab.protocol.dialect import Dialect
from collab.protocol.messages import ServerMessage


class Identity(NamedTuple):
    """Who wants to come in."""

    user_id: str
    user_name: str
    anonymous: bool = False
    """The id was drawn for this connection: nobody can come back under it."""
    session_id: str | None = None
    """The session that it says it had, and wants to go on with."""


class Part(NamedTuple):
    """One message of a broadcast: its frame in a dialect, and what it says (None: must not be forgotten)."""

    frame: bytes | memoryview
    message: ServerMessage | None


class Member(Owner, Protocol):
    """A session, as far as its room knows it. None of this switches greenlets."""

    id: str
    dialect: Dialect
    user_id: str
    user_name: str
    anonymous: bool
    heir: Member | None
    """The session that goes on in its place, once its client has come back over another connection."""

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

    def lost(self) -> None:
        """Give the connection up."""


def present(member: Member) -> Member:
    """Who goes on in place of `member` by now."""
    while member.heir is not None:
        member = member.heir
    return member
