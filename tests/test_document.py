"""One document: what is applied, what is refused alone, what waits, and what nobody can do to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pycrdt
import pytest
from yupdates import (
    ANY,
    EMBED,
    OF_YJS,
    TEXT,
    TYPE,
    after,
    child,
    clock,
    every_content,
    gc,
    refused_by,
    text,
    top,
    update,
)

from collab.commit import MAX_NESTING
from collab.document import PUT_OFF, Document
from collab.errors import InvalidUpdate
from collab.protocol import ywaiting
from collab.protocol.lib0 import var_string
from collab.protocol.yledger import Ledger
from collab.protocol.yupdate import (
    EMPTY_STATE_VECTOR,
    EMPTY_UPDATE,
    encode_state_vector,
    parse_state_vector,
    parse_update,
)
from collab.protocol.ywaiting import MAX_HELD
from collab.updates import load, merge


def letters(word: str, client: int = 1, first: int = 0) -> list[bytes]:
    """The updates of typing `word`, letter by letter."""
    typed = [text(word[0], client)] if not first else []
    start = len(typed) or first
    rest = word[len(typed) :]
    return typed + [
        update((client, start + n, [after(TEXT, clock(client, start + n - 1), var_string(letter))]))
        for n, letter in enumerate(rest)
    ]


def reading(content: bytes) -> str:
    """The text in a document's content."""
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.apply_update(content)
    return str(doc.get("t", type=pycrdt.Text))


def whole(doc: Document) -> bytes:
    return doc.diff(EMPTY_STATE_VECTOR)


def test_a_new_document_is_empty() -> None:
    for doc in (Document(), Document(b""), Document(EMPTY_UPDATE)):
        assert doc.state_vector() == EMPTY_STATE_VECTOR
        assert whole(doc) == EMPTY_UPDATE
        assert doc.generation == 0


def test_updates_take_effect_together_and_in_order() -> None:
    doc = Document()
    first, *others = letters("hello")
    assert doc.apply([first, *others]) == {}
    assert doc.taken == [first, merge(others)]
    assert doc.generation == 1
    assert reading(whole(doc)) == "hello"
    assert parse_state_vector(doc.state_vector()) == {1: 5}


def test_a_bad_update_is_refused_alone() -> None:
    doc = Document()
    first, second = letters("ab")
    broken = update((3, 0, [top(EMBED, var_string("{not json"))]))
    refused = doc.apply([b"", first, b"\x01", broken, second])
    assert sorted(refused) == [0, 2, 3]
    assert all(isinstance(error, InvalidUpdate) for error in refused.values())
    assert doc.taken == [first, second]
    assert reading(whole(doc)) == "ab"


def test_nothing_is_committed_when_all_is_refused() -> None:
    doc = Document(text("abc"))
    before = whole(doc)
    assert list(doc.apply([b"\xff"])) == [0]
    assert doc.taken == []
    assert doc.generation == 0
    assert whole(doc) == before


def test_the_state_vector_is_one_object_until_the_document_changes() -> None:
    doc = Document(text("abc"))
    before = whole(doc)
    state_vector = doc.state_vector()
    assert doc.state_vector() is state_vector
    doc.apply([update((2, 0, [after(TEXT, clock(1, 2), b"\x01d")]))])
    assert reading(whole(doc)) == "abcd"
    assert reading(before) == "abc"


def test_a_diff_holds_what_the_state_vector_lacks() -> None:
    doc = Document()
    doc.apply(letters("hello"))
    assert parse_update(doc.diff(b"\x01\x01\x03")).sections[0][:3] == (1, 3, 5)
    assert doc.diff(doc.state_vector()) == EMPTY_UPDATE


@pytest.mark.parametrize("state_vector", [b"", b"\x01", b"\x00\x00", b"\xff\xff\xff\xff\x0f\x01\x01"])
def test_a_bad_state_vector_is_refused(state_vector: bytes) -> None:
    assert refused_by(Document(text("abc")).diff, state_vector)


def test_updates_merge_into_one() -> None:
    assert merge([]) == EMPTY_UPDATE
    only = text("x")
    assert merge([only]) is only
    assert reading(merge(letters("hello"))) == "hello"


