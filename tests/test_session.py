"""Sessions of both dialects on real sockets in this process: what each message does, and to whom."""

from __future__ import annotations

import json
from typing import Any

import greenlet
import pytest
from failing import FailingStore
from ydocs import Editor, step1, step2, update, yjs_awareness

from collab.clock import now
from collab.protocol.frames import BINARY, CLOSE, PING, TEXT
from collab.protocol.lib0 import var_bytes
from collab.protocol.ywebsocket import YWebsocket
from collab.room import Room
from collab.testing import Client, Closed, mask_frame, settle, stage

HELLO = Editor(7).type("hello")


def types(messages: list[Any]) -> list[Any]:
    """JSON messages by their type, binary ones by their first byte."""
    return [message["type"] if isinstance(message, dict) else message[0] for message in messages]


def quiet(*clients: Client) -> None:
    """Forget what the clients have received so far."""
    settle()
    for client in clients:
        client.received()


def test_a_native_newcomer_gets_initial_state_then_step1() -> None:
    with stage() as hub:
        state, sync = hub.native("doc", "alice").received()
    assert state["type"] == "initial_state"
    assert state["session"].keys() == {"id", "document_id", "user_id", "user_name", "connected_at"}
    assert (state["users"], state["awareness"]) == ([], {})
    assert len(state["session"]["id"]) == 27
    assert sync == step1()


def test_a_newcomer_is_told_of_everybody_and_everybody_of_the_newcomer() -> None:
    with stage() as hub:
        alice = hub.native("doc", "alice")
        quiet(alice)
        bob = hub.native("doc", "bob")
        assert alice.received() == [{"type": "join", "user": {"id": "bob", "name": "bob"}}]
        assert bob.received()[0]["users"] == [{"id": "alice", "name": "alice"}]
        bob.close()
        settle()
        assert alice.received() == [{"type": "leave", "user": {"id": "bob", "name": "bob"}}]


def test_two_tabs_of_one_user_are_announced_once_and_leave_once() -> None:
    with stage() as hub:
        alice = hub.native("doc", "alice")
        quiet(alice)
        first, second = hub.native("doc", "bob"), hub.native("doc", "bob")
        assert types(alice.received()) == ["join"]
        assert second.received()[0]["users"] == [{"id": "alice", "name": "alice"}]
        first.close()
        settle()
        assert alice.received() == []
        second.close()
        settle()
        assert types(alice.received()) == ["leave"]


def test_an_update_reaches_all_dialects_and_a_late_joiner() -> None:
    with stage() as hub:
        alice, bob, carol = hub.native("doc"), hub.yjs("doc"), hub.native("doc", binary=True)
        quiet(alice, bob, carol)
        bob.send(update(HELLO))
        settle()
        texts = []
        for client in (alice, bob, carol):
            editor = Editor(native=client is not bob)
            for message in client.received():
                editor.read(message)
            texts.append(str(editor))
        late = hub.yjs("doc")
        late.send(step1())
        settle()
        editor = Editor()
        for message in late.received():
            editor.read(message)
    assert [*texts, str(editor)] == ["hello"] * 4


def test_documents_are_apart() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("one"), hub.yjs("two")
        quiet(alice, bob)
        alice.send(update(HELLO))
        settle()
        assert bob.received() == []


def test_a_step1_right_behind_an_update_is_answered_with_that_update_in_it() -> None:
    with stage() as hub:
        alice = hub.yjs("doc")
        quiet(alice)
        alice.send(update(HELLO))
        alice.send(step1())
        settle()
        editor = Editor()
        reply = next(message for message in alice.received() if message[:2] == b"\x00\x01")
        editor.read(reply)
        assert str(editor) == "hello"


def test_messages_of_one_session_reach_the_others_in_the_order_sent() -> None:
    with stage() as hub:
        alice, bob = hub.native("doc"), hub.native("doc")
        quiet(alice, bob)
        editor = Editor(9)
        alice.send(update(editor.type("a")))
        alice.send({"type": "note", "n": 1})
        alice.send(update(editor.type("b")))
        alice.send({"type": "note", "n": 2})
        settle()
        assert types(bob.received()) == [1, "note", 1, "note"]


