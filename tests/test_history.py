"""Going back to a version: the document becomes what it was, whatever happened since."""

from __future__ import annotations

from random import Random
from typing import Any

import pycrdt
import pytest
from histories import History
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import generated
from yupdates import ANY, OF_YJS, TEXT, TYPE, child, clock, top, update

from collab.content import to_json
from collab.document import Document
from collab.errors import InvalidUpdate
from collab.history import revert
from collab.protocol.lib0 import var_string
from collab.protocol.yupdate import EMPTY_UPDATE, parse_update


def shown(content: bytes) -> dict[str, Any]:
    """A document's roots without those that are empty."""
    return {name: root for name, root in to_json(content).items() if root not in ("", [], {})}


def reverted(content: bytes, version: bytes) -> bytes:
    """The document after the update of `revert`, which has to be taken as every other."""
    update = revert(content, version)
    document = Document(content)
    assert not document.apply([update])
    assert not document.early
    assert bool(document.taken) == (update != EMPTY_UPDATE)
    after = document.diff(b"\x00")
    assert shown(after) == shown(version)
    assert revert(after, version) == EMPTY_UPDATE
    return after


@settings(generated, max_examples=60)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_every_version_of_a_history_can_be_come_back_to(seed: int, rounds: list[int]) -> None:
    history = History(Random(seed))
    versions = [history.version()]
    for count in rounds:
        history.edit(count)
        versions.append(history.version())
    content = versions[-1]
    for version in versions:
        reverted(content, version)
    back = reverted(content, versions[0])
    assert shown(reverted(back, content)) == shown(content)


def test_who_is_at_work_keeps_what_it_writes() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc["t"] = pycrdt.Text("one two three")
    version = doc.get_update()
    del text[4:8]
    text += "!"
    content = doc.get_update()
    text.insert(4, "<mine>")
    doc.apply_update(revert(content, version))
    assert sorted(str(text)) == sorted("one two three<mine>")
    assert str(text).replace("<mine>", "") == "one two three"


def test_only_what_differs_is_written() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc["t"] = pycrdt.Text("x" * 1000)
    for _ in range(20):
        text.insert(500, "y")
    version = doc.get_update()
    del text[490:530]
    text += "more"
    update = revert(doc.get_update(), version)
    assert len(update) < 100
    (section,) = parse_update(update).sections
    assert len(section.structs) == 1
    assert section.client < 2**32


def test_values_that_only_javascript_tells_apart() -> None:
    for old, new in ((b"\x78", b"\x7d\x01"), (b"\x7f", b"\x7e"), (b"\x74\x00", b"\x77\x00")):
        before = update((1, 0, [top(ANY, b"\x01" + old, key="k")]))
        document = Document(before)
        document.apply([update((2, 0, [b"\xa8" + clock(1, 0) + b"\x01" + new]))])
        after = document.diff(b"\x00")
        assert revert(after, before) != EMPTY_UPDATE
        document.apply([revert(after, before)])
        assert revert(document.diff(b"\x00"), before) == EMPTY_UPDATE


def test_attributes_that_are_numbers_stay_numbers() -> None:
    before = update((1, 0, [top(TYPE, b"\x03\x01h"), child(ANY, clock(1, 0), b"\x01\x7d\x02", "level")]))
    document = Document(before)
    document.apply([b"\x00\x01\x01\x01\x00\x01"])
    after = document.diff(b"\x00")
    assert shown(after) == {}
    assert b"\x05level\x01\x7d\x02" in revert(after, before)
    reverted(after, before)


def test_types_nested_as_deep_as_may_be() -> None:
    chain = [child(TYPE, clock(1, at), b"\x00") for at in range(900)]
    before = update((1, 0, [top(TYPE, b"\x00"), *chain, child(TEXT, clock(1, 900), var_string("end"))]))
    document = Document(before)
    document.apply([b"\x00\x01\x01\x01\x00\x01"])
    after = document.diff(b"\x00")
    assert not document.apply([revert(after, before)])
    assert revert(document.diff(b"\x00"), before) == EMPTY_UPDATE


def test_a_root_that_was_not_there_is_emptied() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["t"] = pycrdt.Text("kept")
    version = doc.get_update()
    doc["new"] = pycrdt.Map({"k": pycrdt.Array([1])})
    assert shown(reverted(doc.get_update(), version)) == {"t": "kept"}


def test_back_to_nothing_and_from_nothing() -> None:
    for full in (content for name, content in OF_YJS.items() if "full" in name):
        reverted(full, EMPTY_UPDATE)
        reverted(EMPTY_UPDATE, full)


def test_a_document_that_is_another_is_copied() -> None:
    reverted(update((1, 0, [top(TEXT, var_string("abc"))])), update((1, 0, [top(TEXT, var_string("wxyz"))])))


@pytest.mark.parametrize("bad", [b"", b"\x01", b"\xff" * 20])
def test_what_cannot_be_read_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidUpdate):
        revert(EMPTY_UPDATE, bad)
    with pytest.raises(InvalidUpdate):
        revert(bad, EMPTY_UPDATE)
