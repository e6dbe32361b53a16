"""Updates that have just come, in SQLite: they wait in a table without an index until many settle at once.

An index by document has the open documents' entries all over it, so that a write of twenty updates writes twenty of
its pages as well: more than half of all work. Many that settle together, ordered by document, write each page once.

Invariants borne here:

* Whoever reads a document reads what has settled, and then what has arrived; what settles keeps its order.
* Only what has settled is rewritten: its ids are never used again, those of arrivals are.
* So little waits that to look through all of it is no work: what would be too much settles, and what came with it is
  stored in its place at once, so that nothing large is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, func, select

from collab.stores import schema
from collab.stores.base import Record

MAX_ARRIVED: Final = 1 << 20
"""Bytes of which fewer wait, as `weight` counts them."""

LEAST: Final = 1 << 10
"""Bytes that an update counts as, however small it is: about a thousand wait."""

AT_ONCE: Final = 64
"""Updates in one statement."""

SETTLE: Final = (
    "INSERT INTO collab_updates (document, data, crc) "
    "SELECT document, data, crc FROM collab_arrivals "
    "WHERE document IN (SELECT id FROM collab_documents) ORDER BY document, id",
    "DELETE FROM collab_arrivals",
)
"""What has all settle. Of a document that somebody took away without SQLite's foreign keys nothing is kept."""


@lru_cache(maxsize=2 * AT_ONCE)
def insert_all(table: str, count: int) -> str:
    """What stores so many records, those that can be, in their order: a cross join keeps to that."""
    return (
        f"INSERT INTO {table} (document, data, crc) SELECT d.id, r.column3, r.column4 "
        f"FROM (VALUES {', '.join(['(?, ?, ?, ?)'] * count)}) AS r CROSS JOIN collab_documents AS d "
        "WHERE d.name = r.column1 AND d.epoch = r.column2 AND d.quarantine IS NULL"
    )


def weight(records: Iterable[Record]) -> int:
    """How much of `MAX_ARRIVED` records take."""
    return sum(max(len(record.update), LEAST) for record in records)


def settle(connection: Connection) -> None:
    """Have all settle that has arrived."""
    for statement in SETTLE:
        connection.exec_driver_sql(statement)


def has_arrived(connection: Connection, document: int) -> bool:
    """Whether something of a document has not settled."""
    arrivals = schema.arrivals
    return connection.execute(select(arrivals.c.id).where(arrivals.c.document == document).limit(1)).first() is not None


def arrived(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Of some documents, how many updates have not settled, and their bytes."""
    arrivals = schema.arrivals
    sizes = select(arrivals.c.document, func.count(), func.sum(func.length(arrivals.c.data)))
    rows = connection.execute(sizes.where(arrivals.c.document.in_(ids)).group_by(arrivals.c.document))
    return {document: (count, size) for document, count, size in rows}
