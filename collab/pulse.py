"""Whether the server lives: how late the event loop comes, and whether the hub's greenlet still does its work.

The lag is measured by a timer, which looks how late it comes. It looks in the loop's own greenlet: to wake another one
ten times a second would be a third of what an idle server takes.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from gevent import get_hub
from gevent.event import Event

from collab.clock import now
from collab.metrics import Metrics

BEAT: Final = 0.1
"""Seconds between looks."""

LATEST: Final = 20
"""Looks of which the worst is told."""

SILENCE: Final = 5.0
"""Seconds without a sign of the hub, which gives one every second, until it is said to have failed."""


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
        self._timer: Any = None
        self._sign_at: float | None = None

    def sign(self, at: float) -> None:
        """The hub's greenlet is at work."""
        self._sign_at = at

    def complaint(self, at: float) -> str | None:
        """Why the server is to be started anew, if it is."""
        if self._sign_at is None or self._ended.is_set() or at - self._sign_at <= SILENCE:
            return None
        silent = at - self._sign_at
        return f"the hub has done nothing for {silent:.0f} s: it hangs or has ended, see the log; start the server anew"

    def start(self) -> None:
        """Look from now on."""
        self._timer = get_hub().loop.timer(BEAT, BEAT, ref=False)
        self._await()

    def _await(self) -> None:
        self._next = now() + BEAT
        self._timer.again(self._look, update=True)

    def _look(self) -> None:
        lag = max(0.0, now() - self._next)
        self._lags.append(lag)
        self._metrics.observe("loop_lag_seconds", lag)
        if self._ended.is_set():
            self._timer.close()
        else:
            self._await()

    @property
    def lag(self) -> float:
        """Seconds by which the loop came late at worst, in the last two or so."""
        return max(*self._lags, now() - self._next)
