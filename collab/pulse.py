"""How late the event loop comes: measured by a greenlet that sleeps, and looks how long it really was."""

from __future__ import annotations

from collections import deque
from typing import Final

from gevent.event import Event

from collab.clock import now
from collab.metrics import Metrics

BEAT: Final = 0.1
"""Seconds between looks."""

LATEST: Final = 20
"""Looks of which the worst is told."""


class Pulse:
    """Measures one event loop.

    Args:
        metrics: where to count.
        ended: when to stop.
    """

    def __init__(self, metrics: Metrics, ended: Event) -> None:
        self._metrics = metrics
        self._ended = ended
        self._lags: deque[float] = deque([0.0], maxlen=LATEST)
        self._next = float("inf")

    def run(self) -> None:
        """The greenlet that looks."""
        self._next = now() + BEAT
        while not self._ended.wait(max(0.0, self._next - now())):
            at = now()
            lag = max(0.0, at - self._next)
            self._lags.append(lag)
            self._metrics.loop_lag.observe(lag)
            self._next = at + BEAT

    @property
    def lag(self) -> float:
        """Seconds by which the loop came late at worst, in the last two or so."""
        return max(*self._lags, now() - self._next)
