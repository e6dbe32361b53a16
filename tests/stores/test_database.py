"""What happens to a store when the database under it goes and another one comes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from commandline import opened, write
from postgres import PostgreSQL
from ydocs import Editor

from collab.errors import StoreError
from collab.stores.base import Record


def more(text: str) -> Record:
    return Record("doc", "e1", Editor().type(text), False)


@pytest.mark.parametrize("replaced", [False, True], ids=["moved", "replaced"])
def test_nothing_is_stored_in_a_file_that_nobody_finds_any_more(
    tmp_path: Path, replaced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path, elsewhere = tmp_path / "collab.db", tmp_path / "elsewhere.db"
    caplog.set_level(logging.ERROR, "collab")
    with opened(f"sqlite:///{path}") as store:
        write(store, "doc", "one")
        path.rename(elsewhere)
        if replaced:
            with opened(f"sqlite:///{path}") as other:
                write(other, "doc", "another", epoch="e2")
        assert store.append([more("two")]) == {"doc"}, "it is another document now, or none"
        assert "moved, deleted or replaced" in caplog.text
        described = store.describe("doc")
        assert (described.epoch if described else None) == ("e2" if replaced else None)
        caplog.clear()
        assert list(store.list()) == [described] * replaced
        assert caplog.text == ""


def test_a_database_that_was_restarted_while_nothing_happened_is_reached_at_once(
    postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    with opened(url) as store:
        write(store, "doc", "one")
        everybody = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        others = everybody + "AND pid <> pg_backend_pid()"
        monkeypatch.setattr("collab.stores.database.QUIET", 0.0)
        for _ in range(2):
            postgres.execute(others, url.rpartition("/")[2])
            assert store.load("doc") is not None
            postgres.execute(others, url.rpartition("/")[2])
            assert store.append([more("two")]) == frozenset()


def test_a_statement_does_not_hold_the_database_for_ever(postgres: PostgreSQL) -> None:
    with opened(postgres.new_database()) as store:
        store.check()
        database = store._database  # type: ignore[attr-defined]
        told = {}
        with database.reading() as connection:
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                told[name] = connection.exec_driver_sql(f"SHOW {name}").scalar_one()
        assert told == {
            "statement_timeout": "30s",
            "lock_timeout": "30s",
            "idle_in_transaction_session_timeout": "1min",
        }
        with database.frozen(), database.reading() as connection:
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one() == "0"


def test_a_folder_that_is_gone_is_told_of_by_name_and_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with opened(f"sqlite:///{folder}/collab.db") as store:
        write(store, "doc", "one")
        folder.rename(tmp_path / "elsewhere")
        for _ in range(2):
            with pytest.raises(StoreError, match=r"\(COLLAB_STORE\) says: .*make sure that the folder exists"):
                store.append([more("two")])
