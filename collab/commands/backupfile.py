"""Backups: one file, which is a store in SQLite of its own, whatever store the documents come from.

Invariants borne here:

* A file under the name that was asked for is a whole backup, read once more after it was written.
* A backup is never written to: it is read from a copy, which a newer version may migrate.
* A document of which something is damaged is in quarantine in the backup, unless it was before.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collab.commands import console
from collab.commands.outcome import Failed, Refused, Unusable
from collab.errors import StoreError

if TYPE_CHECKING:
    from collab.stores.base import Store, Whole

_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


class Writer:
    """A backup in the making.

    Args:
        path: a file that is empty; nobody else knows of it.

    Attributes:
        damaged: the documents of which not all could be read.
    """

    def __init__(self, path: Path) -> None:
        self.damaged: list[str] = []
        self._path = path
        self._store = sqlite_store(path)
        self._store.check()
        self._written: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._written)

    def add(self, whole: Whole) -> None:
        """Put in a document."""
        entry = whole.entry
        lost = sum(update is None for update in whole.updates)
        if lost or len(whole.versions) < entry.versions:
            self.damaged.append(entry.document_id)
        if lost and entry.quarantine is None:
            reason = f"{lost} of its {len(whole.updates)} updates were damaged when it was backed up"
            whole = whole._replace(entry=entry._replace(quarantine=reason))
        self._store.write(whole)
        self._written[entry.document_id] = _digest(whole)

    def finish(self) -> None:
        """Read all of it again, and make it one file that is safe on disk."""
        self._store.close()
        with console.progress(list(self._written.items()), "Verifying") as bar:
            for document_id, digest in bar:
                whole = self._store.read(document_id)
                if whole is None or _digest(whole) != digest:
                    raise StoreError(f"document {document_id!r} is not in it as it was written; see to that disk")
        count = sum(1 for _ in self._store.list())
        if count != len(self._written):
            raise StoreError(f"{len(self._written)} documents were written, and there are {count}")
        self._store.close()
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        _sync(self._path)

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()


@contextmanager
def writing(path: Path, *, overwrite: bool = False) -> Iterator[Writer]:
    """A backup that is at `path` when this ends, or not at all if it raises."""
    _check_place(path, overwrite)
    try:
        handle, name = tempfile.mkstemp(".partial", f".{path.name}.", path.parent)
        os.close(handle)
    except OSError as error:
        raise Unusable("file", f"{path} cannot be written: {error.strerror or error}.") from error
    partial = Path(name)
    try:
        writer = Writer(partial)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
        _check_place(path, overwrite)
        partial.replace(path)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise Unusable("file", f"{path} cannot be written: {error}.") from error
    finally:
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                Path(name + suffix).unlink()


def _check_place(path: Path, overwrite: bool) -> None:
    if path.exists() and not (overwrite and path.is_file()):
        raise Refused("exists", f"There is a {path} already: take another name.")


@contextmanager
def reading(path: Path) -> Iterator[Store]:
    """What is in a backup."""
    with tempfile.TemporaryDirectory(prefix="collab-") as folder:
        copy = Path(folder) / "backup.db"
        _copy(path, copy)
        store = sqlite_store(copy)
        try:
            store.check()
        except StoreError as error:
            store.close()
            raise Failed("not_a_backup", f"{path} cannot be restored: {error}") from error
        try:
            yield store
        finally:
            store.close()


def _copy(path: Path, copy: Path) -> None:
    """Copy a backup, if it is one, and whole."""
    from collab.stores.schema import meta

    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            problem = target.execute("PRAGMA integrity_check(1)").fetchone()[0]
            ours = target.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (meta.name,)).fetchone()
    except sqlite3.Error as error:
        text = f"{path} is not a backup, or cannot be copied to {copy.parent} (TMPDIR): {error}."
        raise Failed("not_a_backup", text) from error
    if problem != "ok":
        raise Failed("damaged", f"{path} is damaged; nothing was restored. Take another backup. ({problem})")
    if not ours:
        raise Failed("not_a_backup", f"{path} is a database, but not a backup of collab.")


def sqlite_store(path: Path) -> Store:
    """A store in a file with any name; in a URL some would mean something else."""
    from sqlalchemy.engine import URL

    from collab.stores.database import Database
    from collab.stores.sql import SqlStore

    return SqlStore(Database(URL.create("sqlite", database=str(path))))


def _digest(whole: Whole) -> bytes:
    """Of all that a backup keeps of a document."""
    entry, found = whole.entry, sha256()
    head = (entry.document_id, entry.epoch, entry.created, entry.changed, entry.quarantine)
    found.update(repr((head, [tuple(person) for person in whole.people])).encode())
    for update in whole.updates:
        if update is not None:
            found.update(b"u%d:" % len(update) + update)
    for version, content in whole.versions:
        found.update(repr((version.name, version.saved, len(content))).encode() + content)
    return found.digest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
