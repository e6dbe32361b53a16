"""One address of a connection with many sessions: somebody who wants into a document, or is in it."""

from __future__ import annotations

from typing import Final

from collab.protocol.hocuspocus import Hocuspocus
from collab.session import Session

MAX_HELD: Final = 256
"""Messages that are held at most while it is being decided who that is."""


class Seat:
    """One address: somebody who wants into a document, or is in it.

    Attributes:
        session: who is in; None until then.
        held: what came before that.
        deciding: whether somebody is deciding, or opening the document.
        admitted: whether that is decided.
        gone: whether nobody wants in any more.
        by: when it has to be decided.
        version: of the provider, if it tells.
    """

    __slots__ = ("admitted", "by", "deciding", "dialect", "gone", "held", "session", "version")

    def __init__(self, dialect: Hocuspocus, by: float) -> None:
        self.dialect = dialect
        self.session: Session | None = None
        self.held: list[bytes] = []
        self.deciding = self.admitted = self.gone = False
        self.by = by
        self.version: str | None = None


class Held:
    """What is held for all the seats of one connection, within bounds.

    Args:
        most: bytes.
    """

    __slots__ = ("_bytes", "_messages", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = self._messages = 0

    def take(self, seat: Seat, payload: bytes) -> bool:
        """Hold a message for `seat`; False if that is too much."""
        self._bytes += len(payload)
        self._messages += 1
        if self._bytes > self._most or self._messages > MAX_HELD:
            return False
        seat.held.append(payload)
        return True

    def give_back(self, seat: Seat) -> list[bytes]:
        """What was held for `seat`, and no longer is."""
        held, seat.held = seat.held, []
        self._bytes -= sum(map(len, held))
        self._messages -= len(held)
        return held
