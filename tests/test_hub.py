"""The hub: rooms that open once and go when empty, what time does, and how it stops."""

from __future__ import annotations

import gevent
from gevent.event import Event
from ydocs import Editor, yjs_awareness

from collab.clock import now
from collab.errors import StoreError
from collab.protocol.frames import PING, PONG
from collab.stores.base import Loaded
from collab.stores.memory import MemoryStore
from collab.testing import Closed, mask_frame, settle, stage

HELLO = Editor(7).type("hello")


class SlowStore(MemoryStore):
    """Holds every load until it is let go, and may fail it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.go = Event()
        self.error: StoreError | None = None

    def load(self, document_id: str) -> Loaded | None:
        self.loads.append(document_id)
        self.go.wait()
        if self.error is not None:
            raise self.error
        return Loaded("epoch", [HELLO], 0.0)


def test_all_first_visitors_share_one_load_and_one_room() -> None:
    store = SlowStore()
    with stage(store) as hub:
        visitors = [hub.native("doc", f"user{n}") for n in range(5)]
        assert store.loads == ["doc"]
        assert hub.rooms == {}
        visitors[4].close()
        settle()
        store.go.set()
        settle()
        assert store.loads == ["doc"]
        assert len(hub.rooms["doc"]) == 4
        assert [visitor.received()[0]["type"] for visitor in visitors[:4]] == ["initial_state"] * 4


def test_a_load_in_one_document_does_not_hold_up_another() -> None:
    store = SlowStore()
    with stage(store) as hub:
        hub.native("slow")
        assert store.loads == ["slow"]
        hub.native("other")
        assert store.loads == ["slow", "other"]
        store.go.set()
        settle()


def test_a_document_that_cannot_be_loaded_closes_its_visitors_and_can_be_tried_again() -> None:
    store = SlowStore()
    store.error = StoreError("disk on fire")
    store.go.set()
    with stage(store) as hub:
        assert hub.native("doc").received() == [Closed(1013, "the document cannot be loaded now; come back later")]
        assert hub.rooms == {}
        store.error = None
        assert hub.native("doc").received()[0]["type"] == "initial_state"


def test_a_room_goes_with_its_last_member() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.yjs("doc")
        alice.close()
        settle()
        assert list(hub.rooms) == ["doc"]
        bob.close()
        settle()
        assert hub.rooms == {}


def test_somebody_is_pinged_and_dead_without_a_sign_of_life_for_two_intervals() -> None:
    with stage(ping_interval=30, resume_grace=0) as hub:
        alice, bob = hub.native("doc", "alice"), hub.native("doc", "bob")
        alice.frames(), bob.frames()
        start = now()
        hub.tick(start + 31)
        settle()
        assert [opcode for opcode, _ in alice.frames()] == [PING]
        alice.send_raw(mask_frame(PONG, b""))
        settle()
        # The clock of these tests runs ahead: what was heard just now was heard then.
        alice.connection.heard = start + 32
        hub.tick(start + 62)
        settle()
        assert alice.connection in hub.connections
        assert bob.connection not in hub.connections
        assert [message["type"] for message in alice.received()] == ["leave"]


def test_a_yjs_client_is_told_something_every_20_seconds() -> None:
    with stage(ping_interval=1000) as hub:
        yjs, native = hub.yjs("doc"), hub.native("doc")
        yjs.frames(), native.frames()
        start = now()
        for seconds in (19, 21, 30, 42):
            hub.tick(start + seconds)
        settle()
        assert yjs.received() == [b"\x01\x01\x00", b"\x01\x01\x00"]
        assert native.received() == []


def test_who_sends_no_message_for_the_idle_timeout_is_closed_and_pongs_do_not_count() -> None:
    with stage(idle_timeout=300, ping_interval=1000) as hub:
        busy, idle = hub.native("doc", "busy"), hub.native("doc", "idle")
        busy.frames(), idle.frames()
        idle.send_raw(mask_frame(PONG, b""))
        busy.send({"type": "ping"})
        settle()
        assert idle.connection.heard > idle.connection.active
        hub.clean_up(idle.connection.active + 299)
        settle()
        assert idle.received() == []
        hub.clean_up(busy.connection.active + 299.9)
        settle()
        messages = busy.received()
        hub.clean_up(idle.connection.active + 300.1)
        settle()
        assert idle.received() == [Closed(4508, "no activity")]
        assert messages == [{"type": "pong"}]


def test_an_idle_timeout_of_zero_is_none() -> None:
    with stage(idle_timeout=0) as hub:
        idle = hub.native("doc")
        idle.frames()
        hub.clean_up(now() + 1e6)
        settle()
        assert idle.received() == []


def test_who_does_not_answer_a_close_is_cut_off() -> None:
    with stage(max_invalid=1) as hub:
        alice = hub.native("doc")
        alice.send(b"\x32")
        settle()
        assert alice.connection in hub.connections
        hub.tick(now() + 6)
        settle()
        assert alice.connection not in hub.connections


def test_presence_that_nobody_renews_expires_and_json_presence_is_renewed_for_its_client() -> None:
    with stage(ping_interval=1000, idle_timeout=0) as hub:
        yjs, native, watcher = hub.yjs("doc"), hub.native("doc"), hub.yjs("doc")
        yjs.send(yjs_awareness(5, 1, "{}"))
        native.send({"type": "awareness", "state": {"mood": "good"}})
        settle()
        watcher.received()
        start = now()
        hub.tick(start + 16)
        settle()
        [renewed] = [message for message in watcher.received() if b"mood" in message]
        assert b"mood" in renewed
        hub.tick(start + 31)
        settle()
        [update_message] = [message for message in watcher.received() if len(message) > 3]
        assert b"\x05\x01\x04null" in update_message


def test_a_claim_on_a_dead_sessions_presence_is_taken_after_two_seconds() -> None:
    with stage() as hub:
        old, new, watcher = hub.yjs("doc", "a"), hub.yjs("doc", "b"), hub.yjs("doc", "c")
        old.send(yjs_awareness(5, 1, '{"n":1}'))
        settle()
        new.send(yjs_awareness(5, 2, '{"n":2}'))
        settle()
        assert PING in [opcode for opcode, _ in old.frames()]
        watcher.received()
        hub.tick(now() + 2.1)
        settle()
        assert watcher.received()[-1] == yjs_awareness(5, 2, '{"n":2}')
        assert old.connection not in hub.connections


def test_stopping_tells_everybody_to_come_back_and_proves_that_all_is_gone() -> None:
    with stage(stop_timeout=0.5) as hub:
        clients = [hub.native("doc", f"user{n}") for n in range(10)] + [hub.yjs("doc") for _ in range(10)]
        gevent.spawn_raw(hub.stop)
        while not all(hub_client.ended or hub_client.received() for hub_client in clients[:1]):
            gevent.sleep(0)
        clients[0].close()
        hub.stop()
        assert len(hub.crew) == 0
        assert hub.connections == set()
        assert clients[5].received()[-1] == Closed(1012, "the server is restarting")


def test_the_hub_survives_a_step_that_fails() -> None:
    with stage() as hub:
        hub.documents.inbox.put(5)  # type: ignore[arg-type]
        settle()
        assert hub.metrics.snapshot()["hub_faults"] == 1
        hub.metrics.labelled.clear()
        assert hub.native("doc").received()[0]["type"] == "initial_state"
