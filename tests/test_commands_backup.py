"""Backups and what becomes of them: whole, of one moment, portable, and never half restored."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commandline import ask, damage, opened, refusal, run, write

from collab.commands import backupfile
from collab.errors import StoreError
from collab.stores.base import Record, Store, Whole
from collab.updates import squash

NAMES = ("a/b c", "😀 👩‍💻", "-dash", "plain")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with documents of all kinds."""
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    with opened(url) as store:
        fill(store)
    return url


def fill(store: Store) -> None:
    """Documents with versions, members, one in quarantine."""
    for name in NAMES:
        write(store, name, "one ", "two ", name, epoch=f"epoch of {name}")
        loaded = store.load(name)
        assert loaded is not None
        store.save_version(name, loaded.epoch, loaded.updates[0], "named")
        store.save_version(name, loaded.epoch, squash(loaded.updates))
    store.quarantine("plain", "cannot be read")


def contents(store: Store) -> dict[str, Any]:
    """All that a store has, apart from the numbers of versions."""
    return {entry.document_id: comparable(store.read(entry.document_id)) for entry in store.list()}


def comparable(whole: Whole | None) -> Any:
    assert whole is not None
    return whole._replace(versions=[(version._replace(id=0), content) for version, content in whole.versions])


def everything(url: str) -> dict[str, Any]:
    with opened(url) as store:
        return contents(store)


