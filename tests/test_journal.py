"""Journals: what is unstored is never forgotten, and a receipt waits for all that came before it."""

from __future__ import annotations

from members import Recorder

from collab.journal import MANY, RECORD_COST, UPDATE_COST, Journal, Unstored


def journal(unstored: Unstored | None = None, *, at_once: bool = False) -> Journal:
    return Journal(unstored or Unstored(1000), "doc", "epoch", new=True, at_once=at_once)


def store(book: Journal, count: int = 1) -> list[bytes]:
    """Stand in for the writer: what of all rooms is stored now."""
    unstored = book.unstored
    gains = [unstored.gains.popleft() for _ in range(count)]
    unstored.stored += count
    unstored.free(sum(cost for _, _, cost, _ in gains))
    for waiting in list(unstored.waiting):
        waiting.settle()
    return [update for _, updates, *_ in gains for update in updates]


def test_what_comes_in_while_the_store_writes_is_still_unstored_afterwards() -> None:
    book = journal()
    book.record([b"first"])
    book.record([b"second"])
    assert store(book) == [b"first"]
    assert not book.clean
    assert store(book) == [b"second"]
    assert book.clean


def test_what_other_rooms_gain_does_not_make_a_journal_unclean() -> None:
    unstored = Unstored(1000)
    one, two = journal(unstored), journal(unstored)
    one.record([b"x"])
    two.record([b"y"])
    store(one)
    assert (one.clean, two.clean, unstored.behind) == (True, False, 1)
    assert (one.new, two.new) == (False, True)


def test_a_receipt_waits_for_what_was_recorded_before_it_and_for_nothing_else() -> None:
    book, alice, bob = journal(), Recorder("alice"), Recorder("bob")
    book.promise({alice: 1})
    assert alice.confirmed == [1], "nothing was unstored"
    book.record([b"x"])
    book.promise({alice: 2})
    book.record([b"y"])
    book.promise({alice: 3, bob: 1})
    assert (alice.confirmed, bob.confirmed) == ([1], [])
    store(book)
    assert (alice.confirmed, bob.confirmed) == ([1, 2], [])
    store(book)
    assert (alice.confirmed, bob.confirmed) == ([1, 2, 3], [1])


def test_receipts_that_one_write_makes_good_come_as_one() -> None:
    book, alice = journal(), Recorder("alice")
    for number in (1, 2, 3):
        book.record([b"x"])
        book.promise({alice: number})
    book.promise({alice: 4})
    store(book, 3)
    assert alice.confirmed == [4]


def test_receipts_do_not_wait_where_applied_is_enough() -> None:
    book, alice = journal(at_once=True), Recorder("alice")
    book.record([b"x"])
    book.promise({alice: 1})
    assert alice.confirmed == [1] and not book.unstored.waiting


def test_only_the_first_that_a_new_document_gains_makes_it() -> None:
    book = journal()
    assert book.new
    book.record([b"seed"])
    book.record([b"more"])
    assert [new for *_, new in book.unstored.gains] == [True, False]
    assert book.new, "the store may not have it yet"
    store(book)
    assert not book.new


def test_who_sleeps_is_woken_when_there_is_something_to_store() -> None:
    book, calls = journal(), []
    book.unstored.wake = lambda: calls.append(1)
    book.record([b"x"])
    assert calls == [], "it is awake"
    book.unstored.asleep = True
    book.record([b"y"])
    assert calls == [1]


def test_what_waits_is_counted_over_all_rooms() -> None:
    limit = 3 * UPDATE_COST + 10
    shared = Unstored(limit)
    one, two = journal(shared), journal(shared)
    one.record([b"12345"])
    assert not shared.full
    two.record([b"123", b"45"])
    assert (shared.size, shared.full) == (limit, True)
    store(one)
    assert (shared.size, shared.full) == (2 * UPDATE_COST + 5, False)


def test_nobody_is_given_a_receipt_for_what_a_document_gains_that_is_no_more() -> None:
    book, alice = journal(), Recorder("alice")
    book.record([b"x"])
    book.promise({alice: 1})
    book.abandon()
    assert book.clean and book.finished == book.changes
    book.record([b"y"])
    book.promise({alice: 2})
    store(book, 2)
    book.promise({alice: 3})
    assert alice.confirmed == []
    assert book.unstored.size == 0


def test_receipts_of_a_long_wait_are_bounded_and_the_latest_is_given_last() -> None:
    book, member = journal(), Recorder()
    for number in range(1, 1000):
        book.record([b"x"])
        book.promise({member: number})
    assert len(book._receipts) == MANY
    store(book, 500)
    assert member.confirmed == [MANY - 1]
    store(book, 499)
    assert member.confirmed == [MANY - 1, 999]


def test_the_sizes_in_the_store_are_followed() -> None:
    book = journal()
    book.record([b"12345", b"67"])
    assert (book.base, book.tail) == (0, 7 + 2 * RECORD_COST)


def test_what_waits_in_a_room_is_told_until_it_is_stored() -> None:
    book = journal()
    one = 1 + UPDATE_COST
    book.record([b"1"])
    book.record([b"2"])
    assert book.waiting == 2 * one
    store(book, 2)
    assert book.waiting == 0
    book.record([b"3"])
    book.record([b"4"])
    assert book.waiting == 2 * one
    store(book)
    assert one <= book.waiting <= 2 * one
    for _ in range(100):  # it never comes to rest
        book.record([b"x"])
        store(book)
        assert one <= book.waiting <= 3 * one
    store(book)
    assert book.waiting == 0
