"""A store's calls, made where they hold nobody up: in a thread of their own, one after the other.

Bound here: a store object is used by one thread only. A store that waits for nothing is called where it is asked.

gevent's thread pool is twice the work at each call, and gives its threads whatever stack the system does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from gevent import Timeout, get_hub
from gevent.event import AsyncResult
from gevent.monkey import get_original

from collab.errors import StoreError
from collab.logs import logger
from collab.stores.base import Store

log = logger(__name__)

STACK: Final = 16 * 1024 * 1024
"""Bytes of stack: documents that nest as deep as they may take most of 8 MB to be taken apart."""

P = ParamSpec("P")
R = TypeVar("R")


def start_thread(work: Callable[[], None]) -> None:
    """Call `work` in a native thread of its own, with stack enough for any document."""
    before = threading.stack_size(STACK)
    try:
        get_original("_thread", "start_new_thread")(work, ())
    finally:
        threading.stack_size(before)


class _Raised(NamedTuple):
    """What a call has raised."""

    error: BaseException


class _Task(NamedTuple):
    """A call, and where its outcome is waited for."""

    method: Callable[..., object]
    args: tuple[object, ...]
    kwargs: dict[str, object]
    outcome: AsyncResult[object]


class _Thread:
    """A native thread that does its tasks one after the other, and the loop that hears of what is done."""

    def __init__(self) -> None:
        self._tasks: Any = get_original("queue", "SimpleQueue")()
        self._done: deque[tuple[AsyncResult[object], object]] = deque()
        self._asked = 0
        self._watcher = get_hub().loop.async_()
        start_thread(self._work)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            method, args, kwargs, outcome = task
            try:
                answer = method(*args, **kwargs)
            except BaseException as error:  # PanicException included: it is the caller's
                answer = _Raised(error)
            self._done.append((outcome, answer))
            self._watcher.send()

    def do(self, task: _Task) -> None:
        """Have something done."""
        if not self._asked:
            self._watcher.start(self._tell)
        self._asked += 1
        self._tasks.put(task)

    def _tell(self) -> None:
        while self._done:
            outcome, answer = self._done.popleft()
            self._asked -= 1
            outcome.set(answer)
        if not self._asked:
            self._watcher.stop()

    def end(self) -> None:
        """End when all is done that was asked for."""
        self._tasks.put(None)
        if not self._asked:
            self._watcher.close()


class OffLoop:
    """Calls one store.

    Args:
        store: nobody else's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._closed = False
        self._thread: _Thread | None = None

    def call(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `method` returns or raises. Switches greenlets if the store waits for anything.

        Raises:
            StoreError: this was closed.
        """
        if self._closed:
            raise StoreError("the store is closed, since the server is stopping")
        return self._call(method, *args, **kwargs)

    def _call(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.store.blocking:
            return method(*args, **kwargs)
        if self._thread is None:
            self._thread = _Thread()
        outcome: AsyncResult[object] = AsyncResult()
        self._thread.do(_Task(method, args, kwargs, outcome))
        answer = outcome.get()
        if isinstance(answer, _Raised):
            raise answer.error
        return cast(R, answer)

    def close(self, timeout: float) -> None:
        """Let go of the store and the thread; what the thread is at is not waited for longer. Switches greenlets."""
        late = Timeout.start_new(timeout)
        try:
            self._closed = True
            self._call(self.store.close)
            if self._thread is not None:
                self._thread.end()
        except Timeout as error:
            if error is not late:
                raise
            log.warning("The store is still at work, and is not waited for")
        finally:
            late.close()
