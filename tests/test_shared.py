"""Many documents on one connection, as the Hocuspocus dialect has it, on real sockets in this process."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import Any

import pytest
from failing import FailingStore
from gevent.event import Event
from gevent.socket import wait_read
from ydocs import Editor, step1, step2, update, yjs_awareness

import collab.shared
from collab.auth import Authenticator
from collab.clock import now
from collab.errors import Forbidden, StoreError, Unauthenticated
from collab.identity import Credentials, Rights, User
from collab.protocol.lib0 import var_bytes, var_string
from collab.room import Room
from collab.seat import MAX_HELD
from collab.stores.base import Loaded, Record
from collab.stores.memory import MemoryStore
from collab.testing import Client, Closed, SharedClient, Stage, settle, stage

READ_WRITE = b"\x02\x02\x0aread-write"
READ_ONLY = b"\x02\x02\x08readonly"
CLOSE = b"\x07"
TAKEN, REFUSED = b"\x08\x01", b"\x08\x00"
EMPTY = b"\x00\x00"
HELLO = Editor(7).type("hello")
NOTE = '{"type": "note",  "n": 1}'


class Doorkeeper(Authenticator):
    """Lets in who shows a token of its table, at once or when `go` is set."""

    def __init__(self, **users: User) -> None:
        self.users = users
        self.go = Event()
        self.go.set()

    def decide(self, document_id: str, credentials: Credentials) -> User:
        self.go.wait()
        if credentials.token == "broken":
            raise ZeroDivisionError
        if document_id == "secret":
            raise Forbidden("not that one")
        if credentials.token not in self.users:
            raise Unauthenticated("no such token")
        return self.users[credentials.token]


class AwayStore(MemoryStore):
    """Cannot load the documents that are named in `away`, and none before `go` is set."""

    def __init__(self, *away: str) -> None:
        super().__init__()
        self.away = set(away)
        self.asked = 0
        self.go = Event()
        self.go.set()

    def load(self, document_id: str) -> Loaded | None:
        self.go.wait()
        self.asked += document_id in self.away
        if document_id in self.away:
            raise StoreError("the disk is on fire")
        return super().load(document_id)


def doorkeeper(hub: Stage, *, thinking: bool = False) -> Doorkeeper:
    """From here on `hub` lets in alice, bob, and rose, who only reads, each with a token that is their name."""
    keeper = Doorkeeper(
        alice=User("alice", "Alice"), bob=User("bob", "Bob"), rose=User("rose", "Rose", rights=Rights.READ)
    )
    hub.auth = keeper
    if thinking:
        keeper.go.clear()
    return keeper


def denied(reason: str) -> bytes:
    return b"\x02\x01" + var_string(reason)


def types(messages: list[Any]) -> list[Any]:
    """JSON messages by their type, binary ones by their first byte."""
    return [message["type"] if isinstance(message, dict) else message[0] for message in messages]


def quiet(*clients: Client) -> None:
    """Forget what the clients have received so far."""
    settle()
    for client in clients:
        client.received()


def statuses(messages: list[bytes]) -> list[bytes]:
    return [message for message in messages if message[:1] == b"\x08"]


def come_in(client: SharedClient, *addresses: str, token: str | None = "") -> None:
    """Come into documents, and answer what one is asked back there."""
    for address in addresses:
        assert READ_WRITE in client.join(address, token)
        client.say(address, step2(EMPTY))
        settle()
        assert client.heard(address) == [TAKEN]


def read(messages: list[bytes]) -> str:
    """The text that they bring."""
    editor = Editor()
    for message in messages:
        editor.read(message)
    return str(editor)


# ---- coming in


def test_who_comes_in_is_granted_it_then_asked_back_then_answered() -> None:
    with stage() as hub:
        hub.yjs("doc").send(update(HELLO))
        settle()
        [granted, asked, answered] = hub.hocuspocus().join("doc")
        assert granted == READ_WRITE
        assert asked == step1(hub.rooms["doc"].document.state_vector())
        assert answered[:2] == b"\x00\x01" and read([answered]) == "hello"


def test_who_is_there_is_told_between_the_grant_and_the_rest() -> None:
    with stage() as hub:
        hub.yjs("doc").send(yjs_awareness(5, 1, "{}"))
        settle()
        assert types(hub.hocuspocus().join("doc")) == [2, 1, 0, 0]


def test_a_step1_in_a_reply_is_answered_without_another_one() -> None:
    with stage() as hub:
        client = hub.hocuspocus()
        come_in(client, "doc")
        client.say("doc", b"\x04" + step1()[1:])
        settle()
        assert [message[:2] for message in client.heard("doc")] == [b"\x00\x01"]


def test_updates_and_answers_in_a_reply_are_taken_like_others() -> None:
    with stage() as hub:
        client, editor = hub.hocuspocus(), Editor()
        come_in(client, "doc")
        client.say("doc", b"\x04" + update(editor.type("a"))[1:], b"\x04" + step2(editor.type("b"))[1:])
        settle()
        assert read(hub.hocuspocus().join("doc")) == "ab"


@pytest.mark.parametrize("token", [None, "", "anything"], ids=repr)
def test_a_provider_with_and_without_a_token_comes_in_where_none_is_needed(token: str | None) -> None:
    with stage() as hub:
        come_in(hub.hocuspocus(), "doc", token=token)


def test_the_query_says_who_it_is_where_people_are_believed() -> None:
    with stage() as hub:
        watcher = hub.native("doc", "watcher")
        quiet(watcher)
        hub.hocuspocus("alice").join("doc")
        assert watcher.received() == [{"type": "join", "user": {"id": "alice", "name": "alice"}}]


@pytest.mark.parametrize("name", ["a/b//c", "two words", "100%", "你好/😀 é", "x" * 255, "😀" * 255])
def test_a_name_is_the_same_document_as_in_the_other_dialects(name: str) -> None:
    with stage() as hub:
        hub.yjs(name).send(update(HELLO))
        settle()
        assert read(hub.hocuspocus().join(name)) == "hello"


@pytest.mark.parametrize("raw", [b"", b"\x00s", b"a\x07", b"x" * 256, b"\xff", b"a\xed\xa0\x80"], ids=repr)
def test_an_address_that_names_no_document_is_denied_in_its_own_words_and_the_others_go_on(raw: bytes) -> None:
    with stage() as hub:
        client = hub.hocuspocus()
        come_in(client, "doc")
        client.send(var_bytes(raw) + client.auth(""))
        settle()
        why = denied("a document's name is 1 to 255 characters without control characters")
        assert client.received() == [var_bytes(raw) + why]
        client.say("doc", update(HELLO))
        settle()
        assert TAKEN in client.heard("doc")
        assert hub.metrics.snapshot()["refused"] == {"invalid_message": 1}


def test_pings_are_answered_and_pongs_and_texts_overlooked() -> None:
    with stage() as hub:
        client = hub.hocuspocus()
        client.send(b"\x09")
        client.send(b"\x0a")
        client.send("text")
        settle()
        assert client.received() == [b"\x0a"]
        assert hub.metrics.snapshot()["ignored"] == {"text": 1}


# ---- documents side by side


def test_documents_on_one_connection_are_apart() -> None:
    with stage() as hub:
        client = hub.hocuspocus("alice")
        one, two, three = (hub.native(name, "watcher") for name in ("one", "two", "three"))
        come_in(client, "one", "two")
        quiet(one, two, three)
        client.say("one", update(HELLO), yjs_awareness(5, 1, "{}"), client.stateless(NOTE))
        settle()
        assert (types(one.received()), two.received(), three.received()) == ([1, "note", 2], [], [])
        assert (types(client.heard("one")), client.heard("two")) == ([0, 1, 8], [])
        two.send(update(Editor().type("other")))
        settle()
        assert (client.heard("one"), read(client.heard("two"))) == ([], "other")


def test_two_sessions_of_one_document_on_one_connection_are_two_members() -> None:
    with stage() as hub:
        client, watcher = hub.hocuspocus("alice"), hub.native("doc", "watcher")
        come_in(client, "doc\0one", "doc\0two")
        assert len(hub.rooms["doc"]) == 3
        quiet(watcher)
        client.say("doc\0one", update(HELLO), yjs_awareness(5, 1, "{}"), client.stateless("hello"))
        settle()
        assert types(client.heard("doc\0one")) == [0, 1, 8]
        assert types(client.heard("doc\0two")) == [0, 5, 1]
        assert types(watcher.received()) == [1, 2]
        client.say("doc\0one", CLOSE)
        settle()
        assert types(watcher.received()) == [2], "the presence of the one has gone, the user has not"
        assert client.heard("doc\0two") == [yjs_awareness(5, 1, "null")]


def test_who_leaves_one_document_is_gone_from_it_at_once_and_goes_on_in_the_others() -> None:
    with stage() as hub:
        client = hub.hocuspocus("alice")
        one, two = hub.native("one", "watcher"), hub.native("two", "watcher")
        come_in(client, "one", "two")
        client.say("one", yjs_awareness(5, 1, "{}"))
        quiet(one, two, client)
        client.say("one", CLOSE)
        settle()
        assert types(one.received()) == ["leave", 2]
        one.send(update(HELLO))
        client.say("two", update(HELLO))
        settle()
        assert client.heard("one") == []
        assert TAKEN in client.heard("two")
        assert types(two.received()) == [1]
        assert read(client.join("one")) == "hello", "it may come back"
        assert types(one.received()) == [1, 4, "join"]


def test_the_last_word_of_a_provider_that_has_left_does_not_bring_it_back() -> None:
    """That of version 2 says that its presence is gone once before and once behind its CLOSE."""
    with stage() as hub:
        client, watcher = hub.hocuspocus("alice"), hub.native("doc", "watcher")
        come_in(client, "doc", token=None)
        client.say("doc", yjs_awareness(5, 1, "{}"))
        quiet(watcher, client)
        gone = yjs_awareness(5, 2, "null")
        client.say("doc", gone, CLOSE, gone)
        settle()
        assert types(watcher.received()) == ["leave", 2]
        assert len(hub.rooms["doc"]) == 1
        assert client.heard("doc") == []
        assert hub.metrics.snapshot()["ignored"] == {"not_in": 1}


def test_a_close_for_a_document_that_one_is_not_in_is_overlooked() -> None:
    with stage() as hub:
        client = hub.hocuspocus()
        client.say("doc", CLOSE)
        settle()
        assert (client.received(), hub.rooms) == ([], {})


# ---- before it is decided


def test_what_comes_before_the_token_takes_effect_behind_it_and_in_order() -> None:
    with stage() as hub:
        doorkeeper(hub)
        client, watcher, editor = hub.hocuspocus(), hub.native("doc", "watcher"), Editor()
        quiet(watcher)
        client.say("doc", update(editor.type("a")), client.stateless(NOTE), update(editor.type("b")), b"\x03")
        settle()
        assert (client.heard("doc"), watcher.received()) == ([], [])
        client.say("doc", client.auth("alice"))
        settle()
        assert types(watcher.received()) == ["join", 1, "note", 1]
        granted, *rest = client.heard("doc")
        assert granted == READ_WRITE and types(rest).count(8) == 2
        assert read(rest) == "ab"


def test_what_comes_while_it_is_being_decided_takes_effect_behind_it_and_in_order() -> None:
    with stage() as hub:
        keeper = doorkeeper(hub, thinking=True)
        client, watcher, editor = hub.hocuspocus(), hub.native("doc", "watcher"), Editor()
        quiet(watcher)
        client.ask("doc", "alice")
        client.say("doc", update(editor.type("a")), client.stateless(NOTE), client.auth("alice"))
        settle()
        assert (client.received(), watcher.received()) == ([], [])
        keeper.go.set()
        settle()
        assert types(watcher.received()) == ["join", 1, "note"]
        assert client.heard("doc").count(READ_WRITE) == 2, "the second token is looked at as well"


def test_a_token_that_was_shown_at_the_handshake_is_enough_for_a_provider_that_shows_none() -> None:
    with stage() as hub:
        doorkeeper(hub)
        come_in(hub.hocuspocus(token="alice"), "doc", token=None)
        assert hub.hocuspocus(token="mallory").join("doc", None) == [denied("no such token")]


def test_who_is_denied_one_document_stays_in_the_others() -> None:
    with stage() as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        come_in(client, "doc", token="alice")
        assert client.join("secret", "alice") == [denied("not that one")]
        client.say("doc", update(HELLO))
        settle()
        assert TAKEN in client.heard("doc")
        assert hub.metrics.snapshot()["upgrades_refused"] == {"forbidden": 1}


def test_who_was_denied_may_try_again_on_the_same_connection() -> None:
    with stage() as hub:
        doorkeeper(hub)
        client, watcher = hub.hocuspocus(), hub.native("doc", "watcher")
        quiet(watcher)
        client.ask("doc", "wrong")
        client.say("doc", client.stateless(NOTE))
        settle()
        assert client.heard("doc") == [denied("no such token")]
        assert [message[:2] for message in client.join("doc", "alice")] == [b"\x02\x02", b"\x00\x00", b"\x00\x01"]
        assert types(watcher.received()) == ["join"], "what went with the wrong token has no effect"


def test_what_comes_late_of_a_try_that_was_denied_is_no_try_of_its_own() -> None:
    with stage() as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        client.say("doc", client.auth("wrong"))
        settle()
        client.say("doc", step1(), yjs_awareness(5, 1, "{}"))
        settle()
        hub.tick(now() + 9)
        assert client.heard("doc") == [denied("no such token")]
        assert hub.metrics.snapshot()["ignored"] == {"not_in": 2}
        assert [message[:2] for message in client.join("doc", "alice")] == [b"\x02\x02", b"\x00\x00", b"\x00\x01"]


def test_a_provider_that_shows_no_tokens_tries_again_by_saying_what_it_has() -> None:
    store = MemoryStore()
    store.append([Record("doc", "epoch", b"\xff\xff\xff", True)])
    with stage(store) as hub:
        client = hub.hocuspocus()
        for _ in range(2):
            client.say("doc", step1(), yjs_awareness(5, 1, "{}"))
            settle()
            client.say("doc", yjs_awareness(5, 2, "{}"))
            settle()
            assert client.heard("doc") == [denied("the document is in quarantine")]


def test_who_leaves_while_it_is_being_decided_is_not_let_in() -> None:
    with stage() as hub:
        keeper = doorkeeper(hub, thinking=True)
        client, watcher = hub.hocuspocus(), hub.native("doc", "watcher")
        quiet(watcher)
        client.ask("doc", "alice")
        settle()
        client.say("doc", CLOSE)
        settle()
        keeper.go.set()
        settle()
        assert (client.heard("doc"), watcher.received(), len(hub.rooms["doc"])) == ([], [], 1)


def test_who_leaves_while_the_document_is_being_loaded_is_not_in_it_afterwards() -> None:
    store = AwayStore()
    store.go.clear()
    with stage(store) as hub:
        client = hub.hocuspocus()
        client.ask("doc")
        settle()
        client.say("doc", CLOSE)
        settle()
        store.go.set()
        settle()
        assert hub.rooms == {}
        come_in(client, "doc")


def test_who_goes_while_it_is_being_decided_is_not_let_in() -> None:
    with stage() as hub:
        keeper = doorkeeper(hub, thinking=True)
        client, watcher = hub.hocuspocus(), hub.native("doc", "watcher")
        quiet(watcher)
        client.ask("doc", "alice")
        settle()
        client.vanish()
        settle()
        keeper.go.set()
        settle()
        assert (watcher.received(), len(hub.rooms["doc"])) == ([], 1)


# ---- bounds


@pytest.mark.parametrize(
    "messages",
    [[update(bytes(400))] * 5, [b"\x03"] * (MAX_HELD + 1)],
    ids=["bytes", "messages"],
)
def test_who_says_too_much_before_it_is_decided_who_that_is_is_closed(messages: list[bytes]) -> None:
    with stage(max_unauthenticated_bytes=2000) as hub:
        keeper = doorkeeper(hub, thinking=True)
        client, other = hub.hocuspocus(), hub.hocuspocus()
        client.say("doc", client.auth("alice"), *messages[:-1])
        other.say("doc", other.auth("alice"), *messages[:-1])
        settle()
        assert client.received() == []
        client.say("doc", messages[-1])
        settle()
        assert client.received() == [Closed(1008, "too much before it was decided who this is")]
        assert hub.metrics.snapshot()["closed"] == {"1008": 1}
        keeper.go.set()
        settle()
        assert READ_WRITE in other.heard("doc")
        assert len(hub.rooms["doc"]) == 1


def test_the_bound_is_over_all_documents_and_what_was_let_in_denied_or_left_counts_no_more() -> None:
    with stage(max_unauthenticated_bytes=1000) as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        for end in (client.auth("alice"), CLOSE, client.auth("wrong")):
            client.say(f"doc {end!r}", update(bytes(800)), end)
            settle()
        client.keep()
        assert client.closed is None
        client.say("one", update(bytes(500)))
        client.say("two", update(bytes(500)))
        settle()
        client.keep()
        assert client.closed == Closed(1008, "too much before it was decided who this is")


def test_one_document_too_many_is_denied_once_and_the_others_go_on() -> None:
    with stage(max_documents_per_socket=2) as hub:
        client = hub.hocuspocus()
        come_in(client, "one", "two")
        client.ask("three")
        client.say("three", yjs_awareness(5, 1, "{}"))
        settle()
        assert client.heard("three") == [denied("more than 2 documents on one connection")]
        assert hub.metrics.snapshot()["refused"] == {"too_large": 1}
        client.say("one", update(HELLO))
        settle()
        assert TAKEN in client.heard("one")
        client.say("two", CLOSE)
        come_in(client, "three")


def test_who_shows_no_token_in_time_is_denied_and_the_others_go_on() -> None:
    with stage() as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        come_in(client, "doc", token="alice")
        client.say("other", step1())
        settle()
        hub.tick(now() + 9)
        assert client.heard("other") == []
        hub.tick(now() + 11)
        settle()
        assert client.heard("other") == [denied("no token has come")]
        assert client.closed is None
        come_in(client, "other", token="alice")


class Clock:
    """Stands in for `now` in `collab.shared`, and passes time to a hub."""

    def __init__(self, hub: Stage) -> None:
        self.start = self.time = now()
        self._hub = hub

    def __call__(self) -> float:
        return self.time

    def pass_to(self, second: int) -> None:
        self.time = self.start + second
        self._hub.tick(self.time)
        settle()


def test_each_document_has_its_own_time_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(auth_timeout=5, ping_interval=1000) as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        come_in(client, "doc", token="alice")
        clock = Clock(hub)
        monkeypatch.setattr(collab.shared, "now", clock)
        told = []
        for second in range(30):
            clock.pass_to(second)
            if second in (0, 3, 21):
                client.say(f"doc {second}", step1())
                settle()
            told += [(number, second) for number in (0, 3, 21) if client.heard(f"doc {number}")]
        assert told == [(0, 5), (3, 8), (21, 26)]


@pytest.mark.parametrize("token", [None, "wrong"], ids=["without a token", "with a wrong one"])
def test_a_connection_that_nobody_was_let_in_on_is_closed_even_if_it_tries_again_and_again(
    monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    with stage() as hub:
        doorkeeper(hub)
        clock = Clock(hub)
        monkeypatch.setattr(collab.shared, "now", clock)
        client, idle = hub.hocuspocus(), hub.hocuspocus()
        for second in range(10):
            clock.pass_to(second)
            client.ask(f"doc {second}", token)
            settle()
            client.keep()
            assert client.closed is None
        clock.pass_to(11)
        for each in (client, idle):
            each.keep()
            assert each.closed == Closed(4408, "nobody has come in")
        assert hub.metrics.snapshot()["closed"] == {"4408": 2}


def test_a_decision_that_takes_long_is_waited_for() -> None:
    with stage() as hub:
        keeper = doorkeeper(hub, thinking=True)
        client = hub.hocuspocus()
        client.ask("doc", "alice")
        settle()
        hub.tick(now() + 25)
        settle()
        assert client.received() == []
        keeper.go.set()
        settle()
        assert READ_WRITE in client.heard("doc")


def test_a_flood_of_wrong_tokens_is_closed() -> None:
    with stage(max_invalid=5) as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        for number in range(5):
            assert client.closed is None
            client.join(f"doc {number}", "wrong")
        assert client.closed == Closed(1008, "too many invalid messages")
        snapshot = hub.metrics.snapshot()
        assert (snapshot["upgrades_refused"], snapshot["closed"]) == ({"unauthenticated": 5}, {"1008": 1})


@pytest.mark.parametrize(
    ("rubbish", "code"),
    [
        (b"", "invalid_message"),
        (b"\x05doc", "invalid_message"),
        (b"\x03doc", "invalid_message"),
        (b"\xff\xff\xff\xff\x0f", "too_large"),
        (b"\x03doc\x06\x00", "unknown_type"),
        (b"\x03doc\x08\x01", "unknown_type"),
        (b"\x03doc\x02\x01\x00", "invalid_message"),
        (b"\x03doc\x00\x00\x03\xff\xff\x03", "invalid_update"),
        (b"\x03doc\x01\x01\xff", "invalid_update"),
    ],
    ids=repr,
)
def test_rubbish_is_counted_and_closed_when_there_is_too_much_of_it(rubbish: bytes, code: str) -> None:
    with stage(max_invalid=3) as hub:
        client, other = hub.hocuspocus("alice"), hub.native("doc", "bob")
        come_in(client, "doc")
        quiet(other)
        for _ in range(2):
            client.send(rubbish)
        client.say("doc", update(HELLO))
        settle()
        assert TAKEN in client.heard("doc")
        client.send(rubbish)
        settle()
        assert client.received()[-1] == Closed(1008, "too many invalid messages")
        assert hub.metrics.snapshot()["refused"] == {code: 3}
        assert types(other.received()) == [1, "leave"]


# ---- what is taken and what is not


def test_an_update_is_said_to_be_taken_when_it_is_stored_and_not_before() -> None:
    store = FailingStore()
    with stage(store) as hub:
        client, editor = hub.hocuspocus(), Editor()
        come_in(client, "doc")
        client.say("doc", update(editor.type("a")), step2(editor.type("b")))
        settle()
        messages = client.heard("doc")
        assert (read(messages), statuses(messages)) == ("ab", [])
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert client.heard("doc") == [TAKEN], "one was asked for, and this one answers nothing"


def test_an_update_is_said_to_be_taken_at_once_where_applied_is_enough() -> None:
    store = FailingStore()
    with stage(store, ack="applied") as hub:
        client, editor = hub.hocuspocus(), Editor()
        client.join("doc")
        client.say("doc", update(editor.type("a")), step2(editor.type("b")), update(editor.type("c")))
        settle()
        assert statuses(client.heard("doc")) == [TAKEN] * 3
        store.failing = False
        assert hub.caretaker.saver.flush(5)


def test_a_refused_update_is_said_not_to_be_taken_and_nobody_else_sees_it() -> None:
    with stage() as hub:
        client, other, editor = hub.hocuspocus(), hub.hocuspocus(), Editor()
        for each in (client, other):
            come_in(each, "doc")
        client.say("doc", update(editor.type("a")), update(b"\xff\xff\xff"), update(editor.type("b")))
        settle()
        assert sorted(statuses(client.heard("doc"))) == [REFUSED, TAKEN, TAKEN]
        messages = other.heard("doc")
        assert (read(messages), statuses(messages)) == ("ab", [])
        assert hub.metrics.snapshot()["refused"] == {"invalid_update": 1}


def test_an_answer_that_brings_nothing_new_is_taken() -> None:
    with stage() as hub:
        hub.yjs("doc").send(update(HELLO))
        settle()
        client = hub.hocuspocus()
        client.join("doc")
        client.say("doc", step2(HELLO))
        settle()
        assert client.heard("doc") == [TAKEN]


def test_each_change_that_could_not_be_stored_is_taken_once_it_was_asked_for_again() -> None:
    store = FailingStore()
    with stage(store, max_unstored=10, max_invalid=2) as hub:
        client, editor = hub.hocuspocus(), Editor()
        come_in(client, "doc")
        client.say("doc", update(editor.type("more than ten bytes")))
        settle()
        client.say("doc", *(update(editor.type("x")) for _ in range(5)))
        settle()
        assert statuses(client.heard("doc")) == []
        assert client.closed is None, "which is no abuse"
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        hub.tick(now())
        settle()
        messages = client.heard("doc")
        assert types(messages) == [8, 0], "the one that was stored, and a question"
        assert messages[1][:2] == b"\x00\x00"
        client.say("doc", step2(editor.doc.get_update()))
        settle()
        assert statuses(client.heard("doc")) == [TAKEN] * 5
        client.say("doc", update(editor.type("y")))
        settle()
        assert statuses(client.heard("doc")) == [TAKEN]


def test_what_builds_on_what_has_not_come_is_taken_when_that_has_come() -> None:
    with stage() as hub:
        client, editor = hub.hocuspocus(), Editor()
        come_in(client, "doc")
        first, second = editor.type("a"), editor.type("b")
        client.say("doc", update(second))
        settle()
        assert [message[:2] for message in client.heard("doc")] == [b"\x00\x00"]
        client.say("doc", step2(first))
        settle()
        messages = client.heard("doc")
        assert (read(messages), statuses(messages)) == ("ab", [TAKEN])


def test_who_may_only_read_sees_all_and_is_seen_but_changes_nothing() -> None:
    with stage(max_invalid=5) as hub:
        doorkeeper(hub)
        rose, alice = hub.hocuspocus(), hub.hocuspocus()
        come_in(alice, "doc", token="alice")
        alice.say("doc", update(HELLO))
        settle()
        quiet(alice)
        granted, *rest = rose.join("doc", "rose")
        assert (granted, read(rest)) == (READ_ONLY, "hello")
        rose.say("doc", step2(HELLO))
        settle()
        assert rose.heard("doc") == [TAKEN], "which held nothing new"
        for _ in range(10):
            rose.say("doc", update(Editor().type("x")))
        rose.say("doc", step2(Editor().type("y")), yjs_awareness(5, 1, "{}"), rose.stateless("hi"))
        settle()
        messages = rose.heard("doc")
        assert statuses(messages) == [REFUSED] * 11
        assert (read(messages), rose.closed) == ("", None), "which is no abuse"
        assert types(alice.heard("doc")) == [5, 1]
        assert read(hub.yjs("doc").received()) == ""
        assert hub.metrics.snapshot()["refused"] == {"read_only": 11}


# ---- rights that change


def test_rights_change_while_somebody_is_in() -> None:
    with stage() as hub:
        keeper = doorkeeper(hub)
        client = hub.hocuspocus()
        client.join("doc", "rose")
        keeper.users["rose"] = User("rose", "Rose")
        assert hub.recheck("doc", "rose") == 1
        settle()
        assert client.heard("doc") == [READ_WRITE]
        client.say("doc", update(HELLO))
        settle()
        assert TAKEN in client.heard("doc")
        client.say("doc", client.auth("rose"))
        keeper.users["rose"] = User("rose", "Rose", rights=Rights.READ)
        settle()
        assert client.heard("doc") == [READ_ONLY], "another token is another decision"
        client.say("doc", update(Editor().type("x")))
        settle()
        assert client.heard("doc") == [REFUSED]


@pytest.mark.parametrize("version", [None, "4.8.0"])
def test_who_is_sent_out_is_told_so_in_words_that_it_knows_and_keeps_the_rest(version: str | None) -> None:
    with stage() as hub:
        keeper = doorkeeper(hub)
        client, watcher = hub.hocuspocus(), hub.native("doc", "watcher")
        come_in(client, "other", token="alice")
        client.join("doc", "alice", version=version)
        quiet(watcher)
        del keeper.users["alice"]
        hub.recheck("doc", "alice")
        settle()
        farewell = [] if version is None else [b"\x07" + var_string("no such token")]
        assert client.heard("doc") == [denied("no such token"), *farewell]
        assert types(watcher.received()) == ["leave"]
        client.say("doc", update(HELLO))
        client.say("other", update(HELLO))
        settle()
        assert client.heard("doc") == []
        assert TAKEN in client.heard("other")
        assert types(watcher.received()) == []


def test_a_client_that_counts_anew_is_told_no_more_of_what_it_has_stopped_counting() -> None:
    """As the provider does when it is made to sync, and when it connects again."""
    store = FailingStore()
    with stage(store) as hub:
        client, editor = hub.hocuspocus(), Editor()
        come_in(client, "doc")
        for letter in "abc":
            client.say("doc", update(editor.type(letter)))
        settle()
        client.say("doc", step1(), step2(editor.doc.get_update()), update(editor.type("d")))
        settle()
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert statuses(client.heard("doc")) == [TAKEN] * 2


# ---- what is passed on


def test_stateless_messages_go_to_all_others_who_can_read_them_and_are_not_kept() -> None:
    with stage() as hub:
        alice, bob, carol, yjs = hub.hocuspocus(), hub.hocuspocus(), hub.native("doc"), hub.yjs("doc")
        for each in (alice, bob):
            come_in(each, "doc")
        quiet(carol, yjs)
        for text in (NOTE, "no JSON é", "[1]"):
            alice.say("doc", alice.stateless(text))
        settle()
        assert bob.heard("doc") == [bob.stateless(text) for text in (NOTE, "no JSON é", "[1]")]
        assert [message for _, message in carol.frames()] == [{"type": "note", "n": 1}]
        assert (alice.heard("doc"), yjs.received()) == ([], [])
        assert types(hub.hocuspocus().join("doc")) == [2, 0, 0]
        quiet(carol)
        carol.send(NOTE)
        settle()
        for each in (alice, bob):
            assert each.heard("doc") == [each.stateless(NOTE)]
        assert (carol.received(), yjs.received()) == ([], [])


def test_what_the_server_says_reaches_who_has_words_for_it_and_nobody_else_can_say_it() -> None:
    text = '{"type":"say","text":"hi"}'
    with stage() as hub:
        alice, bob, carol, yjs = hub.hocuspocus(), hub.hocuspocus(), hub.native("doc"), hub.yjs("doc")
        for each in (alice, bob):
            come_in(each, "doc")
        quiet(carol, yjs)
        assert hub.say("doc", "hi") == (3, 1)
        settle()
        assert alice.heard("doc") == bob.heard("doc") == [alice.stateless(text)]
        assert [message for _, message in carol.frames()] == [{"type": "say", "text": "hi"}]
        for forged in (text, '{"text":"hi","\\u0074ype":"s\\u0061y"}'):
            alice.say("doc", alice.stateless(forged))
        settle()
        assert (bob.heard("doc"), carol.received(), yjs.received()) == ([], [], [])
        assert hub.metrics.snapshot()["refused"] == {"invalid_message": 2}


@pytest.mark.parametrize("kind", ["join", "leave", "initial_state", "error", "pong", "ack", "awareness", "auth"])
def test_nothing_stateless_reaches_a_native_client_as_if_the_server_had_said_it(kind: str) -> None:
    text = f'{{"type":"{kind}","user":{{"id":"mallory","name":"Mallory"}},"token":"t"}}'
    with stage() as hub:
        alice, bob, carol, binary = (
            hub.hocuspocus(),
            hub.hocuspocus(),
            hub.native("doc"),
            hub.native("doc", binary=True),
        )
        for each in (alice, bob):
            come_in(each, "doc")
        quiet(carol, binary)
        alice.say("doc", alice.stateless(text))
        settle()
        assert (carol.received(), binary.received()) == ([], [])
        assert bob.heard("doc") == [bob.stateless(text)]


def test_presence_reaches_all_its_author_included() -> None:
    with stage() as hub:
        alice, bob, yjs, native = hub.hocuspocus(), hub.hocuspocus(), hub.yjs("doc"), hub.native("doc")
        for each in (alice, bob):
            come_in(each, "doc")
        quiet(yjs, native)
        presence = yjs_awareness(5, 1, '{"x":1}')
        alice.say("doc", presence)
        settle()
        assert (alice.heard("doc"), bob.heard("doc"), yjs.received()) == ([presence], [presence], [presence])
        assert native.received() == [b"\x02" + presence[1:]]
        bob.say("doc", presence)  # as the providers before 4 echo all that they hear
        settle()
        assert (alice.heard("doc"), bob.heard("doc"), yjs.received()) == ([], [], [])
        bob.say("doc", b"\x03")
        settle()
        assert bob.heard("doc") == [presence]


# ---- time


def test_a_connection_in_a_document_hears_something_every_20_seconds() -> None:
    with stage(ping_interval=1000) as hub:
        client = hub.hocuspocus()
        start = now()
        come_in(client, "one", "two")
        times = [0]
        for second in range(1, 200):
            hub.tick(start + second)
            settle()
            messages = client.heard("one") + client.heard("two")
            assert messages in ([], [b"\x01\x01\x00"])
            times += [second] * len(messages)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert len(gaps) > 8 and max(gaps) <= 21


def test_who_says_nothing_for_the_idle_timeout_is_closed() -> None:
    with stage() as hub:
        client = hub.hocuspocus()
        come_in(client, "doc")
        hub.clean_up(now() + 299)
        settle()
        assert client.heard("doc") == [] and client.closed is None
        hub.clean_up(now() + 301)
        settle()
        assert client.received() == [Closed(4508, "no activity")]


def test_a_server_that_stops_says_so_to_all_of_its_clients() -> None:
    with stage(stop_timeout=0.1) as hub:
        client = hub.hocuspocus()
        come_in(client, "one", "two")
        hub.stop()
        assert client.received() == [Closed(1012, "the server is restarting")]


def test_who_comes_back_in_time_as_the_same_user_is_not_announced_as_gone() -> None:
    with stage() as hub:
        watcher, alice = hub.native("doc", "watcher"), hub.hocuspocus("alice")
        come_in(alice, "doc", "other")
        alice.say("doc", yjs_awareness(5, 1, '{"x":1}'))
        quiet(watcher)
        alice.vanish()
        settle()
        again = hub.hocuspocus("alice")
        come_in(again, "doc")
        again.say("doc", yjs_awareness(5, 2, '{"x":2}'))
        settle()
        hub.tick(now() + 9)
        assert set(hub.rooms) == {"doc", "other"}
        hub.tick(now() + 11)
        settle()
        assert watcher.received() == [b"\x02" + yjs_awareness(5, 2, '{"x":2}')[1:]]
        assert set(hub.rooms) == {"doc"}, "who did not come back there is gone"


@pytest.mark.parametrize("how", ["said goodbye", "nobody"])
def test_who_said_goodbye_and_who_is_nobody_is_gone_at_once(how: str) -> None:
    with stage() as hub:
        watcher, client = hub.native("doc", "watcher"), hub.hocuspocus("" if how == "nobody" else "alice")
        come_in(client, "doc")
        quiet(watcher)
        if how == "nobody":
            client.vanish()
        else:
            client.close()
        settle()
        assert types(watcher.received()) == ["leave"]


# ---- what can go wrong with documents


def test_a_document_that_cannot_be_loaded_comes_in_by_itself_once_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collab.shared, "RETRY", 0.01)
    store = AwayStore("doc")
    with stage(store) as hub:
        client, editor = hub.hocuspocus(), Editor()
        client.ask("doc")
        client.say("doc", update(editor.type("a")))
        settle()
        come_in(client, "other")
        hub.tick(now() + 11)
        assert (client.heard("doc"), client.closed) == ([], None)
        store.away.clear()
        wait_read(client.sock.fileno(), timeout=5)
        settle()
        messages = client.heard("doc")
        assert types(messages)[:3] == [2, 0, 0]
        assert read(messages) == "a" and TAKEN in messages


def test_nobody_waits_for_a_document_any_more_once_the_connection_is_over() -> None:
    store = AwayStore("doc")
    with stage(store) as hub:
        client = hub.hocuspocus()
        client.ask("doc")
        settle()
        assert "admission" in hub.crew.names()
        client.vanish()
        settle()
        assert (store.asked, "admission" in hub.crew.names()) == (1, False)


def test_a_document_in_quarantine_is_denied_with_the_reason_and_the_others_go_on() -> None:
    store = MemoryStore()
    store.append([Record("doc", "epoch", b"\xff\xff\xff", True)])
    with stage(store) as hub:
        client = hub.hocuspocus()
        come_in(client, "other")
        assert client.join("doc", version="4.8.0")[0] == denied("the document is in quarantine")
        assert "admission" not in hub.crew.names(), "nobody waits for it"
        client.say("other", update(HELLO))
        settle()
        assert TAKEN in client.heard("other")
        store.release("doc")
        store.delete("doc")
        come_in(client, "doc")


def test_a_document_that_is_replaced_sends_its_clients_away_to_come_back_whole() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        client, elsewhere = hub.hocuspocus(), hub.hocuspocus()
        come_in(client, "doc", "other")
        come_in(elsewhere, "other")
        client.say("doc", update(HELLO))
        settle()
        quiet(client)
        store.delete("doc")
        hub.tick(now())
        settle()
        assert client.received() == [Closed(4205, "the document was replaced")]
        elsewhere.say("other", update(HELLO))
        settle()
        assert TAKEN in elsewhere.heard("other")


# ---- what can go wrong with us


def test_a_decision_that_fails_denies_one_document_and_no_other() -> None:
    with stage() as hub:
        doorkeeper(hub)
        client = hub.hocuspocus()
        come_in(client, "doc", token="alice")
        assert client.join("other", "broken") == [denied("it could not be decided who this is")]
        client.say("doc", update(HELLO))
        settle()
        assert TAKEN in client.heard("doc")
        assert hub.metrics.labelled.pop(("greenlet_deaths", "")) == 1


def test_a_fault_of_ours_in_what_was_held_ends_the_connection_with_1011(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage() as hub:
        client, other = hub.hocuspocus(), hub.native("doc", "bob")
        quiet(other)
        monkeypatch.setattr(Room, "relay", lambda *_: 1 / 0)
        client.ask("doc")
        client.say("doc", client.stateless(NOTE))
        settle()
        client.heard("doc")
        assert client.closed == Closed(1011, "internal error")
        other.send({"type": "ping"})
        settle()
        assert types(other.received()) == ["join", "leave", "pong"]
        assert hub.metrics.labelled.pop(("greenlet_deaths", "")) == 1


def test_addresses_that_come_and_go_leave_nothing_in_the_room() -> None:
    """A provider with session awareness has another address each time."""
    with stage() as hub:
        hub.yjs("doc").send(update(HELLO))
        client = hub.hocuspocus()
        for number in range(20):
            come_in(client, f"doc\0{number}")
            client.say(f"doc\0{number}", CLOSE)
        settle()
        assert len(hub.rooms["doc"]) == 1
        assert len(hub.rooms["doc"]._groups) == 1


def test_a_room_does_not_keep_a_copy_of_its_document_for_each_address() -> None:
    with stage() as hub:
        hub.yjs("doc").send(update(HELLO))
        client = hub.hocuspocus()
        for number in range(20):
            assert read(client.join(f"doc\0{number}")) == "hello"
        assert len(hub.rooms["doc"]._step2) < 10


# ---- readers that are slower than their documents


def narrow(client: SharedClient) -> None:
    """Let the server's socket hold next to nothing, so that a client that does not read is felt at once."""
    client.shared._socket._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def catch_up(client: SharedClient) -> None:
    """Read until nothing waits any more; what has come is kept for `heard`."""
    while True:
        settle()
        client.keep()
        if client.shared.backlog is None:
            return


