"""Rooms: they never switch greenlets, tell each pass once, and encode once per dialect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import greenlet
import pytest
from members import Recorder
from ydocs import Editor

from collab.document import Document
from collab.errors import InvalidUpdate
from collab.journal import Journal, Unstored
from collab.metrics import Metrics
from collab.protocol import ywaiting
from collab.protocol.dialect import Dialect
from collab.protocol.messages import Join, Leave, Relay, ServerMessage, SyncStep1, Update
from collab.protocol.native import NATIVE, Native
from collab.protocol.ywebsocket import YWEBSOCKET
from collab.room import Room


@contextmanager
def no_switch() -> Iterator[None]:
    """Fail if a greenlet switch happens inside."""
    switches: list[str] = []
    old = greenlet.settrace(lambda event, _: switches.append(event))
    try:
        yield
    finally:
        greenlet.settrace(old)
    assert switches == []


class Passes:
    """Stands in for the hub: rooms that want to end the pass, and rooms that are empty."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.scheduled: list[Room] = []
        self.empty: list[Room] = []
        journal = Journal(Unstored(limit), "doc", "epoch", new=True)
        self.room = Room("doc", Document(), journal, self.scheduled.append, self.empty.append, Metrics(), 1000)

    def end(self) -> None:
        """End the loop pass."""
        rooms, self.scheduled[:] = list(self.scheduled), []
        for room in rooms:
            room.flush()

    def store(self) -> list[bytes]:
        """Stand in for the saver, too: what is stored now."""
        unstored = self.room.journal.unstored
        stored = [update for _, updates, *_ in unstored.gains for update in updates]
        unstored.free(sum(cost for _, _, cost, _ in unstored.gains))
        unstored.gains.clear()
        unstored.stored = unstored.newest
        self.room.journal.settle()
        return stored


@pytest.fixture
def passes() -> Passes:
    return Passes()


def join(room: Room, *members: Recorder) -> None:
    for member in members:
        room.join(member)


