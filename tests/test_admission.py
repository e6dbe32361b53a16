"""The limits on who comes in and how much: told with when to come back, and counted out whatever happens."""

from __future__ import annotations

import gevent
import pytest
from guests import Guests
from processes import Serve
from wire import ask, connect, is_step1, request
from ydocs import Editor, step2, update

from collab.clock import now
from collab.errors import HandshakeRefused
from collab.identity import Credentials, Rights
from collab.stores.memory import MemoryStore
from collab.testing import Closed, Stage, mask_frame, settle, stage

ALICE = Credentials("alice", {})


def refusal(hub: Stage, document_id: str = "doc") -> tuple[int, str, str | None]:
    """How a decision on Alice ends."""
    with pytest.raises(HandshakeRefused) as refused:
        hub.admission.decide(document_id, ALICE)
    return refused.value.status, refused.value.code, refused.value.headers.get("Retry-After")


def test_sessions_of_one_user_are_bounded_over_all_documents() -> None:
    with stage(max_sessions_per_user=2, resume_grace=0) as hub:
        hub.auth = Guests(alice=Rights.WRITE)
        tabs = [hub.native("one", "alice"), hub.yjs("two", "alice")]
        hub.native("doc", "bob")
        assert refusal(hub) == (429, "too_many_sessions", "10")
        tabs[0].close()
        settle()
        assert hub.admission.decide("doc", ALICE).id == "alice"


def test_sessions_in_one_document_are_bounded() -> None:
    with stage(max_sessions_per_document=2, resume_grace=0) as hub:
        hub.auth = Guests(alice=Rights.WRITE)
        first, _ = hub.native("doc"), hub.yjs("doc")
        assert refusal(hub) == (503, "document_crowded", "10")
        hub.admission.decide("other", ALICE)
        first.vanish()
        settle()
        hub.admission.decide("doc", ALICE)


def test_open_documents_are_bounded_and_open_ones_go_on() -> None:
    with stage(max_rooms=1) as hub:
        hub.auth = Guests(alice=Rights.WRITE)
        hub.native("doc")
        hub.admission.decide("doc", ALICE)
        assert refusal(hub, "other") == (503, "full", "10")


def test_connections_are_bounded_by_process_and_by_address(serve: Serve) -> None:
    server = serve(
        COLLAB_MAX_CONNECTIONS=3,
        COLLAB_MAX_CONNECTIONS_PER_ADDRESS=2,
        COLLAB_TRUSTED_PROXIES="127.0.0.1",
        COLLAB_RESUME_GRACE=0,
    )

    def refused(address: str) -> tuple[int, str, str]:
        answer = ask(server.port, request("/yjs/doc", headers={"X-Forwarded-For": address}))
        return answer.status, answer.error["code"], answer.headers["retry-after"]

    near, far = ({"X-Forwarded-For": address} for address in ("198.51.100.1", "198.51.100.2"))
    with connect(server.port, "/yjs/doc", headers=near) as first, connect(server.port, "/hocuspocus", headers=near):
        first.read_until(is_step1)
        assert refused("198.51.100.1") == (429, "too_many_connections", "10")
        assert refused("::ffff:198.51.100.1") == (429, "too_many_connections", "10")
        with connect(server.port, "/yjs/doc", headers=far) as third:
            third.read_until(is_step1)
            assert refused("198.51.100.3") == (503, "full", "10")


def test_connections_of_one_ipv6_network_count_as_of_one_address_until_they_end() -> None:
    with stage(max_connections_per_address=2) as hub:
        door = hub.admission
        for n in (1, 2):
            door.connect(f"2001:db8::{n}")
        with pytest.raises(HandshakeRefused) as refused:
            door.check_room("2001:db8::ffff:0:0:3")
        assert (refused.value.status, refused.value.code) == (429, "too_many_connections")
        door.check_room("2001:db8:0:1::3")
        door.disconnect("2001:db8::1")
        door.check_room("2001:db8::ffff:0:0:3")


def test_pages_of_other_sites_are_refused_at_the_handshake(serve: Serve) -> None:
    server = serve(COLLAB_ALLOWED_ORIGINS="https://app.example.org")
    for path in ("/yjs/doc", "/ws/document/doc", "/hocuspocus"):
        answer = ask(server.port, request(path, headers={"Origin": "https://evil.example"}))
        assert (answer.status, answer.error["code"]) == (403, "bad_origin")
        assert ask(server.port, request(path, headers={"Origin": "https://app.example.org"})).status == 101


