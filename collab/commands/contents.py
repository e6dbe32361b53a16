"""What is in documents, for commands: what can be read of their updates, and how it is shown."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from collab.commands.outcome import Failed, Misused, Unusable
from collab.errors import InvalidUpdate

F = TypeVar("F", bound=Callable[..., Any])

FORMATS: Final = ("text", "json", "update")


class Readable(NamedTuple):
    """A document's updates, sorted out."""

    updates: Sequence[bytes]
    """Those that can be read."""
    damaged: Sequence[int]
    """The places of the others, from 1."""


def format_option(text: str) -> Callable[[F], F]:
    """Give a command its `--format`."""
    return click.option("--format", "form", type=click.Choice(FORMATS), help=text)


def opens(updates: Sequence[bytes]) -> bool:
    """Whether a server could open these."""
    from collab.archive import read_document

    try:
        read_document(updates)
    except InvalidUpdate:
        return False
    return True


def sort_out(updates: Sequence[bytes | None]) -> Readable:
    """Find the updates that can be read, alone and together."""
    from collab.document import Document

    intact = {place: update for place, update in enumerate(updates, 1) if update is not None}
    if not opens(list(intact.values())):
        intact = {place: update for place, update in intact.items() if opens([update])}
        if not opens(list(intact.values())):
            refused = Document().apply(list(intact.values()))
            intact = {place: update for n, (place, update) in enumerate(intact.items()) if n not in refused}
    return Readable(list(intact.values()), [place for place in range(1, len(updates) + 1) if place not in intact])


def content_of(updates: Sequence[bytes]) -> bytes:
    """A document as one update."""
    from collab.updates import settle

    return settle(updates).content


def as_value(content: bytes, form: str) -> Any:
    """A document as part of a JSON document; an update in base 64."""
    from collab.content import to_json, to_text

    if form == "update":
        return base64.b64encode(content).decode()
    try:
        return to_text(content) if form == "text" else to_json(content)
    except InvalidUpdate as error:
        text = f"It cannot be shown as {form}: {error}. The Yjs update can be had with --format update."
        raise Failed("unreadable", text) from error


def as_bytes(content: bytes, form: str) -> bytes:
    """A document as a file."""
    if form == "update":
        return content
    value = as_value(content, form)
    text: str = value if form == "text" else json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    return text.encode()


def put(content: bytes, form: str, path: Path | None = None) -> None:
    """Write a document to a file, or to stdout."""
    if path is None and form == "update" and sys.stdout.isatty():
        raise Misused("usage", "A Yjs update is nothing for a terminal: send it to a file.")
    data = as_bytes(content, form)
    if path is None:
        click.echo(data, nl=False)
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Unusable("file", f"{path} cannot be written: {error.strerror or error}.") from error
