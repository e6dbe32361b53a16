"""The store in a database: SQLite or PostgreSQL, by the same code.

A document is a row of `collab_documents` and its updates in the order of their ids; a compacted one has one of them.
In SQLite those that came last wait in a table of their own (`collab.stores.arrivals`).
Rows are found by name and epoch each time, so that nothing is written to a document that has been replaced meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar
from zlib import crc32

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from collab.clock import unix
from collab.errors import Damaged, InvalidUpdate, Quarantined
from collab.stores.arrivals import AT_ONCE, MAX_ARRIVED, SETTLE, has_arrived, insert_all, settle, weight
from collab.stores.base import Loaded, Notes, Person, Record
from collab.stores.database import Database
from collab.stores.rows import find, holding, intact, people_of, stored, updates_in
from collab.stores.schema import documents, people, updates, versions
from collab.stores.sqlshelf import Shelf
from collab.updates import squash

T = TypeVar("T")

MANY: Final = 500
"""Names in one question."""

TOUCH: Final = 30.0
"""Seconds within which it is not noted once more that a document was changed."""

MAX_TOUCHED: Final = 10_000
"""Documents of which it is remembered when that was noted."""


class SqlStore(Shelf):
    """Keeps documents in a database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._touched: dict[str, float] = {}
        self._arrived = MAX_ARRIVED  # at the most: how much another process has left is not known

    # ---- what a room needs

    def load(self, document_id: str) -> Loaded | None:
        with self._database.reading() as connection:
            row = find(connection, document_id)
            if row is None:
                return None
            if row.quarantine is not None:
                raise Quarantined(row.quarantine)
            kept = stored(connection, row.id)
            latest = select(func.max(versions.c.saved)).where(versions.c.document == row.id)
            saved = connection.execute(latest).scalar()
        return Loaded(row.epoch, [_whole(data, crc, document_id) for data, crc in kept], saved or row.created)

    def append(self, records: Sequence[Record]) -> frozenset[str]:
        now = unix()
        arrived = self._arrived + weight(records) if self._database.sqlite else 0
        full = arrived >= MAX_ARRIVED
        if self._database.sqlite and self._append_all(records, now, full):
            self._arrived = 0 if full else arrived
            return frozenset()
        with self._database.writing() as connection:
            if full:
                settle(connection)
            self._make(connection, records, now)
            table = updates if full else holding(connection)[-1]
            gone, changed = self._append_each(connection, table, records)
            self._touch(connection, changed, now)
        self._arrived = 0 if full else arrived
        return frozenset(gone)

    def _append_all(self, records: Sequence[Record], now: float, full: bool) -> bool:
        """Store records in SQLite if all can be; nothing is stored if this is False. A third of the work otherwise."""
        statements: list[tuple[str, Sequence[object]]] = []
        changed: dict[str, None] = {}
        table = "collab_updates" if full else "collab_arrivals"
        if len(self._touched) > MAX_TOUCHED:
            self._touched.clear()
        for start in range(0, len(records), AT_ONCE):
            values: list[object] = []
            for name, epoch, data, new in records[start : start + AT_ONCE]:
                if new:
                    return False
                values += (name, epoch, data, crc32(data))
                if self._touched.get(name, 0.0) <= now - TOUCH:
                    changed[name] = None
            statements.append((insert_all(table, len(values) // 4), values))
        statements += [("UPDATE collab_documents SET changed = ? WHERE name = ?", (now, name)) for name in changed]
        if not self._database.write_directly(statements, len(records) + len(changed), SETTLE if full else ()):
            return False
        self._touched.update(dict.fromkeys(changed, now))
        return True

    def _append_each(
        self, connection: Connection, table: Table, records: Sequence[Record]
    ) -> tuple[set[str], set[str]]:
        """Store the records that can be: the documents of the others, and of these."""
        rows = self._rows(connection, {record.document_id for record in records})
        values, gone, changed = [], set(), set()
        for document_id, epoch, data, _ in records:
            row = rows.get(document_id)
            if row is None or row.epoch != epoch or row.quarantine is not None:
                gone.add(document_id)
            else:
                values.append({"document": row.id, "data": data, "crc": crc32(data)})
                changed.add(document_id)
        if values:
            connection.execute(insert(table), values)
        return gone, changed

    def _touch(self, connection: Connection, names: set[str], now: float) -> None:
        """Note when documents were changed, to `TOUCH` seconds."""
        untouched = self._untouched(names, now)
        for some in _batches(untouched):
            connection.execute(update(documents).where(documents.c.name.in_(some)).values(changed=now))
        self._touched.update(dict.fromkeys(untouched, now))

    def _untouched(self, names: set[str], now: float) -> list[str]:
        """Those of which it has not been noted lately that they were changed, in the order in which all lock them."""
        if len(self._touched) > MAX_TOUCHED:
            self._touched.clear()
        return sorted(name for name in names if self._touched.get(name, 0.0) <= now - TOUCH)

    def _make(self, connection: Connection, records: Sequence[Record], now: float) -> None:
        new = {record.document_id: record.epoch for record in reversed(records) if record.new}
        if new:
            statement = (sqlite if self._database.sqlite else postgresql).insert(documents).on_conflict_do_nothing()
            made = [
                {"name": name, "epoch": epoch, "created": now, "changed": now} for name, epoch in sorted(new.items())
            ]
            connection.execute(statement, made)

    def _rows(self, connection: Connection, names: set[str]) -> dict[str, Any]:
        """The documents of these names, held fast until the transaction ends.

        In one order everywhere, so that two nodes never wait for each other.
        """
        found: dict[str, Any] = {}
        for some in _batches(sorted(names)):
            rows = select(documents).where(documents.c.name.in_(some)).order_by(documents.c.name)
            if not self._database.sqlite:
                rows = rows.with_for_update(key_share=True)
            found |= {row.name: row for row in connection.execute(rows)}
        return found

    def compact(self, document_id: str, epoch: str) -> int | None:
        with self._database.reading() as connection:
            row = find(connection, document_id)
            if row is None or row.epoch != epoch or row.quarantine is not None:
                return None
            waits = self._database.sqlite and has_arrived(connection, row.id)
        if waits:
            with self._database.writing() as connection:
                settle(connection)
        with self._database.reading() as connection:
            kept = updates_in(connection, updates, row.id)
        if len(kept) < 2:
            return None
        parts = [_whole(data, crc, document_id) for _, data, crc in kept]
        try:
            joined = squash(parts)
        except InvalidUpdate as error:
            raise Damaged(f"document {document_id!r}: {error}") from None
        with self._database.writing() as connection:
            held = self._rows(connection, {document_id}).get(document_id)
            if held is None or held.id != row.id or held.quarantine is not None:
                return None
            # In the place of the first of them, so that what was stored meanwhile stays behind it.
            first, others = updates.c.id == kept[0].id, updates.c.id.between(kept[0].id + 1, kept[-1].id)
            mine = updates.c.document == row.id
            replaced = connection.execute(update(updates).where(mine, first).values(data=joined, crc=crc32(joined)))
            # Fewer: somebody else has compacted it. More: one with a smaller id was stored after we looked.
            removed = connection.execute(delete(updates).where(mine, others))
            if replaced.rowcount + removed.rowcount != len(kept):
                connection.rollback()
                return None
        return len(joined)

    def note_people(self, notes: Iterable[Notes], keep: int) -> None:
        noted = list(notes)
        dialect = sqlite if self._database.sqlite else postgresql
        statement = dialect.insert(people)
        statement = statement.on_conflict_do_update(
            index_elements=[people.c.document, people.c.user_id],
            set_={"user_name": statement.excluded.user_name, "seen": statement.excluded.seen},
        )
        with self._database.writing() as connection:
            rows = self._rows(connection, {note.document_id for note in noted})
            seen: dict[int, dict[str, Person]] = defaultdict(dict)
            for document_id, epoch, who in noted:
                row = rows.get(document_id)
                if row is not None and row.epoch == epoch:
                    seen[row.id] |= {person.user_id: person for person in who}
            for document, those in seen.items():
                if those:
                    values = [{"document": document, **person._asdict()} for person in those.values()]
                    connection.execute(statement, values)
                    self._forget_people(connection, document, keep)

    def _forget_people(self, connection: Connection, document: int, keep: int) -> None:
        count = connection.execute(select(func.count()).where(people.c.document == document)).scalar_one()
        if count > keep:
            order = people.c.seen.desc(), people.c.user_id
            kept = select(people.c.user_id).where(people.c.document == document).order_by(*order).limit(keep)
            others = (people.c.document == document) & people.c.user_id.not_in(kept)
            connection.execute(delete(people).where(others))

    def people(self, document_id: str) -> Sequence[Person]:
        with self._database.reading() as connection:
            row = find(connection, document_id)
            return [] if row is None else people_of(connection, row.id)


def _batches(of: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts of a sequence, each for one question."""
    return (of[start : start + MANY] for start in range(0, len(of), MANY))


def _whole(data: bytes, crc: int, document_id: str) -> bytes:
    if intact(data, crc) is None:
        raise Damaged(f"an update of document {document_id!r} is damaged: its bytes are not those that were stored")
    return data
