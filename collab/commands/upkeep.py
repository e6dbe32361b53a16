"""`collab docs compact` and `collab docs verify`: documents kept in order, and proven to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from collab.commands import console
from collab.commands.console import counted, emit, json_option, named, plain, quoted
from collab.commands.contents import opens, sort_out
from collab.commands.outcome import DAMAGED
from collab.commands.target import Target, chosen, name
from collab.errors import Damaged, StoreError

if TYPE_CHECKING:
    from collab.stores.base import Store, Whole

_ids = click.argument("ids", metavar="[ID]...", type=name, nargs=-1)
_all = click.option("--all", "everything", is_flag=True, help="All documents.")


@click.command()
@_ids
@_all
@json_option
@click.pass_context
def compact(ctx: click.Context, ids: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Make the many updates of documents one each."""
    told: list[dict[str, Any]] = []
    with ctx.obj.open() as store:
        todo = chosen(store, ids, everything)
        with console.progress(todo, "Compacting") as bar:
            told = [result for document_id in bar if (result := _compact(store, document_id)) is not None]
    done = [result for result in told if result["compacted"]]
    kept = [result["id"] for result in told if result["quarantine"]]
    damaged = [result["id"] for result in told if result["damaged"]]
    before, after = (sum(result[key] for result in done) for key in ("size_before", "size"))
    lines = [f"{counted(len(done), 'document')} of {len(told):,} compacted: {console.size(before)} became "
             f"{console.size(after)}."]  # fmt: skip
    if kept:
        lines.append(f"Left as they are, in quarantine: {named(kept)}.")
    if damaged:
        lines.append(f"Left as they are, damaged: {named(damaged)}; `collab docs verify` says more.")
    emit(as_json, {"documents": told}, lines)
    if damaged:
        ctx.exit(DAMAGED)


def _compact(store: Store, document_id: str) -> dict[str, Any] | None:
    before = store.describe(document_id)
    if before is None:
        return None
    size: int | None = None
    damage: str | None = None
    try:
        size = store.compact(document_id, before.epoch)
    except Damaged as error:
        damage = str(error)
    return {
        "id": document_id,
        "compacted": size is not None,
        "updates_before": before.records,
        "size_before": before.size,
        "size": before.size if size is None else size,
        "quarantine": before.quarantine,
        "damaged": damage,
    }


@click.command()
@_ids
@_all
@json_option
@click.pass_context
def verify(ctx: click.Context, ids: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Read every byte of documents and their versions, and list what is damaged."""
    target: Target = ctx.obj
    with target.open() as store:
        todo = chosen(store, ids, everything)
        with console.progress(todo, "Verifying") as bar:
            told = [result for document_id in bar if (result := _verify(store, document_id)) is not None]
    damaged = [result for result in told if not result["sound"]]
    lines = [f"{counted(len(told), 'document')} read, {len(damaged):,} damaged."]
    for result in told:
        lines += [f"{plain(result['id'])}: {problem}" for problem in _problems(result)]
    if damaged:
        lines.append(f"Next: `collab quarantine show {quoted(damaged[0]['id'])}` where it is in quarantine, or "
                     "`collab restore` from a backup.")  # fmt: skip
    emit(as_json, {"documents": told, "damaged": len(damaged)}, lines)
    if damaged:
        ctx.exit(DAMAGED)


def _verify(store: Store, document_id: str) -> dict[str, Any] | None:
    told: dict[str, Any] = {"id": document_id, "sound": False, "updates": None, "versions": None, "quarantine": None}
    told |= {"damaged_updates": [], "damaged_versions": [], "error": None}
    try:
        whole = store.read(document_id)
        if whole is None:
            return None
        damaged = sort_out(whole.updates).damaged, damaged_versions(store, whole)
    except StoreError as error:
        # Where the store as a whole is gone, this says so, and ends the command.
        store.check()
        return told | {"error": str(error)}
    entry = whole.entry
    told |= {"updates": entry.records, "versions": entry.versions, "quarantine": entry.quarantine}
    return told | {"sound": damaged == ([], []), "damaged_updates": damaged[0], "damaged_versions": damaged[1]}


def damaged_versions(store: Store, whole: Whole) -> list[int]:
    """The numbers of a document's versions that cannot be read."""
    damaged = [version.id for version, content in whole.versions if not opens([content])]
    read = {version.id for version, _ in whole.versions}
    for version in store.versions(whole.entry.document_id):
        if version.id not in read:
            try:
                store.read_version(whole.entry.document_id, version.id)
            except Damaged:
                damaged.append(version.id)
    return sorted(damaged)


def _problems(result: dict[str, Any]) -> list[str]:
    problems = []
    if result["quarantine"] is not None:
        problems.append(f"in quarantine: {plain(result['quarantine'])}")
    if result["damaged_updates"]:
        places = ", ".join(map(str, result["damaged_updates"]))
        problems.append(f"damaged updates: {places} of {result['updates']}")
    if result["damaged_versions"]:
        problems.append(f"damaged versions: {', '.join(map(str, result['damaged_versions']))}")
    if result["error"] is not None:
        problems.append(result["error"])
    return problems