def test_what_one_pass_brings_reaches_each_member_as_one_update() -> None:
    with stage() as hub:
        members = [hub.yjs("doc") for _ in range(5)]
        quiet(*members)
        for number, member in enumerate(members):
            member.send(update(Editor(100 + number).type(str(number))))
        settle()
        received = [member.received() for member in members]
        assert [len(messages) for messages in received] == [1] * 5
        editor = Editor()
        editor.read(received[0][0])
        assert sorted(str(editor)) == list("01234")
        assert hub.metrics.snapshot()["commits"] == 1


def test_native_updates_are_acknowledged_by_number() -> None:
    with stage() as hub:
        alice = hub.native("doc")
        quiet(alice)
        editor = Editor()
        for letter in "abc":
            alice.send(update(editor.type(letter)))
        settle()
        assert alice.received()[-1] == b"\x04\x03"
        alice.send(step2(b"\x00\x00"))
        settle()
        assert alice.received() == [b"\x04\x04"]


def test_a_refused_update_keeps_its_number_and_nobody_else_sees_it() -> None:
    with stage() as hub:
        alice, bob, carol = hub.native("doc"), hub.yjs("doc"), hub.yjs("doc")
        quiet(alice, bob, carol)
        editor = Editor()
        alice.send(update(editor.type("a")))
        alice.send(update(b"\xff\xff\xff"))
        alice.send(update(editor.type("b")))
        settle()
        messages = alice.received()
        [error] = [message for message in messages if isinstance(message, dict)]
        assert (error["code"], error["update"]) == ("invalid_update", 2)
        assert messages[-1] == b"\x04\x03"
        [seen] = bob.received()
        other = Editor()
        other.read(seen)
        assert str(other) == "ab"
        carol.send(update(b"\xff\xff\xff"))
        settle()
        denied = carol.received()[-1]
        assert denied.startswith(b"\x02\x00") and b"invalid_update" in denied
        assert bob.received() == []


def test_a_step2_that_holds_nothing_new_is_not_told_to_the_others() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.yjs("doc")
        editor = Editor()
        alice.send(update(editor.type("hello")))
        alice.send(update(editor.delete(0, 2)))
        quiet(alice, bob)
        alice.send(step2(editor.doc.get_update()))
        settle()
        assert (alice.received(), bob.received()) == ([], [])
        deleted = editor.delete(0, 1)
        assert deleted
        alice.send(step2(editor.doc.get_update()))
        settle()
        assert len(bob.received()) == 1


def test_custom_json_is_relayed_to_native_members_exactly_as_it_came() -> None:
    with stage() as hub:
        alice, bob, carol, yjs = hub.native("doc"), hub.native("doc"), hub.native("doc", binary=True), hub.yjs("doc")
        quiet(alice, bob, carol, yjs)
        text = '{"type": "test",  "content": "h\\u00e9llo"}'
        alice.send(text)
        settle()
        [(_, raw)] = bob.frames()
        assert raw == json.loads(text)
        assert carol.received() == [b"\x0d" + bytes((len(text),)) + text.encode()]
        assert (alice.received(), yjs.received()) == ([], [])


def test_json_presence_of_a_native_client_is_ordinary_presence_to_yjs_clients() -> None:
    with stage() as hub:
        alice, bob, yjs = hub.native("doc", "alice"), hub.native("doc", json_presence=True), hub.yjs("doc")
        quiet(alice, bob, yjs)
        alice.send(
            {"type": "awareness", "cursor": {"line": 1, "column": 2}, "user": {"id": "mallory", "color": "#f00"}}
        )
        settle()
        [told] = bob.received()
        [(client, state)] = told["awareness"].items()
        assert state == {
            "client_id": int(client),
            "cursor": {"line": 1, "column": 2},
            "user": {"id": "alice", "name": "alice", "color": "#f00"},
        }
        [binary] = yjs.received()
        assert binary[0] == 1 and b'"column":2' in binary
        assert alice.received() == [], "changes of others, not its own"
        alice.close()
        settle()
        assert {"type": "awareness", "awareness": {client: None}} in bob.received()


def test_presence_of_a_yjs_client_reaches_all_its_author_included() -> None:
    with stage() as hub:
        yjs, binary, as_json = hub.yjs("doc"), hub.native("doc"), hub.native("doc")
        as_json.send({"type": "query_awareness"})
        quiet(yjs, binary, as_json)
        yjs.send(yjs_awareness(5, 1, '{"x":1}'))
        settle()
        assert yjs.received() == [yjs_awareness(5, 1, '{"x":1}')]
        assert binary.received() == [b"\x02" + yjs_awareness(5, 1, '{"x":1}')[1:]]
        assert as_json.received() == [{"type": "awareness", "awareness": {"5": {"x": 1}}}]


