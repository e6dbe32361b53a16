"""What of an update and a state vector is let through to yrs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import generated
from yupdates import (
    ANY,
    DOCUMENT,
    EMBED,
    FORMAT,
    OF_YJS,
    TEXT,
    TYPE,
    after,
    between,
    child,
    clock,
    every_content,
    gap,
    gc,
    refused_by,
    text,
    top,
    update,
)

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import var_bytes, var_string, var_uint
from collab.protocol.ycontent import MAX_DEPTH
from collab.protocol.yupdate import (
    EMPTY_STATE_VECTOR,
    EMPTY_UPDATE,
    check_state_vector,
    check_update,
    deletions_at,
    encode_state_vector,
    parse_state_vector,
    parse_update,
)

TYPED = [
    update((2**32 - 5, 2000, [after(TEXT, clock(2**32 - 5, 1999), var_string("x"))])),
    update((2**53 - 1, 2000, [after(TEXT, clock(2**53 - 1, 1999), var_string("hello"))])),
    update((7, 300, [between(TEXT, clock(7, 2), clock(9, 2**31 - 1), var_string("漢字"))])),
    update((7, 300, [b"\x44" + clock(9, 3) + var_string("é" * 60)])),
    update(erased={2**40: [(5000, 3)]}),
]
"""What people who type and delete send, which has a short way through."""

VALUES = [b"\x78", b"\x79", b"\x7a" + bytes(8), b"\x7b" + bytes(8), b"\x7c" + bytes(4), b"\x7d\x3f", b"\x7d\xff\x7f"]
VALUES += [b"\x7e", b"\x7f", b"\x77" + var_string("é"), b"\x74" + var_bytes(b"\xff"), b"\x75\x01\x78", b"\x75\x00"]
VALUES += [b"\x76\x01" + var_string("k") + b"\x78", b"\x76\x00"]


def any_of(*values: bytes) -> bytes:
    """An update with these values in an array."""
    return update((1, 0, [top(ANY, var_uint(len(values)) + b"".join(values))]))


@pytest.mark.parametrize("data", [EMPTY_UPDATE, *TYPED])
def test_what_is_typed_and_deleted_is_let_through(data: bytes) -> None:
    check_update(data)
    parse_update(data)


@pytest.mark.parametrize("name", OF_YJS)
def test_what_yjs_writes_is_let_through(name: str) -> None:
    check_update(OF_YJS[name])


def test_what_pycrdt_writes_is_let_through() -> None:
    for data in every_content():
        check_update(data)


@pytest.mark.parametrize("data", [*TYPED, *OF_YJS.values()])
def test_no_update_may_end_early_or_late(data: bytes) -> None:
    assert all(refused_by(check_update, data[:end]) for end in range(len(data)))
    assert refused_by(check_update, data + b"\x00")


@pytest.mark.parametrize("value", VALUES)
def test_every_kind_of_value_is_let_through_and_not_cut_short(value: bytes) -> None:
    check_update(any_of(value, value))
    assert all(refused_by(check_update, any_of(value, value[:end])) for end in range(len(value)))


@pytest.mark.parametrize("kind", range(16))
def test_only_shared_types_that_yrs_reads_as_yjs_wrote_them_are_let_through(kind: int) -> None:
    named = var_string("p") if kind in (3, 5) else b""
    data = update((1, 0, [top(TYPE, var_uint(kind) + named)]))
    assert bool(refused_by(check_update, data)) is (kind not in (0, 1, 2, 3, 4, 6, 9, 15))


HOSTILE = {
    "a count that would be allocated": bytes.fromhex("d3 86 82 b7 01 01 01 00 04 01"),
    "a count of structs": bytes.fromhex("01 ff ff ff ff 0f 01 00"),
    "a count of values": update((1, 0, [top(ANY, var_uint(2**31) + b"\x78")])),
    "a count in a value": any_of(b"\x75" + var_uint(2**40)),
    "a count of deletions": b"\x00\x01\x01" + var_uint(2**31) + b"\x00\x01",
    "200,000 nested arrays": any_of(b"\x75\x01" * 200_000 + b"\x78"),
    "100,000 nested objects": any_of(b"\x76\x01\x00" * 100_000 + b"\x78"),
    "nested JSON": update((1, 0, [top(EMBED, var_string("[" * 100_000 + "]" * 100_000))])),
    "nested JSON in a format": update((1, 0, [top(FORMAT, var_string("b") + var_string('{"a":' * 10_000))])),
    "a nested subdocument": update((1, 0, [top(DOCUMENT, var_string("g") + b"\x75\x01" * 10_000 + b"\x78")])),
    "a clock of 32 bits": text("x", first=2**31),
    "a clock that passes the last": update((1, 2**31 - 3, [top(TEXT, var_string("abc"))])),
    "structs that pass the last clock": update((1, 0, [gc(2**31 - 1), gc(1)])),
    "a deletion that passes the last clock": update(erased={1: [(2, 2**31 - 1)]}),
    "a client of 54 bits": update((1, 0, [b"\x84\xff\xff\xff\xff\xff\xff\xff\x10\x00\x01x"])),
    "a client that is nobody's": update((1, 0, [])),
    "nothing but an empty text": text(""),
    "an empty GC": update((1, 0, [gc(0), top(TEXT, b"\x01x")])),
    "an empty Skip": update((1, 0, [gap(0), top(TEXT, b"\x01x")])),
    "a client in two places": update((1, 0, [gc(1)]), (1, 1, [gc(1)])),
    "deletions of one client in two places": b"\x00\x02" + b"\x01\x01\x00\x01" * 2,
    "deletions that overlap": update(erased={1: [(0, 5), (4, 2)]}),
    "deletions out of order": update(erased={1: [(4, 2), (0, 2)]}),
    "text that is not UTF-8": update((1, 5, [after(TEXT, clock(1, 4), b"\x02\xff\xfe")])),
    "a key that is not UTF-8": update((1, 0, [b"\x28\x01\x01t\x01\xff\x01\x78"])),
    "legacy JSON content": update((1, 0, [top(2, b"\x01" + var_string("1"))])),
    "content 10 of an item": update((1, 0, [b"\x8a\x01\x00\x01"])),
    "content 11": update((1, 0, [top(11, b"\x01")])),
    "a flag that does not exist": update((1, 0, [top(0x14, b"\x01x")])),
    "a parent that is neither name nor id": update((1, 0, [b"\x04\x02\x01\x00\x01x"])),
    "a kind of value that does not exist": any_of(b"\x73"),
    "bytes behind": text("x") + b"\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_harm_is_refused(name: str) -> None:
    assert refused_by(check_update, HOSTILE[name])


@pytest.mark.parametrize(("opening", "closing"), [(b"\x75\x01", b""), (b"\x76\x01\x01k", b"")])
def test_values_nest_to_the_limit_and_no_deeper(opening: bytes, closing: bytes) -> None:
    check_update(any_of(opening * MAX_DEPTH + b"\x78"))
    assert refused_by(check_update, any_of(opening * (MAX_DEPTH + 1) + b"\x78"))


def test_json_nests_to_the_limit_and_brackets_in_its_strings_do_not_count() -> None:
    def embed(json: str) -> bytes:
        return update((1, 0, [top(EMBED, var_string(json))]))

    check_update(embed("[" * MAX_DEPTH + "]" * MAX_DEPTH))
    check_update(embed("[" + "[],{}," * 500 + "0]"))
    check_update(embed('["' + "[{" * 500 + '\\"' + "[" * 500 + '"]'))
    assert refused_by(check_update, embed("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)))


def test_clients_chosen_to_collide_are_refused_and_as_many_others_are_not() -> None:
    """yrs takes the low bits of a client for its hash, and searches all that have them alike."""
    chosen = [(n << 24, 0, [gc(1)]) for n in range(1, 5000)]
    others = [(n * 2_654_435_761 % 2**32, 0, [gc(1)]) for n in range(1, 5000)]
    check_update(update(*others))
    assert refused_by(check_update, update(*chosen))
    assert refused_by(check_update, update(erased={client: [(0, 1)] for client, _, _ in chosen}))
    assert refused_by(check_state_vector, encode_state_vector({client: 1 for client, _, _ in chosen}))


def test_an_update_comes_apart_into_what_it_was_made_of() -> None:
    structs = [
        top(TYPE, b"\x00"),
        child(TEXT, clock(3, 7), var_string("a😀")),
        gc(4),
        after(ANY, clock(1, 2), b"\x01\x78"),
    ]
    parsed = parse_update(update((3, 7, structs), (1, 0, [gap(2)]), erased={1: [(0, 1), (3, 2)], 3: [(9, 1)]}))
    assert [section[:3] for section in parsed.sections] == [(3, 7, 16), (1, 0, 2)]
    assert [(struct.clock, struct.length) for struct in parsed.sections[0].structs] == [
        (7, 1),
        (8, 3),
        (11, 4),
        (15, 1),
    ]
    assert parsed.deletions == [(1, 0, 1), (1, 3, 5), (3, 9, 10)]


def test_the_delete_set_is_found_behind_the_structs() -> None:
    data = update((3, 7, [gc(2)]), erased={1: [(0, 1)]})
    assert data[deletions_at(data) :] == bytes.fromhex("01 01 01 00 01")


@pytest.mark.parametrize("clocks", [{}, {1: 0}, {5: 3, 2**53 - 1: 2**31 - 1}])
def test_a_state_vector_is_read_as_it_was_written(clocks: dict[int, int]) -> None:
    data = encode_state_vector(clocks)
    assert parse_state_vector(data) == clocks
    check_state_vector(data)


@pytest.mark.parametrize("data", ["", "01", "01 05", "ff ff ff ff 0f 01 01", "00 00", "01 05 80 80 80 80 08", "80"])
def test_a_malformed_state_vector_is_refused(data: str) -> None:
    assert refused_by(check_state_vector, bytes.fromhex(data))
    assert EMPTY_STATE_VECTOR == b"\x00"


@generated
@given(st.sampled_from(TYPED), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=3), st.data())
def test_what_takes_the_short_way_would_have_passed_the_long_one(
    data: bytes, changes: list[tuple[int, int]], draw: st.DataObject
) -> None:
    changed = bytearray(data)
    for at, value in changes:
        changed[at % len(changed)] = value
    if draw.draw(st.booleans()):
        at = draw.draw(st.integers(0, len(changed)))
        changed[at:at] = draw.draw(st.binary(max_size=3))
    short = refused_by(check_update, bytes(changed))
    long = refused_by(parse_update, bytes(changed))
    assert bool(short) is bool(long)


@generated
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: b"\x01\x01\x05\x00" + tail)))
def test_whatever_the_bytes_are_nothing_but_invalid_update_escapes(data: bytes) -> None:
    for check in (check_update, check_state_vector):
        try:
            check(data)
        except InvalidUpdate as error:
            assert str(error)
