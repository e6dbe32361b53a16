"""`collab backup` and `collab restore`: everything in one file, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collab.commands import backupfile, console
from collab.commands.console import counted, emit, json_option, named
from collab.commands.outcome import DAMAGED, Failed, Missing, Refused
from collab.commands.target import Target, name, sqlite_file, store_option
from collab.errors import Damaged, Exists, InvalidUpdate, Quarantined, StoreError

if TYPE_CHECKING:
    from collab.stores.base import Store, Whole


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Take the place of FILE, if there is one.")
@store_option
@json_option
@click.pass_context
def backup(ctx: click.Context, file: Path, overwrite: bool, url: str | None, as_json: bool) -> None:
    """Write all documents, as they are at one moment, to FILE; the server may go on."""
    target = Target(url)
    if file.exists() and not overwrite:
        raise Refused("exists", f"There is a {file} already: say --overwrite to replace it.")
    with target.open() as store:
        own = sqlite_file(target.url)
        if own is not None and file.exists() and file.samefile(own):
            raise Refused("exists", f"{file} is the store itself: back up to another file.")
        with backupfile.writing(file, overwrite=overwrite) as writer:
            with store.snapshot() as view:
                ids = [entry.document_id for entry in view.list()]
                with console.progress(ids, "Backing up") as bar:
                    for document_id in bar:
                        whole = view.read(document_id)
                        if whole is not None:
                            writer.add(whole)
            damaged, count = writer.damaged, len(ids)
    size = file.stat().st_size
    lines = [f"{counted(count, 'document')} in {file} ({console.size(size)}), read again and found whole."]
    if damaged:
        lines.append(f"Damaged in the store, in the backup as far as they can be read: {named(damaged)}.")
    emit(as_json, {"file": str(file), "documents": count, "size": size, "damaged": damaged}, lines)
    if damaged:
        ctx.exit(DAMAGED)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("ids", metavar="[ID]...", type=name, nargs=-1)
@click.option("--overwrite", is_flag=True, help="Take the place of documents that there are.")
@store_option
@json_option
def restore(file: Path, ids: tuple[str, ...], overwrite: bool, url: str | None, as_json: bool) -> None:
    """Put back the documents in FILE, or only those named, with their versions and members.

    Nothing is changed if FILE is damaged, or if one of them exists and is not to be overwritten.
    """
    with backupfile.reading(file) as source:
        todo = list(dict.fromkeys(ids)) or [entry.document_id for entry in source.list()]
        _check_source(source, todo, file)
        with Target(url).open(make=True) as store:
            there = [document_id for document_id in todo if store.describe(document_id) is not None]
            if there and not overwrite:
                text = f"There are already {named(there)}; nothing was restored. Say --overwrite to replace them."
                raise Refused("exists", text)
            _put_back(source, store, todo, overwrite)
    lines = [f"{counted(len(todo), 'document')} restored from {file}, {len(there):,} of them in place of another."]
    emit(as_json, {"file": str(file), "documents": len(todo), "overwritten": there}, lines)


def _check_source(source: Store, ids: Sequence[str], file: Path) -> None:
    """Read all that is to be restored; raise `Failed` if something is not there or damaged."""
    missing, damaged = [], []
    with console.progress(ids, "Reading") as bar:
        for document_id in bar:
            whole = source.read(document_id)
            if whole is None:
                missing.append(document_id)
            elif None in whole.updates or len(whole.versions) < whole.entry.versions:
                damaged.append(document_id)
    if missing:
        raise Missing("no_document", f"{file} has no document {named(missing)}; nothing was restored.")
    if damaged:
        text = (
            f"{file} is damaged: {named(damaged)} cannot be read; nothing was restored. Take another backup, or name "
            f"the documents that you want of this one."
        )
        raise Failed("damaged", text)


def _put_back(source: Store, store: Store, ids: Sequence[str], overwrite: bool) -> None:
    done = 0
    try:
        with console.progress(ids, "Restoring") as bar:
            for document_id in bar:
                whole = source.read(document_id)
                if whole is not None:
                    store.write(_on_top(store, whole), replace=overwrite)
                    done += 1
    except StoreError as error:
        if not done:
            raise
        text = f"Only {done} of {counted(len(ids), 'document')} were restored, by id: {error} "
        text += "Say --overwrite to begin again." if not isinstance(error, Exists) else "Name the others."
        raise Failed("partial", text) from error


def _on_top(store: Store, whole: Whole) -> Whole:
    """What to write in the place of a document: all that it is, and an edit that makes it what it was.

    Clients that come back with what they have, its deletions included, then add nothing to that.
    """
    from collab.history import revert
    from collab.protocol.yupdate import EMPTY_UPDATE
    from collab.updates import merge, squash

    try:
        loaded = store.load(whole.entry.document_id)
        if loaded is None or whole.entry.quarantine is not None:
            return whole
        then = squash([update for update in whole.updates if update is not None])
        now = squash([*loaded.updates, then])
        edit = revert(now, then)
        return whole if edit == EMPTY_UPDATE else whole._replace(updates=[merge([now, edit])])
    except (Quarantined, Damaged, InvalidUpdate):
        return whole  # nobody has it open
