"""What the admin interface asks of what it steers: one server here, any number of them behind the same interface.

Bound here: each answer names the node that it is of.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from typing import Any

from collab.hub import Hub
from collab.stats import open_rooms, room_users, server_stats

Answer = dict[str, Any]
"""What becomes a JSON object; `web/openapi.py` says what is in each."""


class Steering(ABC):
    """Something that serves documents, seen by whoever runs it. Documents are rooms here, open or not."""

    @abstractmethod
    def stats(self) -> Answer:
        """Totals and the present state."""

    @abstractmethod
    def rooms(self, prefix: str, after: str, limit: int) -> Answer:
        """A page of the rooms that are open."""

    @abstractmethod
    def users(self, room: str) -> Answer | None:
        """Who is in a room; None if it is not open."""

    @abstractmethod
    def kick(self, room: str, user: str | None, seconds: float, reason: str) -> Answer:
        """Send a user, or everybody, out, and keep them out for so many seconds; how many sessions that ends."""

    @abstractmethod
    def recheck(self, room: str, user: str | None) -> Answer:
        """Decide once more what a user, or everybody, may do; how many sessions that is."""

    @abstractmethod
    def say(self, room: str, text: str) -> Answer:
        """Tell everybody in a room something; how many sessions are told, and how many cannot be told."""

    @abstractmethod
    def drain(self) -> Answer:
        """Take no new sessions and send away those that there are; how many connections are left by now."""


class OneServer(Steering):
    """The server of this process.

    Args:
        hub: its hub.
        version: of the package.
    """

    def __init__(self, hub: Hub, version: str) -> None:
        self._hub = hub
        self._version = version

    def _answer(self, answer: Answer) -> Answer:
        return {"node": f"{socket.gethostname()}:{os.getpid()}", **answer}

    def stats(self) -> Answer:
        return self._answer({"version": self._version, **server_stats(self._hub)})

    def rooms(self, prefix: str, after: str, limit: int) -> Answer:
        return self._answer(open_rooms(self._hub, prefix, after, limit))

    def users(self, room: str) -> Answer | None:
        found = self._hub.rooms.get(room)
        return None if found is None else self._answer({"room": room, "users": room_users(found)})

    def kick(self, room: str, user: str | None, seconds: float, reason: str) -> Answer:
        return self._answer({"sessions": self._hub.kick(room, user, seconds, reason)})

    def recheck(self, room: str, user: str | None) -> Answer:
        return self._answer({"sessions": self._hub.recheck(room, user)})

    def say(self, room: str, text: str) -> Answer:
        told, untold = self._hub.say(room, text)
        return self._answer({"told": told, "untold": untold})

    def drain(self) -> Answer:
        return self._answer({"draining": True, "connections": self._hub.drain()})
