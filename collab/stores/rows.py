"""Questions that both halves of the database store ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Table, delete, insert, select

from collab.clock import unix
from collab.stores import schema
from collab.stores.base import NOTICE_AGE, Person


def find(connection: Connection, document_id: str) -> Any:
    """A document's row."""
    documents = schema.documents
    return connection.execute(select(documents).where(documents.c.name == document_id)).one_or_none()


def key_of(document_id: str) -> ScalarSelect[int]:
    """The id of a document's row, as part of another question."""
    documents = schema.documents
    return select(documents.c.id).where(documents.c.name == document_id).scalar_subquery()


def holding(connection: Connection) -> Sequence[Table]:
    """The tables in which there are updates: those of each document in this order, and new ones in the last."""
    return (schema.updates, schema.arrivals) if connection.dialect.name == "sqlite" else (schema.updates,)


def updates_in(connection: Connection, table: Table, document: int) -> Sequence[Any]:
    """Id, data and checksum of a document's updates in one of them, in their order."""
    of = select(table.c.id, table.c.data, table.c.crc).where(table.c.document == document)
    return connection.execute(of.order_by(table.c.id)).all()


def stored(connection: Connection, document: int) -> Sequence[tuple[Any, int]]:
    """Data and checksum of a document's updates, in the order in which they were stored."""
    rows = [row for table in holding(connection) for row in updates_in(connection, table, document)]
    return [(data, crc) for _, data, crc in rows]


def intact(data: Any, crc: int) -> bytes | None:
    """The bytes, if they are those that were stored."""
    data = bytes(data)
    return data if crc32(data) == crc else None


def people_of(connection: Connection, document: int) -> Sequence[Person]:
    """Who has been in a document, last seen first."""
    people = schema.people
    of = select(people.c.user_id, people.c.user_name, people.c.seen).where(people.c.document == document)
    return [Person(*row) for row in connection.execute(of.order_by(people.c.seen.desc(), people.c.user_id))]


def fresh() -> ColumnElement[bool]:
    """Which notices were not given long ago."""
    return schema.notices.c.given > unix() - NOTICE_AGE


def noticed(connection: Connection, document_id: str) -> bool:
    """Whether there is a notice of a document."""
    given = select(schema.notices.c.id).where(schema.notices.c.name == document_id, fresh()).limit(1)
    return connection.execute(given).first() is not None


def notify(connection: Connection, document_id: str) -> None:
    """Give notice that a document was changed, and forget those given long ago."""
    forget_notices(connection)
    connection.execute(insert(schema.notices).values(name=document_id, given=unix()))


def forget_notices(connection: Connection) -> None:
    """Forget the notices that were given long ago."""
    connection.execute(delete(schema.notices).where(~fresh()))
