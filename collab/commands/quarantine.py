"""`collab quarantine`: documents that could not be read when somebody opened them, looked at and released."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collab.commands import backupfile, console, contents
from collab.commands.console import counted, emit, json_option, plain, quoted
from collab.commands.docs import facts
from collab.commands.outcome import Failed, Missing
from collab.commands.target import Target, name, no_document, store_group
from collab.commands.upkeep import damaged_versions

if TYPE_CHECKING:
    from collab.stores.base import Store, Whole


quarantine = store_group("quarantine", "Look at documents that cannot be read, and let them go on.")


@quarantine.command("list")
@json_option
@click.pass_obj
def list_quarantined(target: Target, as_json: bool) -> None:
    """List the documents in quarantine."""
    with target.open() as store:
        found = [entry for entry in store.list() if entry.quarantine is not None]
    lines = [f"{plain(entry.document_id)}: {plain(entry.quarantine or '')}" for entry in found]
    emit(as_json, {"documents": [facts(entry) for entry in found]}, lines or ["No document is in quarantine."])


def _find(store: Store, document_id: str) -> Whole:
    whole = store.read(document_id)
    if whole is None:
        raise no_document(document_id)
    if whole.entry.quarantine is None:
        raise Missing("not_quarantined", f"Document {plain(document_id)!r} is not in quarantine.")
    return whole


@quarantine.command()
@click.argument("document_id", metavar="ID", type=name)
@contents.format_option("Print what can still be read in this form, instead of the facts.")
@json_option
@click.pass_obj
def show(target: Target, document_id: str, form: str | None, as_json: bool) -> None:
    """Show why a document is in quarantine, what of it is damaged, and what can still be read."""
    with target.open() as store:
        whole = _find(store, document_id)
        versions = damaged_versions(store, whole)
    updates, damaged = contents.sort_out(whole.updates)
    if form and not as_json:
        contents.put(contents.content_of(updates), form)
        return
    told = {
        **facts(whole.entry),
        "readable_updates": len(updates),
        "damaged_updates": damaged,
        "damaged_versions": versions,
        "opens": not damaged and contents.opens(updates),
    }
    if form:
        told |= {"format": form, "content": contents.as_value(contents.content_of(updates), form)}
    read = f"{len(updates):,} of {counted(len(whole.updates), 'update')}, {console.size(sum(map(len, updates)))}"
    good = len(whole.versions) - sum(version.id in versions for version, _ in whole.versions)
    lines = [
        f"{plain(document_id)}: {plain(whole.entry.quarantine or '')}",
        f"  can be read       {read}; --format text shows it",
        *([f"  damaged updates   {', '.join(map(str, damaged))}"] if damaged else []),
        f"  versions          {good:,} of {whole.entry.versions:,} can be read",
        *([f"  damaged versions  {', '.join(map(str, versions))}"] if versions else []),
        *_advice(document_id, bool(told["opens"])),
    ]
    emit(as_json, told, lines)


def _advice(document_id: str, opens: bool) -> list[str]:
    name = quoted(document_id)
    if opens:
        return [f"It can be opened now: `collab quarantine release {name}` lets it go on."]
    return [
        f"Put it back from a backup:  collab restore --overwrite FILE {name}",
        f"Go on with what can be read: collab quarantine release --salvage FILE {name}",
        f"Take out a version:          collab versions show --format text {name} VERSION",
    ]


@quarantine.command()
@click.argument("document_id", metavar="ID", type=name)
@click.option(
    "--salvage",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Go on without what is damaged; all that can be read of the document before goes to FILE, a backup.",
)
@json_option
@click.pass_obj
def release(target: Target, document_id: str, file: Path | None, as_json: bool) -> None:
    """Let a document go on, if it can be opened now."""
    with target.open() as store:
        whole = _find(store, document_id)
        updates, damaged = contents.sort_out(whole.updates)
        if not damaged and contents.opens(updates):
            file = None
            store.release(document_id)
        elif file is None:
            advice = "\n".join(_advice(document_id, False))
            text = f"Document {plain(document_id)!r} still cannot be opened, and stays in quarantine.\n{advice}"
            raise Failed("damaged", text)
        else:
            _salvage(store, whole, updates, file)
    line = f"Document {plain(document_id)!r} goes on"
    if file is not None:
        line += f" with {len(updates):,} of {counted(len(whole.updates), 'update')}; what it was is in {file}"
    told = {"id": document_id, "salvaged": file is not None, "dropped_updates": damaged}
    emit(as_json, told | {"file": str(file) if file else None}, [f"{line}."])


def _salvage(store: Store, whole: Whole, updates: Sequence[bytes], file: Path) -> None:
    from collab.archive import read_document

    read_document(updates)
    with backupfile.writing(file) as writer:
        writer.add(whole)
    store.write(whole._replace(entry=whole.entry._replace(quarantine=None), updates=updates), replace=True)
