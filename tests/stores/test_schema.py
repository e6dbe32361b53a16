"""Tables: made by whoever comes first, brought up to date whatever their version, and never left half way."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commandline import opened
from postgres import PostgreSQL
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool
from ydocs import Editor

from collab.errors import StoreError
from collab.stores import schema
from collab.stores.base import Notes, Person, Record, Store

Ask = Callable[..., Sequence[Any]]
AtOnce = Callable[..., list[Any]]

TABLES = {"collab_meta", "collab_documents", "collab_updates", "collab_versions", "collab_people", "collab_notices"}


@pytest.fixture
def url(bare_url: str) -> str:
    """Nobody has made tables yet."""
    return bare_url


@pytest.fixture
def old(version_1: Callable[[], Editor]) -> Editor:
    """Makes `url` a database of version 1; the editor of its document."""
    return version_1()


def version_of(ask: Ask) -> str:
    [(version,)] = ask("SELECT value FROM collab_meta WHERE key = 'version'")
    return str(version)


def use(store: Store) -> None:
    """Do a bit of everything with a document of the store's own."""
    editor = Editor()
    for letter in "new":
        assert not store.append([Record("new", "e1", editor.type(letter), True)])
    store.note_people([Notes("new", "e1", [Person("u1", "Alice", 1.0)])], 10)
    assert store.save_version("new", "e1", editor.doc.get_update())
    assert store.compact("new", "e1")
    assert len(store.people("new")) == len(store.versions("new")) == 1
    store.notify("new")
    assert "new" in [document_id for _, document_id in store.notices()]
    assert store.delete("new")


def text_of(store: Store, document_id: str = "doc") -> str:
    loaded, reader = store.load(document_id), Editor()
    assert loaded is not None
    for update in loaded.updates:
        reader.doc.apply_update(update)
    return str(reader)


def test_the_tables_are_made_when_they_are_first_needed(url: str, ask: Ask, tables: Callable[[], set[str]]) -> None:
    with opened(url) as store:
        assert tables() == set()
        store.check()
        assert tables() >= TABLES
        assert version_of(ask) == str(schema.VERSION)
        use(store)
    with opened(url) as store:
        use(store)
    assert version_of(ask) == str(schema.VERSION)


def test_an_applications_own_tables_are_left_alone(url: str, ask: Ask, tables: Callable[[], set[str]]) -> None:
    ask("CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO documents VALUES (1, 'theirs')")
    with opened(url) as store:
        use(store)
        assert store.load("theirs") is None
    assert ask("SELECT id, name FROM documents") == [(1, "theirs")]
    arrivals = {"collab_arrivals"} if url.startswith("sqlite") else set()
    assert {name for name in tables() if name.startswith("collab_")} == TABLES | arrivals


def test_there_is_a_migration_from_each_version_to_the_next() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.VERSION))


@pytest.mark.usefixtures("old")
def test_what_version_1_has_is_there_and_can_be_used(url: str, ask: Ask) -> None:
    with opened(url) as store:
        assert text_of(store) == "written by version 1"
        loaded, entry = store.load("doc"), store.describe("doc")
        assert loaded is not None and (loaded.epoch, loaded.versioned) == ("e1", 1_700_000_050.0)
        assert entry is not None and (entry.created, entry.changed) == (1_700_000_000.25, 1_700_000_100.5)
        assert (entry.records, entry.versions, entry.quarantine) == (2, 1, None)
        locked = store.describe("locked")
        assert locked is not None and locked.quarantine == "to be looked at"
        assert (store.people("doc"), store.notices()) == ([], [])
        use(store)
    assert version_of(ask) == str(schema.VERSION)


def test_a_document_of_version_1_goes_on(url: str, old: Editor) -> None:
    with opened(url) as store:
        [version] = store.versions("doc")
        assert (version.name, version.saved) == ("first", 1_700_000_050.0)
        assert store.read_version("doc", version.id) == old.doc.get_update()
        assert not store.append([Record("doc", "e1", old.type(" and by this one"), False)])
        assert store.compact("doc", "e1")
        assert text_of(store) == "written by version 1 and by this one"
        store.note_people([Notes("doc", "e1", [Person("u1", "Alice", 1.0)])], 10)
        assert store.release("locked")
        assert [document_id for _, document_id in store.notices()] == ["locked"]
        store.delete("doc")
        assert [entry.document_id for entry in store.list()] == ["locked"]


