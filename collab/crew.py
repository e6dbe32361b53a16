"""The one door through which greenlets are started: named, counted, and never dying unheard.

Bound here: an error that nobody caught is logged with the greenlet's name and counted, and `join` can prove that all
are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import GreenletExit, getcurrent
from gevent.event import Event

from collab.logs import logger
from collab.metrics import Metrics

log = logger(__name__)


class Crew:
    """The greenlets of one server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._names: dict[Any, str] = {}
        self._gone = Event()
        self._gone.set()

    def __len__(self) -> int:
        """How many are at work."""
        return len(self._names)

    def names(self) -> list[str]:
        """What those at work are called."""
        return list(self._names.values())

    def spawn(self, name: str, work: Callable[..., object], *args: Any) -> None:
        """Start `work(*args)` in a greenlet of its own, at the end of this loop pass."""
        self._gone.clear()
        # A plain greenlet: gevent's own class costs each idle session memory for features that are not used.
        greenlet = gevent.spawn_raw(self._run, work, args)
        self._names[greenlet] = name

    def _run(self, work: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            work(*args)
        except GreenletExit:
            log.debug("%s was told to end", self._names.get(getcurrent()))
        except BaseException:  # nothing outside would hear of it, PanicException of a Rust library included
            log.exception("%s ended by an error that was not expected", self._names.get(getcurrent()))
            self._metrics.count("greenlet_deaths")
        finally:
            self._names.pop(getcurrent(), None)
            if not self._names:
                self._gone.set()

    def kill(self) -> None:
        """End all that are still at work, but for the caller. Switches greenlets."""
        for greenlet in list(self._names):
            if greenlet is not getcurrent():
                gevent.kill(greenlet)
        gevent.sleep(0)  # they end when it is their turn

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until none is at work; whether none is."""
        return bool(self._gone.wait(timeout))
