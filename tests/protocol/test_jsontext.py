"""JSON from the network: what passes, what does not, and what cannot confuse the depth scan."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated

from collab.errors import InvalidMessage
from collab.protocol.jsontext import MAX_DEPTH, MAX_TEXT, dump_json, parse_json

DEEP = "[" * 100
"""More brackets than may be nested: harmless inside a string, and enough for the depth scan to be made."""

FLAT = "[" + "[]," * 100
"""The beginning of a list with so many lists that the depth scan is made."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        (' {"a": [1, -2.5, "x"]}\n', {"a": [1, -2.5, "x"]}),
        ('"\\ud800"', "\ud800"),
        ('"漢\\n"', "漢\n"),
        (FLAT + "0]", [*([[]] * 100), 0]),
    ],
)
def test_json_is_read(text: str, value: Any) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[1,]",
        "{'a': 1}",
        '{"a" 1}',
        "undefined",
        "NaN",
        "Infinity",
        "-Infinity",
        '{"a": [NaN]}',
        "1 2",
        "01",
        ".5",
        '"\t"',
        '"\\x41"',
        '"open',
        "\ufeff1",
        "1" * 5000,
    ],
)
def test_what_json_parse_would_not_take_or_python_could_not_is_refused(text: str) -> None:
    assert_refused("invalid_message", lambda: parse_json(text))


@pytest.mark.parametrize(
    ("before", "behind"),
    [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]"), ('{"\\"":[', "]}")],
    ids=["lists", "objects", "a bracket in each key", "a quote in each key"],
)
def test_the_depth_limit_is_exact(before: str, behind: str) -> None:
    levels = MAX_DEPTH // (before.count("[") + before.count("{"))
    deepest = before * levels + "0" + behind * levels
    assert parse_json(deepest) == json.loads(deepest)
    assert_refused("invalid_message", lambda: parse_json(f"[{deepest}]"))


@pytest.mark.parametrize(
    "string",
    [DEEP, f"\\{DEEP}", f'"{DEEP}', f'\\"{DEEP}', f"{DEEP}\\\\", f'"]"{DEEP}"', "\n" + DEEP],
)
def test_brackets_in_a_string_are_no_nesting(string: str) -> None:
    text = json.dumps({string: string})
    assert parse_json(text) == {string: string}


@pytest.mark.parametrize("string", ["", "\\", '"', '\\"', "\\\\", "]" * 100, '"]"' * 100, "\\]"])
def test_brackets_behind_a_string_are_nesting(string: str) -> None:
    """A string that the scan took to go on would hide them."""
    nested = DEEP + json.dumps(string) + "]" * 100
    assert_refused("invalid_message", lambda: parse_json(f"[{json.dumps(string)},{nested}]"))


@pytest.mark.parametrize(
    "text",
    [
        '["' + '\\"' * 500_000,
        FLAT + '"' + '\\"' * 500_000,
        FLAT + '"' + "\\" * 1_000_000,
        FLAT + '"' + "\\" * 1_000_001,
        FLAT + '"' * 1_000_001,
        FLAT + '"' + "[" * 1_000_000,
        FLAT + '"\\' * 500_000,
        "[" * 1_000_000,
        '{"":' * 250_000,
        "[" + "]" * 1_000_000,
    ],
    ids=lambda text: f"{text[:4]}...{text[-4:]}",
)
def test_a_hostile_megabyte_is_refused(text: str) -> None:
    """Were the scan not linear, this would not end."""
    assert_refused("invalid_message", lambda: parse_json(text))


def test_a_text_over_the_limit_is_too_large() -> None:
    longest = '"' + "x" * (MAX_TEXT - 2) + '"'
    assert len(parse_json(longest)) == MAX_TEXT - 2
    assert_refused("too_large", lambda: parse_json(longest + " "))


@pytest.mark.parametrize("secret", ['["hunter2"', "[" * 70 + '"hunter2"', '{"a": hunter2}'])
def test_a_refusal_says_nothing_of_what_the_peer_sent(secret: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_json(secret)
    assert "hunter2" not in str(caught.value)


@generated
@given(st.text() | st.text(alphabet='[]{}",:\\/ 0en"', max_size=200))
def test_arbitrary_text_is_read_as_python_reads_it_or_refused(text: str) -> None:
    try:
        value = parse_json(text)
    except InvalidMessage:
        return
    assert json.dumps(value) == json.dumps(json.loads(text))


@generated
@given(st.text(alphabet='[]{}"\\ab'), st.integers(0, 2 * MAX_DEPTH), st.booleans())
def test_whatever_the_strings_hold_only_depth_decides(string: str, depth: int, escaped: bool) -> None:
    value: Any = string
    for level in range(depth):
        value = {string: value} if level % 2 else [string, value]
    text = json.dumps(value, ensure_ascii=escaped)
    if depth <= MAX_DEPTH:
        assert parse_json(text) == value
    else:
        assert_refused("invalid_message", lambda: parse_json(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [({"a": [1, None]}, '{"a":[1,null]}'), ("é\ud800", '"\\u00e9\\ud800"'), ("</\x7f\x00", '"</\\u007f\\u0000"')],
)
def test_json_is_written_without_spaces_and_in_ascii(value: Any, text: str) -> None:
    assert dump_json(value) == text
