"""What `collab.stores.base` promises, asked of every store there is.

What only a database can do wrong, with several at work on it or its bytes changed under it, is asked of those alone:
there is one memory store, it never waits, and so nothing can come in between.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pycrdt
import pytest
from commandline import entry_of, opened, updates_of
from histories import History
from postgres import PostgreSQL
from sqlalchemy import event
from ydocs import Editor, clocks

from collab.content import to_json
from collab.errors import Damaged, Exists, Quarantined, StoreError
from collab.stores import sql
from collab.stores.base import NOTICE_AGE, Entry, Loaded, Notes, Person, Record, Store, Version, Whole
from collab.stores.sqlshelf import PAGE
from collab.updates import settle, squash

Ask = Callable[..., Sequence[Any]]
AtOnce = Callable[..., list[Any]]
Change = Callable[[Store], object]

ALICE = Person("u1", "Alice", 1_700_000_000.25)
BOB = Person("u2", "Bob", 1_700_000_100.5)


class Clock:
    """The time as stores see it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.125

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("memory", "rows", "sql", "sqlshelf"):
        monkeypatch.setattr(f"collab.stores.{module}.unix", clock)
    return clock


@pytest.fixture
def other(database: Store) -> Iterator[Store]:
    """One more on the same database."""
    with closing(database.another()) as other:
        yield other


def begin(store: Store, document_id: str = "doc", *updates: bytes, epoch: str = "e1") -> None:
    """Make a document of updates, or of a text."""
    records = [Record(document_id, epoch, update, True) for update in updates or [Editor().type("text")]]
    assert not store.append(records)


def letters(text: str) -> list[bytes]:
    """A text as it is typed: an update for each letter."""
    editor = Editor()
    return [editor.type(letter) for letter in text]


def whole_of(store: Store, document_id: str = "doc") -> Whole:
    whole = store.read(document_id)
    assert whole is not None
    return whole


def save(store: Store, content: bytes, name: str | None = None, document_id: str = "doc") -> Version:
    version = store.save_version(document_id, "e1", content, name)
    assert version is not None
    return version


def text_of(updates: Sequence[bytes]) -> str:
    """The text of the document that updates make."""
    reader = Editor()
    for update in updates:
        reader.doc.apply_update(update)
    return str(reader)


def content(updates: Sequence[bytes]) -> tuple[dict[str, Any], dict[int, int]]:
    """The document that updates make: what it shows, and what it knows of.

    They are joined first: of updates that come too early one by one, yrs loses some.
    """
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(pycrdt.merge_updates(*updates))
    return to_json(doc.get_update()), clocks(doc.get_state())


def numberless(whole: Whole) -> Whole:
    """All of it but the numbers of versions, which each store gives."""
    return whole._replace(versions=[(version._replace(id=0), data) for version, data in whole.versions])


def everything(store: Store) -> list[tuple[Whole | None, Sequence[Version]]]:
    """All that a store has but notices."""
    ids = [entry.document_id for entry in store.list()]
    return [(store.read(document_id), store.versions(document_id)) for document_id in ids]


def noticed(store: Store) -> list[str]:
    """Whom there are notices of, in their order."""
    return [document_id for _, document_id in sorted(store.notices())]