def test_where_everybody_is_believed_only_this_machines_own_names_are_answered_to(serve: Serve) -> None:
    server = serve()
    rebound = {"Host": f"evil.example:{server.port}"}
    for origin in (None, f"http://evil.example:{server.port}"):
        for path in ("/yjs/doc", "/ws/document/doc", "/hocuspocus"):
            answer = ask(server.port, request(path, headers=rebound | {"Origin": origin}))
            assert (answer.status, answer.error["code"]) == (403, "bad_origin")
        plain = request("/api/document?id=doc", headers=rebound | {"Origin": origin, "Upgrade": None})
        assert ask(server.port, plain).error["code"] == "bad_origin"
    assert ask(server.port, request("/yjs/doc")).status == 101


# ---- what is read of one user


def flood(messages: int) -> bytes:
    """So many pings, which cost next to nothing to make and are answered."""
    return mask_frame(9, b"") * messages


def test_who_sends_too_much_is_read_more_slowly_and_then_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    clock = [100.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds
        gevent.sleep(0)

    monkeypatch.setattr("collab.intake.sleep", sleep)
    for module in ("connection", "intake"):
        monkeypatch.setattr(f"collab.{module}.now", lambda: clock[0])
    with stage(rate_messages=10, flood_timeout=5) as hub:
        alice = hub.native("doc", "alice")
        alice.send_raw(flood(40))
        settle()
        assert pauses == [], "a burst is no flood"
        alice.send_raw(flood(5))
        settle()
        assert pauses == [pytest.approx(0.5)]
        for _ in range(8):
            alice.send_raw(flood(20))
            settle()
        assert alice.received()[-1] == Closed(1008, "more messages than the server reads, for too long")
        snapshot = hub.metrics.snapshot()
        assert snapshot["throttled"] == len(pauses)
        assert snapshot["refused"] == {"rate_limited": 1} and snapshot["closed"] == {"1008": 1}


def test_messages_that_come_one_by_one_count_as_well_and_the_next_one_is_waited_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("collab.intake.sleep", pauses.append)
    monkeypatch.setattr("collab.intake.now", lambda: 1000.0)
    with stage(rate_messages=10) as hub:
        alice = hub.yjs("doc")
        for number in range(1, 44):
            alice.send(b"\3")
            settle()
            assert pauses == [pytest.approx((over - 40) / 10) for over in range(42, number + 1)]
        assert hub.metrics.labelled["throttled", ""] == 2
        alice.received()


def test_bytes_count_as_well_as_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("collab.intake.sleep", pauses.append)
    with stage(rate_bytes=1000) as hub:
        alice = hub.native("doc", "alice")
        alice.send({"type": "x", "text": "x" * 6000})
        settle()
        assert pauses == [1.0]


def test_all_connections_of_a_user_count_together() -> None:
    with stage() as hub:
        one, two, other = hub.native("doc", "alice"), hub.yjs("doc", "alice"), hub.yjs("doc", "bob")
        assert one.connection.meter is two.connection.meter is not other.connection.meter


def test_presence_more_often_than_allowed_is_refused() -> None:
    with stage(rate_awareness=1, max_invalid=1000) as hub:
        alice, bob = hub.native("doc", "alice"), hub.native("doc", "bob", json_presence=True)
        bob.received()
        for n in range(6):
            alice.send({"type": "awareness", "cursor": n})
        settle()
        codes = [
            message["code"] for message in alice.received() if isinstance(message, dict) and message["type"] == "error"
        ]
        assert codes == ["rate_limited"] * 2
        [told] = bob.received()
        assert [state["cursor"] for state in told["awareness"].values()] == [3]


def test_a_document_that_is_full_takes_nothing_but_deletions_until_there_is_room() -> None:
    store = MemoryStore()
    with stage(store, max_document_size=3000, max_invalid=100) as hub:
        alice, editor = hub.native("doc", "alice"), Editor(native=True)
        alice.send(update(editor.type("x" * 3000)))
        settle()
        alice.received()
        before = editor.doc.get_update()
        alice.send(update(editor.type("y")))
        settle()
        [error] = [message for message in alice.received() if isinstance(message, dict)]
        assert (error["code"], error["update"]) == ("document_full", 2)
        assert "COLLAB_MAX_DOCUMENT_SIZE" in error["message"]
        smaller = Editor(native=True)
        smaller.doc.apply_update(before)
        alice.send(update(smaller.delete(0, 2900)))
        settle()
        assert not [message for message in alice.received() if isinstance(message, dict)]
        for _ in range(2):
            hub.tick(now())
            settle()
        asked = [message for message in alice.received() if isinstance(message, bytes) and message[:2] == b"\x00\x00"]
        assert len(asked) == 1, "there is room again: it is asked for what was refused"
        alice.send(step2(editor.doc.get_update()))
        settle()
        assert not [message for message in alice.received() if isinstance(message, dict)]
        reader = Editor()
        loaded = store.load("doc")
        assert loaded is not None
        for stored in loaded.updates:
            reader.doc.apply_update(stored)
        assert str(reader) == "x" * 100 + "y"
