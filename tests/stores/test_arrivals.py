"""Updates that wait in SQLite's table of arrivals: read like all others, kept in their order, and never too many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commandline import entry_of, opened, updates_of
from ydocs import Editor

from collab.errors import Damaged
from collab.stores import schema
from collab.stores.arrivals import LEAST, MAX_ARRIVED
from collab.stores.base import Record, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collab.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store that has documents "a" and "b", of one update each, which has settled."""
    with opened(f"sqlite:///{path}") as store:
        assert not store.append([Record(name, "e1", b"\0\0", True) for name in "ab"])
        assert rows(path) == (2, 0)
        yield store


def rows(path: Path) -> tuple[int, int]:
    """How many updates have settled, and how many have not."""
    with closing(sqlite3.connect(path)) as connection:
        [(settled,)] = connection.execute("SELECT count(*) FROM collab_updates")
        [(waiting,)] = connection.execute("SELECT count(*) FROM collab_arrivals")
        return settled, waiting


def append(store: Store, *updates: bytes, name: str = "a") -> None:
    """Append updates to a document that there is."""
    assert not store.append([Record(name, "e1", update, False) for update in updates])


def test_what_waits_is_read_as_what_has_settled_is(store: Store, path: Path) -> None:
    updates = [b"\0\0", *[bytes((0, 0, number)) for number in range(5)]]
    append(store, *updates[1:3])
    append(store, b"\0\0\0\0", name="b")
    append(store, *updates[3:])
    assert rows(path) == (2, 6)
    assert updates_of(store, "a") == updates and updates_of(store, "b") == [b"\0\0", b"\0\0\0\0"]
    listed = list(store.list())
    assert [(entry.records, entry.size) for entry in listed] == [(6, 17), (2, 6)]
    assert [entry_of(store, "a"), entry_of(store, "b")] == listed
    whole = store.read("a")
    assert whole is not None and (whole.entry, whole.updates) == (listed[0], updates)
    with store.snapshot() as then:
        append(store, b"\0\0\0\0\0")
        assert updates_of(then, "a") == updates and list(then.list()) == listed


def test_a_compaction_takes_what_waits_and_leaves_nothing_behind(store: Store, path: Path) -> None:
    editor = Editor()
    append(store, *[editor.type(letter) for letter in "abc"])
    append(store, b"\0\0", name="b")
    assert store.compact("a", "e1")
    assert rows(path) == (3, 0)
    [update] = updates_of(store, "a")
    reader = Editor()
    reader.doc.apply_update(update)
    assert str(reader) == "abc"
    assert updates_of(store, "b") == [b"\0\0", b"\0\0"]