def test_a_backup_is_one_file_with_everything(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "back ups?#%41"
    folder.mkdir()
    file = folder / "b.db"
    answer = ask(url, "backup", str(file))
    assert answer == {"file": str(file), "documents": 4, "size": file.stat().st_size, "damaged": []}
    assert [path.name for path in folder.iterdir()] == ["b.db"]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    bytes_before = file.read_bytes()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert ask(other, "restore", str(file)) == {"file": str(file), "documents": 4, "overwritten": []}
    assert everything(other) == everything(url)
    assert file.read_bytes() == bytes_before
    assert [path.name for path in folder.iterdir()] == ["b.db"], "reading it leaves nothing beside it"
    copied = tmp_path / "copy.db"
    shutil.copy(file, copied)
    assert everything(f"sqlite:///{copied}") == everything(url), "it is a store itself"


def test_a_backup_does_not_overwrite(url: str, tmp_path: Path) -> None:
    file = tmp_path / "b.db"
    file.write_text("precious")
    assert refusal(url, "backup", str(file), code=5) == "exists"
    assert file.read_text() == "precious"
    assert refusal(url, "backup", str(tmp_path / "collab.db"), "--overwrite", code=5) == "exists"
    assert refusal(url, "backup", str(tmp_path / "none" / "b.db"), code=4) == "file"
    assert refusal(url, "backup", str(tmp_path), code=2) == "usage"
    run(url, "backup", str(file), "--overwrite")
    assert ask(url, "restore", str(file), "--overwrite")["overwritten"] == sorted(NAMES, key=str.encode)


def test_an_empty_store_has_a_backup(tmp_path: Path) -> None:
    empty, file = f"sqlite:///{tmp_path / 'collab.db'}", tmp_path / "b.db"
    assert refusal(empty, "backup", str(file), code=4) == "store"
    with opened(empty) as store:
        store.check()
    assert "0 documents in" in run(empty, "backup", str(file)).stdout
    assert "0 documents restored" in run(empty, "restore", str(file)).stdout


def test_a_backup_that_fails_leaves_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: backupfile.Writer, whole: Whole) -> None:
        raise StoreError("the disk is full: make room")

    monkeypatch.setattr(backupfile.Writer, "add", lose)
    (tmp_path / "out").mkdir()
    assert refusal(url, "backup", str(tmp_path / "out" / "b.db"), code=4) == "store"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_backup_is_read_again(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = backupfile.Writer.finish

    def spoil(self: backupfile.Writer) -> None:
        self.close()
        damage(self._path)
        finish(self)

    monkeypatch.setattr(backupfile.Writer, "finish", spoil)
    assert refusal(url, "backup", str(tmp_path / "b.db"), code=4) == "store"
    assert not (tmp_path / "b.db").exists()


def test_what_is_damaged_is_in_quarantine_in_the_backup(url: str, tmp_path: Path) -> None:
    damage(tmp_path / "collab.db", which="min(id)")
    damage(tmp_path / "collab.db", "collab_versions")
    file = tmp_path / "b.db"
    answer = ask(url, "backup", str(file), code=1)
    assert answer["damaged"] == ["a/b c", "plain"]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    run(other, "restore", str(file))
    entries = {entry["id"]: entry for entry in ask(other, "docs", "list")["documents"]}
    assert entries["a/b c"]["quarantine"] == "1 of its 3 updates were damaged when it was backed up"
    assert entries["plain"]["quarantine"] == "cannot be read"
    assert (entries["a/b c"]["updates"], entries["plain"]["versions"]) == (2, 1)


def test_restoring_some(url: str, tmp_path: Path) -> None:
    file, other = tmp_path / "b.db", f"sqlite:///{tmp_path / 'other.db'}"
    run(url, "backup", str(file))
    assert refusal(other, "restore", str(file), "gone", "plain", code=3) == "no_document"
    run(other, "restore", str(file), "--", "-dash", "a/b c", "-dash")
    assert everything(other).keys() == {"-dash", "a/b c"}
    run(other, "docs", "delete", "--yes", "--", "-dash")
    before = everything(other)
    result = ask(other, "restore", str(file), code=5)["error"]
    assert result["code"] == "exists" and "'a/b c'" in result["message"]
    assert everything(other) == before, "nothing is done by half"
    assert ask(other, "restore", str(file), "--overwrite")["overwritten"] == ["a/b c"]
    restored, original = everything(other), everything(url)
    for document_id in ("a/b c", "-dash"):
        whole, epoch = restored[document_id], original[document_id].entry.epoch
        assert whole.entry.epoch != epoch, "who may have the old one open is told"
        restored[document_id] = whole._replace(entry=whole.entry._replace(epoch=epoch))
    assert restored == original


def test_what_is_no_backup_or_damaged_is_refused(url: str, tmp_path: Path) -> None:
    file, other = tmp_path / "b.db", f"sqlite:///{tmp_path / 'other.db'}"
    assert refusal(other, "restore", str(file), code=2) == "usage"
    file.write_text("no database" * 1000)
    assert refusal(other, "restore", str(file), code=1) == "not_a_backup"
    file.write_bytes(b"")
    assert refusal(other, "restore", str(file), code=1) == "not_a_backup"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE x (y)")
    assert refusal(other, "restore", str(file), code=1) == "not_a_backup"
    run(url, "backup", str(file), "--overwrite")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert ask(other, "restore", str(file), code=1)["error"]["code"] in ("not_a_backup", "damaged")
    file.write_bytes(whole)
    damage(file, which="min(id)")
    assert refusal(other, "restore", str(file), code=1) == "damaged"
    assert not (tmp_path / "other.db").exists() or everything(other) == {}
    run(other, "restore", str(file), "plain")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE collab_meta SET value = '99'")
    answer = ask(other, "restore", str(file), "plain", "--overwrite", code=1)["error"]
    assert answer["code"] == "not_a_backup" and "newer" in answer["message"]


def test_a_restore_that_stops_half_way_says_how_far_it_came(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "b.db", f"sqlite:///{tmp_path / 'other.db'}"
    run(url, "backup", str(file))
    with opened(other) as store:
        store.check()
        kind = type(store)
    original = kind.write

    def write_some(self: Store, whole: Whole, *, replace: bool = False) -> None:
        if whole.entry.document_id == "plain":
            raise StoreError("the disk is full: make room.")
        original(self, whole, replace=replace)

    monkeypatch.setattr(kind, "write", write_some)
    answer = ask(other, "restore", str(file), code=1)["error"]
    assert answer["code"] == "partial"
    assert "Only 2 of 4 documents" in answer["message"] and "disk is full" in answer["message"]
    assert refusal(other, "restore", str(file), "plain", code=4) == "store"


def test_a_backup_is_of_one_moment(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path / 'collab.db'}", tmp_path / "b.db"
    names = [f"doc{number}" for number in range(20)]
    with opened(url) as store:
        editors = [write(store, name, "x") for name in names]
    stop = threading.Event()
    rounds = []

    def type_on() -> None:
        with opened(url) as own:
            while not stop.is_set():
                records = [
                    Record(name, "e1", editor.type("x"), False) for name, editor in zip(names, editors, strict=True)
                ]
                own.append(records)
                rounds.append(1)

    typist = threading.Thread(target=type_on)
    typist.start()
    try:
        for number in range(3):
            copy = tmp_path / f"{number}.db"
            before = len(rounds)
            run(url, "backup", str(copy))
            after = len(rounds)
            assert after > before, "writing goes on meanwhile"
            shutil.copy(copy, file)
            with opened(f"sqlite:///{file}") as store:
                counts = {entry.records for entry in store.list()}
            assert len(counts) == 1, "all documents have gained the same"
            assert before + 1 <= counts.pop() <= after + 1
    finally:
        stop.set()
        typist.join()
