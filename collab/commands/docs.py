"""`collab docs`: documents as they are in the store, brought out of it and into it, and deleted."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from collab.clock import stamp
from collab.commands import console, contents
from collab.commands.console import counted, emit, json_option, named, plain
from collab.commands.outcome import Failed, Missing, Misused, Refused
from collab.commands.target import Target, describe, load, name, store_group
from collab.commands.upkeep import compact, verify

if TYPE_CHECKING:
    from collab.stores.base import Entry, Store


docs = store_group("docs", "List documents, bring them out and in, keep them in order, delete them.")


docs.add_command(compact)
docs.add_command(verify)


# ---- looking


@docs.command("list")
@click.argument("prefix", type=name, default="")
@json_option
@click.pass_obj
def list_documents(target: Target, prefix: str, as_json: bool) -> None:
    """List the documents whose ids begin with PREFIX."""
    with target.open() as store:
        entries = list(store.list(prefix))
    rows = [
        (
            console.size(entry.size),
            f"{entry.records:,}",
            f"{entry.versions:,}",
            console.moment(entry.changed),
            "quarantine" if entry.quarantine is not None else "",
            plain(entry.document_id),
        )
        for entry in entries
    ]
    headings = (">SIZE", ">UPDATES", ">VERSIONS", "CHANGED", "STATE", "ID")
    lines = console.table(headings, rows) if rows else ["There are no such documents."]
    emit(as_json, {"documents": [facts(entry) for entry in entries]}, lines)


def facts(entry: Entry) -> dict[str, Any]:
    """A document's entry for scripts."""
    return {
        "id": entry.document_id,
        "epoch": entry.epoch,
        "created": stamp(entry.created),
        "changed": stamp(entry.changed),
        "updates": entry.records,
        "size": entry.size,
        "versions": entry.versions,
        "quarantine": entry.quarantine,
    }


@docs.command()
@click.argument("document_id", metavar="ID", type=name)
@contents.format_option("Print its content in this form, instead of the facts.")
@json_option
@click.pass_obj
def show(target: Target, document_id: str, form: str | None, as_json: bool) -> None:
    """Show the facts about a document, or its content."""
    with target.open() as store:
        entry = describe(store, document_id)
        people = store.people(document_id)
        content = contents.content_of(load(store, document_id).updates) if form else b""
    if form and not as_json:
        contents.put(content, form)
        return
    told = facts(entry)
    told["members"] = [
        {"user_id": person.user_id, "user_name": person.user_name, "seen": stamp(person.seen)} for person in people
    ]
    if form:
        told |= {"format": form, "content": contents.as_value(content, form)}
    lines = [
        plain(document_id),
        f"  epoch     {entry.epoch}",
        f"  created   {console.moment(entry.created)}",
        f"  changed   {console.moment(entry.changed)}",
        f"  size      {console.size(entry.size)} in {counted(entry.records, 'update')}",
        f"  versions  {entry.versions:,}",
        *([f"  in quarantine: {plain(entry.quarantine)}"] if entry.quarantine is not None else []),
        *(["  members"] if people else []),
        *(f"    {console.moment(p.seen)}  {plain(p.user_name)} ({plain(p.user_id)})" for p in people),
    ]
    emit(as_json, told, lines)


# ---- out and in


@docs.command()
@click.argument("document_id", metavar="ID", type=name)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; stdout if none.")
@contents.format_option("What to write; otherwise .txt is text, .json is JSON, and all else the Yjs update.")
@json_option
@click.pass_obj
def export(target: Target, document_id: str, output: Path | None, form: str | None, as_json: bool) -> None:
    """Write a document's content to a file."""
    if as_json and output is None:
        raise Misused("usage", "With --json the content needs a file: say -o, or take `collab docs show --format`.")
    suffix = output.suffix.lower() if output else ""
    form = form or {".txt": "text", ".json": "json"}.get(suffix, "update")
    with target.open() as store:
        content = contents.content_of(load(store, document_id).updates)
    contents.put(content, form, output)
    if output is not None:
        done = f"Document {plain(document_id)!r} is in {output} as {form}."
        emit(as_json, {"id": document_id, "file": str(output), "format": form, "size": output.stat().st_size}, [done])


