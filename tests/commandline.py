"""The command line as tests use it: commands run in this process on a store, and stores that are damaged by hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from ydocs import Editor

from collab.cli import main
from collab.stores import open_store
from collab.stores.arrivals import SETTLE
from collab.stores.base import Entry, Notes, Person, Record, Store


def run(url: str, *args: str, code: int = 0, stdin: bytes | None = None) -> Result:
    """Run a command on the store at `url`, which must end with `code`."""
    result = CliRunner(env={"COLLAB_STORE": url}).invoke(main, args, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def ask(url: str, *args: str, code: int = 0, stdin: bytes | None = None) -> Any:
    """What a command answers with `--json`; stdout has nothing else."""
    return json.loads(run(url, *args, "--json", code=code, stdin=stdin).stdout)


def refusal(url: str, *args: str, code: int) -> str:
    """The code of the error that a command ends with."""
    answer = ask(url, *args, code=code)
    assert answer.keys() == {"error"} and answer["error"].keys() == {"code", "message"}
    return str(answer["error"]["code"])


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """The store itself."""
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def updates_of(store: Store, document_id: str = "doc") -> Sequence[bytes]:
    """What is loaded of a document that there is."""
    loaded = store.load(document_id)
    assert loaded is not None
    return loaded.updates


def entry_of(store: Store, document_id: str = "doc") -> Entry:
    """What is listed of a document that there is."""
    entry = store.describe(document_id)
    assert entry is not None
    return entry


def write(store: Store, document_id: str, *texts: str, epoch: str = "e1") -> Editor:
    """Make a document of one update for each text, with a member; its editor."""
    editor = Editor()
    for number, text in enumerate(texts):
        assert not store.append([Record(document_id, epoch, editor.type(text), not number)])
    store.note_people([Notes(document_id, epoch, [Person("u1", "Alice", 1_700_000_000.5)])], 10)
    return editor


def damage(path: Path, table: str = "collab_updates", which: str = "max(id)") -> None:
    """Turn the bytes of one row into zeros, once all updates have settled."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in SETTLE:
            connection.execute(statement)
        mine = f"(SELECT {which} FROM {table})"
        assert connection.execute(f"UPDATE {table} SET data = zeroblob(length(data)) WHERE id = {mine}").rowcount == 1
