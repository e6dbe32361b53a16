"""`collab versions`: documents as they were, saved, shown and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from collab.clock import stamp
from collab.commands import console, contents
from collab.commands.console import counted, emit, json_option, plain
from collab.commands.outcome import Missing, Misused, Refused
from collab.commands.target import Target, describe, load, name, no_document, store_group

if TYPE_CHECKING:
    from collab.stores.base import Loaded, Store, Version

_id = click.argument("document_id", metavar="ID", type=name)
_version = click.argument("wanted", metavar="VERSION", type=name)


versions = store_group(
    "versions", "Save documents as they are, and bring them back. VERSION is the number or the name of one."
)


@versions.command("list")
@_id
@json_option
@click.pass_obj
def list_versions(target: Target, document_id: str, as_json: bool) -> None:
    """List the versions of a document, the latest first."""
    with target.open() as store:
        describe(store, document_id)
        found = store.versions(document_id)
    rows = [(str(v.id), console.moment(v.saved), console.size(v.size), plain(v.name or "")) for v in found]
    lines = console.table((">VERSION", "SAVED", ">SIZE", "NAME"), rows) if rows else ["It has no versions."]
    emit(as_json, {"id": document_id, "versions": [facts(version) for version in found]}, lines)


def facts(version: Version) -> dict[str, Any]:
    """A version for scripts."""
    saved = stamp(version.saved)
    return {"version": version.id, "name": version.name, "saved": saved, "size": version.size}


def find(store: Store, document_id: str, wanted: str) -> Version:
    """The version of that number, or else of that name; `Failed` where that is not one."""
    describe(store, document_id)
    found = store.versions(document_id)
    numbered = [version for version in found if str(version.id) == wanted]
    matches = numbered or [version for version in found if version.name == wanted]
    if len(matches) > 1:
        numbers = ", ".join(str(version.id) for version in matches)
        raise Misused("usage", f"{len(matches)} versions have the name {plain(wanted)!r}: say one of {numbers}.")
    if not matches:
        text = f"Document {plain(document_id)!r} has no version {plain(wanted)!r}; `collab versions list` shows them."
        raise Missing("no_version", text)
    return matches[0]


def _read(store: Store, document_id: str, version: Version) -> bytes:
    content = store.read_version(document_id, version.id)
    if content is None:
        raise Missing("no_version", f"Version {version.id} has just been deleted.")
    return content


def _save(store: Store, document_id: str, loaded: Loaded, name: str | None) -> Version:
    version = store.save_version(document_id, loaded.epoch, contents.content_of(loaded.updates), name)
    if version is None:
        raise no_document(document_id)
    return version


@versions.command()
@_id
@click.option(
    "--name",
    "called",
    metavar="NAME",
    type=name,
    help="A name, with which it is kept until it is deleted.",
)
@json_option
@click.pass_obj
def save(target: Target, document_id: str, called: str | None, as_json: bool) -> None:
    """Save a document as it is now."""
    if called is not None and (not called.strip() or called.isdecimal()):
        raise Misused("usage", "A version's name is neither empty nor a number.")
    with target.open() as store:
        version = _save(store, document_id, load(store, document_id), called)
    done = f"Version {version.id} of {plain(document_id)!r} saved ({console.size(version.size)})."
    emit(as_json, {"id": document_id, **facts(version)}, [done])


@versions.command()
@_id
@_version
@json_option
@click.pass_obj
def restore(target: Target, document_id: str, wanted: str, as_json: bool) -> None:
    """Bring a document back to a version, by a new edit that live clients follow.

    What it was until now is saved as a version before.
    """
    from collab.history import revert
    from collab.protocol.yupdate import EMPTY_UPDATE
    from collab.stores.base import Record

    before = None
    with target.open() as store:
        version = find(store, document_id, wanted)
        loaded = load(store, document_id)
        content = _read(store, document_id, version)
        update = revert(contents.content_of(loaded.updates), content)
        if update != EMPTY_UPDATE:
            before = _save(store, document_id, loaded, None)
            if store.append([Record(document_id, loaded.epoch, update, False)]):
                text = f"Document {plain(document_id)!r} was replaced or deleted meanwhile: look again."
                raise Refused("changed", text)
            store.notify(document_id)
    told = {"id": document_id, **facts(version), "changed": before is not None, "before": before and before.id}
    line = f"Document {plain(document_id)!r} is as it was in version {version.id}"
    emit(as_json, told, [f"{line}; until now it was what is version {before.id}." if before else f"{line} already."])


@versions.command()
@_id
@click.argument("wanted", metavar="VERSION...", type=name, nargs=-1, required=True)
@json_option
@click.pass_obj
def delete(target: Target, document_id: str, wanted: tuple[str, ...], as_json: bool) -> None:
    """Delete versions of a document."""
    with target.open() as store:
        found = {find(store, document_id, one).id for one in wanted}
        deleted = [number for number in sorted(found) if store.delete_version(document_id, number)]
    lines = [f"{counted(len(deleted), 'version')} of {plain(document_id)!r} deleted."]
    emit(as_json, {"id": document_id, "deleted": deleted}, lines)


@versions.command()
@_id
@_version
@contents.format_option("Print its content in this form, instead of the facts.")
@json_option
@click.pass_obj
def show(target: Target, document_id: str, wanted: str, form: str | None, as_json: bool) -> None:
    """Show the facts about a version, or its content."""
    with target.open() as store:
        version = find(store, document_id, wanted)
        content = _read(store, document_id, version)
    if form and not as_json:
        contents.put(content, form)
        return
    told = {"id": document_id, **facts(version)}
    if form:
        told |= {"format": form, "content": contents.as_value(content, form)}
    called = f" ({plain(version.name)})" if version.name else ""
    saved = f"saved {console.moment(version.saved)}, {console.size(version.size)}"
    emit(as_json, told, [f"Version {version.id}{called} of {plain(document_id)!r}: {saved}."])