def test_an_echoed_presence_goes_no_further() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.yjs("doc")
        alice.send(yjs_awareness(5, 1, '{"x":1}'))
        quiet(alice, bob)
        bob.send(yjs_awareness(5, 1, '{"x":1}'))
        settle()
        assert (alice.received(), bob.received()) == ([], [])


def test_presence_vanishes_with_its_socket() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.yjs("doc")
        alice.send(yjs_awareness(5, 3, '{"x":1}'))
        quiet(alice, bob)
        alice.close()
        settle()
        assert bob.received() == [yjs_awareness(5, 3, "null")]


def test_query_awareness_is_answered_in_the_askers_words() -> None:
    with stage() as hub:
        yjs, native = hub.yjs("doc"), hub.native("doc")
        yjs.send(yjs_awareness(5, 1, "{}"))
        quiet(yjs, native)
        yjs.send(b"\x03")
        native.send(b"\x03")
        settle()
        assert yjs.received() == [yjs_awareness(5, 1, "{}")]
        native_binary = native.received()
        assert native_binary == [b"\x02" + yjs_awareness(5, 1, "{}")[1:]]
        native.send({"type": "query_awareness"})
        settle()
        assert native.received() == [{"type": "awareness", "awareness": {"5": {}}}]


def test_y_sweets_sync_status_comes_back_unchanged_behind_the_update_before_it() -> None:
    with stage() as hub:
        alice = hub.yjs("doc")
        quiet(alice)
        alice.send(update(HELLO))
        alice.send(b"\x66\x02\x07\x08")
        settle()
        assert b"\x66\x02\x07\x08" in alice.received()
        room = hub.rooms["doc"]
        assert room.document.generation == 1


def test_a_sync_status_waits_for_the_store_and_its_client_hears_something_meanwhile() -> None:
    store = FailingStore()
    with stage(store) as hub:
        alice = hub.yjs("doc")
        alice.send(update(HELLO))
        alice.send(b"\x66\x01\x07")
        settle()
        assert b"\x66\x01\x07" not in alice.received()
        start = now()
        hub.tick(start + 1.1)
        hub.tick(start + 2.2)
        settle()
        assert alice.received() == [b"\x01\x01\x00"] * 2
        alice.send(b"\x66\x01\x08")
        settle()
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert alice.received() == [b"\x66\x01\x08"], "the later question takes the earlier one's place"
        alice.send(b"\x66\x01\x09")
        settle()
        assert alice.received() == [b"\x66\x01\x09"]


def test_a_sync_status_that_is_no_number_is_too_large() -> None:
    with stage() as hub:
        alice = hub.yjs("doc")
        quiet(alice)
        alice.send(b"\x66" + var_bytes(bytes(257)))
        settle()
        assert b"too_large" in alice.received()[0]


def welcome(client: Client) -> dict[str, Any]:
    [state] = [message for message in client.received() if isinstance(message, dict)]
    assert state["type"] == "initial_state"
    return state


def test_a_native_client_that_comes_back_in_time_goes_on_as_if_it_had_never_gone() -> None:
    with stage() as hub:
        watcher, alice = hub.native("doc", "watcher", json_presence=True), hub.native("doc", "alice")
        session = welcome(alice)["session"]
        editor = Editor()
        alice.send({"type": "awareness", "cursor": 1})
        for letter in "ab":
            alice.send(update(editor.type(letter)))
        quiet(watcher, alice)
        alice.vanish()
        settle()
        again = hub.native("doc", "alice", session_id=session["id"])
        messages = again.received()
        assert messages[0]["session"] == {**session, "updates": 2}
        assert messages[-1] == b"\x04\x02"
        again.send(update(editor.type("c")))
        again.send({"type": "awareness", "cursor": 2})
        settle()
        assert b"\x04\x03" in again.received()
        told = watcher.received()
        assert types(told) == [1, "awareness"] and None not in told[1]["awareness"].values()
        assert hub.metrics.snapshot()["resumed"] == 1


def test_a_native_client_takes_over_from_its_own_half_open_connection() -> None:
    with stage() as hub:
        watcher, alice = hub.native("doc", "watcher"), hub.native("doc", "alice")
        session = welcome(alice)["session"]
        quiet(watcher)
        again = hub.native("doc", "alice", session_id=session["id"])
        assert welcome(again)["session"]["id"] == session["id"]
        assert alice.received() == [] and alice.ended
        again.send(update(HELLO))
        settle()
        assert types(watcher.received()) == [1]
        assert len(hub.rooms["doc"]) == 2