def test_what_comes_too_early_waits_and_is_taken_with_what_it_waited_for() -> None:
    doc = Document()
    first, *others = letters("hello")
    assert doc.apply(others[::-1]) == {}
    assert (doc.taken, doc.generation, doc.waiting) == ([], 0, 4)
    assert doc.state_vector() == EMPTY_STATE_VECTOR
    assert doc.apply([first]) == {}
    assert doc.taken == [first, *others]
    assert doc.waiting == 0
    assert reading(whole(doc)) == "hello"


def test_what_waits_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = Document()
    word = "x" * (MAX_HELD + 11)
    first, *others = letters(word)
    doc.apply(others)
    assert doc.waiting == MAX_HELD
    monkeypatch.setattr(ywaiting, "MAX_HELD_BYTES", 100)
    doc.apply([others[-1]])
    assert 0 < doc.waiting < 10
    doc.apply([first])
    assert parse_state_vector(doc.state_vector()) == {1: 1}


def test_whoever_passes_on_what_was_taken_has_the_same_document() -> None:
    """Updates of two clients come in any order, some twice, in passes of any size."""
    rng = random.Random(1)
    updates = [*every_content()[:-3], *letters("hello", 77), *letters("wörld", 78)] * 2
    rng.shuffle(updates)
    doc, replica = Document(), Document()
    while updates:
        doc.apply([updates.pop() for _ in range(min(len(updates), rng.randrange(1, 5)))])
        if doc.taken:
            assert replica.apply([merge(doc.taken)]) == {}
            assert replica.waiting == 0
    assert doc.waiting == 0
    assert parse_state_vector(replica.state_vector()) == parse_state_vector(doc.state_vector())
    assert reading(whole(replica)) == reading(whole(doc))


@pytest.mark.parametrize("name", [name for name in OF_YJS if "full" in name])
def test_a_document_of_yjs_is_the_same_after_it_was_stored_and_loaded(name: str) -> None:
    doc = Document()
    assert doc.apply([OF_YJS[name]]) == {}
    assert doc.waiting == 0
    loaded = Document(whole(doc))
    assert parse_state_vector(loaded.state_vector()) == parse_state_vector(doc.state_vector())
    assert reading(whole(loaded)) == reading(whole(doc)) != ""


def test_an_update_with_gaps_waits_for_what_is_in_them() -> None:
    names = list(OF_YJS)
    doc = Document()
    doc.apply([OF_YJS[names[1]]])
    assert (doc.taken, doc.waiting) == ([], 1)
    doc.apply([OF_YJS[names[0]]])
    assert doc.waiting == 0


def test_what_a_client_says_again_is_passed_on_as_it_was_said_first() -> None:
    doc = Document(text("abc"))
    doc.apply([update((1, 0, [top(TEXT, b"\x05vwxyz")]), erased={1: [(0, 1)]})])
    (taken,) = doc.taken
    assert [section[:3] for section in parse_update(taken).sections] == [(1, 3, 5)]
    assert parse_update(taken).deletions == [(1, 0, 1)]
    assert reading(whole(doc)) == "bcyz"
    assert reading(merge([text("abc"), taken])) == "bcyz"
    doc.apply([text("ab")])
    assert doc.taken == []


def test_what_was_integrated_of_an_update_that_is_refused_is_passed_on() -> None:
    """yrs finds out on the way that a text cannot be a parent."""
    doc, replica = Document(text("abc")), Document(text("abc"))
    half = update((5, 0, [top(EMBED, b"\x011"), child(EMBED, clock(1, 0), b"\x011"), gc(1)]))
    assert list(doc.apply([half, *letters("de", 6)])) == [0]
    assert parse_state_vector(doc.state_vector()) == {1: 3, 5: 1, 6: 2}
    assert replica.apply([merge(doc.taken)]) == {}
    assert parse_state_vector(replica.state_vector()) == parse_state_vector(doc.state_vector())
    assert list(doc.apply([update((5, 1, [child(EMBED, clock(1, 0), b"\x011")]))])) == [0]
    assert doc.apply([update((5, 1, [top(EMBED, b"\x011")]))]) == {}


