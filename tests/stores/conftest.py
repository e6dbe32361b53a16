"""Stores of each kind, empty, and what lies under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from zlib import crc32

import pytest
from commandline import opened
from postgres import PostgreSQL
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool
from ydocs import Editor

from collab.stores.base import Store

DATABASES = ["sqlite", "postgresql"]

Ask = Callable[..., Sequence[Any]]
AtOnce = Callable[..., list[Any]]

SQLITE_1 = """
CREATE TABLE collab_meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE collab_documents (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    epoch TEXT NOT NULL,
    created FLOAT NOT NULL,
    changed FLOAT NOT NULL,
    quarantine TEXT,
    UNIQUE (name)
);
CREATE TABLE collab_updates (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL,
    data BLOB NOT NULL,
    crc BIGINT NOT NULL,
    FOREIGN KEY(document) REFERENCES collab_documents (id) ON DELETE CASCADE
);
CREATE INDEX collab_updates_of ON collab_updates (document, id);
CREATE TABLE collab_versions (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL,
    name TEXT,
    saved FLOAT NOT NULL,
    data BLOB NOT NULL,
    crc BIGINT NOT NULL,
    FOREIGN KEY(document) REFERENCES collab_documents (id) ON DELETE CASCADE
);
CREATE INDEX collab_versions_of ON collab_versions (document, id);
"""
POSTGRESQL_1 = """
CREATE TABLE collab_meta (key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key));
CREATE TABLE collab_documents (
    id BIGSERIAL NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    epoch TEXT NOT NULL,
    created FLOAT(53) NOT NULL,
    changed FLOAT(53) NOT NULL,
    quarantine TEXT,
    PRIMARY KEY (id),
    UNIQUE (name)
);
CREATE TABLE collab_updates (
    id BIGSERIAL NOT NULL,
    document BIGINT NOT NULL,
    data BYTEA NOT NULL,
    crc BIGINT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(document) REFERENCES collab_documents (id) ON DELETE CASCADE
);
CREATE INDEX collab_updates_of ON collab_updates (document, id);
CREATE TABLE collab_versions (
    id BIGSERIAL NOT NULL,
    document BIGINT NOT NULL,
    name TEXT,
    saved FLOAT(53) NOT NULL,
    data BYTEA NOT NULL,
    crc BIGINT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(document) REFERENCES collab_documents (id) ON DELETE CASCADE
);
CREATE INDEX collab_versions_of ON collab_versions (document, id);
"""


def address(kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty store."""
    if kind == "memory":
        return "memory:"
    if kind == "sqlite":
        folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        return f"sqlite:///{folders.mktemp('store')}/collab.db"
    database: str = request.getfixturevalue("emptied_database")
    server: PostgreSQL = request.getfixturevalue("postgres")
    everything = "WITH forgotten AS (DELETE FROM collab_notices) DELETE FROM collab_documents"
    server.execute(everything, database.rpartition("/")[2])
    return database


@pytest.fixture(scope="session")
def emptied_database(postgres: PostgreSQL) -> str:
    """A PostgreSQL database with its tables, emptied for each test: to make one takes longer than most tests."""
    url = postgres.new_database()
    with opened(url) as store:
        store.check()
    return url


@pytest.fixture(scope="session")
def cleared_database(postgres: PostgreSQL) -> str:
    """A PostgreSQL database whose tables are taken away before each test that makes them."""
    return postgres.new_database()


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database that has nothing in it."""
    return address(request.param, request)


@pytest.fixture(params=DATABASES)
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that has no tables yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/collab.db"
    database: str = request.getfixturevalue("cleared_database")
    server: PostgreSQL = request.getfixturevalue("postgres")
    server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database.rpartition("/")[2])
    return database


@pytest.fixture
def database(url: str) -> Iterator[Store]:
    """The store at `url`."""
    with opened(url) as store:
        yield store


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store of each kind."""
    with opened(address(request.param, request)) as store:
        yield store


@pytest.fixture
def ask(url: str) -> Iterator[Ask]:
    """Runs SQL in the database at `url`, past the store: `ask("SELECT :a", a=1)` gives rows, a script nothing."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)

    def run(statements: str, **values: object) -> Sequence[Any]:
        rows: Sequence[Any] = []
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA synchronous=OFF")
            for statement in filter(str.strip, statements.split(";")):
                result = connection.execute(text(statement), values)
                rows = result.all() if result.returns_rows else []
        return rows

    yield run
    engine.dispose()


@pytest.fixture
def tables(url: str) -> Iterator[Callable[[], set[str]]]:
    """Tells which tables there are in the database at `url`."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)
    yield lambda: set(inspect(engine).get_table_names())
    engine.dispose()


@pytest.fixture
def at_once() -> AtOnce:
    """Makes calls at the same moment, each in a thread of its own; what they returned, or the first error."""

    def run(*calls: Callable[[], object]) -> list[Any]:
        barrier = Barrier(len(calls))

        def start(call: Callable[[], object]) -> object:
            barrier.wait()
            return call()

        with ThreadPoolExecutor(len(calls)) as threads:
            return [future.result() for future in [threads.submit(start, call) for call in calls]]

    return run


@pytest.fixture
def version_1(ask: Ask, url: str) -> Callable[[], Editor]:
    """Makes tables of version 1 at `url`, with a document of one version and one in quarantine; the first's editor."""

    def make() -> Editor:
        ask(SQLITE_1 if url.startswith("sqlite") else POSTGRESQL_1)
        ask("INSERT INTO collab_meta VALUES ('version', '1')")
        for name, quarantine in (("doc", None), ("locked", "to be looked at")):
            ask(
                "INSERT INTO collab_documents (name, epoch, created, changed, quarantine) "
                "VALUES (:name, 'e1', 1700000000.25, 1700000100.5, :quarantine)",
                name=name,
                quarantine=quarantine,
            )
        editor = Editor()
        for data in (editor.type("written by "), editor.type("version 1")):
            ask(
                "INSERT INTO collab_updates (document, data, crc) "
                "SELECT id, :data, :crc FROM collab_documents WHERE name = 'doc'",
                data=data,
                crc=crc32(data),
            )
        data = editor.doc.get_update()
        ask(
            "INSERT INTO collab_versions (document, name, saved, data, crc) "
            "SELECT id, 'first', 1700000050.0, :data, :crc FROM collab_documents WHERE name = 'doc'",
            data=data,
            crc=crc32(data),
        )
        return editor

    return make
