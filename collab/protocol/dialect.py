"""What a dialect is: one client protocol's bytes to the shared messages and back. Dialects hold no state.

A dialect's instances are shared by all sessions that speak it, so a room encodes a broadcast once for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from collab.protocol.messages import ClientMessage, ServerMessage


class Dialect(ABC):
    """One client protocol."""

    __slots__ = ()

    name: ClassVar[str]
    """The name in logs and metrics."""
    keepalive: ClassVar[float] = 0.0
    """Seconds after which the client must have been sent an empty `Presence` again; 0: pings are enough."""
    hears_itself: ClassVar[bool] = False
    """Whether the client needs its own presence back."""
    json_presence: bool = False
    """Whether presence goes out as JSON."""
    numbers_updates: ClassVar[bool] = False
    """Whether the client counts its updates and wants `Ack`s."""
    told_of_each: ClassVar[bool] = False
    """Whether the client wants `Taken` for each of its updates, and a SyncStep1 back for its own."""

    @abstractmethod
    def decode(self, payload: bytes, text: bool) -> ClientMessage:
        """Read one WebSocket message; `text` tells a text message (checked UTF-8) from a binary one.

        Raises:
            InvalidMessage: anything that the dialect does not allow a client to send.
        """

    @abstractmethod
    def encode(self, message: ServerMessage) -> bytes:
        """The whole frame that says `message` in this dialect; empty where it has no words for it."""

    def with_json_presence(self) -> Dialect:
        """The variant of this dialect that gets presence as JSON; itself where there is none."""
        return self
