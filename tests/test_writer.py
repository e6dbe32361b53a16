"""The writer in its own thread: it takes what there is, never loses any, and tells soon those who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from threading import get_native_id

import gevent
import pytest
from gevent.event import Event
from members import Recorder
from ydocs import Editor

from collab import writer
from collab.config import Settings
from collab.crew import Crew
from collab.errors import StoreError
from collab.journal import UPDATE_COST, Journal, Unstored
from collab.metrics import Metrics
from collab.saver import Saver
from collab.stores.base import Record
from collab.stores.memory import MemoryStore


class Slow(MemoryStore):
    """A store that blocks; what it does first when it is asked to append is `before`."""

    blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] = lambda: None
        self.threads: set[int] = set()
        self.writes: list[Sequence[Record]] = []
        self.closed = False

    def append(self, records: Sequence[Record]) -> frozenset[str]:
        self.threads.add(get_native_id())
        self.before()
        self.writes.append(records)
        return super().append(records)

    def close(self) -> None:
        self.closed = True


class Desk:
    """A saver with its store, and journals of new documents."""

    def __init__(self, interval: float = 0.0) -> None:
        self.store, self.unstored, self.metrics = Slow(), Unstored(1 << 30), Metrics()
        self.clean: list[Journal] = []
        self.gone: list[Journal] = []
        settings = Settings(flush_interval=interval)
        self.saver = Saver(
            self.store, self.unstored, settings, self.metrics, lambda _: None, self.clean.append, self.gone.append
        )
        self._heard, self._hear = Event(), self.saver.hear
        self.saver.hear = self._note  # type: ignore[method-assign]

    def _note(self) -> None:
        self._hear()
        self._heard.set()

    def until(self, true: Callable[[], object]) -> None:
        """Wait for what becomes so when outcomes are heard, and do nothing that would have them heard."""
        with gevent.Timeout(10):
            while not true():
                self._heard.clear()
                self._heard.wait()

    def journal(self, document_id: str = "doc", epoch: str = "epoch") -> Journal:
        return Journal(self.unstored, document_id, epoch, new=True)

    def start(self) -> None:
        self.saver.start(Crew(self.metrics))


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.saver.stop()
    desk.saver.close(5)
    assert desk.store.closed


def turn_until(true: Callable[[], object]) -> None:
    """Turn the loop until the thread has come so far, of which it tells nobody."""
    with gevent.Timeout(10):
        while not true():
            gevent.sleep(0)


def text(updates: Sequence[bytes]) -> str:
    editor = Editor()
    for update in updates:
        editor.doc.apply_update(update)
    return str(editor)


def test_a_receipt_comes_though_nothing_else_happens_in_the_loop(desk: Desk) -> None:
    desk.start()
    book, alice = desk.journal(), Recorder("alice")
    for number in range(1, 4):
        book.record([Editor().type("x")])
        book.promise({alice: number})
        desk.until(lambda: alice.confirmed == list(range(1, number + 1)))  # noqa: B023
        turn_until(lambda: desk.unstored.asleep)  # so that it has to be woken for the next one
    assert desk.store.threads and get_native_id() not in desk.store.threads
    assert desk.clean == [book] * 3


def test_nobody_who_waits_for_nothing_is_told(desk: Desk) -> None:
    desk.start()
    book = desk.journal()
    book.record([Editor().type("x")])
    desk.until(lambda: book.clean)
    assert desk.clean == []


def test_what_comes_while_the_store_fails_is_stored_with_the_rest_joined_and_in_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 0.01)
    broken = True

    def fail() -> None:
        if broken:
            raise StoreError("the disk is full")

    desk.store.before = fail
    desk.start()
    book, editor, alice = desk.journal(), Editor(), Recorder("alice")
    for number in range(1, 501):
        book.record([editor.type("x")])
        book.promise({alice: number})
    counted = desk.unstored.size
    assert counted > 500 * UPDATE_COST
    desk.until(lambda: desk.saver.trouble == "the disk is full" and desk.unstored.size < counted / 2)
    book.record([editor.type("y")])
    book.promise({alice: 501})
    tries = desk.metrics.snapshot()["store_failures"]
    desk.until(lambda: desk.metrics.snapshot()["store_failures"] > tries + 1)  # type: ignore[operator]
    assert alice.confirmed == []
    broken = False
    desk.until(lambda: book.clean)
    assert alice.confirmed[-1] == 501
    assert desk.saver.trouble is None and desk.unstored.size == 0
    [records] = desk.store.writes
    assert all(record.new for record in records) and len(records) <= 2
    assert text([record.update for record in records]) == "x" * 500 + "y"


@pytest.mark.parametrize("where", ["_gather", "_recount", "_check", "_append"])
def test_a_fault_of_ours_is_a_try_that_has_failed(desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.01)
    work, left = getattr(desk.saver._writer, where), 3

    class Panic(BaseException):
        pass

    def fail() -> object:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Panic
        return work()

    if where == "_recount":  # which is done only once a try has failed
        desk.store.before = lambda: fail() if left == 3 else None
    monkeypatch.setattr(desk.saver._writer, where, fail)
    desk.start()
    book = desk.journal()
    book.record([Editor().type("x")])
    desk.until(lambda: book.clean)
    assert desk.metrics.snapshot()["store_failures"] == 3
    assert desk.unstored.size == 0 and next(iter(desk.store.list())).document_id == "doc"


def test_a_fault_that_ends_the_writer_is_told_and_the_server_is_not_ready(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(seconds: float) -> None:
        raise KeyError

    closing, go_on = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        desk.store.closed = go_on.wait(10)

    monkeypatch.setattr(desk.saver._writer, "_rest", fail)
    monkeypatch.setattr(desk.store, "close", close)
    desk.start()
    desk.journal().record([Editor().type("x")])
    turn_until(closing.is_set)
    desk.saver.hear()
    go_on.set()
    desk.until(lambda: desk.saver.trouble)
    assert desk.saver.complaint(0.0) == "KeyError()"
    assert "Restart it" in caplog.text and "in fail" in caplog.text
    assert desk.metrics.snapshot()["store_failures"] == 1


def test_what_comes_while_the_store_is_at_work_goes_with_the_next_write(desk: Desk) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(10)

    desk.store.before = wait
    desk.start()
    first, second = desk.journal("first"), desk.journal("second")
    first.record([Editor().type("x")])
    turn_until(begun.is_set)
    second.record([Editor().type("y")])
    assert desk.saver.age(desk.unstored.oldest + 7) == 7
    assert desk.saver.complaint(desk.saver._writer.since + 9) is not None  # type: ignore[operator]
    go_on.set()
    assert desk.saver.flush(5)
    assert first.clean and second.clean
    assert [[record.document_id for record in write] for write in desk.store.writes] == [["first"], ["second"]]
    assert desk.saver.age(desk.unstored.oldest + 7) == 0


def test_who_waits_for_all_to_be_stored_does_not_wait_for_the_interval() -> None:
    desk = Desk(interval=1000)
    desk.start()
    book = desk.journal()
    for word in ("one", "two"):
        book.record([Editor().type(word)])
        assert desk.saver.flush(5)
    assert desk.saver.flush(5), "nor if there is nothing"
    desk.saver.stop()
    desk.saver.close(5)
    assert desk.store.closed


def test_a_document_that_was_replaced_is_told_of_and_nobody_gets_its_receipts(desk: Desk) -> None:
    desk.store.append([Record("doc", "another", Editor().type("theirs"), True)])
    desk.start()
    book, other, alice = desk.journal(), desk.journal("other"), Recorder("alice")
    book.record([Editor().type("ours")])
    book.promise({alice: 1})
    other.record([Editor().type("x")])
    desk.until(lambda: other.clean)
    assert (desk.gone, alice.confirmed, book.abandoned) == ([book], [], True)
    book.record([Editor().type("more")])
    other.record([Editor().type("y")])
    desk.until(lambda: not desk.unstored.behind)
    assert desk.store.load("doc").epoch == "another"  # type: ignore[union-attr]
    assert [record.document_id for record in desk.store.writes[-1]] == ["other"], "nothing more of it is tried"


def test_who_cannot_be_told_that_a_document_was_replaced_gets_no_receipt_either() -> None:
    desk = Desk()

    def fail(journal: Journal) -> None:
        raise RuntimeError("a fault of ours")

    desk.saver._on_gone = fail
    desk.store.append([Record("doc", "another", Editor().type("theirs"), True)])
    desk.start()
    book, other, alice = desk.journal(), desk.journal("other"), Recorder("alice")
    book.record([Editor().type("ours")])
    book.promise({alice: 1})
    assert desk.saver.flush(5)
    other.record([Editor().type("x")])
    assert desk.saver.flush(5)
    assert (alice.confirmed, other.clean) == ([], True)
    desk.saver.stop()
    desk.saver.close(5)


def test_a_fault_of_one_room_keeps_no_other_from_its_receipts(desk: Desk) -> None:
    class Faulty(Recorder):
        def confirm(self, number: int) -> None:
            raise RuntimeError("a fault of ours")

    desk.start()
    one, other, alice = desk.journal("one"), desk.journal("other"), Recorder("alice")
    for book, member in ((one, Faulty()), (other, alice)):
        book.record([Editor().type("x")])
        book.promise({member: 1})
    desk.until(lambda: alice.confirmed)
    assert desk.metrics.snapshot()["room_faults"] == 1
    assert not desk.unstored.waiting


def test_a_saver_that_was_never_started_lets_go_of_its_store(desk: Desk) -> None:
    desk.saver.stop()
    desk.saver.close(0)
