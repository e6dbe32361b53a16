"""What the server promises of documents, seen from clients in the same process: stored, kept in order, brought back."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence

import gevent
import pytest
from failing import FailingStore
from ydocs import Editor, step1, step2, update

from collab.archive import Archive
from collab.clock import now
from collab.errors import StoreError
from collab.protocol.native import ACK
from collab.rooms import _Loaded
from collab.seeds import seed
from collab.stores.base import Loaded, Notes, Record, Version
from collab.stores.memory import MemoryStore
from collab.testing import Client, Closed, Stage, settle, stage
from collab.updates import squash


def text_of(hub: Stage, document_id: str = "doc") -> str:
    """What a new visitor reads."""
    visitor, reader = hub.yjs(document_id), Editor()
    visitor.send(step1())
    settle()
    for message in visitor.received():
        reader.read(message)
    visitor.close()
    settle()
    return str(reader)


def stored(store: MemoryStore, document_id: str = "doc") -> str:
    """What the store has."""
    loaded, reader = store.load(document_id), Editor()
    if loaded is not None:
        reader.doc.apply_update(squash(loaded.updates))
    return str(reader)


def leave(*clients: Client) -> None:
    for client in clients:
        client.close()
    settle()


def test_a_document_outlives_its_room_and_its_server() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        for word in ("one ", "two ", "three"):
            alice.send(update(editor.type(word)))
            settle()
        leave(alice)
        assert hub.rooms == {}
        assert text_of(hub) == "one two three"
    with stage(store) as hub:
        assert text_of(hub) == "one two three"


def test_a_visit_leaves_no_trace_in_the_store() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        leave(hub.yjs("doc", "alice"))
        assert hub.rooms == {}
    assert list(store.list()) == []


def test_what_all_rooms_gain_in_one_pass_is_one_write() -> None:
    store = FailingStore(failing=False)
    with stage(store) as hub:
        clients = [hub.yjs(f"doc{n}") for n in range(5)]
        for client in clients:
            client.send(update(Editor().type("x")))
        settle()
        assert store.tries == 1
        snapshot = hub.metrics.snapshot()
        assert (snapshot["store_commits"], snapshot["store_records"]) == (1, 5)


def test_a_store_that_fails_does_not_fail_the_room(caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore()
    caplog.set_level(logging.WARNING, "collab")
    with stage(store) as hub:
        alice, bob = hub.native("doc", "alice"), hub.yjs("doc", "bob")
        editor = Editor()
        assert hub.unready() == []
        for word in ("one ", "two"):
            alice.send(update(editor.type(word)))
            settle()
        told = bob.received()
        assert [message[:2] for message in told] == [b"\x00\x00", b"\x00\x02", b"\x00\x02"], "editing goes on"
        assert [message[0] for message in alice.received() if isinstance(message, bytes)] == [0, 1, 1], "no receipt"
        [reason] = hub.unready()
        assert "disk is full" in reason and "COLLAB_STORE" in reason
        bob.close()
        settle()
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert alice.received()[-1] == b"\x04\x02"
        assert hub.unready() == []
        assert stored(store) == "one two"
    assert store.tries > 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], "said once"


def test_what_cannot_be_traced_is_stored_all_the_same() -> None:
    class Faulty:
        def stored(self, number: int, rooms: int, begun: float, ended: float) -> None:
            raise RuntimeError("a fault of the tracing")

    store = MemoryStore()
    with stage(store) as hub:
        alice = hub.native("doc", "alice")
        hub.caretaker.saver.traces = Faulty()  # type: ignore[assignment]
        editor = Editor()
        for word in ("one ", "two"):
            alice.send(update(editor.type(word)))
            settle()
        assert [message[0] for message in alice.received() if isinstance(message, bytes)].count(ACK) == 2
        assert hub.metrics.snapshot()["spans_dropped"] == 2
        hub.caretaker.saver.traces = None
    with stage(store) as hub:
        assert text_of(hub) == "one two"


def test_who_is_in_a_room_that_lacks_what_it_has_told_comes_again_and_brings_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with stage(MemoryStore()) as hub:
        alice, bob, other = hub.yjs("doc", "alice"), hub.yjs("doc", "bob"), hub.yjs("other", "carol")
        hub.rooms["doc"].document.lacking = True
        hub.tick(now())
        settle()
        for client in (alice, bob, other):
            client.received()
        assert alice.ended and bob.ended and not other.ended
        assert "document 'doc'" in caplog.text and hub.metrics.labelled.pop(("room_faults", "")) == 1
        again = hub.yjs("doc", "alice")
        hub.tick(now())
        settle()
        again.received()
        assert not again.ended


def test_a_room_that_is_not_stored_stays_when_everybody_has_left() -> None:
    store = FailingStore()
    with stage(store) as hub:
        alice = hub.yjs("doc")
        alice.send(update(Editor().type("x")))
        settle()
        leave(alice)
        assert list(hub.rooms) == ["doc"]
        assert text_of(hub) == "x"
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert hub.rooms == {}
        assert stored(store) == "x"


def test_updates_are_refused_when_too_much_waits_and_taken_up_when_the_store_is_back() -> None:
    store = FailingStore()
    with stage(store, max_unstored=10, max_invalid=2) as hub:
        alice, editor = hub.native("doc", "alice"), Editor(native=True)
        alice.send(update(editor.type("more than ten bytes")))
        settle()
        for _ in range(5):
            alice.send(update(editor.type("x")))
        settle()
        errors = [message for message in alice.received() if isinstance(message, dict) and message["type"] == "error"]
        assert [(error["code"], error["update"]) for error in errors] == [("not_storable", n) for n in range(2, 7)]
        assert not alice.ended, "which is no abuse"
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        hub.tick(now())
        settle()
        asked = [message for message in alice.received() if message[:2] == b"\x00\x00"]
        assert len(asked) == 1
        alice.send(update(editor.doc.get_update()))
        settle()
        assert stored(store) == "more than ten bytesxxxxx"


def test_y_sweets_sync_status_waits_for_updates_that_were_refused_until_they_are_stored() -> None:
    store = FailingStore()
    with stage(store, max_unstored=10) as hub:
        alice, editor, status = hub.yjs("doc", "alice"), Editor(), b"\x66\x01\x07"
        alice.send(update(editor.type("more than ten bytes")))
        settle()
        alice.send(update(editor.type("x")))
        alice.send(status)
        settle()
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert status not in alice.received()
        hub.tick(now())
        settle()
        assert [message[:2] for message in alice.received()] == [b"\x00\x00"]
        alice.send(step2(editor.doc.get_update()))
        settle()
        assert alice.received()[-1] == status
        assert stored(store) == "more than ten bytesx"


def test_acks_do_not_wait_where_applied_is_enough() -> None:
    with stage(FailingStore(), ack="applied") as hub:
        alice = hub.native("doc", "alice")
        alice.send(update(Editor().type("x")))
        settle()
        assert alice.received()[-1] == b"\x04\x01"
        store = hub.caretaker.saver._writer.store
        assert isinstance(store, FailingStore)
        store.failing = False
        assert hub.caretaker.saver.flush(5)


def test_a_server_that_stops_stores_what_is_left() -> None:
    store = FailingStore()
    with stage(store, stop_timeout=0.1) as hub:
        hub.yjs("doc").send(update(Editor().type("x")))
        settle()
        store.failing = False
    assert stored(store) == "x"


def test_a_server_that_cannot_store_says_what_is_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.hub.FLUSH_TIMEOUT", 0.01)
    with stage(FailingStore(), stop_timeout=0.1) as hub:
        hub.yjs("doc").send(update(Editor().type("x")))
        settle()
    assert "1 documents could not be stored" in caplog.text and "'doc'" in caplog.text


def test_a_document_is_compacted_when_it_is_left() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        for letter in "many updates":
            alice.send(update(editor.type(letter)))
            settle()
        before = store.describe("doc")
        assert before is not None and before.records > 1
        leave(alice)
        after = store.describe("doc")
        assert after is not None and after.records == 1
        assert text_of(hub) == "many updates"


def test_a_document_that_grows_is_compacted_while_it_is_open() -> None:
    store = MemoryStore()
    with stage(store, compact_size=1000, idle_timeout=0) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        for _ in range(20):
            alice.send(update(editor.type("x")))
            settle()
        hub.tick(now())
        settle()
        entry = store.describe("doc")
        assert entry is not None and entry.records == 1
        assert stored(store) == "x" * 20


def test_who_comes_while_a_document_is_being_put_in_order_finds_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        for letter in "ab":
            alice.send(update(editor.type(letter)))
            settle()
        room, visits = hub.rooms["doc"], []
        compact = Archive.compact

        def visited(self: Archive, left: object) -> None:
            visits.append(hub.yjs("doc"))
            compact(self, room)

        monkeypatch.setattr(Archive, "compact", visited)
        leave(alice)
        [bob] = visits
        assert hub.rooms["doc"] is room and len(room) == 1
        bob.send(update(editor.type("c")))
        settle()
        leave(bob)
        assert text_of(hub) == "abc"


def test_a_compaction_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int | None:
        raise StoreError("no room")

    store = MemoryStore()
    monkeypatch.setattr(store, "compact", fail)
    with stage(store) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        for letter in "ab":
            alice.send(update(editor.type(letter)))
            settle()
        leave(alice)
        assert hub.rooms == {}
        assert hub.metrics.snapshot()["store_failures"] == 1
        assert text_of(hub) == "ab"


def test_bytes_that_cannot_be_read_put_a_document_in_quarantine_and_others_go_on() -> None:
    store = MemoryStore()
    store.append([Record("doc", "epoch", b"\xff\xff\xff", True)])
    with stage(store) as hub:
        for _ in range(2):
            native = hub.native("doc").received()
            assert native[0]["code"] == "quarantined"
            assert native[1] == Closed(4510, "the document is in quarantine")
        yjs = hub.yjs("doc").received()
        assert b"quarantined" in yjs[0] and yjs[1].code == 4510
        assert hub.metrics.snapshot()["quarantined"] == 1
        hub.yjs("other").send(update(Editor().type("x")))
        settle()
        assert stored(store, "other") == "x"
        entry = store.describe("doc")
        assert entry is not None and entry.quarantine
        whole = store.read("doc")
        assert whole is not None and whole.updates == [b"\xff\xff\xff"], "kept as it was"


def test_what_others_store_reaches_those_who_have_the_document_open() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        alice.send(update(editor.type("a")))
        settle()
        alice.received()
        loaded = store.load("doc")
        assert loaded is not None
        store.append([Record("doc", loaded.epoch, editor.type("b"), False)])
        store.notify("doc")
        hub.tick(now())
        settle()
        other = Editor()
        other.doc.apply_update(squash(loaded.updates))
        for message in alice.received():
            other.read(message)
        assert str(other) == "ab"
        hub.tick(now())
        settle()
        assert alice.received() == []


def test_who_has_a_document_open_that_is_deleted_is_told_to_come_back_and_mixes_nothing() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        alice.send(update(editor.type("old")))
        settle()
        alice.received()
        store.delete("doc")
        alice.send(update(editor.type(" and new")))
        settle()
        assert alice.received()[-1] == Closed(1012, "the document was replaced")
        assert list(store.list()) == []
        again = hub.yjs("doc")
        again.send(update(editor.doc.get_update()))
        settle()
        assert stored(store) == "old and new", "what the client has is taken as it is"


def test_a_document_has_an_epoch_that_its_clients_can_tell_it_by() -> None:
    store = MemoryStore()
    epochs = []
    with stage(store) as hub:
        for _ in range(2):
            alice = hub.native("doc", "alice")
            epochs.append(alice.received()[0]["epoch"])
            alice.send(update(Editor().type("x")))
            settle()
            leave(alice)
        store.delete("doc")
        epochs.append(hub.native("doc", "alice").received()[0]["epoch"])
    assert epochs[0] == epochs[1] != epochs[2]


class RacedStore(MemoryStore):
    """Two who open a document at once both find that there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0

    def load(self, document_id: str) -> Loaded | None:
        self.loads += 1
        return None if self.loads <= 2 else super().load(document_id)


