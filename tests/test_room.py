"""Rooms: they never switch greenlets, tell each pass once, and encode once per dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import greenlet
import pytest
from ydocs import Editor

from collab.document import Document
from collab.errors import ProtocolError
from collab.metrics import Metrics
from collab.protocol.dialect import Dialect
from collab.protocol.messages import Relay, ServerMessage, Update
from collab.protocol.native import NATIVE, Native
from collab.protocol.ywebsocket import YWEBSOCKET
from collab.room import Part, Room


class Recorder:
    """A member that keeps what it is told."""

    def __init__(self, user_id: str = "u", dialect: Dialect = YWEBSOCKET) -> None:
        self.user_id = self.user_name = user_id
        self.dialect = dialect
        self.delivered: list[tuple[bytes, Sequence[Part]]] = []
        self.replies: list[ServerMessage] = []
        self.refused: list[int] = []
        self.acknowledged = 0

    def deliver(self, frame: bytes, parts: Sequence[Part]) -> None:
        self.delivered.append((frame, parts))

    def reply(self, message: ServerMessage) -> None:
        self.replies.append(message)

    def acknowledge(self) -> None:
        self.acknowledged += 1

    def refuse(self, error: ProtocolError, update: int = 0) -> None:
        self.refused.append(update)

    def describe(self) -> dict[str, str]:
        return {}

    def probe(self) -> None:
        raise AssertionError("nobody claims anything here")

    def heard_since(self, when: float) -> bool:
        return True

    def lost(self) -> None:
        raise AssertionError("nobody is given up here")


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

    def __init__(self) -> None:
        self.scheduled: list[Room] = []
        self.empty: list[Room] = []
        self.room = Room("doc", Document(None), self.scheduled.append, self.empty.append, Metrics(), 1000)

    def end(self) -> None:
        """End the loop pass."""
        rooms, self.scheduled[:] = list(self.scheduled), []
        for room in rooms:
            room.flush()


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
        room.relay(alice, '{"type":"x"}')
        room.presences.update_json(alice, {"cursor": 1}, 0.0)
        room.step2(YWEBSOCKET, b"\x00")
        passes.end()
        room.presences.tick(40.0)
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
    passes.room.relay(alice, '{"type":"note"}')
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
    passes.room.relay(alice, '{"type":"note"}')
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
    assert alice.acknowledged == 0
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
    assert (alice.refused, alice.acknowledged) == ([2], 1)
    other = Editor()
    other.doc.apply_update(room.document.diff(b"\x00"))
    assert str(other) == "xy"
