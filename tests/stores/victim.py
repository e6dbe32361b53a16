"""A process whose children work on a store and are killed in the middle of it, at a place that is counted or at any.

Jobs come pickled on stdin: the URL of a store; whether it is opened before anything counts; the number of the point at
which the child kills itself, or None; and the calls that it makes, each a method's name and its arguments. Points are
before and after each statement and each commit, those that go to SQLite past SQLAlchemy included, when a connection has
been made, and when a call is about to return. Each child is a fork of this
process, which has imported all that it takes. What happens is said line by line on stdout: `pid` with the child's
number, `done` after each call that returned, and `ended` with its exit code.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from sqlalchemy import event

from collab.stores import open_store

Call = tuple[str, Sequence[Any], dict[str, Any]]


def say(*words: object) -> None:
    """Write a line at once, and as a whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work(url: str, opened: bool, at: int | None, calls: Sequence[Call]) -> None:
    """Make calls to the store at `url`, and be killed at point `at`."""
    store = open_store(url)
    engine = store._database._engine  # type: ignore[attr-defined]
    if opened:
        store.check()
    left = -1 if at is None else at

    def point(*_: object) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    commit = engine.dialect.do_commit

    def do_commit(connection: object) -> None:
        point()
        commit(connection)
        point()

    engine.dialect.do_commit = do_commit
    for name in ("connect", "before_cursor_execute", "after_cursor_execute"):
        event.listen(engine, name, point)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.set_trace_callback(point))
        if opened:
            store._database._open().connection.driver_connection.set_trace_callback(point)  # type: ignore[attr-defined]
    for method, arguments, keywords in calls:
        getattr(store, method)(*arguments, **keywords)
        point()
        say("done")
    store.close()


def main() -> None:
    """Do jobs until there are no more."""
    open_store("postgresql:///").close()  # which imports what all of them take
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        child = os.fork()
        if not child:
            try:
                say("pid", os.getpid())
                work(*job)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