class PanicException(BaseException):
    """Stands for the class of that name, which yrs raises through and nobody can import."""


class Panicking:
    """A document of pycrdt that panics on one client's updates, in the middle or at the end."""

    def __init__(self, doc: Any, client: int, *, at_commit: bool) -> None:
        self.doc = doc
        self.client = client
        self.at_commit = at_commit

    def apply_update(self, transaction: Any, update: bytes) -> None:
        self.doc.apply_update(transaction.inner, update)
        if {section.client for section in parse_update(update).sections} & {self.client}:
            if not self.at_commit:
                raise PanicException("called `Option::unwrap()` on a `None` value")
            transaction.panics = True

    def create_transaction(self) -> Any:
        return PanickingTransaction(self.doc.create_transaction())

    def get_state(self, transaction: Any) -> Any:
        return self.doc.get_state(transaction.inner)

    def get_update(self, transaction: Any, state_vector: bytes) -> Any:
        return self.doc.get_update(transaction.inner, state_vector)


class PanickingTransaction:
    """A transaction of such a document."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.panics = False

    def commit(self) -> None:
        if self.panics:
            raise PanicException("attempt to divide by zero")
        self.inner.commit()

    def drop(self) -> None:
        self.inner.drop()


def test_a_panic_of_yrs_is_an_update_refused() -> None:
    """No real one is known to get past the checks. What had taken effect by then stays, and is passed on."""
    doc, replica = Document(text("abc")), Document(text("abc"))
    first, second = letters("de", 6)
    bad = text("x", 9)
    doc._doc = Panicking(doc._doc, 9, at_commit=False)  # type: ignore[assignment]
    assert list(doc.apply([first, bad, second])) == [1]
    assert replica.apply([merge(doc.taken)]) == {}
    for each in (doc, replica):
        assert parse_state_vector(each.state_vector()) == {1: 3, 6: 2, 9: 1}
        assert each.apply([update((1, 3, [after(TEXT, clock(1, 2), b"\x01f")]))]) == {}
        assert sorted(reading(whole(each))) == list("abcdefx")


def test_what_yrs_is_given_later_is_in_all_that_is_read() -> None:
    many = "defghijklmnop" * 3
    assert len(many) > PUT_OFF
    erasure = update(erased={1: [(4, 1)]})
    steps = [*letters(many, first=3), erasure, *letters("qr", first=3 + len(many))]
    readers: list[Callable[[Document], object]] = [
        Document.state_vector,
        whole,
        lambda doc: doc.diff(encode_state_vector({1: 4})),
        lambda doc: (doc.apply([update((2, 0, [after(TEXT, clock(1, 3), b"\x01x"), gc(1)]))]), doc.taken, whole(doc)),
    ]
    for read in readers:
        for count in range(1, len(steps) + 1):
            doc, direct = Document(text("abc")), Document(text("abc"))
            for generation, step in enumerate(steps[:count], 1):
                assert doc.apply_next(step) or doc.apply([step]) == {}
                assert direct.apply([step]) == {}
                assert doc.generation == generation
            assert read(doc) == read(direct)


def test_yrs_is_given_several_at_once_and_not_many_late() -> None:
    doc = Document(text("abc"))
    given: list[int] = []

    class Counting:
        """A document of pycrdt that notes how many updates it is given at once."""

        def __init__(self, doc: Any) -> None:
            self.doc = doc

        def create_transaction(self) -> Any:
            given.append(0)
            return self.doc.create_transaction()

        def apply_update(self, transaction: Any, update: bytes) -> None:
            given[-1] += 1
            self.doc.apply_update(transaction, update)

    doc._doc = Counting(doc._doc)  # type: ignore[assignment]
    for step in letters("x" * (2 * PUT_OFF + 1), first=3):
        assert doc.apply_next(step)
    assert given == [PUT_OFF, PUT_OFF]


@pytest.mark.parametrize("at_commit", [False, True])
def test_a_panic_of_yrs_at_what_took_effect_before_leaves_nothing_untold(at_commit: bool) -> None:
    doc, replica = Document(text("abc")), Document(text("abc"))
    doc._doc = Panicking(doc._doc, 1, at_commit=at_commit)  # type: ignore[assignment]
    bad = update((1, 3, [after(TEXT, clock(1, 2), b"\x01d")]))
    assert doc.apply_next(bad)
    assert parse_state_vector(doc.state_vector()) == {1: 4}
    assert not isinstance(doc._doc, Panicking) and not doc.lacking
    assert replica.apply([bad]) == {}
    for each in (doc, replica):
        assert each.apply_next(update((1, 4, [after(TEXT, clock(1, 3), b"\x01e")])))
        assert reading(whole(each)) == "abcde"


class Refusing:
    """A document of pycrdt that does not take one client's updates."""

    def __init__(self, doc: Any, client: int) -> None:
        self.create_transaction, self.get_state, self.get_update = doc.create_transaction, doc.get_state, doc.get_update
        self.take = doc.apply_update
        self.client = client

    def apply_update(self, transaction: Any, update: bytes) -> None:
        if self.client in {section.client for section in parse_update(update).sections}:
            raise ValueError("made up")
        self.take(transaction, update)


