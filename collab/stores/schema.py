"""The tables, and how those of an older version become today's.

Names begin with `collab_`, since the database may be an application's own. The version is a row in `collab_meta`;
whoever opens a store first makes the tables or migrates them, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)

from collab.errors import StoreError

VERSION: Final = 3
LOCK: Final = 0x636F6C6C6162
"""PostgreSQL's advisory lock under which tables are made and migrated: "collab"."""

_Id = BigInteger().with_variant(Integer, "sqlite")  # only an INTEGER is SQLite's own row number
# Names compare byte by byte: not by the rules of any language.
_Name = Text().with_variant(Text(collation="C"), "postgresql")

tables = MetaData()
meta = Table("collab_meta", tables, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
documents = Table(
    "collab_documents",
    tables,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", _Name, nullable=False, unique=True),
    Column("epoch", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("changed", Float(53), nullable=False),
    Column("quarantine", Text),
    sqlite_autoincrement=True,
)


def _owner() -> Column[int]:
    """Whose a row is; it goes with the document."""
    return Column("document", _Id, ForeignKey(documents.c.id, ondelete="CASCADE"), nullable=False)


updates = Table(
    "collab_updates",
    tables,
    Column("id", _Id, primary_key=True, autoincrement=True),
    _owner(),
    Column("data", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
Index("collab_updates_of", updates.c.document, updates.c.id)
arrivals = Table(
    "collab_arrivals",
    tables,
    Column("id", Integer, primary_key=True),
    _owner(),
    Column("data", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)
"""Only in SQLite: see `collab.stores.arrivals`."""
versions = Table(
    "collab_versions",
    tables,
    Column("id", _Id, primary_key=True, autoincrement=True),
    _owner(),
    Column("name", Text),
    Column("saved", Float(53), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
Index("collab_versions_of", versions.c.document, versions.c.id)
people = Table(
    "collab_people",
    tables,
    Column("document", _Id, ForeignKey(documents.c.id, ondelete="CASCADE"), primary_key=True),
    Column("user_id", _Name, primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("seen", Float(53), nullable=False),
)
notices = Table(
    "collab_notices",
    tables,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", _Name, nullable=False),
    Column("given", Float(53), nullable=False),
    sqlite_autoincrement=True,
)


def _add_people_and_notices(connection: Connection) -> None:
    """Version 1 knew neither who had been in a document nor what others had done to it."""
    tables.create_all(connection, [people, notices])


def _add_arrivals(connection: Connection) -> None:
    """Version 2 had all updates in one table."""
    if connection.dialect.name == "sqlite":
        arrivals.create(connection)


MIGRATIONS: Final[dict[int, Callable[[Connection], None]]] = {1: _add_people_and_notices, 2: _add_arrivals}
"""What makes the tables of version n those of version n + 1."""


def prepare(connection: Connection) -> None:
    """Make the tables, or make them today's; inside of a transaction that nobody else has at the same time.

    Raises:
        StoreError: they are of a version that this one does not know.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    if not inspect(connection).has_table(meta.name):
        others = [] if connection.dialect.name == "sqlite" else [arrivals]
        tables.create_all(connection, [table for table in tables.sorted_tables if table not in others])
        connection.execute(meta.insert().values(key="version", value=str(VERSION)))
        return
    version = int(connection.execute(meta.select().where(meta.c.key == "version")).one().value)
    if version > VERSION:
        raise StoreError(
            f"The store (COLLAB_STORE) was made by a newer version of collab: its tables are of version {version}, "
            f"and this one knows {VERSION}. Upgrade collab, or set COLLAB_STORE to another store."
        )
    while version < VERSION:
        MIGRATIONS[version](connection)
        version += 1
        connection.execute(meta.update().where(meta.c.key == "version").values(value=str(version)))
