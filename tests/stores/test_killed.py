"""What a store keeps when the process that works on it, or the database itself, is killed at any point."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pycrdt
import pytest
from commandline import opened, updates_of
from postgres import PostgreSQL
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from ydocs import Editor, clocks

from collab.content import to_json
from collab.errors import StoreError
from collab.stores import open_store, schema
from collab.stores.base import Entry, Notes, Person, Record, Store, Version, Whole

Ask = Callable[..., Sequence[Any]]
Call = tuple[str, Sequence[Any], dict[str, Any]]

KILLED = -signal.SIGKILL
LONG_AGO = 1_700_000_000.5
ALICE, BOB = Person("u1", "Alice", 1_700_000_000.25), Person("u2", "Bob", 1_700_000_100.5)


class Victims:
    """Children that work on a store and are killed; `victim.py` has them."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("victim.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def _begin(self, url: str, opened: bool, at: int | None, calls: Sequence[Call]) -> Iterator[list[str]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(pickle.dumps((url, opened, at, calls)))
        for line in self._process.stdout:
            yield line.decode().split()

    def run(self, url: str, at: int, *calls: Call, opened: bool = True) -> int:
        """Make calls in a child that kills itself at a point; its exit code."""
        for word, number in self._lines(url, opened, at, calls):
            if word == "ended":
                return number
        raise AssertionError("the victims' process is gone")

    def kill(self, url: str, after: int, calls: Sequence[Call]) -> int:
        """Make calls in a child that is killed wherever it is when `after` of them have returned; how many had."""
        returned = pid = 0
        for word, number in self._lines(url, True, None, calls):
            if word == "pid":
                pid = number
            elif word == "done":
                returned += 1
                if returned == after:
                    os.kill(pid, signal.SIGKILL)
            else:
                assert number == KILLED
                return returned
        raise AssertionError("the victims' process is gone")

    def _lines(self, url: str, opened: bool, at: int | None, calls: Sequence[Call]) -> Iterator[tuple[str, int]]:
        for word, *number in self._begin(url, opened, at, calls):
            yield word, int(number[0]) if number else 0

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with closing(Victims()) as victims:
        yield victims


@pytest.fixture
def url(bare_url: str) -> str:
    """Where the dead still hold something, the next test waits for it to be let go."""
    return bare_url


def letters(text: str) -> list[bytes]:
    """A text as it is typed: an update for each letter."""
    editor = Editor()
    return [editor.type(letter) for letter in text]


UPDATES = letters("abcdefgh")
VERSIONS = [
    (Version(0, name, LONG_AGO, 2), bytes((0, 0, number))) for number, name in enumerate([None, "n", None, None])
]


def put(store: Store, document_id: str, quarantine: str | None = None) -> None:
    """Make a document that has some of everything, with a part missing in the middle."""
    entry = Entry(document_id, "e1", LONG_AGO, LONG_AGO, 0, 0, 0, quarantine)
    store.write(Whole(entry, UPDATES[:3] + UPDATES[4:6], VERSIONS, [ALICE, BOB]))


def content(updates: Sequence[bytes | None]) -> tuple[dict[str, Any], dict[int, int]]:
    """The document that updates make: what it shows, and what it knows of."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(pycrdt.merge_updates(*[update for update in updates if update is not None]))
    return to_json(doc.get_update()), clocks(doc.get_state())


def state(store: Store, document_id: str) -> list[object]:
    """All that there is of a document and of one beside it, without names and what is drawn or measured."""
    names = (document_id, f"{document_id} beside")
    found: list[object] = [sum(name in names for _, name in store.notices())]
    for name in names:
        whole = store.read(name)
        if whole is not None:
            entry, updates, versions, people = whole
            kept = [(version.name, data) for version, data in versions]
            found.append((entry.epoch == "e1", entry.changed == LONG_AGO, entry.quarantine, updates, kept, people))
    return found


def go_on(store: Store, document_id: str) -> None:
    """Edit and compact a document, if it is there: it takes everything."""
    entry = store.describe(document_id)
    if entry is None:
        return
    if entry.quarantine is not None:
        store.release(document_id)
    more = Editor().type("more")
    before = updates_of(store, document_id)
    assert not store.append([Record(document_id, entry.epoch, more, False)])
    assert store.compact(document_id, entry.epoch)
    assert content(updates_of(store, document_id)) == content([*before, more])


def records(document_id: str) -> list[Record]:
    return [
        Record(document_id, "e1", UPDATES[6], False),
        Record(f"{document_id} beside", "e1", UPDATES[0], True),
        Record(document_id, "e1", UPDATES[7], False),
        Record("nowhere", "e1", UPDATES[7], False),
    ]


def aside(document_id: str) -> Whole:
    entry = Entry(f"{document_id} beside", "e1", 1.0, 1.0, 0, 0, 0, None)
    return Whole(entry, UPDATES, VERSIONS, [BOB])


def instead(document_id: str) -> Whole:
    whole = aside(document_id)
    return whole._replace(entry=whole.entry._replace(document_id=document_id))


def numbers(store: Store, document_id: str) -> list[int]:
    return [version.id for version in store.versions(document_id)]


def again(document_id: str) -> list[Record]:
    """What can be stored of documents that there are."""
    return [Record(document_id, "e1", update, False) for update in UPDATES[6:]]


METHODS: dict[str, Callable[[Store, str], Call]] = {
    "append": lambda _, name: ("append", [records(name)], {}),
    "append_again": lambda _, name: ("append", [again(name)], {}),
    "note_people": lambda _, name: ("note_people", [[Notes(name, "e1", [Person("u3", "C", 3e9), ALICE])], 2], {}),
    "delete": lambda _, name: ("delete", [name], {}),
    "write": lambda _, name: ("write", [aside(name)], {}),
    "replace": lambda _, name: ("write", [instead(name)], {"replace": True}),
    "save_version": lambda _, name: ("save_version", [name, "e1", b"\0\0"], {}),
    "delete_version": lambda store, name: ("delete_version", [name, numbers(store, name)[0]], {}),
    "prune_versions": lambda _, name: ("prune_versions", [name, 1], {}),
    "quarantine": lambda _, name: ("quarantine", [name, "to be looked at"], {}),
    "release": lambda _, name: ("release", [name], {}),
    "notify": lambda _, name: ("notify", [name], {}),
}


def test_the_list_of_methods_is_complete() -> None:
    questions = {"load", "people", "list", "describe", "read", "versions", "read_version", "notices", "snapshot"}
    others = {"compact", "another", "check", "close"}
    assert (METHODS.keys() - {"replace", "append_again"}) | questions | others == Store.__abstractmethods__


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_killed_has_taken_effect_as_a_whole_or_not_at_all(
    url: str, victims: Victims, method: str
) -> None:
    """At each point; the document goes on afterwards."""
    outcomes = []
    with opened(url) as store:
        for at in itertools.count():
            name = f"document {at}"
            put(store, name, "to be looked at" if method == "release" else None)
            if method == "append_again":
                for update in UPDATES[4:6]:
                    assert not store.append([Record(name, "e1", update, False)])
            before, call = state(store, name), METHODS[method](store, name)
            store.close()  # so that whoever comes next has to clear up
            code = victims.run(url, at, call)
            outcomes.append(state(store, name))
            go_on(store, name)
            go_on(store, f"{name} beside")
            if not code:
                break
            assert code == KILLED
    after = outcomes[-1]
    done = outcomes.index(after)
    assert outcomes == [before] * done + [after] * (len(outcomes) - done)
    assert done > 2 and len(outcomes) > done + 1, "killed before it and after it"


def test_a_compaction_that_is_killed_leaves_the_document_as_it_was(url: str, victims: Victims) -> None:
    """At each point; and when the missing part comes, everything is there."""
    outcomes = []
    with opened(url) as store:
        for at in itertools.count():
            name = f"document {at}"
            put(store, name)
            before = content(updates_of(store, name))
            store.close()
            code = victims.run(url, at, ("compact", [name, "e1"], {}))
            entry = store.describe(name)
            assert entry is not None
            outcomes.append(entry.records)
            assert content(updates_of(store, name)) == before
            assert not store.append([Record(name, "e1", update, False) for update in (UPDATES[3], UPDATES[6])])
            assert store.compact(name, "e1")
            assert content(updates_of(store, name)) == content(UPDATES[:7])
            assert len(updates_of(store, name)) == 1
            if not code:
                break
            assert code == KILLED
    done = outcomes.index(1)
    assert outcomes == [5] * done + [1] * (len(outcomes) - done)
    assert done > 10 and len(outcomes) > done + 1, "killed before it and after it"


def test_compactions_that_are_killed_one_after_another_leave_the_document_as_it_was(url: str, victims: Victims) -> None:
    """Of one document, which is edited in between."""
    editor = Editor()
    with opened(url) as store:
        assert not store.append([Record("doc", "e1", editor.type("x"), True)])
        for at in itertools.count():
            assert not store.append([Record("doc", "e1", editor.insert(at // 2, "y"), False)])
            if at % 3:
                assert not store.append([Record("doc", "e1", editor.delete(0, 1), False)])
            store.close()
            code = victims.run(url, at, ("compact", ["doc", "e1"], {}))
            reader = Editor()
            for update in updates_of(store, "doc"):
                reader.doc.apply_update(update)
            assert (str(reader), reader.clocks) == (str(editor), editor.clocks)
            if not code:
                break
            assert code == KILLED
    assert at > 10


@pytest.mark.parametrize("after", [1, 8, 60])
def test_what_had_been_appended_before_the_kill_is_there(url: str, victims: Victims, after: int) -> None:
    """Wherever that was, also within a commit: each call that returned, and of the one at work both records or none."""
    updates = [bytes((0, 0, number, part)) * 2500 for number in range(200) for part in range(2)]
    calls: list[Call] = [
        ("append", [[Record("doc", "e1", update, True) for update in updates[at : at + 2]]], {})
        for at in range(0, len(updates), 2)
    ]
    returned = victims.kill(url, after, calls)
    assert after <= returned < len(calls)
    with opened(url) as store:
        found = updates_of(store, "doc")
        assert found == updates[: len(found)]
        assert len(found) in (2 * returned, 2 * returned + 2)
        assert not store.append([Record("doc", "e1", b"\0\0", False)])


def clear(ask: Ask) -> None:
    """Take all tables away."""
    tables = ("people", "notices", "versions", "arrivals", "updates", "documents", "meta")
    ask(";".join(f"DROP TABLE IF EXISTS collab_{table}" for table in tables))


def test_tables_whose_making_is_killed_are_made_by_the_next(url: str, ask: Ask, victims: Victims) -> None:
    for at in itertools.count():
        clear(ask)
        code = victims.run(url, at, ("check", [], {}), opened=False)
        with opened(url) as store:
            put(store, "doc")
            assert len(store.versions("doc")) == 4 and len(store.people("doc")) == 2
        if not code:
            break
        assert code == KILLED
    assert at > 20


def test_a_migration_that_is_killed_is_made_by_the_next(
    url: str, ask: Ask, victims: Victims, version_1: Callable[[], Editor], tables: Callable[[], set[str]]
) -> None:
    versions = []
    made = {1: {"documents", "meta", "updates", "versions"}}
    made[schema.VERSION] = made[1] | {"people", "notices"} | ({"arrivals"} if url.startswith("sqlite") else set())
    for at in itertools.count():
        clear(ask)
        editor = version_1()
        code = victims.run(url, at, ("check", [], {}), opened=False)
        [(version,)] = ask("SELECT value FROM collab_meta")
        versions.append(int(version))
        assert {name.removeprefix("collab_") for name in tables() if "collab" in name} == made[versions[-1]]
        with opened(url) as store:
            assert content(updates_of(store, "doc")) == content([editor.doc.get_update()])
            [kept] = store.versions("doc")
            assert store.read_version("doc", kept.id) == editor.doc.get_update()
            store.note_people([Notes("doc", "e1", [ALICE])], 2)
            assert store.people("doc") == [ALICE]
            go_on(store, "doc")
        if not code:
            break
        assert code == KILLED
    done = versions.index(schema.VERSION)
    assert versions == [1] * done + [schema.VERSION] * (len(versions) - done)
    assert done > 10 and len(versions) > done + 1, "killed before it and after it"


def test_what_had_been_appended_before_the_server_was_killed_is_there_when_it_is_back(own_postgres: PostgreSQL) -> None:
    url = own_postgres.new_database()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)
    updates = [bytes((0, 0, number)) * 2500 for number in range(256)]
    returned: list[bytes] = []
    enough = Event()

    def append(store: Store) -> None:
        for update in itertools.cycle(updates):
            try:
                assert not store.append([Record("doc", "e1", update, True)])
            except StoreError:
                return
            finally:
                enough.set()
            returned.append(update)

    with opened(url) as store, engine.connect() as somebody:
        assert not store.append([Record("other", "e1", b"\0\0", True)])
        assert store.load("other")
        somebody.execute(text("UPDATE collab_documents SET epoch = 'e2' WHERE name = 'other'"))
        with closing(open_store(url)) as another:
            thread = Thread(target=append, args=(another,))
            thread.start()
            enough.wait()
            own_postgres.stop(signal.SIGQUIT)
            thread.join()
            with pytest.raises(StoreError, match="COLLAB_STORE"):
                store.load("other")
            own_postgres.start()
            assert returned
            found = updates_of(store, "doc")
            assert found[: len(returned)] == returned
            assert len(found) <= len(returned) + 1, "the last may have been stored without an answer"
            entry = store.describe("other")
            assert entry is not None and entry.epoch == "e1", "what was at work has not taken place"
            for each in (store, another):
                go_on(each, "other")
        somebody.invalidate()