class Steps(History):
    """A history that keeps what each edit says."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.updates: list[bytes] = []

    def _step(self, doc: pycrdt.Doc[Any]) -> None:
        before = doc.get_state()
        super()._step(doc)
        self.updates.append(doc.get_update(before))


# ---- load and append


def test_there_is_nothing_to_load_of_a_document_that_does_not_exist(store: Store) -> None:
    begin(store, "another")
    assert store.load("doc") is None


def test_what_was_appended_is_loaded_in_its_order(store: Store) -> None:
    one, two, three, four, five = letters("order")
    assert store.append([Record("doc", "e1", one, True), Record("doc", "e1", two, True)]) == frozenset()
    assert store.append([Record("doc", "e1", three, False)]) == frozenset()
    assert store.append([Record("doc", "e1", four, True), Record("doc", "e1", five, False)]) == frozenset()
    loaded = store.load("doc")
    assert loaded is not None
    assert (loaded.epoch, list(loaded.updates)) == ("e1", [one, two, three, four, five])


def test_what_was_appended_is_there_when_the_store_was_closed(store: Store) -> None:
    begin(store, "doc", *letters("abc"))
    store.close()
    store.close()
    with closing(store.another()) as again:
        assert text_of(updates_of(again)) == "abc"
    assert text_of(updates_of(store)) == "abc", "the next call opens it again"


def test_a_record_makes_a_document_only_if_it_is_new(store: Store) -> None:
    assert store.append([Record("doc", "e1", b"\0\0", False)]) == {"doc"}
    assert store.describe("doc") is None


def test_one_append_tells_what_is_stored_from_what_is_gone(store: Store) -> None:
    for document_id in ("kept", "replaced", "renewed", "locked", "deleted"):
        begin(store, document_id)
    store.quarantine("locked", "to be looked at")
    store.delete("deleted")
    records = [
        Record("deleted", "e1", b"\0\0", False),
        Record("kept", "e1", b"\0\0", False),
        Record("replaced", "e0", b"\0\0", False),
        Record("new", "e7", b"\0\0", True),
        Record("renewed", "e0", b"\0\0", True),
        Record("locked", "e1", b"\0\0", False),
        Record("kept", "e1", b"\0\0", True),
        Record("new", "e7", b"\0\0", True),
    ]
    assert store.append(records) == {"deleted", "replaced", "renewed", "locked"}
    counts = {entry.document_id: (entry.epoch, entry.records) for entry in store.list()}
    assert counts == {
        "kept": ("e1", 3),
        "locked": ("e1", 1),
        "new": ("e7", 2),
        "renewed": ("e1", 1),
        "replaced": ("e1", 1),
    }


def test_an_append_of_nothing_does_nothing(store: Store) -> None:
    assert store.append([]) == frozenset()
    assert list(store.list()) == []


def test_what_was_appended_twice_is_the_same_document(store: Store) -> None:
    """As after an error that left open whether it had taken effect."""
    records = [Record("doc", "e1", update, True) for update in letters("once")]
    assert not store.append(records)
    assert not store.append(records)
    assert text_of(updates_of(store)) == "once"


def test_one_append_takes_more_documents_than_one_question_can_name(
    database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MANY", 7)
    names = [f"doc{number}" for number in range(40)]
    assert not database.append([Record(name, "e1", b"\0\0", True) for name in names])
    assert not database.append([Record(name, "e1", b"\0\0", False) for name in names])
    assert {entry.records for entry in database.list()} == {2}


def test_one_append_to_sqlite_takes_more_documents_than_it_takes_values(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/collab.db") as store:
        store.check()
        assert raw(store).setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999) > 999
        records = [Record(f"doc{number}", "e1", b"\0\0", True) for number in range(1100)]
        assert not store.append(records)
        assert len(list(store.list())) == 1100


def test_an_update_of_many_megabytes_comes_back_as_it_is(store: Store) -> None:
    editor = Editor()
    large = editor.type("".join(map(chr, range(32, 127))) * 60_000)
    assert len(large) > 5_000_000
    begin(store, "doc", large, editor.type("the end"))
    save(store, large)
    assert updates_of(store)[0] == large
    assert store.compact("doc", "e1")
    assert text_of(updates_of(store)) == str(editor)
    assert store.read_version("doc", store.versions("doc")[0].id) == large


def test_of_two_who_begin_a_document_the_first_has_it(store: Store) -> None:
    with closing(store.another()) as other:
        assert store.load("doc") is other.load("doc") is None
        mine, theirs = Editor().type("mine"), Editor().type("theirs")
        assert other.append([Record("doc", "theirs", theirs, True)]) == frozenset()
        assert store.append([Record("doc", "mine", mine, True), Record("else", "e1", mine, True)]) == {"doc"}
        loaded = store.load("doc")
        assert loaded is not None
        assert (loaded.epoch, list(loaded.updates)) == ("theirs", [theirs])


def test_of_those_who_begin_a_document_at_the_same_moment_one_has_it(
    database: Store, other: Store, at_once: AtOnce
) -> None:
    stores = {"mine": database, "theirs": other}
    for number in range(10):
        name = f"doc{number}"

        def attempt(epoch: str, name: str = name) -> frozenset[str]:
            updates = letters(epoch)
            return stores[epoch].append([Record(name, epoch, update, True) for update in updates])

        gone = dict(zip(stores, at_once(lambda: attempt("mine"), lambda: attempt("theirs")), strict=True))
        assert sorted(gone.values(), key=len) == [frozenset(), {name}]
        loaded = database.load(name)
        assert loaded is not None and not gone[loaded.epoch]
        assert text_of(loaded.updates) == loaded.epoch


def test_those_who_append_to_the_same_documents_wait_for_each_other_and_do_not_fail(
    database: Store, other: Store, at_once: AtOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MANY", 2)
    names = [f"doc{number}" for number in range(12)]
    for name in reversed(names):  # so that the order of their names is not that in which they were made
        begin(database, name)
    rounds = 40

    def write(store: Store, seed: int) -> None:
        random = Random(seed)
        for _ in range(rounds):
            assert not store.append([Record(name, "e1", b"\0\0", False) for name in random.sample(names, 6)])
            store.note_people([Notes(name, "e1", [ALICE]) for name in random.sample(names, 6)], 5)

    at_once(lambda: write(database, 1), lambda: write(other, 2))
    assert sum(entry.records for entry in database.list()) == len(names) + 2 * 6 * rounds


def test_the_time_of_a_document_that_has_no_version_is_when_it_was_made(store: Store, clock: Clock) -> None:
    made = clock.now
    begin(store)
    clock.now += 60
    begin(store)
    assert store.load("doc") == Loaded("e1", updates_of(store), made)
    clock.now += 60
    save(store, b"\0\0")
    first = clock.now
    clock.now += 60
    loaded = store.load("doc")
    assert loaded is not None and loaded.versioned == first
    save(store, b"\0\0", "named")
    loaded = store.load("doc")
    assert loaded is not None and loaded.versioned == clock.now


# ---- compaction


def test_a_compacted_document_is_the_same(store: Store) -> None:
    """Also where something builds on what is missing, and when that comes at last."""
    pending = 0
    for seed in range(25):
        random = Random(seed)
        history = Steps(random)
        history.edit(30)
        late = random.sample(history.updates, random.randint(0, 3))
        early = [update for update in history.updates if update not in late]
        name = f"seed {seed}"
        begin(store, name, *early)
        before = content(early)
        pending += settle(early).rest is not None
        size = store.compact(name, "e1")
        after = updates_of(store, name)
        assert [len(update) for update in after] == [size]
        assert content(after) == before
        if late:
            begin(store, name, *late)
            assert store.compact(name, "e1")
        assert content(updates_of(store, name)) == content([*early, *late])
        assert content(updates_of(store, name))[0] == to_json(history.version())
    assert pending > 5


def test_compactions_again_and_again_between_edits_lose_nothing(store: Store) -> None:
    history = Steps(Random(7))
    for _ in range(12):
        history.edit(6)
        begin(store, "doc", *history.updates[-6:])
        assert store.compact("doc", "e1")
        assert content(updates_of(store))[0] == to_json(history.version())


def test_a_compaction_leaves_out_what_was_deleted(store: Store) -> None:
    editor = Editor()
    begin(store, "doc", editor.type("secret" * 100), editor.delete(0, 600), editor.type("known"))
    size = store.compact("doc", "e1")
    assert size is not None and size < 100
    assert text_of(updates_of(store)) == "known"
    assert b"secret" not in updates_of(store)[0]


def test_what_builds_on_a_missing_part_is_kept_until_that_is_there(store: Store) -> None:
    first, second, third = letters("abc")
    begin(store, "doc", second, third)
    assert store.compact("doc", "e1")
    assert text_of(updates_of(store)) == ""
    begin(store, "doc", first)
    assert text_of(updates_of(store)) == "abc"
    assert store.compact("doc", "e1")
    assert text_of(updates_of(store)) == "abc"


def test_a_document_of_one_update_is_compacted_already(store: Store) -> None:
    begin(store)
    kept = updates_of(store)
    assert store.compact("doc", "e1") is None
    assert updates_of(store) == kept
    begin(store)
    assert store.compact("doc", "e1") is not None
    assert store.compact("doc", "e1") is None


def test_a_document_that_is_gone_or_of_another_epoch_or_in_quarantine_is_not_compacted(store: Store) -> None:
    begin(store, "doc", *letters("abc"))
    assert store.compact("another", "e1") is None
    assert store.compact("doc", "e0") is None
    store.quarantine("doc", "to be looked at")
    assert store.compact("doc", "e1") is None
    assert entry_of(store).records == 3
    store.release("doc")
    assert store.compact("doc", "e1") is not None


def test_a_compaction_does_not_count_as_a_change(store: Store, clock: Clock) -> None:
    begin(store, "doc", *letters("abc"))
    before = entry_of(store)
    clock.now += 60
    size = store.compact("doc", "e1")
    assert size is not None
    assert entry_of(store) == before._replace(records=1, size=size)


def test_updates_that_cannot_be_read_are_not_compacted(store: Store) -> None:
    begin(store, "doc", *letters("ab"), b"\xff\xff\xff")
    kept = updates_of(store)
    with pytest.raises(Damaged):
        store.compact("doc", "e1")
    assert updates_of(store) == kept


def test_damaged_updates_are_not_compacted(database: Store, ask: Ask) -> None:
    begin(database, "doc", *letters("abc"))
    flip(ask, "collab_updates", 1)
    before = whole_of(database)
    with pytest.raises(Damaged, match="'doc'"):
        database.compact("doc", "e1")
    assert whole_of(database) == before


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once while a compaction has read a document and not written it."""
    acts = [act]

    def interrupted(updates: Sequence[bytes]) -> bytes:
        if acts:
            acts.pop()()
        return squash(updates)

    monkeypatch.setattr(sql, "squash", interrupted)


