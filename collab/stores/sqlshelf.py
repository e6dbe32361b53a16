"""What people need of a store in a database: lists, whole documents, versions, quarantine, notices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from collab.clock import ksuid, unix
from collab.errors import Damaged, Exists
from collab.stores import schema
from collab.stores.arrivals import arrived
from collab.stores.base import Entry, Store, Version, Whole
from collab.stores.database import Database
from collab.stores.rows import find, forget_notices, fresh, intact, key_of, noticed, notify, people_of, stored

PAGE = 200
"""Documents that are listed at once."""


class Shelf(Store):
    """The part of a store that people see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- documents

    def list(self, prefix: str = "") -> Iterator[Entry]:
        after = ""
        while True:
            with self._database.reading() as connection:
                name = schema.documents.c.name
                begins = func.substr(name, 1, len(prefix)) == prefix
                page = self._entries(connection, begins & (name > after), PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].document_id

    def describe(self, document_id: str) -> Entry | None:
        with self._database.reading() as connection:
            return next(iter(self._entries(connection, schema.documents.c.name == document_id, 1)), None)

    def _entries(self, connection: Connection, which: ColumnElement[bool], limit: int) -> Sequence[Entry]:
        documents, updates, versions = schema.documents, schema.updates, schema.versions
        own = updates.c.document == documents.c.id
        columns = (
            documents,
            select(func.count()).where(own).scalar_subquery().label("records"),
            select(func.coalesce(func.sum(func.length(updates.c.data)), 0)).where(own).scalar_subquery().label("size"),
            select(func.count()).where(versions.c.document == documents.c.id).scalar_subquery().label("kept"),
        )
        rows = connection.execute(select(*columns).where(which).order_by(documents.c.name).limit(limit)).all()
        late = arrived(connection, [row.id for row in rows]) if self._database.sqlite else {}
        entries = []
        for row in rows:
            count, size = late.get(row.id, (0, 0))
            holds = row.records + count, int(row.size) + size
            entries.append(Entry(row.name, row.epoch, row.created, row.changed, *holds, row.kept, row.quarantine))
        return entries

    def delete(self, document_id: str) -> bool:
        with self._database.writing() as connection:
            gone = delete(schema.documents).where(schema.documents.c.name == document_id)
            there = connection.execute(gone).rowcount > 0
            if there:
                notify(connection, document_id)
        return there

    def read(self, document_id: str) -> Whole | None:
        with self._database.reading() as connection:
            entry = next(iter(self._entries(connection, schema.documents.c.name == document_id, 1)), None)
            if entry is None:
                return None
            row = find(connection, document_id)
            assert row is not None
            updates = [intact(data, crc) for data, crc in stored(connection, row.id)]
            versions, rows = [], self._versions(connection, row.id, schema.versions.c.data, schema.versions.c.crc)
            for version in rows:
                data = intact(version.data, version.crc)
                if data is not None:
                    versions.append((_version(version), data))
            return Whole(entry, updates, versions, people_of(connection, row.id))

    def write(self, whole: Whole, *, replace: bool = False) -> None:
        entry = whole.entry
        with self._database.writing() as connection:
            row = find(connection, entry.document_id)
            if row is not None and not replace:
                raise Exists(f"there is a document {entry.document_id!r} already")
            if row is not None:
                connection.execute(delete(schema.documents).where(schema.documents.c.id == row.id))
            known = row is not None or noticed(connection, entry.document_id)
            made = insert(schema.documents).values(
                name=entry.document_id,
                epoch=ksuid() if known else entry.epoch,
                created=entry.created,
                changed=entry.changed,
                quarantine=entry.quarantine,
            )
            key = connection.execute(made.returning(schema.documents.c.id)).scalar_one()
            updates = [
                {"document": key, "data": data, "crc": crc32(data)} for data in whole.updates if data is not None
            ]
            versions = [
                {"document": key, "name": version.name, "saved": version.saved, "data": data, "crc": crc32(data)}
                for version, data in reversed(whole.versions)
            ]
            people = [{"document": key, **person._asdict()} for person in whole.people]
            for table, rows in ((schema.updates, updates), (schema.versions, versions), (schema.people, people)):
                if rows:
                    connection.execute(insert(table), rows)
            notify(connection, entry.document_id)

    # ---- versions

    def save_version(self, document_id: str, epoch: str, content: bytes, name: str | None = None) -> Version | None:
        with self._database.writing() as connection:
            row = find(connection, document_id)
            if row is None or row.epoch != epoch:
                return None
            saved = unix()
            values = {"document": row.id, "name": name, "saved": saved, "data": content, "crc": crc32(content)}
            made = insert(schema.versions).values(values).returning(schema.versions.c.id)
            return Version(connection.execute(made).scalar_one(), name, saved, len(content))

    def versions(self, document_id: str) -> Sequence[Version]:
        with self._database.reading() as connection:
            row = find(connection, document_id)
            return [] if row is None else [_version(version) for version in self._versions(connection, row.id)]

    def _versions(self, connection: Connection, document: int, *more: Any) -> Sequence[Any]:
        versions = schema.versions
        size = func.length(versions.c.data).label("size")
        of = select(versions.c.id, versions.c.name, versions.c.saved, size, *more).where(
            versions.c.document == document
        )
        return connection.execute(of.order_by(versions.c.id.desc())).all()

    def read_version(self, document_id: str, version: int) -> bytes | None:
        with self._database.reading() as connection:
            row = connection.execute(
                select(schema.versions.c.data, schema.versions.c.crc)
                .join(schema.documents)
                .where(schema.documents.c.name == document_id, schema.versions.c.id == version)
            ).one_or_none()
        if row is None:
            return None
        data = intact(row.data, row.crc)
        if data is None:
            raise Damaged(f"version {version} of document {document_id!r} is damaged: its bytes are not those stored")
        return data

    def delete_version(self, document_id: str, version: int) -> bool:
        with self._database.writing() as connection:
            mine = (schema.versions.c.document == key_of(document_id)) & (schema.versions.c.id == version)
            return connection.execute(delete(schema.versions).where(mine)).rowcount > 0

    def prune_versions(self, document_id: str, keep: int) -> int:
        with self._database.writing() as connection:
            versions = schema.versions
            mine = (versions.c.document == key_of(document_id)) & versions.c.name.is_(None)
            kept = select(versions.c.id).where(mine).order_by(versions.c.id.desc()).limit(keep)
            return connection.execute(delete(versions).where(mine, versions.c.id.not_in(kept))).rowcount

    # ---- quarantine and notices

    def quarantine(self, document_id: str, reason: str) -> None:
        self._mark(document_id, reason)

    def release(self, document_id: str) -> bool:
        return self._mark(document_id, None)

    def _mark(self, document_id: str, reason: str | None) -> bool:
        documents = schema.documents
        with self._database.writing() as connection:
            which = documents.c.name == document_id
            if reason is None:
                which &= documents.c.quarantine.is_not(None)
            marked = connection.execute(update(documents).where(which).values(quarantine=reason)).rowcount > 0
            if marked:
                notify(connection, document_id)
        return marked

    def notify(self, document_id: str) -> None:
        with self._database.writing() as connection:
            notify(connection, document_id)

    def notices(self) -> Sequence[tuple[int, str]]:
        with self._database.reading() as connection:
            return [(row.id, row.name) for row in connection.execute(select(schema.notices).where(fresh()))]

    # ---- its own life

    def another(self) -> Shelf:
        return type(self)(Database(self._database.url))

    @contextmanager
    def snapshot(self) -> Iterator[Store]:
        database = Database(self._database.url)
        try:
            with database.frozen():
                yield type(self)(database)
        finally:
            database.close()

    def check(self) -> None:
        with self._database.writing() as connection:
            # A file that is read-only, or a database that follows another, only fails when it is to be changed.
            forget_notices(connection)

    def close(self) -> None:
        self._database.close()


def _version(row: Any) -> Version:
    return Version(row.id, row.name, row.saved, row.size)