def test_a_document_that_was_replaced_before_its_room_is_open_is_opened_anew() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        documents = hub.documents
        opened = documents.caretaker.archive._begin("doc")
        opened.journal.abandon()  # as the saver does, once the store has said so
        documents._loading["doc"] = []
        documents.handle(_Loaded("doc", opened))
        settle()
        assert hub.rooms == {}
        hub.yjs("doc").send(update(Editor().type("x")))
        settle()
        assert stored(store) == "x"


def test_a_document_that_two_nodes_begin_from_text_at_once_has_it_once() -> None:
    store = RacedStore()
    with stage(store, seed_text=lambda _: "Dear all,") as one, stage(store, seed_text=lambda _: "Dear all,") as two:
        visitors = [node.yjs("doc") for node in (one, two)]
        visitors[0].send(step1())
        settle()
        editors = [Editor(), Editor()]
        for message in visitors[0].received():
            editors[0].read(message)
        editors[1].doc.apply_update(seed("doc", "Dear all,"))
        assert str(editors[0]) == str(editors[1]) == "Dear all,"
        assert visitors[1].received()[-1] == Closed(1012, "the document was replaced"), "it is the first node's"
        late = two.yjs("doc")
        for editor in editors:
            late.send(step2(editor.doc.get_update()))
        settle()
        assert [text_of(node) for node in (one, two)] == ["Dear all,"] * 2
        assert stored(store) == "Dear all,"


