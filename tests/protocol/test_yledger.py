"""What a document may be given next: nothing that it would have to wait for, and nothing that yrs would fall over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yupdates import (
    ANY,
    EMBED,
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
from collab.protocol.lib0 import var_string
from collab.protocol.yledger import Ledger
from collab.protocol.ymarks import Marks
from collab.protocol.ynesting import nesting
from collab.protocol.yupdate import encode_state_vector

LONG = var_string("x" * 200)
"""Text that does not take the short way."""


def holding(*updates: bytes) -> Ledger:
    """A ledger that has admitted these."""
    ledger = Ledger()
    for each in updates:
        assert ledger.admit(each) is None
    return ledger


@pytest.mark.parametrize("content", [b"\x01x", LONG])
def test_an_update_waits_for_the_clock_before_its_own(content: bytes) -> None:
    ledger = holding(text("abc"))
    assert ledger.admit(update((1, 5, [after(TEXT, clock(1, 2), content)]))) == (1, 4)
    assert ledger.clocks() == {1: 3}
    assert ledger.admit(update((1, 3, [after(TEXT, clock(1, 2), content)]))) is None
    assert ledger.clock(1) == 3 + len(content) - (1 if len(content) < 100 else 2)


@pytest.mark.parametrize("content", [b"\x01x", LONG])
def test_an_update_waits_for_its_neighbours(content: bytes) -> None:
    ledger = holding(text("abc"))
    assert ledger.admit(update((2, 0, [after(TEXT, clock(1, 3), content)]))) == (1, 3)
    assert ledger.admit(update((2, 0, [after(TEXT, clock(9, 0), content)]))) == (9, 0)
    assert ledger.admit(update((2, 0, [between(TEXT, clock(1, 0), clock(1, 7), content)]))) == (1, 7)
    assert ledger.admit(update((2, 0, [between(TEXT, clock(1, 0), clock(1, 1), content)]))) is None


def test_an_update_waits_for_its_parent_and_for_what_it_deletes() -> None:
    ledger = holding(text("abc"))
    assert ledger.admit(update((2, 0, [child(TEXT, clock(1, 3), b"\x01x")]))) == (1, 3)
    assert ledger.admit(update(erased={1: [(1, 5)]})) == (1, 5)
    assert ledger.admit(update(erased={1: [(1, 1)], 9: [(0, 1)]})) == (9, 0)
    assert ledger.admit(update(erased={1: [(1, 2)]})) is None


def test_an_update_may_bring_along_what_it_builds_on_in_any_order() -> None:
    first = (1, 0, [top(TEXT, b"\x01a"), after(EMBED, clock(3, 0), b"\x011")])
    second = (2, 0, [after(TEXT, clock(1, 0), b"\x01b"), after(EMBED, clock(1, 1), b"\x011")])
    third = (3, 0, [after(TEXT, clock(2, 0), b"\x01c"), after(EMBED, clock(2, 1), b"\x011")])
    for order in ((first, second, third), (third, second, first), (second, third, first)):
        assert holding(update(*order)).clocks() == {1: 2, 2: 2, 3: 2}


def test_structs_that_wait_for_themselves_or_each_other_are_refused() -> None:
    ledger = holding(text("abc", 9))
    for wait in (0, 1, 5):
        assert refused_by(ledger.admit, update((1, 0, [after(TEXT, clock(1, wait), b"\x01x")])))
        assert refused_by(ledger.admit, update((1, 0, [after(TEXT, clock(1, wait), LONG)])))
    crossed = update((1, 0, [after(EMBED, clock(2, 0), b"\x011")]), (2, 0, [after(EMBED, clock(1, 0), b"\x011")]))
    assert refused_by(ledger.admit, crossed)
    assert ledger.clocks() == {9: 3}


def test_a_skip_stands_for_what_is_missing_until_that_is_there() -> None:
    later = update((1, 0, [gap(3), after(EMBED, clock(1, 2), b"\x011")]))
    ledger = Ledger()
    assert ledger.admit(later) == (1, 2)
    assert ledger.admit(text("abc")) is None
    assert ledger.admit(later) is None
    assert ledger.clocks() == {1: 4}


def test_what_is_said_again_is_told_from_what_is_new() -> None:
    ledger = holding(text("abc"))
    assert ledger.known is None
    ledger.admit(update((1, 1, [after(TEXT, clock(1, 0), b"\x04bcde")])))
    assert ledger.known == {1: 3}
    ledger.admit(update((1, 0, [top(TEXT, b"\x05abcde"), gc(1)]), (2, 0, [gc(1)])))
    assert ledger.known == {1: 5, 2: 0}
    ledger.admit(update((1, 6, [after(TEXT, clock(1, 0), b"\x01x")])))
    assert ledger.known is None


SMILE = text("a😀b")
SPLITS = [
    after(TEXT, clock(1, 1), b"\x01x"),
    after(TEXT, clock(1, 1), LONG),
    b"\x44" + clock(1, 2) + b"\x01x",
    b"\x44" + clock(1, 2) + LONG,
    between(TEXT, clock(1, 0), clock(1, 2), b"\x01x"),
    between(EMBED, clock(1, 1), clock(1, 3), b"\x011"),
]


@pytest.mark.parametrize("struct", SPLITS)
def test_nothing_comes_between_the_halves_of_a_character(struct: bytes) -> None:
    ledger = holding(SMILE)
    assert refused_by(ledger.admit, update((2, 0, [struct])))
    assert ledger.clocks() == {1: 4}


@pytest.mark.parametrize("erased", [(1, 1), (2, 1), (0, 2), (2, 2)])
def test_no_half_of_a_character_is_deleted(erased: tuple[int, int]) -> None:
    assert refused_by(holding(SMILE).admit, update(erased={1: [erased]}))
    assert refused_by(holding(SMILE).admit, update((2, 0, [gc(1)]), erased={1: [erased]}))
    assert refused_by(Ledger().admit, SMILE[:-1] + update(erased={1: [erased]})[1:])


def test_whole_characters_are_deleted_and_written_beside() -> None:
    ledger = holding(SMILE, update((2, 0, [between(TEXT, clock(1, 0), clock(1, 1), b"\x01x")])))
    assert ledger.admit(update((2, 1, [after(TEXT, clock(1, 2), b"\x01x")]))) is None
    assert ledger.admit(update(erased={1: [(1, 2)]})) is None


def test_a_known_clock_does_not_split_a_character_that_is_said_in_its_place() -> None:
    assert refused_by(holding(text("a")).admit, text("😀"))


def test_a_map_has_no_text_and_no_several_values_as_one_entry() -> None:
    entry = update((1, 0, [top(ANY, b"\x01\x78", key="k")]))
    for struct in (
        top(TEXT, b"\x01x", key="k"),
        top(ANY, b"\x02\x78\x78", key="k"),
        after(TEXT, clock(1, 0), b"\x01x"),
        after(TEXT, clock(1, 0), LONG),
        after(ANY, clock(1, 0), b"\x02\x78\x78"),
        b"\x44" + clock(1, 0) + b"\x01x",
    ):
        assert refused_by(holding(entry).admit, update((2, 0, [struct])))
    assert holding(entry).admit(update((2, 0, [b"\xa8" + clock(1, 0) + b"\x01\x78"]))) is None


def test_former_values_of_a_map_may_be_joined_as_yjs_does_for_an_undo() -> None:
    joined = top(ANY, b"\x02\x78\x78", key="k")
    assert holding(update((1, 0, [joined]), erased={1: [(0, 2)]})).clocks() == {1: 2}
    assert refused_by(Ledger().admit, update((1, 0, [joined]), erased={1: [(0, 1)]}))


def test_a_loaded_ledger_knows_what_the_one_that_saw_the_updates_knows() -> None:
    content = update((1, 0, [top(TEXT, var_string("a😀b")), top(ANY, b"\x01\x78", key="k"), top(TYPE, b"\x00")]))
    nested = update((1, 6, [child(EMBED, clock(1, 5), b"\x011")]))
    seen = holding(content, nested)
    loaded = Ledger()
    loaded.load(content, encode_state_vector({1: 6}))
    assert loaded.admit(nested) is None
    assert loaded.clocks() == seen.clocks() == {1: 7}
    assert loaded.nesting == seen.nesting == 1
    for ledger in (seen, loaded):
        assert refused_by(ledger.admit, update((2, 0, [SPLITS[0]])))
        assert refused_by(ledger.admit, update((2, 0, [after(TEXT, clock(1, 4), b"\x01x")])))


def test_what_was_admitted_and_not_applied_leaves_nothing_behind() -> None:
    ledger = holding(text("a"), update((1, 1, [top(TEXT, var_string("bcd😀")), top(ANY, b"\x01\x78", key="k")])))
    ledger.reset(encode_state_vector({1: 1}))
    assert ledger.admit(update((1, 1, [top(TEXT, var_string("😀xyz")), top(TYPE, b"\x00")]))) is None
    assert refused_by(ledger.admit, update(erased={1: [(1, 1)]}))
    assert ledger.admit(update((2, 0, [after(TEXT, clock(1, 4), b"\x01x")]))) is None
    assert ledger.admit(update((2, 1, [after(TEXT, clock(1, 6), b"\x01x")]))) is None


def test_all_that_pycrdt_sends_is_admitted_in_the_order_sent() -> None:
    whole = holding(every_content()[-3])
    ledger = holding(*every_content()[:-3])
    assert ledger.clocks() == whole.clocks()


def test_nesting_is_counted_across_siblings_and_clients() -> None:
    content = update(
        (1, 0, [top(TYPE, b"\x00"), child(EMBED, clock(1, 0), b"\x011"), after(TYPE, clock(1, 1), b"\x00")]),
        (2, 0, [child(TYPE, clock(1, 2), b"\x00"), child(TEXT, clock(2, 0), b"\x01x")]),
    )
    assert nesting(content) == 3
    assert nesting(text("abc")) == 0
    assert nesting(b"\x00\x00") == 0
    chain = [top(TYPE, b"\x00")] + [child(TYPE, clock(1, n), b"\x00") for n in range(50_000)]
    assert nesting(update((1, 0, chain))) == 50_000


def test_marks_are_runs() -> None:
    marks = Marks()
    assert not marks
    assert not marks.has(1, 0)
    for start, end in ((2, 3), (3, 5), (9, 10)):
        marks.add(1, start, end)
    assert [n for n in range(12) if marks.has(1, n)] == [2, 3, 4, 9]
    assert marks.spans(1, 2, 5)
    assert not marks.spans(1, 2, 6)
    assert not marks.spans(2, 2, 3)
    more = Marks()
    more.add(1, 10, 12)
    more.add(2, 0, 1)
    marks.update(more)
    assert [n for n in range(13) if marks.has(1, n)] == [2, 3, 4, 9, 10, 11]
    assert marks.has(2, 0)
    marks.cut({1: 3, 2: 1})
    assert [n for n in range(13) if marks.has(1, n)] == [2]
    assert marks.has(2, 0)
    marks.cut({1: 2})
    assert not marks


PLACES = st.builds(clock, st.integers(1, 3), st.integers(0, 4))
TEXTS = st.sampled_from(["a", "bc", "é", "😀", "x" * 130]).map(var_string)
NEXT = st.builds(after, st.just(TEXT), PLACES, TEXTS) | st.builds(between, st.just(TEXT), PLACES, PLACES, TEXTS)
SMALL = st.builds(lambda client, first, struct: update((client, first, [struct])), *[st.integers(1, 3)] * 2, NEXT)


@given(st.sampled_from(["ab", "é😀"]), st.lists(SMALL, max_size=20))
def test_the_next_text_is_admitted_in_one_step_as_it_is_in_several(begin: str, updates: list[bytes]) -> None:
    one, several = holding(text(begin)), holding(text(begin))
    for each in updates:
        before = one.clocks()
        if one.admit_next(each):
            assert several.admit(each) is None
            assert several.usual and several.new and several.known is None
        else:
            assert one.clocks() == before
            assert outcome(one, each) == outcome(several, each)
        assert one.clocks() == several.clocks()


def outcome(ledger: Ledger, each: bytes) -> object:
    try:
        return ledger.admit(each)
    except InvalidUpdate as error:
        return str(error)


def test_the_next_text_is_what_is_admitted_in_one_step() -> None:
    ledger = holding(text("ab"))
    assert ledger.admit_next(update((1, 2, [after(TEXT, clock(1, 1), b"\x01x")])))
    assert ledger.admit_next(update((2, 0, [between(TEXT, clock(1, 0), clock(1, 2), b"\x02yz")])))
    assert ledger.clocks() == {1: 3, 2: 2}