def test_all_settle_in_their_order_when_about_a_thousand_wait(store: Store, path: Path) -> None:
    most, kept = MAX_ARRIVED // LEAST, {name: [b"\0\0"] for name in "ab"}
    waiting = []
    for number in range(most // 10 + 20):
        updates = [bytes((0, 0, number // 256, number % 256, part)) for part in range(10)]
        assert not store.append([Record("ab"[part % 2], "e1", update, False) for part, update in enumerate(updates)])
        for part, update in enumerate(updates):
            kept["ab"[part % 2]].append(update)
        waiting.append(rows(path)[1])
    assert max(waiting) == (most - 1) // 10 * 10, "nearly full"
    assert waiting.count(0) == 1 and waiting[-1] < most / 2
    for name in "ab":
        assert updates_of(store, name) == kept[name]


@pytest.mark.parametrize("new", [False, True])
def test_what_is_too_much_does_not_wait(store: Store, path: Path, new: bool) -> None:
    """With documents of its own beside it or without."""
    updates = [b"\0\0\1", bytes(MAX_ARRIVED), b"\0\0\2"]
    append(store, updates[0])
    assert rows(path) == (2, 1)
    others = [Record("new", "e1", b"\0\0", True)] * new
    assert not store.append([Record("a", "e1", updates[1], False), *others])
    assert rows(path) == (4 + new, 0)
    append(store, updates[2])
    assert rows(path) == (4 + new, 1)
    assert updates_of(store, "a") == [b"\0\0", *updates]
    many = [Record(f"new {number}", "e1", b"\0\0", new) for number in range(MAX_ARRIVED // LEAST)]
    assert not store.append([record._replace(new=True) for record in many])
    assert rows(path) == (5 + new + len(many), 0)


@pytest.mark.parametrize("new", [False, True])
def test_what_cannot_all_be_stored_settles_as_well_when_it_is_time(store: Store, path: Path, new: bool) -> None:
    updates = [bytes((0, 0, number // 256, number % 256)) for number in range(MAX_ARRIVED // LEAST)]
    append(store, *updates[:-1])
    records = [Record("a", "e1", updates[-1], False), Record("nowhere", "e1", b"\0\0", False)]
    assert store.append([*records, *[Record("new", "e1", b"\0\0", True)] * new]) == {"nowhere"}
    assert rows(path) == (2 + len(updates) + new, 0)
    assert updates_of(store, "a") == [b"\0\0", *updates]


def test_who_reads_while_all_settle_sees_each_once(store: Store, path: Path) -> None:
    append(store, b"\0\0\1", b"\0\0\2")
    with store.snapshot() as then:
        before = then.read("a")
        assert store.compact("b", "e1") is None
        assert rows(path) == (2, 2), "nothing of it waits"
        append(store, bytes(MAX_ARRIVED))
        assert rows(path) == (5, 0)
        assert updates_of(then, "a") == [b"\0\0", b"\0\0\1", b"\0\0\2"]
        assert then.read("a") == before


def test_what_waits_of_a_document_in_quarantine_settles_and_is_kept(store: Store, path: Path) -> None:
    append(store, b"\0\0\1")
    store.quarantine("a", "to be looked at")
    append(store, bytes(MAX_ARRIVED), name="b")
    assert rows(path) == (4, 0)
    assert store.append([Record("a", "e1", b"\0\0", False)]) == {"a"}
    assert store.release("a")
    assert updates_of(store, "a") == [b"\0\0", b"\0\0\1"]


def test_a_document_that_somebody_took_away_by_hand_is_in_nobodys_way(store: Store, path: Path) -> None:
    """Foreign keys are off in SQLite unless they are asked for: what waits of it then stays."""
    append(store, b"\0\0\1")
    append(store, b"\0\0\2", name="b")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM collab_documents WHERE name = 'b'")
        connection.commit()
    append(store, bytes(MAX_ARRIVED))
    assert rows(path) == (4, 0), "with what of it had settled"
    append(store, b"\0\0\3")
    assert updates_of(store, "a")[1:] == [b"\0\0\1", bytes(MAX_ARRIVED), b"\0\0\3"]


def test_what_settles_elsewhere_and_numbers_used_again_change_no_order(store: Store) -> None:
    updates = [bytes((0, 0, number)) for number in range(4)]
    append(store, b"\0\0", name="b")
    append(store, updates[0])
    append(store, b"\0\0", name="b")
    assert store.delete("b")  # which had the highest
    append(store, updates[1])
    with closing(store.another()) as other:
        append(other, updates[2])  # all settles, and numbers begin anew
        append(other, updates[3])
    assert updates_of(store, "a") == [b"\0\0", *updates]


def test_what_waits_settles_as_well_where_each_append_makes_documents(store: Store, path: Path) -> None:
    half, waiting = MAX_ARRIVED // LEAST // 2, []
    for number in range(5):
        assert not store.append([Record(f"new {number} {place}", "e1", b"\0\0", True) for place in range(half)])
        assert sum(rows(path)) == 2 + half * (number + 1)
        waiting.append(rows(path)[1])
    assert waiting == [half, 0, half, 0, half]


def test_what_a_process_has_left_settles_when_the_next_begins_to_write(store: Store, path: Path) -> None:
    append(store, b"\0\0\1")
    for number in range(3):
        store.close()
        with opened(f"sqlite:///{path}") as other:
            append(other, bytes((0, 0, number)))
            assert rows(path) == (4 + 2 * number, 0)
            append(other, b"\0\0\2")
        assert rows(path)[1] == 1
    assert updates_of(store, "a") == [
        b"\0\0",
        b"\0\0\1",
        *[part for n in range(3) for part in (bytes((0, 0, n)), b"\0\0\2")],
    ]


def test_two_that_write_to_a_document_in_turns_keep_its_order(store: Store) -> None:
    updates = [b"\0\0", *[bytes((0, 0, number)) for number in range(20)]]
    with closing(store.another()) as other:
        for number, update in enumerate(updates[1:]):
            append((store, other)[number % 3 == 0], update)
        assert updates_of(store, "a") == updates_of(other, "a") == updates


def test_what_is_stored_of_none_is_not_stored_of_any_and_nothing_settles_twice(store: Store, path: Path) -> None:
    append(store, b"\0\0\1")
    assert store.append([Record("a", "e1", b"\0\0\2", False), Record("c", "e1", b"\0\0", False)]) == {"c"}
    assert updates_of(store, "a") == [b"\0\0", b"\0\0\1", b"\0\0\2"]
    assert rows(path) == (2, 2)


def test_of_a_deleted_or_replaced_document_nothing_waits(store: Store, path: Path) -> None:
    append(store, b"\0\0\1")
    append(store, b"\0\0\2", name="b")
    whole = store.read("a")
    assert whole is not None
    assert store.delete("b")
    assert rows(path) == (1, 1)
    store.write(whole._replace(updates=[b"\0\0\3"]), replace=True)
    assert rows(path) == (1, 0)
    assert updates_of(store, "a") == [b"\0\0\3"]


def test_what_is_damaged_while_it_waits_is_told_from_what_was_stored(store: Store, path: Path) -> None:
    append(store, b"\0\0\1", b"\0\0\2", b"\0\0\3")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE collab_arrivals SET data = x'000007' WHERE data = x'000002'")
        connection.commit()
    for call in (store.load, lambda name: store.compact(name, "e1")):
        with pytest.raises(Damaged, match="'a'"):
            call("a")
        whole = store.read("a")
        assert whole is not None and whole.updates == [b"\0\0", b"\0\0\1", None, b"\0\0\3"]


def test_a_file_of_version_2_is_taken_over(path: Path) -> None:
    updates = [bytes((0, 0, number)) for number in range(3)]
    with opened(f"sqlite:///{path}") as store:
        assert not store.append([Record("a", "e1", update, True) for update in updates])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE collab_arrivals")
        connection.execute("UPDATE collab_meta SET value = '2'")
        connection.commit()
    with opened(f"sqlite:///{path}") as store:
        assert updates_of(store, "a") == updates
        append(store, b"\0\0\7")
        append(store, b"\0\0\7")
        assert rows(path) == (4, 1)
        assert updates_of(store, "a") == [*updates, b"\0\0\7", b"\0\0\7"]
    assert schema.VERSION == 3