@pytest.mark.usefixtures("old")
def test_migrated_tables_are_those_that_are_made_today(
    url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if url.startswith("sqlite"):
        new = f"sqlite:///{tmp_path}/new.db"
    else:
        new = request.getfixturevalue("postgres").new_database()
    for database in (url, new):
        with opened(database) as store:
            store.check()
    assert shape(url) == shape(new)


def shape(url: str) -> dict[str, object]:
    """The columns, keys and indexes of all tables."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)
    with engine.connect() as connection:
        found = inspect(connection)
        return {
            table: (
                [(column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)],
                found.get_pk_constraint(table)["constrained_columns"],
                [
                    (key["constrained_columns"], key["referred_table"], key["options"])
                    for key in found.get_foreign_keys(table)
                ],
                sorted((index["name"], index["column_names"], index["unique"]) for index in found.get_indexes(table)),
                [constraint["column_names"] for constraint in found.get_unique_constraints(table)],
            )
            for table in found.get_table_names()
            if table.startswith("collab_")
        }


def test_postgresql_compares_names_byte_by_byte_whatever_the_language_of_the_database(postgres: PostgreSQL) -> None:
    url = postgres.new_database()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)
    with opened(url) as store, engine.connect() as connection:
        store.check()
        asked = (
            "SELECT table_name, collation_name FROM information_schema.columns "
            "WHERE table_name LIKE 'collab%' AND column_name IN ('name', 'user_id') ORDER BY table_name"
        )
        rows = [tuple(row) for row in connection.execute(text(asked))]
    assert rows == [
        ("collab_documents", "C"),
        ("collab_notices", "C"),
        ("collab_people", "C"),
        ("collab_versions", None),
    ]


def test_tables_of_a_newer_version_are_refused_and_left_as_they_are(url: str, ask: Ask) -> None:
    with opened(url) as store:
        store.append([Record("doc", "e1", b"\0\0", True)])
        newer = schema.VERSION + 1
        ask("UPDATE collab_meta SET value = :version", version=str(newer))
        with opened(url) as late:
            for call in (late.check, late.notices, lambda: late.append([Record("doc", "e1", b"\0\0", False)])):
                with pytest.raises(StoreError, match=r"COLLAB_STORE.* newer version of collab") as raised:
                    call()
                assert f"version {newer}" in str(raised.value) and f"knows {schema.VERSION}" in str(raised.value)
        assert version_of(ask) == str(newer)
        assert len(ask("SELECT 1 FROM collab_updates")) == 1


def half_way(connection: Connection) -> None:
    """A migration that does a part of its work, on what is there too, and then cannot go on."""
    connection.execute(text("CREATE TABLE collab_people (nobody INTEGER)"))
    connection.execute(text("DELETE FROM collab_updates"))
    connection.execute(text("ALTER TABLE collab_versions ADD COLUMN more TEXT"))
    connection.execute(text("SELECT something FROM what_is_not_there"))


def nowhere(_: Connection) -> None:
    raise RuntimeError("a fault of ours")


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(("migration", "error"), [(half_way, StoreError), (nowhere, RuntimeError)])
@pytest.mark.parametrize("step", [1, 2])
def test_a_migration_that_fails_leaves_the_old_version_as_it_was(
    url: str,
    ask: Ask,
    tables: Callable[[], set[str]],
    monkeypatch: pytest.MonkeyPatch,
    migration: Callable[[Connection], None],
    error: type[Exception],
    step: int,
) -> None:
    """Also where those before it went well: they are one transaction."""

    def then(connection: Connection) -> None:
        connection.execute(text("DROP TABLE collab_people"))
        migration(connection)

    before = tables(), ask("SELECT * FROM collab_updates"), ask("SELECT * FROM collab_versions")
    with monkeypatch.context() as patch, opened(url) as store:
        patch.setitem(schema.MIGRATIONS, step, migration if step == 1 else then)
        patch.setattr(schema, "VERSION", step + 1)
        for _ in range(2):
            with pytest.raises(error):
                store.check()
    assert version_of(ask) == "1"
    assert before == (tables(), ask("SELECT * FROM collab_updates"), ask("SELECT * FROM collab_versions"))
    with opened(url) as store:
        assert text_of(store) == "written by version 1"
        use(store)
    assert version_of(ask) == str(schema.VERSION)


def test_a_store_that_could_not_migrate_can_when_it_is_asked_again(
    url: str, old: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(url) as store:
        with monkeypatch.context() as patch, pytest.raises(StoreError):
            patch.setitem(schema.MIGRATIONS, 1, half_way)
            store.check()
        assert text_of(store) == str(old)
        use(store)


def test_those_who_open_a_new_store_at_the_same_moment_all_can(
    tmp_path: Path, postgres: PostgreSQL, at_once: AtOnce
) -> None:
    places = [f"sqlite:///{tmp_path}/{number}.db" for number in range(8)]
    places += [postgres.new_database() for _ in range(2)]
    for place in places:
        assert at_once(*[lambda place=place, name=name: begin(place, name) for name in "abcd"]) == [frozenset()] * 4
        with opened(place) as store:
            assert [entry.document_id for entry in store.list()] == list("abcd")


def test_a_file_that_somebody_else_is_making_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself only waits for those who have begun to write ahead."""
    asked: list[None] = []
    with (
        closing(sqlite3.connect(tmp_path / "collab.db", isolation_level=None)) as somebody,
        opened(f"sqlite:///{tmp_path}/collab.db") as store,
    ):

        def now() -> float:
            asked.append(None)
            if len(asked) > 1:  # it has been told that the file is locked
                somebody.execute("COMMIT")
            return 0.0

        monkeypatch.setattr("collab.stores.database.now", now)
        somebody.execute("BEGIN IMMEDIATE")
        somebody.execute("CREATE TABLE theirs (id INTEGER)")
        use(store)
        assert len(asked) == 2


def begin(url: str, document_id: str) -> frozenset[str]:
    with opened(url) as store:
        return store.append([Record(document_id, "e1", b"\0\0", True)])


@pytest.mark.usefixtures("old")
def test_those_who_open_an_old_store_at_the_same_moment_migrate_it_once(url: str, ask: Ask, at_once: AtOnce) -> None:
    assert at_once(*[lambda name=name: begin(url, name) for name in "abcd"]) == [frozenset()] * 4
    assert version_of(ask) == str(schema.VERSION)
    with opened(url) as store:
        assert [entry.document_id for entry in store.list()] == [*"abcd", "doc", "locked"]
        assert text_of(store) == "written by version 1"


PROCESS = """
import sys
from collab.stores import open_store
from collab.stores.base import Record
import collab.stores.sql, psycopg2
print("ready", flush=True)
name, *urls = sys.argv[1:]
for url in urls:
    sys.stdin.readline()
    store = open_store(url)
    assert not store.append([Record(name, "e1", bytes(2), True)])
    store.close()
    print("done", flush=True)
"""


def test_processes_that_open_a_new_store_at_the_same_moment_all_can(tmp_path: Path, postgres: PostgreSQL) -> None:
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(6)] + [postgres.new_database()]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, name, *urls], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    try:
        for _ in ["ready", *urls]:
            answers = [process.stdout.readline() for process in processes if process.stdout]
            assert answers in (["ready\n"] * 3, ["done\n"] * 3)
            for process in processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for url in urls:
        with opened(url) as store:
            assert [entry.document_id for entry in store.list()] == list("abc")


def test_sqlite_writes_ahead_in_full_and_keeps_what_belongs_together(tmp_path: Path) -> None:
    """What is stored survives the loss of power, others read while one writes, and what a document had goes with it."""
    with opened(f"sqlite:///{tmp_path}/collab.db") as store:
        for _ in range(2):
            with store._database.reading() as connection:  # type: ignore[attr-defined]
                asked = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys")
                }
            assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
            store.close()
        begin(f"sqlite:///{tmp_path}/collab.db", "doc")