def test_a_document_begins_with_a_text_only_when_it_is_new() -> None:
    store = MemoryStore()
    asked = []

    def text(document_id: str) -> str | None:
        asked.append(document_id)
        return "Dear all," if document_id == "doc" else None

    for _ in range(2):
        with stage(store, seed_text=text) as hub:
            assert text_of(hub) == "Dear all,"
            assert text_of(hub, "another") == ""
    assert asked == ["doc", "another", "another"]


@pytest.mark.parametrize("later", ["Dear all,", "Dear everybody,"])
def test_who_comes_back_with_a_document_that_the_store_has_lost_finds_nothing_twice(later: str) -> None:
    editor = Editor()
    with stage(seed_text=lambda _: "Dear all,") as hub:
        alice = hub.yjs("doc")
        alice.send(step1())
        settle()
        for message in alice.received():
            editor.read(message)
    editor.type(" hello")
    with stage(seed_text=lambda _: later) as hub:
        assert text_of(hub) == later
        alice, bob = hub.yjs("doc"), hub.yjs("doc")
        alice.send(step1(editor.doc.get_state()))
        alice.send(update(editor.doc.get_update()))
        settle()
        assert text_of(hub) == "Dear all, hello"
        reader = Editor()
        for message in bob.received():
            reader.read(message)
        assert str(reader) == "Dear all, hello" or later == "Dear all,"
    assert seed("doc", later)