def test_nobody_goes_on_with_a_session_of_somebody_else_or_of_nobody() -> None:
    with stage() as hub:
        alice = hub.native("doc", "alice")
        session = welcome(alice)["session"]
        for user, session_id in (("mallory", session["id"]), ("", session["id"]), ("alice", "none")):
            state = welcome(hub.native("doc", user, session_id=session_id))
            assert state["session"]["id"] != session["id"]
            assert "updates" not in state["session"]
        assert not alice.ended


def test_an_anonymous_client_goes_on_by_the_sessions_id_alone() -> None:
    with stage() as hub:
        alice = hub.native("doc")
        session = welcome(alice)["session"]
        alice.vanish()
        settle()
        assert welcome(hub.native("doc", session_id=session["id"]))["session"]["user_id"] == session["user_id"]


def test_a_yjs_client_that_comes_back_as_the_same_user_is_not_announced_as_gone() -> None:
    with stage() as hub:
        watcher, alice = hub.native("doc", "watcher"), hub.yjs("doc", "alice")
        alice.send(yjs_awareness(5, 1, '{"x":1}'))
        quiet(watcher)
        alice.vanish()
        settle()
        again = hub.yjs("doc", "alice")
        again.send(yjs_awareness(5, 2, '{"x":2}'))
        settle()
        hub.tick(now() + 11)
        settle()
        assert watcher.received() == [b"\x02" + yjs_awareness(5, 2, '{"x":2}')[1:]]


def test_who_does_not_come_back_in_time_is_gone_and_so_is_the_room() -> None:
    with stage() as hub:
        watcher, alice = hub.native("doc", "watcher"), hub.yjs("doc", "alice")
        alice.send(yjs_awareness(5, 1, '{"x":1}'))
        quiet(watcher)
        alice.vanish()
        settle()
        assert watcher.received() == []
        hub.tick(now() + 11)
        settle()
        assert types(watcher.received()) == ["leave", 2]
        watcher.vanish()
        settle()
        assert list(hub.rooms) == ["doc"]
        hub.tick(now() + 11)
        settle()
        assert hub.rooms == {}


def test_ping_gets_pong() -> None:
    with stage() as hub:
        alice = hub.native("doc")
        quiet(alice)
        alice.send({"type": "ping"})
        settle()
        assert alice.received() == [{"type": "pong"}]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("[]", "invalid_message"),
        ("{}", "invalid_message"),
        ('{"type": 1}', "invalid_message"),
        ('{"type": "join"}', "invalid_message"),
        ("nonsense", "invalid_message"),
        (b"\x01\x05\x00", "invalid_message"),
        (b"\x0a\x00", "invalid_message"),
        (b"\x32", "unknown_type"),
        (b"\x02\x01\xff", "invalid_update"),
        (step1(b"\xff\xff\x03"), "invalid_update"),
    ],
)
def test_what_a_native_client_sends_wrongly_is_answered_with_an_error(message: bytes | str, code: str) -> None:
    with stage() as hub:
        alice, bob = hub.native("doc"), hub.native("doc")
        quiet(alice, bob)
        alice.send(message)
        alice.send({"type": "ping"})
        settle()
        error, pong = alice.received()
        assert (error["type"], error["code"]) == ("error", code)
        assert pong == {"type": "pong"}
        assert bob.received() == []
        refused = hub.metrics.snapshot()["refused"]
        assert refused == {code: 1}


def test_text_and_unknown_codes_of_yjs_clients_are_overlooked_and_counted() -> None:
    with stage() as hub:
        yjs = hub.yjs("doc")
        quiet(yjs)
        yjs.send("hello")
        yjs.send(b"\x64\x00")
        settle()
        assert yjs.received() == []
        assert hub.metrics.snapshot()["ignored"] == {"text": 1, "code": 1}


def test_who_sends_little_but_rubbish_is_closed() -> None:
    with stage(max_invalid=3) as hub:
        alice, bob = hub.native("doc", "alice"), hub.native("doc", "bob")
        quiet(alice, bob)
        for _ in range(3):
            alice.send(b"\x32")
        settle()
        assert alice.received()[-1] == Closed(1008, "too many invalid messages")
        assert types(bob.received()) == ["leave"]


def test_a_yjs_client_of_an_empty_document_is_only_asked_what_it_has() -> None:
    with stage() as hub:
        assert hub.yjs("doc").received() == [step1()]