def test_of_what_took_effect_only_that_is_lacking_which_yrs_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.document.load", lambda content: Refusing(load(content), 9))
    doc = Document(text("abc"))
    bad, upon = (update((9, n, [after(TEXT, place, b"\x01x")])) for n, place in enumerate((clock(1, 2), clock(9, 0))))
    for step in (*letters("de", first=3), bad, upon, update((2, 0, [after(TEXT, clock(1, 2), b"\x01f")]))):
        assert doc.apply_next(step)
    assert not doc.lacking
    assert parse_state_vector(doc.state_vector()) == {1: 5, 2: 1}
    assert (doc.lacking, doc.waiting) == (True, 1)
    monkeypatch.undo()
    doc._doc = load(whole(doc))
    assert doc.apply([bad]) == {}
    assert parse_state_vector(doc.state_vector()) == {1: 5, 2: 1, 9: 2}


def out_of_memory(*_: object) -> bytes:
    raise MemoryError


def test_an_update_that_memory_does_not_suffice_for_has_not_taken_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = Document(text("abc"))
    *some, one = letters("x" * (PUT_OFF + 1), first=3)
    monkeypatch.setattr("collab.document.apply", out_of_memory)
    for step in some:
        assert doc.apply_next(step)
    with pytest.raises(MemoryError):
        doc.apply_next(one)
    assert doc.generation == PUT_OFF
    monkeypatch.undo()
    assert doc.apply([one]) == {} and doc.taken == [one]
    assert parse_state_vector(doc.state_vector()) == {1: 3 + PUT_OFF + 1}


def test_what_is_put_off_is_not_forgotten_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = Document(text("abc"))
    assert doc.apply_next(update((1, 3, [after(TEXT, clock(1, 2), b"\x01d")])))
    monkeypatch.setattr("collab.document.apply", out_of_memory)
    with pytest.raises(MemoryError):
        doc.state_vector()
    monkeypatch.undo()
    assert reading(whole(doc)) == "abcd"


def test_a_panic_of_yrs_while_it_commits_leaves_a_document_that_can_be_loaded() -> None:
    doc = Document(text("abc"))
    bad = text("x", 9)
    doc._doc = Panicking(doc._doc, 9, at_commit=True)  # type: ignore[assignment]
    assert doc.apply([bad, *letters("de", 6)]) == {}
    assert not isinstance(doc._doc, Panicking)
    assert sorted(reading(whole(doc))) == list("abcdex")
    assert doc.apply([update((1, 3, [after(TEXT, clock(1, 2), b"\x01f")]))]) == {}


