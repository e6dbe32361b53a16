"""The counters."""

from __future__ import annotations

import pytest

from collab.metrics import METRICS, Metrics


def test_every_metric_is_there_from_the_start_and_zero() -> None:
    assert Metrics().snapshot() == dict.fromkeys(METRICS, 0)


@pytest.mark.parametrize("name", ["bytes_in", "commits", "messages_in", "updates"])
def test_a_counter_of_the_hot_path_is_raised_directly(name: str) -> None:
    metrics = Metrics()
    setattr(metrics, name, 3)
    assert metrics.snapshot() == {**dict.fromkeys(METRICS, 0), name: 3}


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


def test_what_is_not_described_cannot_be_counted() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.count("typo")
    assert metrics.snapshot() == dict.fromkeys(METRICS, 0)


def test_each_server_counts_for_itself() -> None:
    ours, theirs = Metrics(), Metrics()
    ours.count("stalls")
    ours.updates += 1
    assert theirs.snapshot() == dict.fromkeys(METRICS, 0)
