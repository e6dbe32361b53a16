"""What users may do: reading without writing, rights that change while somebody is there, and tokens that expire."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from guests import Guests
from ydocs import Editor, step1, step2, update, yjs_awareness

from collab.clock import now
from collab.identity import Credentials, Rights
from collab.protocol.dialect import Dialect
from collab.protocol.native import NATIVE
from collab.protocol.ywebsocket import YWEBSOCKET
from collab.solo import Arrival
from collab.stores.memory import MemoryStore
from collab.testing import Client, Closed, Stage, settle, stage

PLAIN = NATIVE[False, False]
DIALECTS = pytest.mark.parametrize("dialect", [PLAIN, YWEBSOCKET], ids=["native", "yjs"])


def arrive(hub: Stage, token: str, dialect: Dialect = PLAIN) -> Client:
    """Come in by a token."""
    credentials = Credentials(token, {})
    return hub.admit(Arrival(dialect, "doc", hub.auth.decide("doc", credentials), credentials))


def errors(messages: list[Any]) -> list[tuple[str, int | None]]:
    return [(m["code"], m.get("update")) for m in messages if isinstance(m, dict) and m["type"] == "error"]


def said(hub: Stage) -> str:
    """What the document says to somebody new."""
    visitor, editor = hub.yjs("doc"), Editor()
    visitor.send(step1())
    settle()
    for message in visitor.received():
        editor.read(message)
    visitor.close()
    settle()
    return str(editor)


@pytest.fixture
def guests() -> Guests:
    return Guests(alice=Rights.WRITE, bob=Rights.READ, carol=Rights.ADMIN)


@DIALECTS
def test_who_may_only_read_sees_everything_and_changes_nothing(guests: Guests, dialect: Dialect) -> None:
    store = MemoryStore()
    with stage(store) as hub:
        hub.auth = guests
        alice, bob = arrive(hub, "alice"), arrive(hub, "bob", dialect)
        writer, reader = Editor(native=True), Editor(native=dialect is PLAIN)
        alice.send(update(writer.type("hello")))
        settle()
        for message in bob.received():
            reader.read(message)
        assert str(reader) == "hello"
        alice.received()
        bob.send(update(reader.type(" world")))
        settle()
        assert alice.received() == []
        answer = bob.received()
        if dialect is PLAIN:
            assert errors(answer) == [("read_only", 1)]
            assert answer[-1] == b"\x04\x01", "it is done with"
        else:
            assert answer[0][:2] == b"\x02\x00" and b"read_only" in answer[0]
        assert said(hub) == "hello"
        assert hub.metrics.snapshot()["refused"] == {"read_only": 1}
        loaded = store.load("doc")
        assert loaded is not None
        assert b"world" not in b"".join(loaded.updates)


def test_what_a_reader_has_already_is_no_change(guests: Guests) -> None:
    with stage() as hub:
        hub.auth = guests
        alice, bob = arrive(hub, "alice"), arrive(hub, "bob")
        writer = Editor()
        alice.send(update(writer.type("hello")))
        alice.send(update(writer.delete(1, 3)))
        settle()
        bob.received()
        bob.send(step2(writer.doc.get_update()))
        bob.send(step2(b"\x00\x00"))
        settle()
        assert errors(answer := bob.received()) == []
        assert answer[-1] == b"\x04\x02"
        bob.send(step2(writer.delete(0, 1)))
        settle()
        assert errors(bob.received()) == [("read_only", 3)], "a deletion is a change"
        assert said(hub) == "hlo"


def test_a_reader_may_tell_its_presence(guests: Guests) -> None:
    with stage() as hub:
        hub.auth = guests
        alice, bob = arrive(hub, "alice", YWEBSOCKET), arrive(hub, "bob", YWEBSOCKET)
        alice.received()
        bob.send(yjs_awareness(7, 1, '{"cursor":1}'))
        settle()
        assert [message[:1] for message in alice.received()] == [b"\x01"]


def test_a_reader_who_writes_is_not_taken_for_an_abuser(guests: Guests) -> None:
    with stage(max_invalid=3) as hub:
        hub.auth = guests
        bob, editor = arrive(hub, "bob"), Editor()
        for _ in range(10):
            bob.send(update(editor.type("x")))
        settle()
        assert len(errors(bob.received())) == 10
        assert not bob.ended


def test_rights_change_while_somebody_is_there(guests: Guests) -> None:
    with stage() as hub:
        hub.auth = guests
        alice, bob = arrive(hub, "alice"), arrive(hub, "bob")
        editor = Editor()
        bob.received()
        guests.rights["bob"] = Rights.WRITE
        assert hub.recheck("doc", "bob") == 1
        settle()
        assert {"type": "auth", "rights": "write"} in bob.received()
        bob.send(update(editor.type("hello")))
        settle()
        assert errors(bob.received()) == []
        guests.rights["bob"] = Rights.READ
        assert hub.recheck("doc") == 2
        settle()
        assert {"type": "auth", "rights": "read"} in bob.received()
        bob.send(update(editor.type(" more")))
        settle()
        assert errors(bob.received()) == [("read_only", 2)]
        del guests.rights["bob"]
        assert hub.recheck("doc", "bob") == 1
        settle()
        assert bob.received()[-1] == Closed(4403, "You are not on the list")
        assert not alice.ended
        assert said(hub) == "hello"


def test_nobody_goes_on_as_another_user(guests: Guests) -> None:
    with stage() as hub:
        hub.auth = guests
        bob = arrive(hub, "bob")
        bob.received()
        bob.send({"type": "auth", "token": "carol"})
        settle()
        assert errors(bob.received()) == [("forbidden", None)]
        bob.send({"type": "auth", "token": "nobody"})
        settle()
        assert errors(bob.received()) == [("forbidden", None)]
        bob.send({"type": "auth"})
        settle()
        assert errors(bob.received()) == [("invalid_message", None)]
        assert bob.connection.session.user.rights is Rights.READ


def test_a_token_that_expires_ends_the_session_after_it_was_asked_for_another(
    guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("collab.hub.unix", lambda: clock[0])
    guests.expires = {"alice/1": 1100.0, "alice/2": 1200.0, "bob": 1100.0}
    with stage() as hub:
        hub.auth = guests
        alice, bob, carol = arrive(hub, "alice/1"), arrive(hub, "bob"), arrive(hub, "carol")
        for client in (alice, bob, carol):
            client.received()
        clock[0] = 1069.0
        hub.tick(now())
        settle()
        assert alice.received() == bob.received() == []
        for clock[0] in (1070.0, 1080.0):
            hub.tick(now())
            settle()
        assert alice.received() == bob.received() == [{"type": "auth"}], "once"
        alice.send({"type": "auth", "token": "alice/2"})
        settle()
        assert alice.received() == [{"type": "auth", "rights": "write"}]
        del guests.rights["bob"]
        clock[0] = 1100.0
        hub.tick(now())
        settle()
        assert bob.received() == [Closed(4401, "You are not on the list")]
        assert not alice.ended and not carol.ended
        alice.received()
        clock[0] = 1170.0
        hub.tick(now())
        settle()
        assert alice.received() == [{"type": "auth"}]
        bob.close()
        settle()
        assert {session.user_id for session in hub.admission.expiring} == {"alice"}


def test_a_decision_that_holds_longer_by_now_does_not_end_the_session(
    guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("collab.hub.unix", lambda: clock[0])
    guests.expires = {"alice": 1100.0}
    with stage() as hub:
        hub.auth = guests
        alice = arrive(hub, "alice")
        guests.expires = {"alice": 2000.0}
        clock[0] = 1100.0
        hub.tick(now())
        settle()
        assert not alice.ended
        assert alice.connection.session.user.expires == 2000.0


def test_who_is_kicked_is_told_why_and_kept_out_for_a_while(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [50.0]
    monkeypatch.setattr("collab.admission.now", lambda: clock[0])
    with stage() as hub:
        hub.auth = guests
        alice, bob, again = arrive(hub, "alice"), arrive(hub, "bob"), arrive(hub, "bob")
        assert hub.kick("doc", "bob", 60, "be nice") == 2
        settle()
        for client in (bob, again):
            assert client.received()[-1] == Closed(4403, "be nice")
        assert [m for m in alice.received() if isinstance(m, dict)][-1]["type"] == "leave"
        with pytest.raises(Exception, match="come back in 60 s") as refused:
            hub.admission.decide("doc", Credentials("bob", {}))
        assert (refused.value.status, refused.value.code) == (403, "kicked")  # type: ignore[attr-defined]
        hub.admission.decide("other", Credentials("bob", {}))
        hub.admission.decide("doc", Credentials("carol", {}))
        clock[0] += 60
        hub.admission.decide("doc", Credentials("bob", {}))


def test_a_document_can_be_emptied(guests: Guests) -> None:
    with stage() as hub:
        hub.auth = guests
        clients = [arrive(hub, name) for name in ("alice", "bob", "carol")]
        assert hub.kick("doc", None, 60) == 3
        settle()
        assert all(client.received()[-1].code == 4403 for client in clients)
        for name in ("alice", "carol"):
            with pytest.raises(Exception, match="sent out"):
                hub.admission.decide("doc", Credentials(name, {}))
        assert hub.kick("nothing") == hub.recheck("nothing") == 0


def test_nothing_of_who_has_gone_is_kept(guests: Guests) -> None:
    guests.expires = {"alice": 1e12}
    with stage(resume_grace=0) as hub:
        hub.auth = guests
        clients = [arrive(hub, name) for name in ("alice", "alice", "bob")]
        for client in clients:
            client.vanish()
        settle()
        admission = hub.admission
        assert not admission.expiring
        assert not admission._by_user and not admission._by_document and not admission._by_network
        assert admission._connections == 0
        hub.clients.clear()
        del client, clients
        gc.collect()
        assert not len(admission._meters)