def test_what_is_no_fault_of_yrs_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    doc = Document(text("abc"))
    monkeypatch.setattr(Ledger, "admit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        doc.apply([text("x", 2)])
    monkeypatch.undo()
    assert doc.apply([text("x", 2)]) == {}


FATAL = {
    "beside a gap": [update((3, 3, [gc(1)]), (2, 1, [gc(1)])), update((2, 0, [after(TEXT, clock(3, 2), b"\x02bc")]))],
    "over what is behind a gap": [
        update((1, 2, [gc(1)])),
        update((1, 0, [b"\xa4" + clock(1, 2) + var_string("héx")])),
    ],
    "after what is behind a gap": [
        update((1, 5, [gc(1), gc(2)])),
        update((1, 0, [after(TEXT, clock(1, 7), b"\x06longer")])),
    ],
    "between the parts of an entry": [
        update((3, 0, [gc(20)]), (2, 0, [gc(2), top(TYPE, b"\x0f"), gc(14)])),
        update((3, 20, [top(9, b"\x01hv\x01\x02gcx", name="m"), gc(2)])),
        update((2, 17, [gc(6), child(TEXT, clock(2, 2), b"\x06x\xf0\x9f\x98\x80y", key="j")])),
        update((3, 23, [b"\xc7" + clock(3, 13) + clock(2, 26) + b"\x04"])),
        update(erased={2: [(0, 6), (8, 6)]}),
    ],
}
"""Each ended the process, or left yrs with memory that it had freed."""


@pytest.mark.parametrize("name", FATAL)
def test_no_sequence_of_updates_ends_the_process(name: str) -> None:
    doc = Document()
    for data in FATAL[name]:
        refused = doc.apply([data])
    assert refused or doc.waiting
    assert parse_state_vector(Document(whole(doc)).state_vector()) == parse_state_vector(doc.state_vector())


def test_a_character_stays_whole_and_its_author_can_go_on() -> None:
    doc = Document(text("a😀b"))
    assert list(doc.apply([update(erased={1: [(2, 1)]})])) == [0]
    assert doc.apply([update((1, 4, [after(TEXT, clock(1, 3), b"\x02cd")]))]) == {}
    assert parse_state_vector(Document(whole(doc)).state_vector()) == {1: 6}
    assert reading(whole(doc)) == "a😀bcd"


@pytest.mark.parametrize("size", [1, 1000])
def test_types_cannot_be_nested_so_deep_that_deleting_them_overflows_the_stack(size: int) -> None:
    doc = Document()
    structs = [top(TYPE, b"\x00")] + [child(TYPE, clock(1, n), b"\x00") for n in range(11_000)]
    refused = {}
    for start in range(0, len(structs), size):
        refused = doc.apply([update((1, start, structs[start : start + size]))])
        if refused:
            break
    assert str(refused[0]) == "shared types nested too deep"
    assert doc.apply([update(erased={1: [(0, 1)]})]) == {}
    assert reading(whole(doc)) == ""


def test_types_side_by_side_are_not_taken_for_nested_ones() -> None:
    doc = Document()
    pairs = 6000
    structs = [top(TYPE, b"\x00"), child(TYPE, clock(1, 0), b"\x00")]
    for n in range(1, pairs):
        structs += [after(TYPE, clock(1, 2 * n - 2), b"\x00"), child(TYPE, clock(1, 2 * n), b"\x00")]
    structs += [child(ANY, clock(1, 2 * n + 1), b"\x01\x78") for n in range(pairs)]
    for start in range(0, len(structs), 1000):
        assert doc.apply([update((1, start, structs[start : start + 1000]))]) == {}
    assert len(structs) > MAX_NESTING
    assert parse_state_vector(doc.state_vector()) == {1: len(structs)}


def test_clients_that_collide_a_few_at_a_time_do_not_make_a_document_unreadable() -> None:
    doc = Document()
    for part in range(2):
        clients = [(part * 1000 + number + 1) << 20 for number in range(1000)]
        assert doc.apply([update(*((client, 0, [top(TEXT, b"\x01x")]) for client in clients))]) == {}
    content = doc.diff(EMPTY_STATE_VECTOR)
    assert doc.diff(doc.state_vector(), ours=True) == EMPTY_UPDATE
    again = Document(content)
    assert parse_state_vector(again.state_vector(), ours=True) == parse_state_vector(doc.state_vector(), ours=True)
    assert again.apply([text("y", 7)]) == {}
