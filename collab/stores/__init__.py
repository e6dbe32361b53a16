"""Where documents are kept: `base` is the contract, the others fulfil it, `open_store` finds the one for a URL."""

from __future__ import annotations

import importlib.util

from collab.errors import ConfigError
from collab.stores.base import Store

_KINDS = "sqlite:///file (four slashes for an absolute path), postgresql://user:password@host/name or memory:"


def open_store(url: str) -> Store:
    """The store at `url`; nothing is connected to, and no file is made, before it is first used.

    Raises:
        ConfigError: there is no such kind of store, or its driver is not installed.
    """
    scheme, colon, rest = url.partition(":")
    if url == "memory:":
        from collab.stores.memory import MemoryStore

        return MemoryStore()
    if not colon or scheme not in ("sqlite", "postgres", "postgresql") or (scheme == "sqlite" and not rest[3:]):
        raise ConfigError(f"COLLAB_STORE (or DATABASE_URL) must be {_KINDS}; its scheme is {scheme!r}")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from collab.stores.database import Database
    from collab.stores.sql import SqlStore

    try:
        if scheme == "sqlite":
            return SqlStore(Database(make_url(url)))
        address = make_url(f"postgresql:{rest}").set(drivername="postgresql+psycopg2")
    except (ArgumentError, ValueError):
        raise ConfigError(f"COLLAB_STORE (or DATABASE_URL) cannot be read as a URL; it must be {_KINDS}") from None
    if importlib.util.find_spec("psycopg2") is None:
        raise ConfigError("PostgreSQL as COLLAB_STORE needs its driver: pip install 'collab[postgresql]'")
    return SqlStore(Database(address))
