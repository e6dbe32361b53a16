"""A store's calls, made where they hold nobody up: in a thread of their own, one after the other.

Bound here: a store object is used by one thread only. A store that waits for nothing is called where it is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from gevent import Timeout
from gevent.threadpool import ThreadPool

from collab.stores.base import Store

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class OffLoop:
    """Calls one store.

    Args:
        store: nobody else's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._pool: ThreadPool | None = None

    def call(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `method` returns or raises. Switches greenlets if the store waits for anything."""
        if not self.store.blocking:
            return method(*args, **kwargs)
        if self._pool is None:
            self._pool = ThreadPool(1)
        return cast(R, self._pool.spawn(method, *args, **kwargs).get())

    def close(self, timeout: float) -> None:
        """Let go of the store and the thread; what the thread is at is not waited for longer. Switches greenlets."""
        late = Timeout.start_new(timeout)
        try:
            self.call(self.store.close)
            if self._pool is not None:
                self._pool.kill()
        except Timeout as error:
            if error is not late:
                raise
            log.warning("The store is still at work, and is not waited for")
        finally:
            late.close()
