"""Questions that both halves of the database store ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from sqlalchemy import ColumnElement, Connection, ScalarSelect, delete, insert, select

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


def stored(connection: Connection, document: int) -> Sequence[Any]:
    """Id, data and checksum of a document's updates, in the order in which they were stored."""
    updates = schema.updates
    of = select(updates.c.id, updates.c.data, updates.c.crc).where(updates.c.document == document)
    return connection.execute(of.order_by(updates.c.id)).all()


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
