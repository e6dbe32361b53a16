"""Which store a command works on, and which of its documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from collab.commands.console import named, plain, quoted
from collab.commands.outcome import Failed, Missing, Misused, Refused, Unusable
from collab.commands.settings import load_settings
from collab.stores import open_store

if TYPE_CHECKING:
    from collab.stores.base import Entry, Loaded, Store

F = TypeVar("F", bound=Callable[..., Any])


def store_option(command: F) -> F:
    """Give a command or group its `--store`."""
    text = "The store to work on, instead of the one that COLLAB_STORE names."
    return click.option("--store", "url", metavar="URL", help=text)(command)


def store_group(group_name: str, text: str) -> click.Group:
    """A group of commands that work on one store, which they get as a `Target`."""

    @click.group(group_name, help=text)
    @store_option
    @click.pass_context
    def group(ctx: click.Context, url: str | None) -> None:
        ctx.obj = Target(url)

    return group


def name(value: str) -> str:
    """The type of arguments that are a document's id, or another text that a store keeps."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("It is not valid UTF-8.") from None
    return value


class Target:
    """The store that is at `url`, or else where the settings say.

    Args:
        url: as in `COLLAB_STORE`.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """Where the store is."""
        given = {} if self._url is None else {"COLLAB_STORE": self._url}
        return load_settings(given).store

    @contextmanager
    def open(self, *, make: bool = False) -> Iterator[Store]:
        """The store; `make` it if it is a file that is not there yet."""
        url = self.url
        if url == "memory:":
            text = "COLLAB_STORE is memory:, where documents end with their server: no command gets at them."
            raise Unusable("store", text)
        store = open_store(url)
        path = sqlite_file(url)
        if path is not None and not make and not path.exists():
            text = f"There is no {path.absolute()} (COLLAB_STORE): run this in the server's folder, or say --store."
            raise Unusable("store", text)
        try:
            yield store
        finally:
            store.close()


def sqlite_file(url: str) -> Path | None:
    """The file of a store in SQLite."""
    from sqlalchemy.engine import make_url

    address = make_url(url)
    return Path(address.database) if address.get_backend_name() == "sqlite" and address.database else None


def no_document(document_id: str) -> Failed:
    """What to raise where a document is not there."""
    text = f"There is no document {plain(document_id)!r}; `collab docs list` shows those that there are."
    return Missing("no_document", text)


def describe(store: Store, document_id: str) -> Entry:
    """A document, or `Failed`."""
    entry = store.describe(document_id)
    if entry is None:
        raise no_document(document_id)
    return entry


def load(store: Store, document_id: str) -> Loaded:
    """A document to be opened, or `Failed`."""
    from collab.errors import Quarantined

    try:
        loaded = store.load(document_id)
    except Quarantined as error:
        text = (
            f"Document {plain(document_id)!r} is in quarantine: {error}. "
            f"`collab quarantine show {quoted(document_id)}` says more."
        )
        raise Refused("quarantined", text) from error
    if loaded is None:
        raise no_document(document_id)
    return loaded


def chosen(store: Store, ids: Sequence[str], everything: bool) -> Sequence[str]:
    """The documents to work on: those named, or all; `Failed` if one is not there."""
    if bool(ids) == everything:
        raise Misused("usage", "Name the documents, or say --all.")
    if everything:
        return [entry.document_id for entry in store.list()]
    missing = [document_id for document_id in ids if store.describe(document_id) is None]
    if missing:
        raise Missing("no_document", f"There is no document {named(missing)}; nothing was done.")
    return list(dict.fromkeys(ids))
