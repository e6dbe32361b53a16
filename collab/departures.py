"""How the clients of a server are sent away: told to come back (1012), not all in one moment, since they do at once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from gevent.event import Event

from collab.connection import Connection
from collab.protocol.frames import CloseCode

STEPS: Final = 20
"""Parts that they go in."""

DRAIN_TIME: Final = 2.0
"""Seconds over which a draining server sends its clients away."""

AGAIN: Final = 1.0
"""Seconds until it looks again, for those who had been admitted and were about to come in."""


def send_away(connections: Collection[Connection], seconds: float, pause: Callable[[float], bool | None]) -> None:
    """Send all away, spread over so many seconds; a `pause` that returns True ends it. Switches greenlets."""
    going = list(connections)
    steps = min(len(going), STEPS)
    for step in range(steps):
        for connection in going[step::steps]:
            connection.close(CloseCode.RESTART, "the server is restarting")
        if pause(seconds / steps):
            return


def drain(connections: Collection[Connection], ended: Event) -> None:
    """Send all away and whoever still comes, until the server stops, which does the rest. Switches greenlets."""
    while not ended.is_set():
        send_away(connections, DRAIN_TIME, ended.wait)
        ended.wait(AGAIN)
