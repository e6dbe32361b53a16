"""Token buckets: what may come at once, how fast after that, and when somebody floods."""

from __future__ import annotations

from random import Random

import pytest

from collab.limits import BURST, Bucket, Meter


def test_what_comes_at_once_after_a_pause_is_bounded_by_the_burst() -> None:
    bucket = Bucket(10)
    assert bucket.spend(10 * BURST, 100.0) == 0
    assert bucket.spend(1, 100.0) == pytest.approx(0.1)


def test_the_wait_is_as_long_as_the_debt_takes_to_be_paid() -> None:
    bucket = Bucket(10)
    bucket.spend(10 * BURST, 0.0)
    assert bucket.spend(25, 0.0) == pytest.approx(2.5)
    assert bucket.spend(0, 2.4) > 0
    assert bucket.spend(0, 2.5) == pytest.approx(0, abs=1e-9)


def test_a_bucket_fills_no_further_than_it_is_large() -> None:
    bucket = Bucket(10)
    bucket.spend(1, 0.0)
    assert bucket.spend(10 * BURST + 1, 1e6) == pytest.approx(0.1)


def test_what_is_taken_one_by_one_is_not_counted_when_it_is_refused() -> None:
    bucket = Bucket(1)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert bucket.take(1.0)
    assert not bucket.take(1.5)


def test_a_meter_slows_down_by_whatever_is_exceeded_most() -> None:
    meter = Meter(messages=10, size=1000)
    assert meter.spend(1, int(1000 * BURST) + 500, 0.0) == pytest.approx(0.5)
    assert meter.spend(int(10 * BURST) + 19, 0, 0.0) == pytest.approx(2.0)


def test_a_meter_counts_as_two_buckets_do() -> None:
    meter, messages, size = Meter(messages=100, size=5000), Bucket(100), Bucket(5000)
    random, at = Random(3), 1000.0
    for _ in range(1000):
        at += random.choice((0.0, 0.01, 1.0, 100.0))
        count, most = random.choice((1, 10, 4000)), random.choice((50, 5000, 100_000))
        assert meter.spend(count, most, at) == pytest.approx(max(messages.spend(count, at), size.spend(most, at)))


def test_flooding_begins_with_the_first_excess_and_ends_with_the_first_pause() -> None:
    meter = Meter(messages=10, size=1e9)
    meter.spend(int(10 * BURST), 0, 0.0)
    assert meter.flooding_since is None
    for at in (1.0, 2.0, 3.0):
        meter.spend(20, 0, at)
    assert meter.flooding_since == 1.0
    meter.spend(0, 0, 60.0)
    assert meter.flooding_since is None
