"""A store's calls, made where they hold nobody up: in a thread of their own, one after the other.

Bound here: a store object is used by one thread only. A store that waits for nothing is called where it is asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, ParamSpec, TypeVar, cast

from gevent import Timeout
from gevent.threadpool import ThreadPool

from collab.stores.base import Store

log = logging.getLogger(__name__)

STACK: Final = 16 * 1024 * 1024
"""Bytes of stack: documents that nest as deep as they may take most of 8 MB to be taken apart."""

P = ParamSpec("P")
R = TypeVar("R")


class _Raised(NamedTuple):
    """What a call has raised."""

    error: BaseException


def _outcome(method: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """What a call returns, or has raised: gevent prints what a thread raises, each time."""
    try:
        return method(*args, **kwargs)
    except BaseException as error:  # PanicException included: it is the caller's
        return _Raised(error)


def _start() -> ThreadPool:
    """A thread that has the stack which the depth of documents is bounded for, whatever the system gives threads.

    Does not switch greenlets, or others would start one as well.
    """
    before = threading.stack_size(STACK)
    try:
        pool = ThreadPool(1)
        pool.spawn(int)
    finally:
        threading.stack_size(before)
    return pool


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
            self._pool = _start()
        outcome = self._pool.spawn(_outcome, method, args, kwargs).get()
        if isinstance(outcome, _Raised):
            raise outcome.error
        return cast(R, outcome)

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
