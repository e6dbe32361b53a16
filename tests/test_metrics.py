"""The counters, and what is measured: how long messages take, and how late the loop comes."""

from __future__ import annotations

from socket import SO_SNDBUF, SOL_SOCKET

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ydocs import Editor, update

from collab.clock import now
from collab.hub import Hub
from collab.intake import TURN_MESSAGES
from collab.metrics import COUNTER, MANY, MAX_LABELS, METRICS, TOLD, Histogram, Metrics, Traffic
from collab.protocol.frames import BINARY, TEXT
from collab.protocol.messages import SyncStep1, Update
from collab.pulse import BEAT
from collab.testing import mask_frame, settle, stage

NOTHING = Metrics().snapshot()


def test_every_counter_is_there_from_the_start_and_says_nothing_yet() -> None:
    assert NOTHING.keys() == {name for name, metric in METRICS.items() if metric.kind == COUNTER}
    assert not any(NOTHING.values())
    assert all((value == {}) == bool(METRICS[name].label) for name, value in NOTHING.items())


def test_a_counter_without_labels_is_a_number() -> None:
    metrics = Metrics()
    metrics.count("stalls")
    metrics.count("stalls", by=4)
    assert metrics.snapshot()["stalls"] == 5


def test_a_counter_with_labels_is_told_apart_by_them() -> None:
    metrics = Metrics()
    metrics.count("closed", "1009")
    metrics.count("closed", "4508", by=2)
    metrics.count("closed", "1009")
    assert metrics.snapshot()["closed"] == {"1009": 2, "4508": 2}


@pytest.mark.parametrize(("name", "label"), [("closed", ""), ("stalls", "1009")])
def test_a_counter_has_a_label_or_has_none(name: str, label: str) -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="told apart"):
        metrics.count(name, label)
    assert metrics.snapshot() == NOTHING


def test_no_application_makes_a_label_grow_without_bound() -> None:
    metrics = Metrics()
    for n in range(2 * MAX_LABELS):
        metrics.count("upgrades_refused", f"reason {n}", by=2)
    metrics.count("upgrades_refused", "reason 0")
    metrics.count("closed", "1009")
    refused = metrics.snapshot()["upgrades_refused"]
    assert isinstance(refused, dict)
    assert len(refused) == MAX_LABELS + 1
    assert (refused["reason 0"], refused["other"]) == (3, 2 * MAX_LABELS)


def test_messages_are_told_apart_by_what_they_are() -> None:
    traffic = Traffic()
    traffic[Update][0] += 1
    traffic.note(SyncStep1, 10, 2)
    traffic.note("sync_step1", 5)
    assert traffic.by_name(0) == {"update": 1, "sync_step1": 3}
    assert traffic.by_name(1) == {"update": 0, "sync_step1": 15}
    assert traffic.messages == 4


def test_what_is_not_described_cannot_be_counted() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.count("typo")
    assert metrics.snapshot() == NOTHING


def test_each_server_counts_for_itself() -> None:
    ours, theirs = Metrics(), Metrics()
    ours.count("stalls")
    ours.sent.note(Update, 10)
    ours.observe("commit_updates", 1)
    ours.lone_commits += 1
    assert theirs.snapshot() == NOTHING


def test_a_histogram_counts_between_its_bounds_and_sums_up() -> None:
    histogram = Histogram((0.1, 1.0))
    for value, count in ((0.05, 1), (0.1, 2), (0.5, 3), (7.0, 1)):
        histogram.observe(value, count)
    assert histogram.counts == [3, 3, 1]
    assert histogram.sum == pytest.approx(0.05 + 0.2 + 1.5 + 7.0)


def measured(hub: Hub, name: str) -> list[int]:
    return hub.metrics.histograms[name].counts[:]


def test_the_messages_of_a_turn_are_measured_once_all_of_them_are_told() -> None:
    with stage() as hub:
        alice, bob = hub.yjs("doc"), hub.native("doc")
        before = sum(measured(hub, "queued_seconds"))
        alice.send_raw(b"".join(mask_frame(BINARY, update(Editor(n).type("x"))) for n in range(1, 4)))
        settle()
        assert sum(measured(hub, "queued_seconds")) - before == 3
        bob.send({"type": "ping"})
        settle()
        assert sum(measured(hub, "queued_seconds")) - before == 4
        assert measured(hub, "queued_seconds") == measured(hub, "written_seconds"), "nobody had to wait"


