"""Wall-clock times and identifiers that sort by them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import generated

from collab.clock import KSUID_EPOCH, ksuid, now, utc

KNOWN = bytes.fromhex("0669F7EFB5A1CD34B5F99D1154FB6853345C9735")
payloads = st.binary(min_size=16, max_size=16)
stamps = st.integers(KSUID_EPOCH, KSUID_EPOCH + 2**32 - 1)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (KNOWN, "0ujtsYcgvSTl8PAuAdqWYSMnLOv"),
        (bytes(20), "0" * 27),
        (b"\xff" * 20, "aWgEPTl1tmebfsQzFP4bxwgy80V"),
    ],
    ids=["the published one", "the first", "the last"],
)
def test_a_ksuid_is_what_its_specification_says(raw: bytes, text: str) -> None:
    assert ksuid(KSUID_EPOCH + int.from_bytes(raw[:4], "big"), raw[4:]) == text


@generated
@given(stamps, stamps, payloads, payloads)
def test_ksuids_have_27_characters_and_sort_by_their_second(earlier: int, later: int, one: bytes, other: bytes) -> None:
    texts = [ksuid(earlier, one), ksuid(later, other)]
    assert [len(text) for text in texts] == [27, 27]
    assert (texts[0] < texts[1]) is ((earlier, one) < (later, other))


def test_a_fraction_of_a_second_does_not_count() -> None:
    assert ksuid(KSUID_EPOCH + 1.9, bytes(16)) == ksuid(KSUID_EPOCH + 1, bytes(16))


def test_a_ksuid_is_of_the_present_and_random_when_nothing_is_given() -> None:
    before = int(time.time())
    ids = {ksuid() for _ in range(100)}
    after = int(time.time())
    assert len(ids) == 100
    assert min(ids) >= ksuid(before, bytes(16))
    assert max(ids) <= ksuid(after, b"\xff" * 16)


def test_utc_is_rfc_3339_with_a_z_and_whole_seconds() -> None:
    before = int(time.time())
    text = utc()
    after = time.time()
    moment = datetime.fromisoformat(text)
    assert moment.utcoffset() == timedelta(0)
    assert text == moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert before <= moment.timestamp() <= after


def test_now_is_a_clock_that_nobody_sets() -> None:
    assert now is time.monotonic
