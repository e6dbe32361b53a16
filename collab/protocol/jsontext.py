"""JSON from the network, bounded before it is read and strict where Python is not.

Bound here: what passes is JSON that every browser's `JSON.parse` takes, so that it can be handed on to the others as
it came: no `NaN`, no nesting over `MAX_DEPTH`. Nothing but `InvalidMessage` and `TooLarge` escapes.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from collab.errors import InvalidMessage, TooLarge

MAX_DEPTH: Final = 64
"""Far more than any message or state needs, and far less than what a recursive reader anywhere gives way to."""

MAX_TEXT: Final = 1024 * 1024
"""Characters of JSON in one message: reading it holds the loop for about 10 ms."""

# A string ends at its quote or, when it is never closed, with the text: so no part of the text is looked at twice.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def parse_json(text: str) -> Any:
    """Read one JSON value.

    Raises:
        InvalidMessage: it is not JSON, nested deeper than `MAX_DEPTH`, or with a number out of a float's range.
        TooLarge: it is longer than `MAX_TEXT`.
    """
    if len(text) > MAX_TEXT:
        raise TooLarge(f"JSON text of more than {MAX_TEXT} characters")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except ValueError:
        raise InvalidMessage("not valid JSON") from None


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKENS.findall(text):
        if token in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidMessage(f"JSON nested deeper than {MAX_DEPTH}")
        elif token in "]}":
            depth -= 1


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    """A number too large for a float would be written as `Infinity` when it is passed on."""
    number = float(text)
    if number - number:
        raise ValueError(text)
    return number


def dump_json(value: Any) -> str:
    """JSON in ASCII without spaces: lone surrogates, which UTF-8 cannot carry, stay escaped."""
    return json.dumps(value, separators=(",", ":"))