def test_a_turn_that_lasts_is_measured_part_by_part() -> None:
    with stage() as hub:
        alice = hub.native("doc")
        before = sum(measured(hub, "queued_seconds"))
        alice.send_raw(mask_frame(TEXT, b'{"type": "ping"}') * 2 * TURN_MESSAGES)
        settle()
        assert sum(measured(hub, "queued_seconds")) - before == 2 * TURN_MESSAGES


def test_what_a_hocuspocus_client_says_is_measured_too() -> None:
    with stage() as hub:
        alice = hub.hocuspocus("alice")
        alice.join("doc")
        before = sum(measured(hub, "queued_seconds"))
        alice.say("doc", update(Editor(1).type("x")), update(Editor(2).type("y")))
        settle()
        assert sum(measured(hub, "queued_seconds")) - before == 2


def test_what_waits_for_a_slow_reader_is_measured_when_it_is_written() -> None:
    with stage(send_queue=1 << 20, send_queue_bytes=1 << 30) as hub:
        slow, author = hub.native("doc", "slow"), hub.native("doc", "author")
        slow.connection._socket._sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        for _ in range(20):
            author.send({"type": "chat", "text": "x" * 100_000})
            settle()
            author.frames()
        queued, written = sum(measured(hub, "queued_seconds")), sum(measured(hub, "written_seconds"))
        assert slow.connection.backlog is not None
        waiting = len(slow.connection.backlog)
        while slow.connection.backlog is not None:
            slow.frames()
            settle()
        assert sum(measured(hub, "queued_seconds")) == queued == 20
        # What began the backlog had left the queue by then, and what is joined to it.
        assert waiting <= sum(measured(hub, "written_seconds")) - written <= 20


def test_the_loop_is_late_while_somebody_holds_it() -> None:
    with stage() as hub:
        settle()
        deadline = now() + 2 * BEAT
        while now() < deadline:
            pass
        assert hub.pulse.lag >= BEAT / 2
        gevent.sleep(0)
        settle()
        assert hub.pulse.lag >= BEAT / 2, "that it was late is not forgotten at once"
        assert any(measured(hub, "loop_lag_seconds"))


def test_the_loop_is_looked_at_until_the_hub_has_stopped() -> None:
    with stage() as hub:
        hub.pulse._look()
        assert any(measured(hub, "loop_lag_seconds"))
        assert hub.pulse._timer.active, "it looks once more"
    hub.pulse._look()
    assert not hub.pulse._timer.active


def test_what_is_broadcast_is_counted_once_for_each_who_is_told() -> None:
    with stage() as hub:
        alice, _, _ = hub.yjs("doc"), hub.yjs("doc"), hub.native("doc")
        settle()
        before = hub.metrics.sent.by_name(0)
        alice.send(update(Editor(1).type("x")))
        settle()
        alice.send_raw(b"".join(mask_frame(BINARY, update(Editor(n).type("y"))) for n in (2, 3)))
        settle()
        hub.clients[2].send({"type": "chat", "text": "hi"})
        settle()
        after = hub.metrics.sent.by_name(0)
        assert after["update"] - before.get("update", 0) == 6, "two at once are told as one"
        assert "relay" not in after, "nobody else speaks the native protocol"
        assert hub.metrics.received.by_name(0)["relay"] == 1


def test_turns_that_are_told_one_by_one_are_measured_when_somebody_looks_and_not_kept_for_ever() -> None:
    metrics, expected = Metrics(), Histogram()
    for number in range(3 * MANY + 1):
        metrics.told([(float(number % 7), 2)], 7.0)
        metrics.lone_commits += 1
        expected.observe(7.0 - number % 7, 2)
        assert len(metrics._turns) < MANY
    metrics.told([(1.0, 1), (2.0, 1)], 7.0)
    expected.observe(6.0)
    expected.observe(5.0)
    for _ in range(2):
        for name in TOLD:
            assert metrics.histograms[name].counts == expected.counts
            assert metrics.histograms[name].sum == pytest.approx(expected.sum)
        assert metrics.snapshot()["commits"] == metrics.snapshot()["updates"] == 3 * MANY + 1


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 9)), min_size=1))
def test_turns_are_measured_one_by_one_in_whatever_order(turns: list[tuple[float, int]]) -> None:
    metrics, expected = Metrics(), Histogram()
    for read_at, count in turns:
        expected.observe(20.0 - read_at, count)
    metrics.told(turns, 20.0)
    for name in TOLD:
        assert metrics.histograms[name].counts == expected.counts
        assert metrics.histograms[name].sum == pytest.approx(expected.sum)