def test_what_others_append_while_one_compacts_stays(
    database: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, fourth = letters("abcd")
    begin(database, "doc", first, second)
    between(monkeypatch, lambda: begin(other, "doc", third, fourth))
    assert database.compact("doc", "e1")
    kept = updates_of(database)
    assert kept[1:] == [third, fourth] or kept[:-1] == [third, fourth]
    assert text_of(kept) == "abcd"


def test_of_two_compactions_at_once_one_takes_place(
    database: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database, "doc", *letters("abc"))
    between(monkeypatch, lambda: other.compact("doc", "e1"))
    assert database.compact("doc", "e1") is None
    assert len(updates_of(database)) == 1
    assert text_of(updates_of(database)) == "abc"


def test_a_compaction_leaves_a_document_alone_that_was_put_into_quarantine_meanwhile(
    database: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database, "doc", *letters("abc"))
    between(monkeypatch, lambda: other.quarantine("doc", "to be looked at"))
    assert database.compact("doc", "e1") is None
    assert entry_of(database).records == 3


def test_a_compaction_leaves_a_document_alone_that_was_deleted_and_begun_again_meanwhile(
    database: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = letters("again")

    def replace() -> None:
        other.delete("doc")
        begin(other, "doc", *again)

    begin(database, "doc", *letters("abc"))
    between(monkeypatch, replace)
    assert database.compact("doc", "e1") is None
    assert updates_of(database) == again


def test_a_compaction_leaves_a_document_alone_that_was_replaced_meanwhile(
    database: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database, "doc", *letters("abc"))
    whole = whole_of(database)
    between(monkeypatch, lambda: other.write(whole, replace=True))
    assert database.compact("doc", "e1") is None
    assert updates_of(database) == whole.updates


def test_nothing_is_lost_by_those_who_compact_and_append_at_the_same_time(
    database: Store, other: Store, at_once: AtOnce
) -> None:
    updates = letters("x" * 60)
    begin(database, "doc", updates[0])

    def append() -> None:
        for update in updates[1:]:
            assert not database.append([Record("doc", "e1", update, False)])

    def compact(store: Store) -> int:
        return sum(store.compact("doc", "e1") is not None for _ in range(20))

    with closing(database.another()) as third:
        _, *counts = at_once(append, lambda: compact(other), lambda: compact(third))
    assert sum(counts)
    assert text_of(updates_of(database)) == "x" * 60


def test_a_document_can_be_deleted_while_it_is_compacted(
    database: Store, other: Store, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both want the document and its updates: who takes them in another order waits for the other for ever."""
    begin(database, "doc", *letters("abc"))
    deletion = Thread(target=other.delete, args=("doc",))
    engine = database._database._engine  # type: ignore[attr-defined]

    def on_statement(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("DELETE FROM collab_updates"):
            deletion.start()
            if engine.dialect.name == "postgresql":
                while not somebody_waits(ask) and deletion.is_alive():
                    pass

    event.listen(engine, "after_cursor_execute", on_statement)
    assert database.compact("doc", "e1")
    deletion.join()
    assert database.load("doc") is None


def somebody_waits(ask: Ask) -> bool:
    """Whether somebody waits for somebody else in this database."""
    found = ask(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return bool(found)


# ---- people


def test_who_was_in_a_document_is_told_last_seen_first(store: Store) -> None:
    begin(store)
    begin(store, "another")
    assert store.people("doc") == []
    store.note_people([Notes("doc", "e1", [ALICE, BOB]), Notes("another", "e1", [BOB])], 10)
    assert store.people("doc") == [BOB, ALICE]
    assert store.people("another") == [BOB]
    again = ALICE._replace(user_name="Alice Liddell", seen=BOB.seen + 1)
    store.note_people([Notes("doc", "e1", [again])], 10)
    assert store.people("doc") == [again, BOB]


def test_of_many_people_those_seen_last_are_remembered(store: Store) -> None:
    begin(store)
    people = [Person(f"u{number}", "name", 1000.0 + number) for number in range(6)]
    store.note_people([Notes("doc", "e1", people)], 4)
    assert store.people("doc") == people[:1:-1]
    late = Person("late", "name", 2000.0)
    store.note_people([Notes("doc", "e1", [late])], 4)
    assert store.people("doc") == [late, *people[:2:-1]]


def test_nobody_is_noted_where_the_document_is_gone_or_of_another_epoch(store: Store) -> None:
    begin(store)
    begin(store, "another")
    notes = [Notes("doc", "e0", [ALICE]), Notes("none", "e1", [ALICE]), Notes("another", "e1", [ALICE])]
    store.note_people(notes, 10)
    assert store.people("doc") == store.people("none") == []
    assert store.people("another") == [ALICE]


def test_notes_of_the_same_document_are_all_taken(store: Store) -> None:
    begin(store)
    later = BOB._replace(seen=BOB.seen + 1)
    notes = [[ALICE], [BOB, later], []]
    store.note_people((Notes("doc", epoch, people) for epoch, people in zip(("e1", "e1", "e0"), notes, strict=True)), 5)
    assert store.people("doc") == [later, ALICE]


def test_people_have_any_names(store: Store) -> None:
    begin(store)
    people = [Person(name, name, float(number)) for number, name in enumerate(NAMES)]
    store.note_people([Notes("doc", "e1", people)], len(people))
    assert store.people("doc") == people[::-1]


# ---- lists


NAMES = (
    "a",
    "A",
    "a/b/../c",
    "a/b",
    " leading",
    "trailing ",
    "trailing",
    "100%",
    "100 percent",
    "a_b",
    "axb",
    "%",
    "_",
    "*",
    "it's",
    '"quoted"',
    "x'; DROP TABLE collab_documents; --",
    "\\",
    "a\\b",
    "?:name",
    "%(name)s",
    "{}",
    "é",
    "e\u0301",
    "ß",
    "Straße",
    "😀",
    "👍🏽",
    "👨\u200d👩\u200d👧",
    "漢字",
    "\ufeffbom",
    "\uffff",
    "\U0010ffff",
    "\u202eright to left",
    "a\u00a0b",
    ".",
    "0",
    "00",
    "z" * 255,
    "😀" * 255,
)
"""Among them pairs that are alike for a language, for LIKE or for UTF-16, and are not the same."""


def test_names_are_any_characters_and_each_is_a_document_of_its_own(store: Store) -> None:
    for name in NAMES:
        assert not store.append([Record(name, name, name.encode(), True)])
    for name in NAMES:
        loaded, entry = store.load(name), store.describe(name)
        assert loaded is not None and (loaded.epoch, list(loaded.updates)) == (name, [name.encode()])
        assert entry is not None and entry.document_id == name
        version = store.save_version(name, name, name.encode(), name)
        assert version is not None and store.versions(name) == [version]
        store.notify(name)
    assert noticed(store) == list(NAMES)
    assert [entry.document_id for entry in store.list()] == sorted(NAMES), "by code point"
    for name in NAMES:
        for prefix in {name, name[:1], name[:2], name + "x"}:
            expected = [other for other in sorted(NAMES) if other.startswith(prefix)]
            assert [entry.document_id for entry in store.list(prefix)] == expected, prefix
    for name in NAMES:
        assert store.delete(name)
        assert store.load(name) is None
    assert list(store.list()) == []


def test_an_entry_says_what_there_is_of_a_document(store: Store, clock: Clock) -> None:
    assert store.describe("doc") is None
    made = clock.now
    begin(store, "doc", b"\0\0", b"\0\0\0")
    begin(store, "another")
    assert store.describe("doc") == Entry("doc", "e1", made, made, 2, 5, 0, None)
    clock.now += 60.5
    begin(store, "doc", b"\0\0")
    save(store, b"\0" * 100)
    save(store, b"\0" * 100)
    store.quarantine("doc", "to be looked at")
    entry = Entry("doc", "e1", made, clock.now, 3, 7, 2, "to be looked at")
    assert store.describe("doc") == entry
    assert list(store.list("doc")) == [entry]
    assert [found.document_id for found in store.list()] == ["another", "doc"]


def test_a_list_is_read_as_it_is_asked_for(store: Store) -> None:
    names = [f"doc{number:04}" for number in range(2 * PAGE + 10)]
    assert not store.append([Record(name, "e1", b"\0\0", True) for name in names])
    entries = store.list("doc")
    found = [next(entries).document_id]
    store.delete(names[-1])
    store.delete(names[0])
    begin(store, "else")
    found += [entry.document_id for entry in entries]
    assert found == names[:-1]


# ---- whole documents


def fill(store: Store, document_id: str = "doc") -> None:
    """Make a document that has some of everything."""
    begin(store, document_id, *letters("abc"))
    save(store, b"\0\0", None, document_id)
    save(store, b"\0\0\0", "named", document_id)
    store.note_people([Notes(document_id, "e1", [ALICE, BOB])], 10)


def test_a_deleted_document_is_gone_with_all_that_it_had(store: Store) -> None:
    fill(store)
    fill(store, "another")
    before = whole_of(store, "another")
    [version, _] = store.versions("doc")
    assert store.delete("doc")
    assert not store.delete("doc")
    assert not store.delete("never there")
    assert [store.load("doc"), store.describe("doc"), store.read("doc")] == [None] * 3
    begin(store)
    assert (store.versions("doc"), store.people("doc"), entry_of(store).records) == ([], [], 1)
    assert store.read_version("doc", version.id) is None
    assert whole_of(store, "another") == before
    assert noticed(store) == ["doc"]


def test_a_deleted_document_leaves_no_row(database: Store, ask: Ask) -> None:
    fill(database)
    for table in ("documents", "updates", "versions", "people"):
        assert ask(f"SELECT 1 FROM collab_{table}")
    database.delete("doc")
    for table in ("documents", "updates", "versions", "people"):
        assert not ask(f"SELECT 1 FROM collab_{table}")


def test_all_that_there_is_of_a_document_can_be_read(store: Store, clock: Clock) -> None:
    assert store.read("doc") is None
    begin(store, "doc", *letters("abc"))
    first, second = save(store, b"\0\0"), save(store, b"\0\0\0", "named")
    store.note_people([Notes("doc", "e1", [ALICE, BOB])], 10)
    versions = [(second, b"\0\0\0"), (first, b"\0\0")]
    assert store.read("doc") == Whole(entry_of(store), updates_of(store), versions, [BOB, ALICE])
    store.quarantine("doc", "to be looked at")
    assert whole_of(store).entry.quarantine == "to be looked at"
    assert len(whole_of(store).updates) == 3


@pytest.mark.parametrize("quarantined", [False, True])
@pytest.mark.parametrize("place", ["memory:", "sqlite:///{folder}/else.db"])
def test_what_was_read_can_be_written_elsewhere_and_is_the_same(
    store: Store, place: str, quarantined: bool, tmp_path: Path, clock: Clock
) -> None:
    fill(store)
    if quarantined:
        store.quarantine("doc", "to be looked at")
    whole = whole_of(store)
    with opened(place.format(folder=tmp_path)) as elsewhere:
        elsewhere.write(whole)
        assert numberless(whole_of(elsewhere)) == numberless(whole)
        assert noticed(elsewhere) == ["doc"]
        elsewhere.delete("doc")
        store.delete("doc")
        clock.now += 601.0
        elsewhere.write(whole)
        store.write(whole_of(elsewhere))
    assert numberless(whole_of(store)) == numberless(whole)
    assert [version for version, _ in whole_of(store).versions] == store.versions("doc")


def test_a_document_without_updates_can_be_written(store: Store) -> None:
    fill(store)
    whole = whole_of(store)
    store.write(Whole(whole.entry._replace(document_id="empty", records=0, size=0), [], [], []))
    assert updates_of(store, "empty") == []
    assert store.compact("empty", "e1") is None
    store.write(whole._replace(entry=whole.entry._replace(document_id="damaged"), updates=[None, whole.updates[1]]))
    assert updates_of(store, "damaged") == [whole.updates[1]]


def test_a_document_takes_the_place_of_another_only_if_that_is_said(store: Store) -> None:
    fill(store)
    whole = whole_of(store)
    begin(store, "doc", *letters("later"))
    before = everything(store)
    with pytest.raises(Exists, match="'doc'"):
        store.write(whole)
    assert everything(store) == before
    assert noticed(store) == []


def test_a_document_that_takes_the_place_of_another_has_an_epoch_of_its_own(store: Store) -> None:
    fill(store)
    whole = whole_of(store)
    epochs = {"e1"}
    for _ in range(3):
        old = entry_of(store).epoch
        assert not store.append([Record("doc", old, b"\0\0", False)])
        store.write(whole, replace=True)
        epochs.add(entry_of(store).epoch)
        assert store.append([Record("doc", old, b"\0\0", False)]) == {"doc"}, "whoever has the old one open"
        assert store.save_version("doc", old, b"\0\0") is None
    assert len(epochs) == 4
    epoch = entry_of(store).epoch
    assert numberless(whole_of(store)) == numberless(whole._replace(entry=whole.entry._replace(epoch=epoch)))
    assert noticed(store) == ["doc"] * 3


def test_a_document_that_takes_no_place_keeps_its_epoch_unless_somebody_may_have_it_open(
    store: Store, clock: Clock
) -> None:
    fill(store)
    whole = whole_of(store)
    store.delete("doc")
    store.write(whole, replace=True)
    other = entry_of(store).epoch
    assert other != "e1", "who still has e1 open must not add to what this lacks"
    store.delete("doc")
    clock.now += 601.0
    store.write(whole)
    assert entry_of(store).epoch == "e1"


CHANGES: dict[str, Change] = {
    "append": lambda store: store.append([Record("new", "e1", b"\0\0", True)]),
    "compact": lambda store: store.compact("doc", "e1"),
    "note_people": lambda store: store.note_people([Notes("doc", "e1", [Person("u3", "Carol", 1.0)])], 10),
    "delete": lambda store: store.delete("doc"),
    "write": lambda store: store.write(
        Whole(Entry("new", "e1", 1.0, 1.0, 1, 2, 0, None), [b"\0\0"], [], []),
    ),
    "replace": lambda store: store.write(
        Whole(Entry("doc", "e1", 1.0, 1.0, 1, 2, 0, None), [b"\0\0"], [], []), replace=True
    ),
    "save_version": lambda store: store.save_version("doc", "e1", b"\0\0"),
    "delete_version": lambda store: store.delete_version("doc", store.versions("doc")[0].id),
    "prune_versions": lambda store: store.prune_versions("doc", 0),
    "quarantine": lambda store: store.quarantine("doc", "to be looked at"),
    "release": lambda store: store.release("locked"),
    "notify": lambda store: store.notify("doc"),
}
QUESTIONS: dict[str, Change] = {
    "load": lambda store: store.load("doc"),
    "people": lambda store: store.people("doc"),
    "list": lambda store: list(store.list()),
    "describe": lambda store: store.describe("doc"),
    "read": lambda store: store.read("doc"),
    "versions": lambda store: store.versions("doc"),
    "read_version": lambda store: store.read_version("doc", 1),
    "notices": lambda store: store.notices(),
}


def filled(store: Store) -> None:
    """A document of everything, and one in quarantine."""
    fill(store)
    fill(store, "locked")
    store.quarantine("locked", "to be looked at")


def seen(store: Store) -> list[object]:
    """All that a store answers."""
    return [everything(store), sorted(store.notices())]


def test_the_list_of_methods_is_complete() -> None:
    others = {"snapshot", "another", "check", "close"}
    assert (CHANGES.keys() - {"replace"}) | QUESTIONS.keys() | others == Store.__abstractmethods__


@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_is_not_changed_by_later_writes(store: Store, change: str) -> None:
    filled(store)
    before = seen(store)
    [version, _] = store.versions("doc")
    loaded, listed = store.load("doc"), list(store.list())
    with store.snapshot() as view:
        CHANGES[change](store)
        assert seen(store) != before
        assert seen(view) == before
        assert view.load("doc") == loaded
        assert list(view.list()) == listed
        assert view.people("doc") == [BOB, ALICE]
        assert view.read_version("doc", version.id) == b"\0\0\0"
        with pytest.raises(Quarantined):
            view.load("locked")
    assert seen(store) != before


@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_is_for_reading_only(store: Store, change: str) -> None:
    filled(store)
    before = seen(store)
    with store.snapshot() as view:
        with pytest.raises(StoreError, match="reading only"):
            CHANGES[change](view)
        assert seen(view) == seen(store) == before


def test_a_snapshot_is_of_the_moment_at_which_it_begins(store: Store) -> None:
    with store.snapshot() as view:
        begin(store)
        assert view.load("doc") is None
        assert list(view.list()) == []
    with store.snapshot() as view:
        assert view.load("doc") == store.load("doc")


# ---- versions


def test_versions_are_told_the_latest_first(store: Store, clock: Clock) -> None:
    begin(store)
    begin(store, "another")
    assert store.versions("doc") == store.versions("none") == []
    first = save(store, b"\0\0")
    clock.now += 60
    second = save(store, b"\0\0\0", "named")
    elsewhere = save(store, b"\0\0\0\0", None, "another")
    assert first == Version(first.id, None, clock.now - 60, 2)
    assert second == Version(second.id, "named", clock.now, 3)
    assert store.versions("doc") == [second, first]
    assert store.read_version("doc", first.id) == b"\0\0"
    assert store.read_version("doc", second.id) == b"\0\0\0"
    assert store.read_version("doc", elsewhere.id) is None, "it is another document's"
    assert store.read_version("doc", elsewhere.id + 1) is None
    assert store.read_version("none", first.id) is None


def test_no_version_is_saved_of_a_document_that_is_gone(store: Store) -> None:
    begin(store)
    assert store.save_version("none", "e1", b"\0\0") is None
    assert store.save_version("doc", "e0", b"\0\0") is None
    assert store.versions("doc") == store.versions("none") == []


def test_a_version_can_be_forgotten(store: Store) -> None:
    fill(store)
    fill(store, "another")
    [second, first] = store.versions("doc")
    assert not store.delete_version("another", first.id)
    assert not store.delete_version("none", first.id)
    assert store.delete_version("doc", first.id)
    assert not store.delete_version("doc", first.id)
    assert store.read_version("doc", first.id) is None
    assert store.versions("doc") == [second]
    assert len(store.versions("another")) == 2


def test_the_latest_versions_stay_and_those_that_have_a_name(store: Store) -> None:
    begin(store)
    begin(store, "another")
    save(store, b"\0\0", None, "another")
    versions = [save(store, b"\0\0", name) for name in ("first", None, None, "middle", None, None)]
    assert store.prune_versions("doc", 9) == 0
    assert store.prune_versions("doc", 2) == 2
    assert store.prune_versions("doc", 2) == 0
    assert store.versions("doc") == [versions[n] for n in (5, 4, 3, 0)]
    assert store.prune_versions("doc", 0) == 2
    assert [version.name for version in store.versions("doc")] == ["middle", "first"]
    assert store.prune_versions("none", 0) == 0
    assert len(store.versions("another")) == 1


def test_the_number_of_a_version_is_never_used_again(store: Store) -> None:
    begin(store)
    numbers = []
    for _ in range(3):
        numbers.append(save(store, b"\0\0").id)
        assert store.delete_version("doc", numbers[-1])
        store.close()
        numbers.append(save(store, b"\0\0").id)
        assert store.prune_versions("doc", 0) == 1
        numbers.append(save(store, b"\0\0").id)
        store.write(whole_of(store)._replace(entry=entry_of(store)._replace(epoch="e1")), replace=True)
        numbers.append(store.versions("doc")[0].id)
        store.delete("doc")
        begin(store)
    assert numbers == sorted(set(numbers))


# ---- quarantine


def test_a_document_in_quarantine_is_neither_loaded_nor_changed_until_it_is_released(store: Store) -> None:
    begin(store, "doc", *letters("abc"))
    kept = updates_of(store)
    store.quarantine("doc", "the disk was full of holes")
    with pytest.raises(Quarantined, match="the disk was full of holes"):
        store.load("doc")
    assert store.append([Record("doc", "e1", b"\0\0", False)]) == {"doc"}
    assert store.append([Record("doc", "e2", b"\0\0", True)]) == {"doc"}
    assert store.compact("doc", "e1") is None
    assert (entry_of(store).quarantine, entry_of(store).records) == ("the disk was full of holes", 3)
    assert whole_of(store).updates == kept
    assert store.release("doc")
    assert not store.release("doc")
    assert updates_of(store) == kept
    assert not store.append([Record("doc", "e1", b"\0\0", False)])


def test_a_document_that_does_not_exist_has_no_quarantine(store: Store) -> None:
    store.quarantine("doc", "to be looked at")
    assert not store.release("doc")
    assert store.describe("doc") is None
    assert noticed(store) == []


def test_the_end_of_a_quarantine_is_noticed(store: Store) -> None:
    begin(store)
    store.quarantine("doc", "to be looked at")
    before = store.notices()
    store.release("doc")
    assert [document_id for number, document_id in store.notices() if (number, document_id) not in before] == ["doc"]
    again = store.notices()
    store.release("doc")
    assert store.notices() == again


# ---- notices


def test_notices_are_forgotten_after_ten_minutes(store: Store, clock: Clock) -> None:
    assert NOTICE_AGE == 600
    assert store.notices() == []
    store.notify("one")
    clock.now += 599
    store.notify("two")
    store.notify("two")
    assert noticed(store) == ["one", "two", "two"]
    clock.now += 1
    assert noticed(store) == ["two", "two"]
    clock.now += 599
    assert noticed(store) == []


def test_the_number_of_a_notice_is_never_used_again(store: Store, clock: Clock) -> None:
    numbers = []
    for _ in range(4):
        store.notify("doc")
        store.notify("doc")
        numbers += [number for number, _ in sorted(store.notices())]
        clock.now += NOTICE_AGE + 1
        assert store.notices() == []
        store.close()
    assert len(numbers) == 8
    assert numbers == sorted(set(numbers))


def test_notices_that_are_old_take_no_room(database: Store, ask: Ask, clock: Clock) -> None:
    for _ in range(5):
        database.notify("doc")
        clock.now += NOTICE_AGE
    assert len(ask("SELECT 1 FROM collab_notices")) == 1


# ---- damage


def flip(ask: Ask, table: str, offset: int = 0) -> None:
    """Turn one bit of the data of one row."""
    [(row, data), *_] = ask(f"SELECT id, data FROM {table} ORDER BY id")[offset:]
    turned = bytearray(data)
    turned[-1] ^= 1
    ask(f"UPDATE {table} SET data = :data WHERE id = :row", data=bytes(turned), row=row)


def test_a_damaged_update_is_told_from_what_was_stored(database: Store, ask: Ask) -> None:
    updates = letters("abc")
    begin(database, "doc", *updates)
    begin(database, "another")
    flip(ask, "collab_updates", 1)
    with pytest.raises(Damaged, match="'doc'"):
        database.load("doc")
    assert database.load("another")
    assert whole_of(database).updates == [updates[0], None, updates[2]]
    database.write(whole_of(database), replace=True)
    assert updates_of(database) == [updates[0], updates[2]], "damaged updates are left out"


def test_a_damaged_version_is_told_from_what_was_saved(database: Store, ask: Ask) -> None:
    fill(database)
    [second, first] = database.versions("doc")
    flip(ask, "collab_versions")
    with pytest.raises(Damaged, match="'doc'"):
        database.read_version("doc", first.id)
    assert database.read_version("doc", second.id) == b"\0\0\0"
    assert whole_of(database).versions == [(second, b"\0\0\0")]
    assert len(updates_of(database)) == 3, "the document is as it was"


# ---- several at work


def test_another_store_has_the_same_data_and_works_in_another_thread(
    database: Store, other: Store, at_once: AtOnce
) -> None:
    assert other is not database
    updates = letters("x" * 20)

    def write(store: Store, name: str) -> None:
        for update in updates:
            begin(store, name, update)

    at_once(lambda: write(database, "one"), lambda: write(other, "two"))
    assert updates_of(database, "two") == updates_of(other, "one") == updates


def test_what_one_writes_is_there_for_another_at_once(store: Store) -> None:
    with closing(store.another()) as other:
        for change in CHANGES.values():
            for name in ("doc", "locked", "new"):
                store.delete(name)
            filled(store)
            change(store)
            assert seen(other) == seen(store)


def test_a_store_is_used_by_one_thread_after_another(store: Store, at_once: AtOnce) -> None:
    for number in range(3):
        at_once(lambda number=number: begin(store, f"doc{number}"))
    assert len(list(store.list())) == 3


WRITER = """
import sys
from collab.stores import open_store
from collab.stores.base import Record
url, *updates = sys.argv[1:]
store = open_store(url)
for update in updates:
    assert not store.append([Record("doc", "e1", bytes.fromhex(update), False)])
store.close()
"""


def test_other_processes_write_to_the_same_document(url: str, database: Store) -> None:
    updates = letters("abcd" * 25)
    begin(database, "doc", updates[0])
    shares = [updates[1::2], updates[2::2]]
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, *(update.hex() for update in share)]) for share in shares
    ]
    compactions = 0
    while any(process.poll() is None for process in processes):
        compactions += database.compact("doc", "e1") is not None
    assert [process.wait() for process in processes] == [0, 0]
    assert compactions
    assert text_of(updates_of(database)) == "abcd" * 25


# ---- a store that is away


def test_a_store_that_can_be_written_to_is_checked(store: Store) -> None:
    store.check()
    store.close()
    store.check()


def missing_folder(folder: Path) -> str:
    return f"sqlite:///{folder}/none/collab.db"


def a_folder(folder: Path) -> str:
    return f"sqlite:///{folder}"


def something_else(folder: Path) -> str:
    (folder / "notes.txt").write_text("no database at all, " * 100)
    return f"sqlite:///{folder}/notes.txt"


def read_only(folder: Path) -> str:
    with opened(f"sqlite:///{folder}/collab.db") as store:
        begin(store)
    return f"sqlite:///file:{folder}/collab.db?mode=ro&uri=true"


def closed_port(_: Path) -> str:
    return "postgresql://postgres:geheim@127.0.0.1:1/collab"


def password_in_the_query(_: Path) -> str:
    return "postgresql://127.0.0.1:1/collab?user=postgres&password=geheim"


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        (missing_folder, "make sure that the folder exists"),
        (a_folder, "make sure that the folder exists"),
        (something_else, "set COLLAB_STORE to another file"),
        (read_only, "make sure that the file and its folder can be written to"),
        (closed_port, "make sure that the database is running"),
        (password_in_the_query, "make sure that the database is running"),
    ],
)
def test_a_store_that_is_away_says_what_to_do(place: Callable[[Path], str], remedy: str, tmp_path: Path) -> None:
    with opened(place(tmp_path)) as store:
        for _ in range(2):
            with pytest.raises(StoreError, match=remedy) as raised:
                store.check()
            assert "COLLAB_STORE" in str(raised.value)
            assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("method", CHANGES | QUESTIONS | {"snapshot": None, "check": None})
@pytest.mark.parametrize("place", [missing_folder, closed_port])
def test_every_method_of_a_store_that_is_away_raises_the_same(
    place: Callable[[Path], str], method: str, tmp_path: Path
) -> None:
    """Also those of another one: to make it asks nothing."""
    with opened(place(tmp_path)) as first, closing(first.another()) as store, pytest.raises(StoreError):
        if method == "snapshot":
            with store.snapshot():
                pass
        elif method == "check":
            store.check()
        elif method == "delete_version":
            store.delete_version("doc", 1)
        else:
            (CHANGES | QUESTIONS)[method](store)


def test_a_database_that_does_not_exist_is_named(postgres: PostgreSQL) -> None:
    with opened(postgres.url("nothing")) as store, pytest.raises(StoreError, match=r"\"nothing\".*check the names"):
        store.check()


def test_a_database_that_takes_no_writes_fails_the_check(postgres: PostgreSQL) -> None:
    """As one does that follows another one."""
    url = postgres.new_database()
    name = url.rpartition("/")[2]
    with opened(url) as store:
        begin(store)
        store.close()
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(StoreError, match=r"read-only transaction; .* that takes writes"):
            store.check()
        assert store.load("doc")
        store.close()
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        store.check()


def cut(postgres: PostgreSQL, url: str) -> None:
    """End all connections to a database, as when it is restarted."""
    name = url.rpartition("/")[2]
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def test_after_a_connection_was_cut_asking_again_is_right(postgres: PostgreSQL) -> None:
    url = postgres.new_database()
    with opened(url) as store:
        for method, call in (CHANGES | QUESTIONS).items():
            for name in ("doc", "locked", "new"):
                store.delete(name)
            filled(store)
            before = seen(store)
            cut(postgres, url)
            with pytest.raises(StoreError, match="COLLAB_STORE"):
                call(store)
            assert seen(store) == before, f"{method} has done nothing"
            call(store)
            assert (seen(store) == before) == (method in QUESTIONS), method


def test_a_snapshot_that_is_cut_off_raises_the_same(postgres: PostgreSQL) -> None:
    url = postgres.new_database()
    with opened(url) as store:
        filled(store)
        with pytest.raises(StoreError, match="COLLAB_STORE"), store.snapshot() as view:
            cut(postgres, url)
            with pytest.raises(StoreError, match="COLLAB_STORE"):
                view.load("doc")
            view.describe("doc")
        with pytest.raises(StoreError):
            store.load("doc")
        with store.snapshot() as view:
            assert seen(view) == seen(store)


def raw(store: Store) -> Any:
    """The driver's connection of a store in a database."""
    return store._database._connection.connection.driver_connection  # type: ignore[attr-defined]


def test_a_disk_that_is_full_changes_nothing(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/collab.db") as store:
        filled(store)
        before = seen(store)
        content = b"\0" * 100_000
        changes: list[Change] = [
            lambda store: store.append([Record("doc", "e1", b"\0\0", False), Record("new", "e1", content, True)]),
            lambda store: store.save_version("doc", "e1", content),
            lambda store: store.write(whole_of(store)._replace(updates=[b"\0\0", content]), replace=True),
        ]
        for change in changes:
            store.load("doc")
            raw(store).execute("PRAGMA max_page_count = 1").close()  # which makes it what there is already
            with pytest.raises(StoreError, match="disk is full; make room"):
                change(store)
            assert seen(store) == before
        for change in changes:
            change(store)
        assert len(everything(store)) == 3


def test_a_file_that_another_process_has_locked_can_be_read_and_is_written_to_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.stores.database.BUSY_TIMEOUT", 0)
    with opened(f"sqlite:///{tmp_path}/collab.db") as store:
        begin(store)
        with closing(sqlite3.connect(tmp_path / "collab.db", isolation_level=None)) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            for write in (begin, lambda store: store.check()):
                with pytest.raises(StoreError, match="see which one has the file open"):
                    write(store)
            assert len(updates_of(store)) == 1
            somebody.execute("ROLLBACK")
        begin(store)
        assert len(updates_of(store)) == 2


def test_a_store_that_is_closed_has_nothing_open(database: Store) -> None:
    before = len(os.listdir("/proc/self/fd"))
    begin(database)
    assert len(os.listdir("/proc/self/fd")) > before
    database.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_stored_while_one_compacts_stays_behind_what_was_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens the document reads updates in an order in which each builds on those before it."""
    editor = Editor()
    updates = [editor.type(letter) for letter in "abcdef"]
    store.append([Record("doc", "e1", update, True) for update in updates[:4]])
    other = store.another()
    squash_updates = squash

    def meanwhile(parts: Sequence[bytes]) -> bytes:
        other.append([Record("doc", "e1", updates[4], False)])
        return squash_updates(parts)

    for module in ("sql", "memory"):
        monkeypatch.setattr(f"collab.stores.{module}.squash", meanwhile)
    try:
        assert store.compact("doc", "e1")
    finally:
        other.close()
    store.append([Record("doc", "e1", updates[5], False)])
    loaded = store.load("doc")
    assert loaded is not None
    if store.blocking:
        assert loaded.updates[1:] == updates[4:]
        assert settle(loaded.updates[:1]).rest is None
