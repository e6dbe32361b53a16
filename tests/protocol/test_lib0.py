"""varUint, varBytes and varString, byte by byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated

from collab.errors import InvalidMessage
from collab.protocol import lib0

NUMBERS = [
    ("00", 0),
    ("7f", 127),
    ("80 01", 128),
    ("ac 02", 300),
    ("ff 7f", 2**14 - 1),
    ("80 80 01", 2**14),
    ("ff ff ff ff 0f", 2**32 - 1),
    ("ff ff ff ff ff ff ff 0f", 2**53 - 1),
]

READERS: list[Callable[[bytes, int], tuple[object, int]]] = [
    lib0.read_var_uint,
    lib0.read_var_bytes,
    lib0.read_var_string,
]


@pytest.mark.parametrize(("data", "number"), NUMBERS)
def test_a_number_is_read_and_written_byte_by_byte_alike(data: str, number: int) -> None:
    raw = bytes.fromhex(data)
    assert lib0.read_var_uint(raw, 0) == (number, len(raw))
    assert lib0.read_var_uint(b"\xff" + raw + b"\xff", 1) == (number, len(raw) + 1)
    assert lib0.var_uint(number) == raw


@pytest.mark.parametrize("data", ["", "80", "ff ff ff", "ff ff ff ff ff ff ff 10", "ff ff ff ff ff ff ff ff 01"])
def test_a_number_that_is_cut_short_or_too_large_is_refused(data: str) -> None:
    assert_refused("invalid_message", lambda: lib0.read_var_uint(bytes.fromhex(data), 0))
    assert_refused("invalid_message", lambda: lib0.read_var_bytes(bytes.fromhex(data), 0))


def test_a_padded_number_is_read_up_to_eight_bytes() -> None:
    assert lib0.read_var_uint(b"\x80" * 7 + b"\x00", 0) == (0, 8)
    assert_refused("invalid_message", lambda: lib0.read_var_uint(b"\x80" * 8 + b"\x00", 0))


@pytest.mark.parametrize("number", [-1, 2**53])
def test_a_number_out_of_range_is_not_written(number: int) -> None:
    assert_refused("invalid_message", lambda: lib0.var_uint(number))


@pytest.mark.parametrize("text", ["", "a", "é", "漢字", "😀", "\x00", "x" * 127, "x" * 128, "é" * 10_000])
def test_the_length_of_a_string_counts_bytes(text: str) -> None:
    raw = lib0.var_string(text)
    assert raw == lib0.var_uint(len(text.encode())) + text.encode()
    assert lib0.read_var_string(b"." + raw + b".", 1) == (text, len(raw) + 1)


@pytest.mark.parametrize("raw", ["01 ff", "02 c3 28", "03 ed a0 80", "02 c0 80", "01 c3"])
def test_a_string_that_is_not_utf_8_is_refused(raw: str) -> None:
    assert_refused("invalid_message", lambda: lib0.read_var_string(bytes.fromhex(raw), 0))


def test_a_lone_surrogate_is_not_written() -> None:
    assert_refused("invalid_message", lambda: lib0.var_string("\ud83d"))


def test_a_length_is_refused_when_one_byte_is_missing() -> None:
    assert lib0.read_var_bytes(b"\x03abc", 0) == (b"abc", 4)
    assert_refused("invalid_message", lambda: lib0.read_var_bytes(b"\x03ab", 0))
    assert_refused("invalid_message", lambda: lib0.read_var_bytes(lib0.var_uint(2**53 - 1) + b"abc", 0))


@generated
@given(st.integers(0, 2**53 - 1), st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_one_after_the_other_is_read_so(number: int, raw: bytes, text: str) -> None:
    data = lib0.var_uint(number) + lib0.var_bytes(raw) + lib0.var_string(text)
    got_number, at = lib0.read_var_uint(data, 0)
    got_raw, at = lib0.read_var_bytes(data, at)
    got_text, at = lib0.read_var_string(data, at)
    assert (got_number, got_raw, got_text, at) == (number, raw, text, len(data))


@generated
@given(st.sampled_from(READERS), st.binary(max_size=40), st.integers(0, 50))
def test_whatever_the_bytes_are_a_reader_stays_inside_or_refuses(
    read: Callable[[bytes, int], tuple[object, int]], data: bytes, at: int
) -> None:
    try:
        _, end = read(data, at)
    except InvalidMessage:
        return
    assert at < end <= len(data)
