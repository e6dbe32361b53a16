"""Journals: what is unstored is never forgotten, and a receipt waits for all that came before it."""

from __future__ import annotations

from members import Recorder
from ydocs import Editor

from collab.journal import MANY, RECORD_COST, UPDATE_COST, Journal, Unstored


def journal(*, limit: int = 1000, at_once: bool = False) -> Journal:
    return Journal(Unstored(limit), "epoch", new=True, at_once=at_once)


def test_what_comes_in_while_the_store_writes_is_still_unstored_afterwards() -> None:
    book = journal()
    book.record([b"first"])
    changes, updates, _ = book.take()
    assert updates == [b"first"]
    book.record([b"second"])
    book.settle(changes, 5)
    assert not book.clean
    changes, updates, _ = book.take()
    assert updates == [b"second"]
    book.settle(changes, 6)
    assert book.clean


def test_a_receipt_waits_for_what_was_recorded_before_it_and_for_nothing_else() -> None:
    book, alice, bob = journal(), Recorder("alice"), Recorder("bob")
    book.promise({alice: 1})
    assert alice.confirmed == [1], "nothing was unstored"
    book.record([b"x"])
    book.promise({alice: 2})
    first, _, _ = book.take()
    book.record([b"y"])
    book.promise({alice: 3, bob: 1})
    assert (alice.confirmed, bob.confirmed) == ([1], [])
    book.settle(first, 1)
    assert (alice.confirmed, bob.confirmed) == ([1, 2], [])
    second, _, _ = book.take()
    book.settle(second, 1)
    assert (alice.confirmed, bob.confirmed) == ([1, 2, 3], [1])


def test_receipts_that_one_write_makes_good_come_as_one() -> None:
    book, alice = journal(), Recorder("alice")
    for number in (1, 2, 3):
        book.record([b"x"])
        book.promise({alice: number})
    book.promise({alice: 4})
    changes, _, _ = book.take()
    book.settle(changes, 3)
    assert alice.confirmed == [4]


def test_receipts_do_not_wait_where_applied_is_enough() -> None:
    book, alice = journal(at_once=True), Recorder("alice")
    book.record([b"x"])
    book.promise({alice: 1})
    assert alice.confirmed == [1]


def test_the_store_is_asked_for_once_for_all_that_it_can_take_at_once() -> None:
    book, calls = journal(), []
    book.record([b"before"])
    book.attach(lambda: calls.append(1))
    assert calls == [1], "what a document begins with is stored as well"
    book.record([b"more"])
    assert calls == [1]
    book.take()
    book.record([b"x"])
    assert calls == [1, 1]


def test_what_waits_is_counted_over_all_rooms_and_given_back() -> None:
    limit = 3 * UPDATE_COST + 10
    shared = Unstored(limit)
    one, two = Journal(shared, "e", new=True), Journal(shared, "f", new=True)
    one.record([b"12345"])
    assert not shared.full
    two.record([b"123", b"45"])
    assert (shared.size, shared.full) == (limit, True)
    two.abandon()
    assert (shared.size, shared.full, two.clean) == (UPDATE_COST + 5, False, True)
    _, updates, size = one.take()
    assert (updates, size) == ([b"12345"], UPDATE_COST + 5)


def test_what_waits_for_long_is_joined_and_takes_less_room() -> None:
    shared, editor = Unstored(1 << 30), Editor()
    book = Journal(shared, "e", new=True)
    for _ in range(3 * MANY):
        book.record([editor.type("x")])
    _, updates, size = book.take()
    assert len(updates) < MANY
    assert shared.size == size < 3 * MANY * UPDATE_COST
    again = Editor()
    for update in updates:
        again.doc.apply_update(update)
    assert str(again) == "x" * 3 * MANY


def test_receipts_of_a_long_wait_are_kept_once_for_each_member() -> None:
    book, member = journal(), Recorder()
    book.record([b"x"])
    book.take()
    for number in range(1, 1000):
        book.record([b"x"])
        book.promise({member: number})
    assert len(book._receipts) == 1
    changes, _, _ = book.take()
    book.settle(changes, 1)
    assert member.confirmed == [999]


def test_the_sizes_in_the_store_are_followed() -> None:
    book = journal()
    book.record([b"12345"])
    changes, _, _ = book.take()
    book.settle(changes, 5)
    assert (book.base, book.tail, book.new) == (0, 5 + RECORD_COST, False)


def test_what_waits_is_told_until_it_is_stored() -> None:
    book = journal()
    book.record([b"first"])
    first = len(b"first") + UPDATE_COST
    assert book.waiting == first
    changes, _, _ = book.take()
    book.record([b"second"])
    assert book.waiting == first + len(b"second") + UPDATE_COST, "what is being written is not stored yet"
    book.settle(changes, 5)
    assert book.waiting == len(b"second") + UPDATE_COST
    book.abandon()
    assert book.waiting == 0