def test_versions_are_saved_by_themselves_while_a_document_is_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = MemoryStore(), [1000.0]
    monkeypatch.setattr("collab.archive.unix", lambda: clock[0])
    with stage(store, version_interval=60, version_keep=2, idle_timeout=0) as hub:
        alice, editor = hub.yjs("doc"), Editor()
        for minute in range(4):
            clock[0] += 61
            for loaded in hub.rooms.values():
                loaded.journal.versioned = min(loaded.journal.versioned, clock[0] - 61)
            alice.send(update(editor.type(str(minute))))
            settle()
            hub.tick(now())
            settle()
        assert len(store.versions("doc")) == 2
        kept = [store.read_version("doc", version.id) for version in store.versions("doc")]
        texts = []
        for content in kept:
            reader = Editor()
            assert content is not None
            reader.doc.apply_update(content)
            texts.append(str(reader))
        assert texts == ["0123", "012"]
        hub.tick(now())
        settle()
        assert len(store.versions("doc")) == 2, "nothing has changed since"


def test_the_people_of_a_document_are_remembered_over_a_restart() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, bob, nobody = hub.native("doc", "alice"), hub.yjs("doc", "bob"), hub.yjs("doc")
        alice.send(update(Editor().type("x")))
        settle()
        hub.tick(now())
        settle()
        assert {person.user_id for person in store.people("doc")} == {"alice", "bob"}
        leave(alice, bob, nobody)
    with stage(store) as hub:
        leave(hub.yjs("doc", "carol"))
    people = store.people("doc")
    names = [("alice", "alice"), ("bob", "bob"), ("carol", "carol")]
    assert sorted((person.user_id, person.user_name) for person in people) == names
    assert all(person.seen > 1.7e9 for person in people)


def test_what_had_waited_for_an_update_from_elsewhere_is_stored_before_it_is_acknowledged() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice, editor = hub.native("doc", "alice"), Editor()
        alice.send(update(editor.type("base ")))
        settle()
        missing, late = Editor(), Editor()
        for other in (missing, late):
            other.doc.apply_update(editor.doc.get_update())
        first = missing.type("X ")
        late.doc.apply_update(first)
        second = late.type("U")
        alice.send(update(second))
        settle()
        alice.received()
        loaded = store.load("doc")
        assert loaded is not None
        store.append([Record("doc", loaded.epoch, first, False)])
        store.notify("doc")
        hub.tick(now())
        settle()
        assert alice.received()[-1] == b"\x04\x02"
        assert stored(store) == "base X U"