def test_no_operation_of_a_room_switches_greenlets(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a", NATIVE[False, False]), Recorder("b")
    editor = Editor(9)
    with no_switch():
        join(room, alice, bob)
        room.submit(alice, editor.type("x"), 1)
        room.fill(bob, Editor(10).type("y"))
        room.relay(alice, Relay('{"type":"x"}'))
        room.presences.update_json(alice, {"cursor": 1}, 0.0)
        room.step2(YWEBSOCKET, b"\x00")
        passes.end()
        passes.store()
        room.tick(40.0)
        room.tidy()
        room.leave(alice, 41.0)
        room.leave(bob, 41.0)
        passes.end()
    assert passes.empty == [room]


def test_the_trace_that_proves_it_sees_a_switch() -> None:
    import gevent

    with pytest.raises(AssertionError), no_switch():
        gevent.sleep(0)


def test_a_pass_is_scheduled_once_and_told_once(passes: Passes) -> None:
    alice, bob = Recorder("a"), Recorder("b")
    join(passes.room, alice, bob)
    passes.end()
    editor = Editor(9)
    for letter in "abc":
        passes.room.submit(alice, editor.type(letter))
    assert passes.scheduled == [passes.room]
    passes.end()
    assert len(alice.delivered) == len(bob.delivered) == 1
    assert alice.delivered[0][0] is bob.delivered[0][0], "everybody gets the same bytes object"


def test_an_update_that_is_refused_alone_in_its_pass_is_told_to_its_sender_only(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what yrs has made of it all the same is told and stored, since what comes next builds on it."""
    alice, bob = Recorder("a"), Recorder("b")
    join(passes.room, alice, bob)
    editor = Editor(9)
    monkeypatch.setattr(Document, "apply_next", lambda *_: False)
    for remains in ([], [editor.type("x")]):
        alice.delivered.clear()
        bob.delivered.clear()
        changes = passes.room.journal.changes

        def refuse(document: Document, *_: object, remains: list[bytes] = remains) -> dict[int, InvalidUpdate]:
            document.taken = remains
            return {0: InvalidUpdate("made up")}

        monkeypatch.setattr(Document, "apply", refuse)
        passes.room.submit(alice, editor.type("y"), 7)
        passes.end()
        assert alice.refused.pop() == 7
        assert len(alice.delivered) == len(bob.delivered) == len(remains)
        assert passes.room.journal.changes - changes == len(remains)
    assert not bob.refused


def test_a_broadcast_is_encoded_once_for_each_dialect(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    join(passes.room, *(Recorder(f"n{n}", NATIVE[False, False]) for n in range(3)))
    passes.end()
    encoded: list[ServerMessage] = []
    encode = Native.encode

    def recorded(self: Native, message: ServerMessage) -> bytes:
        encoded.append(message)
        return encode(self, message)

    monkeypatch.setattr(Native, "encode", recorded)
    passes.room.submit(passes.room.members()[0], Editor(9).type("x"))
    passes.end()
    assert [type(message) for message in encoded] == [Update]


def test_only_the_sender_of_a_relay_does_not_get_it_and_gets_the_rest(passes: Passes) -> None:
    alice, bob = Recorder("a", NATIVE[False, False]), Recorder("b", NATIVE[False, False])
    join(passes.room, alice, bob)
    passes.end()
    for member in (alice, bob):
        member.delivered.clear()
    passes.room.submit(bob, Editor(9).type("x"))
    passes.room.relay(alice, Relay('{"type":"note"}'))
    passes.end()
    [(frame, parts)] = alice.delivered
    assert [type(part.message) for part in parts] == [Update]
    assert frame == parts[0].frame
    [(frame, parts)] = bob.delivered
    assert [type(part.message) for part in parts] == [Update, Relay]
    assert frame == b"".join(part.frame for part in parts)


def test_a_newcomer_does_not_get_what_was_said_before_it_came(passes: Passes) -> None:
    alice, bob = Recorder("a", NATIVE[False, False]), Recorder("b", NATIVE[False, False])
    join(passes.room, alice)
    passes.room.relay(alice, Relay('{"type":"note"}'))
    join(passes.room, bob)
    passes.end()
    assert bob.delivered == []


def test_visitors_of_an_unchanged_document_share_one_frame(passes: Passes) -> None:
    room = passes.room
    alice = Recorder("a")
    join(room, alice)
    room.submit(alice, Editor(9).type("x"))
    first = room.step2(YWEBSOCKET, b"\x00")
    assert room.step2(YWEBSOCKET, b"\x00") is first
    room.submit(alice, Editor(10).type("y"))
    assert room.step2(YWEBSOCKET, b"\x00") != first


def test_a_member_that_left_is_acknowledged_nothing_and_its_update_is_kept(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a", NATIVE[False, False]), Recorder("b")
    join(room, alice, bob)
    room.submit(alice, Editor(9).type("x"), 1)
    room.leave(alice, 0.0)
    room.leave(alice, 0.0)
    passes.end()
    passes.store()
    assert alice.confirmed == []
    assert room.document.generation == 1
    assert Update in [type(part.message) for _, parts in bob.delivered for part in parts]


def test_updates_of_a_pass_are_refused_one_by_one(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a", NATIVE[False, False]), Recorder("b")
    join(room, alice, bob)
    editor = Editor(9)
    room.submit(alice, editor.type("x"), 1)
    room.submit(alice, b"\x05\x05", 2)
    room.submit(alice, editor.type("y"), 3)
    passes.end()
    passes.store()
    assert (alice.refused, alice.confirmed) == ([2], [3])
    other = Editor()
    other.doc.apply_update(room.document.diff(b"\x00"))
    assert str(other) == "xy"


def test_a_receipt_comes_when_what_was_sent_is_stored(passes: Passes) -> None:
    room, alice = passes.room, Recorder("a", NATIVE[False, False])
    join(room, alice)
    room.submit(alice, Editor(9).type("x"), 1)
    passes.end()
    assert alice.confirmed == []
    assert len(passes.store()) == 1
    assert alice.confirmed == [1]


def test_what_holds_nothing_new_is_stored_when_all_before_it_is(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a"), Recorder("b")
    join(room, alice, bob)
    text = Editor(9).type("x")
    room.submit(alice, text, 1)
    passes.end()
    room.submit(bob, text, 1)
    room.submit(bob, b"\x00\x00", 2)
    passes.end()
    assert bob.confirmed == []
    passes.store()
    assert bob.confirmed == [2]
    room.submit(bob, text, 3)
    passes.end()
    assert bob.confirmed == [2, 3], "nothing of it has to be stored"


def test_a_step2_that_brings_nothing_new_is_neither_told_nor_stored(passes: Passes) -> None:
    room, alice = passes.room, Recorder("a")
    join(room, alice)
    editor = Editor(9)
    room.submit(alice, editor.type("xyz"))
    room.submit(alice, editor.delete(0, 1))
    passes.end()
    passes.store()
    alice.delivered.clear()
    room.fill(alice, editor.doc.get_update(), 1)
    passes.end()
    assert (alice.delivered, passes.store()) == ([], [])


def test_what_came_too_early_is_not_confirmed_before_it_has_taken_effect(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a"), Recorder("b")
    join(room, alice, bob)
    editor = Editor(9)
    first, second = editor.type("x"), editor.type("y")
    room.submit(alice, Editor(10).type("z"), 1)
    room.submit(alice, second, 2)
    room.submit(alice, Editor(11).type("z"), 3)
    passes.end()
    passes.store()
    assert alice.confirmed == [1]
    assert [type(message) for message in alice.replies] == [SyncStep1]
    room.submit(bob, first, 1)
    passes.end()
    assert alice.confirmed == [1]
    passes.end()
    passes.store()
    assert (alice.confirmed, bob.confirmed) == ([1, 3], [1])


def test_what_came_too_early_and_is_let_go_is_refused_by_its_number(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ywaiting, "MAX_HELD", 1)
    room, alice = passes.room, Recorder("a")
    join(room, alice)
    for number, client in enumerate((9, 10), 1):
        editor = Editor(client)
        editor.type("x")
        room.submit(alice, editor.type("y"), number)
    passes.end()
    passes.end()
    assert (alice.refused, alice.confirmed) == ([1], [1])


def test_updates_are_refused_while_too_much_is_unstored_and_asked_for_again() -> None:
    passes = Passes(limit=10)
    room, alice = passes.room, Recorder("a")
    join(room, alice)
    editor = Editor(9)
    room.submit(alice, editor.type("many letters"), 1)
    passes.end()
    room.submit(alice, editor.type("more"), 2)
    passes.end()
    assert alice.refused == [2]
    passes.store()
    room.ask_again()
    assert [type(message) for message in alice.replies] == [SyncStep1]
    room.fill(alice, editor.doc.get_update(room.document.state_vector()), 3)
    passes.end()
    passes.store()
    assert alice.confirmed[-1] == 3
    room.ask_again()
    assert len(alice.replies) == 1


@pytest.mark.parametrize(("dialect", "confirmed"), [(YWEBSOCKET, [1]), (NATIVE[False, False], [3])])
def test_who_cannot_be_told_which_updates_were_not_taken_gets_no_receipt_before_they_are(
    dialect: Dialect, confirmed: list[int]
) -> None:
    passes = Passes(limit=10)
    room, alice = passes.room, Recorder("a", dialect)
    join(room, alice)
    editor = Editor(9)
    room.submit(alice, editor.type("many letters"), 1)
    passes.end()
    for number in (2, 3):
        room.submit(alice, editor.type("more"), number)
    passes.end()
    passes.store()
    assert alice.confirmed == confirmed
    room.submit(alice, b"\x00\x00", 4)
    room.ask_again()
    passes.end()
    assert 2 not in alice.confirmed and alice.confirmed[-1] == (1 if dialect is YWEBSOCKET else 4)
    room.fill(alice, editor.doc.get_update(), 5)
    passes.end()
    assert alice.confirmed[-1] != 5
    passes.store()
    assert alice.confirmed[-1] == 5


def test_what_came_too_early_is_confirmed_to_who_goes_on_in_the_second_place(passes: Passes) -> None:
    room, alice = passes.room, Recorder("a", NATIVE[False, False])
    join(room, alice)
    editor = Editor(9)
    first, second = editor.type("x"), editor.type("y")
    room.submit(alice, second, 1)
    passes.end()
    for _ in range(2):
        again = Recorder("a", NATIVE[False, False])
        room.leave(alice, 10.0, grace=5.0)
        room.resume(alice, again)
        alice.heir, alice = again, again
    room.submit(alice, first, 2)
    passes.end()
    passes.end()
    passes.store()
    assert alice.confirmed == [2]


def said(member: Recorder) -> list[type]:
    return [type(part.message) for _, parts in member.delivered for part in parts]


def test_who_vanishes_is_announced_as_gone_when_the_time_to_come_back_is_over(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a", NATIVE[False, False]), Recorder("b", NATIVE[False, False])
    join(room, alice, bob)
    passes.end()
    alice.delivered.clear()
    room.leave(bob, 10.0, grace=5.0)
    room.tick(14.0)
    passes.end()
    assert said(alice) == []
    assert [user["id"] for user in room.initial_state(alice).users] == ["b"]
    room.tick(15.0)
    passes.end()
    assert said(alice) == [Leave]
    room.leave(alice, 20.0, grace=5.0)
    assert passes.empty == [] and not room.deserted
    room.tick(25.0)
    assert passes.empty == [room] and room.deserted


def test_who_comes_back_as_the_same_user_in_time_was_never_gone(passes: Passes) -> None:
    room, alice, bob = passes.room, Recorder("a", NATIVE[False, False]), Recorder("b", NATIVE[False, False])
    join(room, alice, bob)
    passes.end()
    alice.delivered.clear()
    room.leave(bob, 10.0, grace=5.0)
    join(room, Recorder("b"))
    room.tick(15.0)
    passes.end()
    assert said(alice) == []
    join(room, Recorder("c"))
    passes.end()
    assert said(alice) == [Join]


def test_a_session_that_goes_on_keeps_presence_and_receipts(passes: Passes) -> None:
    room, alice = passes.room, Recorder("a", NATIVE[False, False])
    bob, again = Recorder("b", NATIVE[False, False]), Recorder("b", NATIVE[False, False])
    join(room, alice, bob)
    room.presences.update_json(bob, {"cursor": 1}, 0.0)
    room.submit(bob, Editor(9).type("x"), 1)
    passes.end()
    alice.delivered.clear()
    present = room.presences.awareness.present()
    room.leave(bob, 10.0, grace=5.0)
    assert room.find(bob.id) is bob
    room.resume(bob, again)
    room.tick(11.0)
    passes.end()
    assert (said(alice), room.presences.awareness.present()) == ([], present)
    room.presences.update_json(again, {"cursor": 2}, 100.0)
    assert len(room.presences.awareness.present()) == 1
    room.leave(again, 101.0)
    assert room.presences.awareness.present() == {}
