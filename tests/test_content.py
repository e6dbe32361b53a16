"""Documents as JSON and as text: compared with what pycrdt reads, and with what Yjs wrote."""

from __future__ import annotations

import json
from random import Random
from time import thread_time
from typing import Any

import pycrdt
import pytest
from histories import History
from yupdates import ANY, EMBED, OF_YJS, TEXT, TYPE, after, child, clock, deletions, top, update

from collab.content import MAX_LEVELS, to_json, to_text
from collab.errors import InvalidUpdate
from collab.history import revert
from collab.protocol.lib0 import var_string, var_uint
from collab.protocol.yorder import MAX_STEPS
from collab.protocol.yupdate import EMPTY_UPDATE
from collab.protocol.yvalues import as_json, read_value


def document(**roots: Any) -> bytes:
    """A document with these roots."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    for name, root in roots.items():
        doc[name] = root
    return doc.get_update()


def paragraphs(*texts: str) -> pycrdt.XmlFragment:
    """What Tiptap makes of lines."""
    return pycrdt.XmlFragment([pycrdt.XmlElement("paragraph", {}, [pycrdt.XmlText(text)]) for text in texts])


def nested(levels: int) -> bytes:
    """Arrays in arrays, the outermost the first."""
    inner = [child(TYPE, clock(1, at), b"\x00") for at in range(levels - 1)]
    return update((1, 0, [top(TYPE, b"\x00"), *inner]))


def joined(delta: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """A delta without the seams that formats leave where they change nothing."""
    out: list[tuple[Any, Any]] = []
    for value, formats in delta:
        if out and isinstance(value, str) and isinstance(out[-1][0], str) and out[-1][1] == (formats or None):
            value = out.pop()[0] + value
        out.append((value, formats or None))
    return out


def test_roots_are_told_apart_by_what_is_in_them() -> None:
    content = document(
        t=pycrdt.Text("héllo 😀"),
        m=pycrdt.Map({"n": 1, "in": pycrdt.Map({"t": pycrdt.Text("x")})}),
        a=pycrdt.Array([1, "s", pycrdt.Array([True])]),
        x=paragraphs("one", "two < 2"),
    )
    assert to_json(content) == {
        "a": [1, "s", [True]],
        "m": {"n": 1, "in": {"t": "x"}},
        "t": "héllo 😀",
        "x": "<paragraph>one</paragraph><paragraph>two &lt; 2</paragraph>",
    }
    assert list(to_json(content)) == ["a", "m", "t", "x"]
    assert to_text(content) == "s\nx\nhéllo 😀\none\ntwo < 2"


@pytest.mark.parametrize(
    ("root", "empty"),
    [
        (pycrdt.Map({"k": 1}), {}),
        (pycrdt.Text("gone"), ""),
    ],
)
def test_a_root_that_was_emptied(root: Any, empty: object) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["r"] = root
    root.clear()
    assert to_json(doc.get_update()) == {"r": empty}
    assert to_text(doc.get_update()) == ""


def test_a_text_with_formats_or_embeds_is_a_delta() -> None:
    text = pycrdt.Text("a😀b")
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["t"] = text
    text.format(1, 5, {"bold": True})
    text.insert_embed(6, {"img": "x"})
    assert to_json(doc.get_update())["t"] == [
        {"insert": "a"},
        {"insert": "😀", "attributes": {"bold": True}},
        {"insert": "b"},
        {"insert": {"img": "x"}},
    ]
    assert to_text(doc.get_update()) == "a😀b"
    text.format(1, 5, {"bold": None})
    del text[6:7]
    assert to_json(doc.get_update())["t"] == "a😀b"


def test_values_that_json_does_not_know() -> None:
    raw = [
        b"\x7f", b"\x7e", b"\x74\x02\x01\x02", b"\x7a" + (5).to_bytes(8, "big"), b"\x7a\x7f" + b"\xff" * 7,
        b"\x7b\x7f\xf0" + bytes(6), b"\x7b\x7f\xf8" + bytes(6), b"\x7c\x40\x00\x00\x00", b"\x7d\x41",
        b"\x76\x01\x01k\x75\x01\x7f",
    ]  # fmt: skip
    content = update((1, 0, [top(ANY, var_uint(len(raw)) + b"".join(raw))]))
    # yrs has rounded the bigint by then.
    expected = [None, None, "AQI=", 5, float(2**63), None, None, 2, -1, {"k": [None]}]
    assert to_json(content) == {"t": expected}
    assert json.loads(json.dumps(to_json(content), allow_nan=False)) == {"t": expected}


def test_integers_that_javascript_would_round_are_digits() -> None:
    value, end = read_value(b"\x7a\x7f" + b"\xff" * 7, 0)
    assert (as_json([value, 2**53 - 1]), end) == ([str(2**63 - 1), 2**53 - 1], 9)


def test_a_root_with_both_a_list_and_entries() -> None:
    both = update((1, 0, [top(ANY, b"\x01\x7d\x01"), top(ANY, b"\x01\x77\x01v", key="k")]))
    assert to_json(both) == {"t": {"attrs": {"k": "v"}, "children": [1]}}
    assert to_text(both) == "v"


def test_xml_is_well_formed_and_blocks_are_lines() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    fragment = doc.get("x", type=pycrdt.XmlFragment)
    line = pycrdt.XmlElement("p", {"a": '<"'}, [pycrdt.XmlText("one "), pycrdt.XmlElement("hardBreak")])
    fragment.children.append(line)
    line.children.append(pycrdt.XmlElement("mention", {"id": "5"}, [pycrdt.XmlText("@you")]))
    last = line.children.append(pycrdt.XmlText("!"))
    last.insert(1, "bold", {"b": True, "link": {"href": "&"}})
    fragment.children.append(pycrdt.XmlElement("p"))
    items = [pycrdt.XmlElement("li", {}, [pycrdt.XmlElement("p", {}, [pycrdt.XmlText(t)])]) for t in "xy"]
    fragment.children.append(pycrdt.XmlElement("ul", {}, items))
    assert to_json(doc.get_update())["x"] == (
        '<p a=\'&lt;"\'>one <hardBreak></hardBreak><mention id="5">@you</mention>!'
        '<b><link href="&amp;">bold</link></b></p><p></p><ul><li><p>x</p></li><li><p>y</p></li></ul>'
    )
    assert to_text(doc.get_update()) == "one \n@you!bold\n\nx\ny"


def test_hostile_names_do_not_become_markup() -> None:
    element = top(TYPE, b"\x03" + var_string("p><script"))
    content = update((1, 0, [element, child(ANY, clock(1, 0), b"\x01\x7d\x05", "a b")]))
    assert to_json(content) == {"t": '<p__script a_b="5"></p__script>'}


def test_attributes_need_not_be_text() -> None:
    content = update((1, 0, [top(TYPE, b"\x03" + var_string("h")), child(ANY, clock(1, 0), b"\x01\x7d\x02", "level")]))
    assert to_json(content) == {"t": '<h level="2"></h>'}


@pytest.mark.parametrize("name", OF_YJS)
def test_what_yjs_wrote_is_read(name: str) -> None:
    assert set(to_json(OF_YJS[name])) <= {"a", "m", "t", "x"}
    assert isinstance(to_text(OF_YJS[name]), str)


@pytest.mark.parametrize("seed", range(40))
def test_the_order_is_that_of_pycrdt(seed: int) -> None:
    history = History(Random(seed))
    history.edit(60)
    found = to_json(history.version())
    doc = history.docs[0]
    for name in {"t", "u"} & set(found):
        delta = found[name] if isinstance(found[name], list) else [{"insert": found[name]}] * bool(found[name])
        expected = joined(doc.get(name, type=pycrdt.Text).diff())
        assert joined([(part["insert"], part.get("attributes")) for part in delta]) == expected
    if found.get("a"):
        shared = (pycrdt.Text, pycrdt.Map, pycrdt.Array)
        there = list(doc.get("a", type=pycrdt.Array))
        assert len(there) == len(found["a"])
        for value, said in zip(there, found["a"], strict=True):
            assert isinstance(value, (*shared, bytes, bytearray)) or value == said
    entries = doc.get("m", type=pycrdt.Map)
    assert sorted(entries) == sorted(found.get("m", {}))


@pytest.mark.parametrize("levels", [MAX_LEVELS - 1, 1000, 20_000])
def test_deep_nesting_is_read_or_refused(levels: int) -> None:
    if levels < MAX_LEVELS:
        assert json.dumps(to_json(nested(levels))).count("[") == levels + 1
        assert to_text(nested(levels)) == ""
        return
    for read in (to_json, to_text):
        with pytest.raises(InvalidUpdate):
            read(nested(levels))


@pytest.mark.parametrize("bad", [b"", b"\x01", b"\xff" * 20, OF_YJS["Yjs 13.6.33, full"][:-3]])
def test_what_cannot_be_read_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidUpdate):
        to_json(bad)


def test_the_empty_document() -> None:
    assert to_json(b"\x00\x00") == {}
    assert to_text(b"\x00\x00") == ""


def test_what_builds_on_what_is_missing_is_left_out() -> None:
    there = update((1, 0, [top(TEXT, var_string("ab"))]), (2, 0, [after(TEXT, clock(3, 5), var_string("x"))]))
    assert to_json(there) == {"t": "ab"}


def test_deleted_ranges_are_left_out() -> None:
    content = update((1, 0, [top(TEXT, var_string("a😀b😀c"))]), erased={1: [(1, 3)]})
    assert to_json(content) == {"t": "a😀c"}
    assert deletions({}) == b"\x00"


def test_an_embed_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidUpdate):
        to_json(update((1, 0, [top(EMBED, var_string("{"))])))


def test_who_makes_its_reader_compare_everything_is_refused() -> None:
    count = int((2 * MAX_STEPS) ** 0.5) + 10
    # Each waits for the one before it, so that no order spares the comparisons.
    first = (1, 0, [top(TEXT, b"\x01x"), top(TEXT, b"\x01x")])
    rivals = [(who, 0, [after(TEXT, clock(who - 1, 1), b"\x01x"), top(TEXT, b"\x01x")]) for who in range(2, count)]
    with pytest.raises(InvalidUpdate, match="same place"):
        to_json(update(first, *rivals))


def test_a_large_document_takes_less_than_a_second() -> None:
    random = Random(1)
    structs = [top(TEXT, var_string("abcdefghij"))]
    for at in range(1, 50_000):
        structs.append(after(TEXT, clock(1, 10 * random.randrange(at) + 4), var_string("abcdefghij")))
    content = update((1, 0, structs))
    assert len(content) > 790_000
    start = thread_time()
    assert len(to_json(content)["t"]) == 500_000
    assert thread_time() - start < 3  # of the processor, of which it takes 0.6 s


def formatted(size: int, parts: int) -> bytes:
    """A text under one format of so many characters, in which so many parts have another one as well."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    text = doc["t"] = pycrdt.Text("ab" * parts)
    for at in range(parts):
        text.format(2 * at, 2 * at + 1, {"bold": True})
    text.format(0, 2 * parts, {"link": "x" * size})
    return doc.get_update()


def test_formats_that_come_to_far_more_than_their_text_are_refused() -> None:
    delta = to_json(formatted(200, 1000))["t"]
    assert len(delta) == 2000, "as people's texts have them they are shown"
    hostile = formatted(100_000, 1000)
    for read in (to_json, lambda content: revert(EMPTY_UPDATE, content)):
        with pytest.raises(InvalidUpdate, match="formats"):
            read(hostile)
    assert to_text(hostile) == "ab" * 1000
