"""One connection to a database: opened when it is needed, given up when it fails, and its errors in words.

Bound here: no password is ever part of an error, and no connection that failed is used again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from collab.clock import now
from collab.errors import StoreError
from collab.logs import logger
from collab.stores.schema import prepare

QUIET: Final = 5.0
"""Seconds after which a connection to PostgreSQL is tried before it is used: the server may have been restarted."""

BUSY_TIMEOUT: Final = 10
"""Seconds that SQLite waits for another process to end its write."""

_WRITE_AHEAD: Final = "PRAGMA journal_mode=WAL"
_PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=16777216",
)
_POSTGRESQL: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# Said once the connection is there: poolers such as PgBouncer refuse them as part of its beginning.
_TIMEOUTS: Final = (
    "SET statement_timeout = 30000",
    "SET lock_timeout = 30000",
    "SET idle_in_transaction_session_timeout = 60000",
)
_ONE_MOMENT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_REMEDIES: Final = (
    ("disk is full", "make room on that disk"),
    ("disk i/o error", "look at that disk"),
    ("unable to open database file", "make sure that the folder exists and can be written to"),
    ("readonly database", "make sure that the file and its folder can be written to"),
    ("database is locked", "another process has been writing for too long: see which one has the file open"),
    ("not a database", "the file is something else: set COLLAB_STORE to another file, or restore a backup"),
    ("malformed", "the file is damaged: stop the server, and restore a backup"),
    ("password authentication failed", "check user and password in the URL"),
    ("does not exist", "check the names in the URL"),
    ("could not translate host name", "check the host in the URL"),
    ("connection refused", "make sure that the database is running, and that host and port are right"),
    ("no space left", "make room on the database's disk"),
    ("read-only transaction", "this database only follows another: set COLLAB_STORE to the one that takes writes"),
)

log = logger(__name__)


class Database:
    """One connection, for one thread at a time."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.sqlite = url.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = (
            {"timeout": BUSY_TIMEOUT, "check_same_thread": False} if self.sqlite else _POSTGRESQL
        )
        self._engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
        event.listen(self._engine, "connect", _set_up if self.sqlite else _set_timeouts)
        self._connection: Connection | None = None
        self._direct: sqlite3.Cursor  # of the connection, if that is SQLite's
        self._prepared = False
        self._used = 0.0
        self._file: tuple[int, int] | None = None
        self._frozen: Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment and writes nothing."""
        if self._frozen is not None:
            try:
                yield self._frozen
            except SQLAlchemyError as error:
                raise self._explained(error) from error
        else:
            with self._transaction("BEGIN" if self.sqlite else _ONE_MOMENT) as connection:
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that has taken effect and is safe when this ends, or has not taken place if it raises."""
        if self._frozen is not None:
            raise StoreError("a snapshot is for reading only")
        with self._transaction("BEGIN IMMEDIATE" if self.sqlite else "") as connection:
            yield connection

    def write_directly(
        self, statements: Sequence[tuple[str, Sequence[object]]], rows: int, first: Sequence[str] = ()
    ) -> bool:
        """`writing` on SQLite's own connection, undone unless just so many rows are touched; whether they were.

        What is done `first` may touch any number of rows. SQLAlchemy would be a third of the work, and each function on
        the way is one more that is cold.
        """
        try:
            if self._connection is None or self._find_file() != self._file:
                self._open()
            direct = self._direct
            direct.execute("BEGIN IMMEDIATE")
            try:
                for statement in first:
                    direct.execute(statement)
                for statement, values in statements:
                    rows -= direct.execute(statement, values).rowcount
                direct.execute("ROLLBACK" if rows else "COMMIT")
            except BaseException:
                if direct.connection.in_transaction:
                    direct.execute("ROLLBACK")
                raise
        except (SQLAlchemyError, sqlite3.Error) as error:  # the former where it had to be opened anew
            self.close()
            raise self._explained(error) from error
        return not rows

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let all reads in the meantime see the same moment."""
        with self.reading() as connection:
            if not self.sqlite:
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            connection.exec_driver_sql("SELECT count(*) FROM collab_meta")  # the moment is that of the first question
            self._frozen = connection
            try:
                yield
            finally:
                self._frozen = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            connection = self._open()
            with connection.begin():
                if begin:
                    connection.exec_driver_sql(begin)
                yield connection
        except SQLAlchemyError as error:
            self.close()
            raise self._explained(error) from error

    def _open(self) -> Connection:
        if self._connection is not None and not self._is_good(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._engine.connect()
            self._prepare(self._connection)
            if self.sqlite:
                self._direct = self._connection.connection.cursor()  # type: ignore[assignment]
        if not self.sqlite:
            self._used = now()
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        """Make sure once that the tables are there, in each file that is used."""
        file = self._find_file()
        if self._prepared and file == self._file:
            return
        try:
            with connection.begin():
                if self.sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                prepare(connection)
        except BaseException:
            self.close()
            raise
        self._prepared, self._file = True, self._find_file()

    def _is_good(self, connection: Connection) -> bool:
        """Whether what the connection leads to is still there."""
        if self.sqlite:
            if self._find_file() == self._file:
                return True
            log.error(
                "The file of the store %s (COLLAB_STORE) was moved, deleted or replaced while it was in use. "
                "What is there now is used from here on.",
                self.url.render_as_string(),
            )
            return False
        if now() - self._used < QUIET:
            return True
        try:
            with connection.begin():
                connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError:
            return False
        return True

    def _find_file(self) -> tuple[int, int] | None:
        """Which file SQLite's name leads to, None for none."""
        try:
            found = os.stat(self.url.database or "")
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        """Let go of the connection. Idempotent; the next transaction opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError as error:
                log.debug("A connection that was given up did not close in order: %s", error)

    def _explained(self, error: SQLAlchemyError | sqlite3.Error) -> StoreError:
        words = str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()
        what = words[0] if words else type(error).__name__
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in what.lower()), "see whether it can be reached")
        where = self.url.set(query={}).render_as_string()  # a query may have a password too
        return StoreError(f"The store {where} (COLLAB_STORE) says: {what}; {remedy}.")


def _set_up(connection: Any, _: object) -> None:
    # sqlite3's own transactions begin late and cannot begin IMMEDIATE; ours are said in full.
    connection.isolation_level = None
    last = now() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute(_WRITE_AHEAD).close()
            break
        except sqlite3.OperationalError as error:
            # Where several open a new file at once SQLite fails instead of waiting, as it does in a transaction.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or now() >= last:
                raise
            connection.execute("BEGIN IMMEDIATE").close()
            connection.execute("ROLLBACK").close()
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


def _set_timeouts(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        for timeout in _TIMEOUTS:
            cursor.execute(timeout)
    connection.commit()
