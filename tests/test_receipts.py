"""Receipts: never beyond an update that has not taken effect."""

from __future__ import annotations

from members import Recorder

from collab.receipts import Receipts


def test_a_receipt_reaches_as_far_as_was_sent() -> None:
    receipts, alice = Receipts(), Recorder()
    for number in (1, 2, 3):
        receipts.owe(alice, number)
    assert receipts.take() == {alice: 3}
    assert not receipts.due
    assert receipts.take() == {}


def test_an_update_that_waits_holds_back_what_its_sender_sent_after_it() -> None:
    receipts, alice, bob = Receipts(), Recorder("alice"), Recorder("bob")
    for number in (1, 2, 3):
        receipts.owe(alice, number)
    receipts.owe(bob, 1)
    receipts.hold(alice, 2)
    assert receipts.take() == {alice: 1, bob: 1}
    receipts.owe(alice, 4)
    assert receipts.take() == {alice: 1}
    receipts.free(alice, 2)
    assert receipts.take() == {alice: 4}


def test_the_first_of_several_that_wait_decides() -> None:
    receipts, alice = Receipts(), Recorder()
    for number in (1, 2, 3, 4):
        receipts.owe(alice, number)
    receipts.hold(alice, 2)
    receipts.hold(alice, 3)
    assert receipts.take() == {alice: 1}
    receipts.free(alice, 2)
    assert receipts.take() == {alice: 2}
    receipts.free(alice, 3)
    assert receipts.take() == {alice: 4}


def test_one_whose_updates_are_not_numbered_gets_none_while_any_waits() -> None:
    receipts, alice = Receipts(), Recorder()
    receipts.hold(alice, 0)
    receipts.owe(alice, 1)  # its first question
    assert receipts.take() == {}
    receipts.free(alice, 0)
    assert receipts.take() == {alice: 1}


def test_nothing_is_owed_to_who_is_gone_and_all_of_it_to_an_heir() -> None:
    receipts, alice, again = Receipts(), Recorder("alice"), Recorder("alice")
    receipts.owe(alice, 2)
    receipts.hold(alice, 1)
    receipts.pass_on(alice, again)
    assert receipts.take() == {}
    receipts.free(again, 1)
    assert receipts.take() == {again: 2}
    receipts.owe(again, 3)
    receipts.forget(again)
    receipts.free(again, 3)
    assert receipts.take() == {}


def test_who_is_turned_away_gets_a_receipt_when_all_of_it_has_come_again() -> None:
    receipts, alice, again = Receipts(), Recorder("alice"), Recorder("alice")
    for number in (1, 2, 3):
        receipts.owe(alice, number)
    for number in (2, 3):
        receipts.turn_away(alice, number)
    assert receipts.take() == {alice: 1}
    receipts.pass_on(alice, again)
    receipts.owe(again, 4)
    assert receipts.take() == {again: 1}
    receipts.take_up(again)
    assert receipts.take() == {again: 4}
    receipts.take_up(again)
    receipts.turn_away(again, 5)
    receipts.forget(again)
    receipts.take_up(again)
    assert not receipts.due