def test_a_slow_reader_is_repaired_in_each_of_its_documents_and_only_where_it_missed_something() -> None:
    with stage(send_queue=20, send_queue_bytes=20_000) as hub:
        slow = hub.hocuspocus()
        come_in(slow, "one", "two", "three")
        writers = {name: (hub.yjs(name), Editor()) for name in ("one", "two", "three")}
        narrow(slow)
        for number in range(300):
            for name, (writer, editor) in writers.items():
                if name == "three" and number not in (0, 299):
                    continue
                text = f"{name} {number} " + "x" * 300
                writer.send(update(editor.type(text)))
                writer.send(yjs_awareness(5, number + 1, f'{{"n":{number}}}'))
                settle()
                writer.received()
            if slow.shared.backlog is not None:
                assert len(slow.shared.backlog) < 40
        assert slow.shared.backlog is not None
        catch_up(slow)
        for name, (_, editor) in writers.items():
            messages = slow.heard(name)
            assert len(messages) < 300
            its = Editor()
            for message in messages:
                its.read(message)
            assert (str(its), its.clocks) == (str(editor), editor.clocks)
            latest = [message for message in messages if message[:1] == b"\x01"][-1]
            assert b'{"n":299}' in latest


def test_a_document_that_is_asked_for_behind_a_backlog_comes_whole_and_in_order() -> None:
    with stage(send_queue=4) as hub:
        slow, writer, editor = hub.hocuspocus(), hub.yjs("one"), Editor()
        hub.yjs("two").send(update(HELLO))
        come_in(slow, "one")
        narrow(slow)
        for _ in range(100):
            writer.send(update(editor.type("x" * 1000)))
            settle()
            writer.received()
        assert slow.shared.backlog is not None
        slow.ask("two")
        slow.say("two", step2(EMPTY))
        settle()
        catch_up(slow)
        assert types(slow.heard("two")) == [2, 0, 8, 0]
        assert len(read(slow.heard("one"))) == 100_000


def test_a_document_that_is_left_while_its_repair_is_due_is_not_repaired() -> None:
    with stage(send_queue=4) as hub:
        slow = hub.hocuspocus()
        come_in(slow, "one", "two")
        writers = [(hub.yjs(name), Editor()) for name in ("one", "two")]
        narrow(slow)
        for _ in range(100):
            for writer, editor in writers:
                writer.send(update(editor.type("x" * 1000)))
                settle()
                writer.received()
        slow.say("one", CLOSE)
        settle()
        catch_up(slow)
        assert len(read(slow.heard("one"))) < 100_000
        assert len(read(slow.heard("two"))) == 100_000
        assert hub.metrics.snapshot()["repairs"] == 1