@docs.command("import")
@click.argument("document_id", metavar="ID", type=name)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "update")),
    help="What FILE is; otherwise .txt is text, and all else a Yjs update.",
)
@click.option("--merge", is_flag=True, help="Merge the update into the document, if there is one already.")
@json_option
@click.pass_obj
def import_document(
    target: Target, document_id: str, file: IO[bytes], form: str | None, merge: bool, as_json: bool
) -> None:
    """Make a document of FILE (- for stdin): of plain text, which becomes the Yjs text `text`, or of a Yjs update."""
    _check_id(document_id)
    form = form or _guess(getattr(file, "name", "<stdin>"))
    if merge and form == "text":
        text = "Text cannot be merged into a document: import it as one of its own, or merge a Yjs update."
        raise Misused("usage", text)
    data = file.read()
    with target.open(make=True) as store:
        merged = store.describe(document_id) is not None
        if merged and not merge:
            text = f"There is a document {plain(document_id)!r} already: import under another id, or say --merge."
            raise Refused("exists", text)
        gained = _merge(store, document_id, data) if merged else _make(store, document_id, data, form)
        if gained:
            store.notify(document_id)
        entry = describe(store, document_id)
    done = "merged into" if merged else "imported as"
    news = f"{console.size(gained)} {done}" if gained or not merged else "Nothing new in it for"
    emit(as_json, {**facts(entry), "merged": merged, "gained": gained}, [f"{news} {plain(document_id)!r}."])


def _check_id(document_id: str) -> None:
    from collab.errors import HandshakeRefused
    from collab.web.handshake import read_document_id

    try:
        read_document_id(document_id.encode().decode("latin-1"), "")
    except HandshakeRefused as error:
        raise Misused("usage", f"{error}.") from error


def _guess(name: str) -> str:
    suffix = Path(name).suffix.lower()
    if name == "<stdin>":
        raise Misused("usage", "Say what comes on stdin: --format text or --format update.")
    if suffix == ".json":
        raise Misused("usage", "JSON does not tell enough to make a document: import text or a Yjs update.")
    return "text" if suffix == ".txt" else "update"


def _make(store: Store, document_id: str, data: bytes, form: str) -> int:
    from collab.clock import ksuid
    from collab.document import Document
    from collab.seeds import seed

    if form == "text":
        try:
            data = seed(document_id, data.decode())
        except UnicodeDecodeError as error:
            raise Failed("damaged", f"This is not text in UTF-8: {error}.") from error
    document = Document()
    update = _taken(document, data)
    _append(store, document_id, ksuid(), update, new=True)
    return len(update)


def _merge(store: Store, document_id: str, data: bytes) -> int:
    from collab.archive import read_document
    from collab.protocol.yupdate import EMPTY_UPDATE

    loaded = load(store, document_id)
    update = _taken(read_document(loaded.updates), data)
    if update == EMPTY_UPDATE:
        return 0
    _append(store, document_id, loaded.epoch, update, new=False)
    return len(update)


def _taken(document: Any, data: bytes) -> bytes:
    """What of an update from outside `document` has taken; all of it, or `Failed`."""
    from collab.updates import merge

    refused = document.apply([data])
    if refused:
        raise Failed("damaged", f"This is no Yjs update that can be taken: {refused[0]}.")
    if document.early:
        text = (
            "This Yjs update builds on what is neither in it nor in the document: export the whole document where it "
            "comes from, not a part of it."
        )
        raise Failed("incomplete", text)
    return merge(document.taken)


def _append(store: Store, document_id: str, epoch: str, update: bytes, *, new: bool) -> None:
    from collab.stores.base import Record

    if store.append([Record(document_id, epoch, update, new)]):
        text = f"Document {plain(document_id)!r} was made, replaced or deleted by somebody else meanwhile: look again."
        raise Refused("changed", text)


# ---- away


@docs.command()
@click.argument("ids", metavar="ID...", type=name, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def delete(target: Target, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete documents with all of their versions."""
    ids = tuple(dict.fromkeys(ids))
    with target.open() as store:
        missing = [document_id for document_id in ids if store.describe(document_id) is None]
        if missing:
            raise Missing("no_document", f"There is no document {named(missing)}; nothing was deleted.")
        console.confirm(f"Delete {counted(len(ids), 'document')} with all versions: {named(ids)}?", yes)
        deleted = [document_id for document_id in ids if store.delete(document_id)]
    emit(as_json, {"deleted": deleted}, [f"{counted(len(deleted), 'document')} deleted."])