def test_a_question_of_somebody_with_another_text_takes_nothing_back() -> None:
    other = Editor()
    other.doc.apply_update(seed("doc", "another text"))
    with stage(seed_text=lambda _: "Dear all,") as hub:
        for _ in range(2):
            visitor = hub.yjs("doc")
            visitor.send(step1(other.doc.get_state()))
            settle()
            assert text_of(hub) == "Dear all,"
        for text in ("another text", "a third one"):
            visitor = hub.yjs("doc")
            visitor.send(update(seed("doc", text)))
            settle()
            assert text_of(hub) == text


class FlakyStore(MemoryStore):
    """Fails at what it is told to fail at."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()

    def _fail(self, name: str) -> None:
        if name in self.fails:
            raise StoreError(f"{name} does not work")

    def load(self, document_id: str) -> Loaded | None:
        self._fail("load")
        return super().load(document_id)

    def notices(self) -> Sequence[tuple[int, str]]:
        self._fail("notices")
        return super().notices()

    def note_people(self, notes: Iterable[Notes], keep: int) -> None:
        self._fail("note_people")
        super().note_people(notes, keep)

    def save_version(self, document_id: str, epoch: str, content: bytes, name: str | None = None) -> Version | None:
        self._fail("save_version")
        return super().save_version(document_id, epoch, content, name)

    def check(self) -> None:
        self._fail("check")


def change_elsewhere(store: MemoryStore, document_id: str, update: bytes, *, notify: bool = True) -> None:
    """What a command does to a document beside a server."""
    loaded = store.load(document_id)
    assert loaded is not None
    store.append([Record(document_id, loaded.epoch, update, False)])
    if notify:
        store.notify(document_id)


@pytest.mark.parametrize("fault", ["load", "notices"])
def test_what_others_have_stored_is_not_missed_when_it_cannot_be_told_at_once(fault: str) -> None:
    store = FlakyStore()
    with stage(store) as hub:
        writers = {name: Editor() for name in ("one", "two")}
        clients = {name: hub.yjs(name) for name in writers}
        for name, editor in writers.items():
            clients[name].send(update(editor.type("a")))
        settle()
        for name, editor in writers.items():
            # Where notices cannot be read for long they are gone by then.
            change_elsewhere(store, name, editor.type("b"), notify=fault == "load")
        for store.fails in ({fault}, set(), set()):
            hub.tick(now())
            settle()
        for name in writers:
            assert text_of(hub, name) == "ab"


def test_who_is_in_a_document_that_was_put_in_quarantine_is_told_to_come_back() -> None:
    store = MemoryStore()
    with stage(store) as hub:
        alice = hub.yjs("doc")
        alice.send(update(Editor().type("x")))
        settle()
        store.quarantine("doc", "somebody wants to look")
        hub.tick(now())
        settle()
        assert alice.received()[-1] == Closed(1012, "the document was replaced")
        assert hub.native("doc").received()[0]["code"] == "quarantined"


def test_what_was_changed_while_a_document_was_being_opened_is_not_missed() -> None:
    store = MemoryStore()

    def text(document_id: str) -> None:
        # Somebody makes the document, after the server has found that there is none.
        store.append([Record(document_id, "theirs", Editor().type("imported"), True)])
        store.notify(document_id)
        hub.tick(now())
        gevent.sleep(0)
        gevent.sleep(0)

    with stage(store, seed_text=text) as hub:
        alice = hub.yjs("doc")
        hub.tick(now())
        settle()
        assert alice.received()[-1] == Closed(1012, "the document was replaced")
        assert text_of(hub) == "imported"


def test_members_are_not_forgotten_while_the_store_is_away() -> None:
    store = FlakyStore()
    with stage(store) as hub:
        hub.native("doc", "alice").send(update(Editor().type("x")))
        settle()
        store.fails = {"note_people"}
        hub.tick(now())
        settle()
        assert store.people("doc") == []
        store.fails = set()
        hub.tick(now())
        settle()
        assert [person.user_id for person in store.people("doc")] == ["alice"]


def test_who_was_in_a_room_that_is_left_is_noted_later_if_the_store_is_away_and_nothing_spins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, clock = FlakyStore(), [1000.0]
    monkeypatch.setattr("collab.archive.now", lambda: clock[0])
    with stage(store) as hub:
        alice = hub.native("doc", "alice")
        alice.send(update(Editor().type("x")))
        settle()
        store.fails = {"note_people"}
        alice.close()
        with gevent.Timeout(10):
            settle()
        assert list(hub.rooms) == ["doc"] and hub.metrics.snapshot()["store_failures"] == 1
        store.fails = set()
        clock[0] += 31
        hub.clean_up(now())
        settle()
        assert hub.rooms == {}
        assert [person.user_id for person in store.people("doc")] == ["alice"]


@pytest.mark.parametrize("fails", [set(), {"notices"}], ids=["noticed", "away"])
def test_what_a_store_lacks_that_was_put_back_from_an_earlier_time_it_gets_of_who_has_the_document_open(
    fails: set[str],
) -> None:
    store = FlakyStore()
    with stage(store) as hub:
        alice, editor = hub.native("doc", "alice"), Editor(native=True)
        alice.send(update(editor.type("one two")))
        settle()
        before = copy.deepcopy(store._kept)
        alice.send(update(editor.type(" three")))
        alice.send(update(editor.delete(0, 4)))
        settle()
        assert alice.received()[-1] == b"\x04\x03", "all of it was stored"
        store._kept = before
        if not fails:
            store.notify("doc")
        for store.fails in (fails, set(), set()):
            hub.tick(now())
            settle()
        assert stored(store) == "two three"
        records = store.describe("doc")
        store.notify("doc")
        hub.tick(now())
        settle()
        assert store.describe("doc") == records, "nothing is stored twice where nothing is lacking"
        leave(alice)
    assert stored(store) == "two three"


def test_a_store_that_fails_at_keeping_order_is_let_alone_for_a_while_and_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = FlakyStore(), [1000.0]
    monkeypatch.setattr("collab.archive.now", lambda: clock[0])
    caplog.set_level(logging.WARNING, "collab")
    with stage(store, version_interval=1e-9, idle_timeout=0) as hub:
        clients = [hub.yjs(f"doc{n}") for n in range(3)]
        for client in clients:
            client.send(update(Editor().type("x")))
        settle()
        store.fails = {"save_version"}
        for _ in range(10):
            hub.tick(now())
            settle()
        assert len(caplog.records) == 1 and "could not be kept in order" in caplog.text
        failures = hub.metrics.snapshot()["store_failures"]
        assert isinstance(failures, int) and 1 <= failures <= 3, "not once a second"
        store.fails = set()
        clock[0] += 31
        hub.tick(now())
        settle()
        assert all(store.versions(f"doc{n}") for n in range(3))


def test_a_server_that_cannot_use_its_store_is_not_ready_before_anybody_has_come() -> None:
    store = FlakyStore()
    store.fails = {"check"}
    with stage(store) as hub:
        settle()
        assert hub.unready() == ["changes cannot be stored: check does not work"]
        store.fails = set()
        with gevent.Timeout(5):
            while hub.unready():
                gevent.sleep(0)


def test_a_store_that_does_not_answer_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage() as hub:
        saver = hub.caretaker.saver
        monkeypatch.setattr(saver._writer, "since", 100.0)
        assert saver.complaint(104.0) is None
        assert saver.complaint(107.0) == "the store (COLLAB_STORE) has not answered for 7 s"


def test_a_session_that_was_resumed_ever_so_often_gets_its_receipts() -> None:
    store = FailingStore()
    with stage(store) as hub:
        alice, editor = hub.native("doc", "alice"), Editor()
        session = alice.received()[0]["session"]["id"]
        alice.send(update(editor.type("x")))
        settle()
        for _ in range(1500):
            alice.vanish()
            hub.clients.remove(alice)
            alice = hub.native("doc", "alice", session_id=session)
        store.failing = False
        assert hub.caretaker.saver.flush(5)
        settle()
        assert alice.received()[-1] == b"\x04\x01"
        alice.send(update(editor.type("y")))
        settle()
        assert alice.received()[-1] == b"\x04\x02"
        assert stored(store) == "xy"