def test_a_yjs_newcomer_is_told_who_is_there() -> None:
    with stage() as hub:
        hub.yjs("doc").send(yjs_awareness(5, 1, "{}"))
        settle()
        assert hub.yjs("doc").received() == [step1(), yjs_awareness(5, 1, "{}")]


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with others"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_fault_of_ours_ends_one_session_with_1011_and_no_other(
    opcode: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage() as hub:
        alice, bob = hub.native("doc", "alice"), hub.native("doc", "bob")
        quiet(alice, bob)
        for method in ("relay", "submit"):
            monkeypatch.setattr(Room, method, lambda *_: 1 / 0)
        message = b'{"type": "note"}' if opcode == TEXT else update(HELLO)
        alice.send_raw(mask_frame(opcode, message) * (1 if alone else 2))
        settle()
        assert alice.received() == [Closed(1011, "internal error")]
        bob.send({"type": "ping"})
        settle()
        assert types(bob.received()) == ["leave", "pong"]
        assert hub.metrics.labelled.pop(("greenlet_deaths", "")) == 1


class Failing:
    """A socket at whose next read the memory does not suffice."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def recv_into(self, *_: object) -> int:
        raise MemoryError

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


def test_a_fault_at_reading_ends_the_session_that_it_befalls() -> None:
    with stage() as hub:
        alice, bob = hub.native("doc", "alice"), hub.native("doc", "bob")
        quiet(alice, bob)
        alice.connection._socket._sock = Failing(alice.connection._socket._sock)  # type: ignore[assignment]
        alice.send(update(HELLO))
        settle()
        assert alice.received() == [Closed(1011, "internal error")]
        assert types(bob.received()) == ["leave"] and hub.connections == {bob.connection}
        assert hub.metrics.labelled.pop(("greenlet_deaths", "")) == 1


def test_one_small_message_takes_effect_without_waking_its_reader_and_all_else_wakes_it() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.native("doc")
        editor, ping = Editor(1), mask_frame(PING, b"")
        one, two, three, large, last = (
            mask_frame(BINARY, update(editor.type(text))) for text in ("a", "b", "c", "d" * 99, "e")
        )
        for stream, wakes in (
            (one, False),
            (two + three, True),
            (large[:9], True),
            (large[9:], True),
            (last, False),
            (ping, True),
        ):
            quiet(alice, bob)
            woken: set[Any] = set()
            before = greenlet.settrace(lambda _, switch: woken.add(switch[1]))  # noqa: B023
            try:
                alice.send_raw(stream)
                settle()
            finally:
                greenlet.settrace(before)
            assert ("reader" in {hub.crew._names.get(each) for each in woken}) == wakes
            assert bool(bob.received()) == (stream not in (large[:9], ping))


def test_nothing_follows_a_close_frame() -> None:
    with stage(max_invalid=1) as hub:
        yjs = hub.yjs("doc")
        quiet(yjs)
        yjs.send_raw(mask_frame(2, b"\x01\x01\xff") + mask_frame(2, b"\x66\x01\x78") + mask_frame(9, b"ping"))
        settle()
        assert [opcode for opcode, _ in yjs.frames()] == [BINARY, CLOSE]


def test_a_room_that_fails_sends_its_members_away_to_come_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage() as hub:
        alice, elsewhere = hub.yjs("doc"), hub.yjs("other")
        quiet(alice, elsewhere)
        monkeypatch.setattr(YWebsocket, "encode", lambda *_: 1 / 0)
        alice.send(update(HELLO))
        settle()
        monkeypatch.undo()
        alice.received()
        assert alice.ended
        assert hub.metrics.labelled.pop(("room_faults", "")) == 1
        elsewhere.send(update(HELLO))
        settle()
        assert len(elsewhere.received()) == 1


def test_who_builds_on_what_has_not_come_is_asked_for_it_and_nobody_else() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.yjs("doc")
        editor = Editor(9)
        first, second = editor.type("a"), editor.type("b")
        quiet(alice, bob)
        alice.send(update(second))
        bob.send(update(Editor(10).type("x")))
        settle()
        assert step1(hub.rooms["doc"].document.state_vector()) in alice.received()
        assert [message[:2] for message in bob.received()] == [b"\x00\x02"]
        alice.send(step2(first))
        settle()
        other = Editor()
        for message in bob.received():
            other.read(message)
        assert str(other) == "ab"
