"""Awareness updates, bytes to entries and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated

from collab.errors import InvalidUpdate, TooLarge
from collab.protocol.jsontext import MAX_DEPTH, MAX_TEXT
from collab.protocol.lib0 import MAX_VAR_UINT, var_uint
from collab.protocol.yawareness import MAX_CLOCK, MAX_ENTRIES, Entry, decode_awareness, encode_awareness

MAX_STATE = 1000


def update(*entries: tuple[int, int, str | bytes]) -> bytes:
    """An awareness update of entries that need not be right."""
    out = var_uint(len(entries))
    for client, clock, state in entries:
        raw = state if isinstance(state, bytes) else state.encode()
        out += var_uint(client) + var_uint(clock) + var_uint(len(raw)) + raw
    return out


CASES: list[tuple[str, list[Entry]]] = [
    ("00", []),
    ("01 05 01 02 7b 7d", [Entry(5, 1, "{}")]),
    ("01 ac 02 07 04 6e 75 6c 6c", [Entry(300, 7, None)]),
    ("02 01 01 01 31 02 80 01 04 22 c3 a9 22", [Entry(1, 1, "1"), Entry(2, 128, '"é"')]),
    ("01 ff ff ff ff ff ff ff 0f 00 02 7b 7d", [Entry(MAX_VAR_UINT, 0, "{}")]),
    ("01 01 ff ff ff ff 0f 02 7b 7d", [Entry(1, MAX_CLOCK, "{}")]),
]


@pytest.mark.parametrize(("data", "entries"), CASES)
def test_an_awareness_update_is_read_and_written_byte_by_byte_alike(data: str, entries: list[Entry]) -> None:
    assert decode_awareness(bytes.fromhex(data), MAX_STATE) == entries
    assert encode_awareness({client: (clock, state) for client, clock, state in entries}) == bytes.fromhex(data)


def test_a_state_passes_exactly_as_it_came() -> None:
    state = ' { "a" : "\\u00e9\\ud800", "a":1e2 }\n'
    assert decode_awareness(update((5, 1, state)), MAX_STATE) == [Entry(5, 1, state)]


def test_null_among_spaces_is_gone_too() -> None:
    assert decode_awareness(update((5, 1, " null\n")), MAX_STATE) == [Entry(5, 1, None)]


def test_one_client_may_be_named_twice_and_the_order_stays() -> None:
    entries = [Entry(5, 2, "{}"), Entry(5, 3, None), Entry(5, 1, "{}")]
    data = update((5, 2, "{}"), (5, 3, "null"), (5, 1, "{}"))
    assert decode_awareness(data, MAX_STATE) == entries


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x05\x01\x02{",
        b"\x02\x05\x01\x02{}",
        b"\xff\xff\xff\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        update((5, 1, "{}")) + b"\x00",
        update((5, MAX_CLOCK + 1, "{}")),
        update((5, 1, "")),
        update((5, 1, "NaN")),
        update((5, 1, "{'a':1}")),
        update((5, 1, b'"\xff"')),
        update((5, 1, b'"\xed\xa0\x80"')),
        update((5, 1, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))),
        update((5, 1, "{}"), (6, 1, "{")),
    ],
    ids=[
        "nothing",
        "no entry",
        "a state cut short",
        "an entry too few",
        "more entries than bytes",
        "a count that is no number",
        "bytes behind the end",
        "a clock out of range",
        "an empty state",
        "a state of NaN",
        "a state that is no JSON",
        "a state that is no UTF-8",
        "a state with a bare surrogate",
        "a state nested too deep",
        "a second state that is no JSON",
    ],
)
def test_a_malformed_awareness_update_is_refused(data: bytes) -> None:
    assert_refused("invalid_update", lambda: decode_awareness(data, MAX_STATE))


@pytest.mark.parametrize("filler", ["x", "é"])
def test_the_limit_of_a_state_is_exact_and_in_bytes(filler: str) -> None:
    state = '"' + filler * 500 + '"'
    size = len(state.encode())
    assert decode_awareness(update((5, 1, state)), size) == [Entry(5, 1, state)]
    assert_refused("too_large", lambda: decode_awareness(update((5, 1, state)), size - 1))


def test_an_update_about_more_clients_than_anybody_knows_is_too_large() -> None:
    entries = [(client, 1, "{}") for client in range(MAX_ENTRIES + 1)]
    assert len(decode_awareness(update(*entries[1:]), MAX_STATE)) == MAX_ENTRIES
    assert_refused("too_large", lambda: decode_awareness(update(*entries), MAX_STATE))


def test_a_state_over_the_limit_of_all_json_is_too_large_whatever_the_setting() -> None:
    state = '"' + "x" * MAX_TEXT + '"'
    assert_refused("too_large", lambda: decode_awareness(update((5, 1, state)), 2 * MAX_TEXT))


@generated
@given(st.binary() | st.binary(max_size=50).map(lambda data: b"\x01\x05\x01" + var_uint(len(data)) + data))
def test_arbitrary_bytes_are_an_awareness_update_or_refused(data: bytes) -> None:
    try:
        entries = decode_awareness(data, MAX_STATE)
    except (InvalidUpdate, TooLarge):
        return
    assert len(entries) <= len(data) // 3


states = st.none() | st.sampled_from(["{}", "0", '{"user":{"name":"é😀"}}'])


@generated
@given(st.dictionaries(st.integers(0, MAX_VAR_UINT), st.tuples(st.integers(0, MAX_CLOCK), states)))
def test_what_is_written_is_read_again(entries: dict[int, tuple[int, str | None]]) -> None:
    read = decode_awareness(encode_awareness(entries), MAX_STATE)
    assert {client: (clock, state) for client, clock, state in read} == entries
