"""Values in the structs of a checked update, read into Python's: lib0's `any`, and the JSON of embeds and formats.

Invariants borne here:

* What JavaScript tells apart stays apart (`UNDEFINED` and None), and what it does not is made one: 3.0 is read as 3,
  and every NaN is the same object, so that equal values compare equal. A bigint is a number like others, as it is in
  what yrs writes of it: beyond 2**53 it is rounded there.
* Recursion goes as deep as `ycontent.MAX_DEPTH`, which whoever checked the update has seen to.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from functools import lru_cache
from struct import unpack_from
from typing import Any, Final

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_bytes, read_var_string, read_var_uint

MAX_SAFE: Final = 2**53 - 1
"""The largest integer up to which JavaScript, and so most who read JSON, tell all of them apart."""


class Undefined:
    """The type of `UNDEFINED`, JavaScript's value of that name."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = Undefined()


_CONSTANTS: Final[dict[int, Any]] = {0x7F: UNDEFINED, 0x7E: None, 0x79: False, 0x78: True}


def read_value(data: bytes, at: int) -> tuple[Any, int]:
    """Read one value of lib0's `any`: ``(value, next position)``; bytes, lists, dicts and the above included."""
    tag = data[at]
    at += 1
    if tag == 0x7D:
        return _read_int(data, at)
    if tag == 0x77:
        return read_var_string(data, at)
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at
    if tag == 0x7B:
        return _number(unpack_from(">d", data, at)[0]), at + 8
    if tag == 0x7C:
        return _number(unpack_from(">f", data, at)[0]), at + 4
    if tag == 0x7A:
        return unpack_from(">q", data, at)[0], at + 8
    if tag == 0x74:
        return read_var_bytes(data, at)
    count, at = read_var_uint(data, at)
    if tag == 0x75:
        values = []
        for _ in range(count):
            value, at = read_value(data, at)
            values.append(value)
        return values, at
    entries = {}
    for _ in range(count):
        key, at = read_var_string(data, at)
        entries[key], at = read_value(data, at)
    return entries, at


@lru_cache(maxsize=1 << 10)
def read_json(text: str) -> Any:
    """Parse the JSON of an embed or a format; it is shared, so not to be changed.

    Raises:
        InvalidUpdate: it is none.
    """
    try:
        return json.loads(text, parse_constant=lambda _: math.nan)
    except ValueError:
        raise InvalidUpdate("value that is not JSON") from None


def as_json(value: Any) -> Any:
    """A value as JSON can say it: bytes in base64, integers from 2**53 on in digits, null for what it cannot say."""
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, int) and abs(value) > MAX_SAFE:
        return str(value)
    if value is UNDEFINED or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def canonical(value: Any) -> Any:
    """A form of a value that equals another's only if JavaScript would not tell the two apart; keys have no order."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [canonical(inner) for inner in value]
    return type(value), value


def _read_int(data: bytes, at: int) -> tuple[int, int]:
    """Read a varInt, whose first byte has a sign and six bits."""
    byte = data[at]
    value = byte & 0x3F
    negative = byte & 0x40
    shift = 6
    while byte >= 0x80:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return -value if negative else value, at + 1


def _number(value: float) -> float:
    """What JavaScript takes for the same number: ints where it is whole, one NaN."""
    if value.is_integer() and abs(value) <= MAX_SAFE:
        return int(value)
    return value if value == value else math.nan
