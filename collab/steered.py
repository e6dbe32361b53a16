"""What whoever runs a server, or its application, can do to those who are in a document."""

from __future__ import annotations

from collections.abc import Mapping

from collab.admission import Admission
from collab.member import Member
from collab.protocol.frames import CloseCode
from collab.protocol.messages import Say
from collab.room import Room


class Steered:
    """The side of a hub by which people are steered."""

    rooms: Mapping[str, Room]
    admission: Admission

    def _sessions(self, document_id: str, user_id: str | None) -> list[Member]:
        room = self.rooms.get(document_id)
        members = room.members() if room is not None else []
        return [member for member in members if user_id is None or member.user_id == user_id]

    def recheck(self, document_id: str, user_id: str | None = None) -> int:
        """Make the decision on a user's sessions in a document, or on all there, once more; how many there are."""
        members = self._sessions(document_id, user_id)
        for member in members:
            member.recheck()
        return len(members)

    def kick(self, document_id: str, user_id: str | None = None, seconds: float = 0.0, reason: str = "") -> int:
        """Send a user, or everybody, out of a document, and keep them out for a while; how many sessions that ends."""
        if seconds:
            self.admission.ban(document_id, user_id, seconds)
        members = self._sessions(document_id, user_id)
        for member in members:
            member.close(CloseCode.FORBIDDEN, reason or "you were sent out of this document")
        return len(members)

    def say(self, document_id: str, text: str) -> tuple[int, int]:
        """Tell everybody in a document something; how many sessions are told, and how many cannot be told."""
        room = self.rooms.get(document_id)
        return (0, 0) if room is None else room.announce(Say(text))
