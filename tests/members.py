"""A member of a room that keeps what it is told, for tests without sessions."""

from __future__ import annotations

from collections.abc import Sequence

from collab.errors import ProtocolError
from collab.member import Member, Part
from collab.protocol.dialect import Dialect
from collab.protocol.frames import CloseCode
from collab.protocol.messages import ServerMessage
from collab.protocol.ywebsocket import YWEBSOCKET


class Recorder:
    """A member that keeps what it is told, and was last heard at `heard`."""

    def __init__(self, user_id: str = "u", dialect: Dialect = YWEBSOCKET) -> None:
        self.id = f"session of {user_id}"
        self.user_id = user_id
        self.user_name = user_id.title()
        self.anonymous = False
        self.heir: Member | None = None
        self.dialect = dialect
        self.delivered: list[tuple[bytes, Sequence[Part]]] = []
        self.replies: list[ServerMessage] = []
        self.refused: list[int] = []
        self.confirmed: list[int] = []
        self.closed: list[CloseCode] = []
        self.probes = self.rechecks = 0
        self.losses = 0
        self.heard = 0.0

    def deliver(self, frame: bytes, parts: Sequence[Part]) -> None:
        self.delivered.append((frame, parts))

    def reply(self, message: ServerMessage) -> None:
        self.replies.append(message)

    def confirm(self, number: int) -> None:
        self.confirmed.append(number)

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        self.refused.append(update)

    def describe(self) -> dict[str, str | int]:
        return {}

    def probe(self) -> None:
        self.probes += 1

    def heard_since(self, when: float) -> bool:
        return self.heard > when

    def recheck(self) -> None:
        self.rechecks += 1

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed.append(code)

    def lost(self) -> None:
        self.losses += 1
