"""Stores by their URLs: which one it is, what is said of a URL that is none, and that nothing is touched too early."""

from __future__ import annotations

import importlib.util
import os
from contextlib import closing
from pathlib import Path

import pytest
from commandline import opened
from postgres import PostgreSQL

from collab.errors import ConfigError
from collab.stores import open_store
from collab.stores.base import Record
from collab.stores.memory import MemoryStore
from collab.stores.sql import SqlStore

RECORD = Record("doc", "e1", b"\0\0", True)


def test_memory_is_a_store_of_this_process() -> None:
    with closing(open_store("memory:")) as store, closing(open_store("memory:")) as another:
        assert isinstance(store, MemoryStore) and not store.blocking
        store.append([RECORD])
        assert another.load("doc") is None, "each is a store of its own"


def test_three_slashes_are_a_file_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("collab.db", "folder/collab.db", "no ending"):
        with opened(f"sqlite:///{name}") as store:
            assert isinstance(store, SqlStore) and store.blocking
            store.append([RECORD])
        assert (tmp_path / name).is_file()


def test_four_slashes_are_a_file_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    path = tmp_path / "collab.db"
    url = f"sqlite:///{path}"
    assert url.startswith("sqlite:////")
    with opened(url) as store:
        store.append([RECORD])
    assert path.is_file()
    with opened(url) as store:
        assert store.load("doc")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_postgresql_has_two_names(postgres: PostgreSQL, scheme: str) -> None:
    """Heroku and others give the shorter one."""
    url = postgres.new_database()
    with opened(url.replace("postgresql:", f"{scheme}:")) as store:
        assert isinstance(store, SqlStore) and store.blocking
        store.append([RECORD])
    with opened(url) as store:
        assert store.load("doc")


def test_no_file_is_made_before_it_is_used(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/collab.db")
    with closing(store), closing(store.another()):
        assert os.listdir(tmp_path) == []
    assert os.listdir(tmp_path) == [], "nor is it to close a store that was not used"


def test_no_database_is_asked_before_it_is_used() -> None:
    store = open_store("postgresql://postgres@127.0.0.1:1/nothing-listens-there")
    with closing(store), closing(store.another()):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "",
        "collab.db",
        "/data/collab.db",
        "memory",
        "memory:/",
        "memory://",
        "MEMORY:",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite3:///collab.db",
        "file:///data/collab.db",
        "mysql://host/name",
        "redis://host",
        "postgresql",
        "postgresql+asyncpg://host/name",
        "http://geheim:geheim@host/name",
    ],
)
def test_a_url_of_another_kind_is_refused_and_what_may_be_is_said(url: str) -> None:
    with pytest.raises(ConfigError, match=r"COLLAB_STORE.* sqlite:///file .* postgresql://.* memory:") as raised:
        open_store(url)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:collab.db",
        "sqlite:/collab.db",
        "sqlite://host/collab.db",
        "sqlite:///collab.db?timeout=soon",
        "postgresql:name",
        "postgres:",
        "postgresql:/host/name",
        "postgresql://user:geheim@host:port/name",
        "postgresql://user:geheim@host:54 32/name",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="COLLAB_STORE") as raised:
        open_store(url)
    assert "geheim" not in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__, "nor is it in the traceback"


def test_a_driver_that_is_missing_is_named_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name == "psycopg2" else find(name, package)
    )
    with pytest.raises(ConfigError, match="COLLAB_STORE") as raised:
        open_store("postgresql://user:geheim@host/name")
    assert "pip install 'collab[postgresql]'" in str(raised.value)
    assert "geheim" not in str(raised.value)
    open_store("memory:").close()
