"""Contents of the structs in a Yjs v1 update: how far each reaches, how long it is in clock units, what is refused.

Invariants borne here, for `collab.protocol.yupdate`:

* Nothing is walked recursively, and all work is linear in the bytes.
* Values nest at most `MAX_DEPTH` deep, since yrs reads them recursively and a stack overflow ends the process.
* What yrs reads otherwise than Yjs wrote it (legacy JSON content, whose count it takes for one less than it is, and
  XML hooks, whose name it does not read) is refused: the rest of the update would be misread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_bytes, read_var_string, read_var_uint

MAX_CLOCK: Final = 2**31 - 1
"""Clocks and lengths: yrs subtracts them as 32-bit signed numbers."""

MAX_DEPTH: Final = 100
"""Nesting of one value: less than the 128 levels of serde_json, which yrs reads JSON with, and 1 % of what a
thread's stack bears. How deep shared types nest is the business of `collab.protocol.yledger`."""

_SCALAR = re.compile(rb"[\x78\x79\x7e\x7f]|\x7d[\x80-\xff]{0,7}+[\x00-\x7f]|\x7c.{4}|[\x7a\x7b].{8}", re.DOTALL)
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def bound(count: int, size: int, data: bytes, at: int) -> None:
    """Refuse `count` things of at least `size` bytes each when they cannot be in what is left."""
    if count * size > len(data) - at:
        raise InvalidUpdate("count larger than the message")


def read_clock(data: bytes, at: int) -> tuple[int, int]:
    """Read a clock or a length in clock units, at most `MAX_CLOCK`."""
    clock, at = read_var_uint(data, at)
    if clock > MAX_CLOCK:
        raise InvalidUpdate("clock out of range")
    return clock, at


def _read_deleted(data: bytes, at: int) -> tuple[int, int]:
    length, at = read_clock(data, at)
    return at, length


def _read_range(data: bytes, at: int) -> tuple[int, int]:
    """Read the length of a GC or a Skip; with one of nothing in it yrs comes to divide by zero."""
    length, at = read_clock(data, at)
    if not length:
        raise InvalidUpdate("empty struct")
    return at, length


def _read_binary(data: bytes, at: int) -> tuple[int, int]:
    return read_var_bytes(data, at)[1], 1


def _read_text(data: bytes, at: int) -> tuple[int, int]:
    """Length of text is in UTF-16 code units, as JavaScript counts."""
    text, at = read_var_string(data, at)
    if text.isascii():
        return at, len(text)
    return at, len(text.encode("utf-16-le")) // 2


def _read_embed(data: bytes, at: int) -> tuple[int, int]:
    """Read JSON; yrs parses it, so only its depth is bounded here."""
    text, at = read_var_string(data, at)
    raw = text.encode()
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        depth = 0
        for token in _BRACKET.findall(raw):
            depth += (token in b"[{") - (token in b"]}")
            if depth > MAX_DEPTH:
                raise InvalidUpdate("value nested too deep")
    return at, 1


def _read_format(data: bytes, at: int) -> tuple[int, int]:
    return _read_embed(data, read_var_string(data, at)[1])


def _read_type(data: bytes, at: int) -> tuple[int, int]:
    kind, at = read_var_uint(data, at)
    if kind == 3:
        return read_var_string(data, at)[1], 1
    if kind in (0, 1, 2, 4, 6, 9, 15):
        return at, 1
    raise InvalidUpdate("shared type that cannot be held")


def _read_any_list(data: bytes, at: int) -> tuple[int, int]:
    count, at = read_var_uint(data, at)
    return _skip_values(data, at, count), count


def _read_document(data: bytes, at: int) -> tuple[int, int]:
    return _skip_values(data, read_var_string(data, at)[1], 1), 1


def _refuse(data: bytes, at: int) -> tuple[int, int]:
    raise InvalidUpdate("content that cannot be held")


CONTENT: Final[tuple[Callable[[bytes, int], tuple[int, int]], ...]] = (
    _read_range, _read_deleted, _refuse, _read_binary, _read_text, _read_embed,
    _read_format, _read_type, _read_any_list, _read_document, _read_range,
)  # fmt: skip


def _skip_values(data: bytes, at: int, left: int) -> int:
    """Walk `left` values of lib0's `any`, which nest at most `MAX_DEPTH` deep: the position behind them."""
    bound(left, 1, data, at)
    keyed = False
    outer: list[tuple[int, bool]] = []
    while left or outer:
        if not left:
            left, keyed = outer.pop()
            continue
        left -= 1
        if keyed:
            _, at = read_var_string(data, at)
        scalar = _SCALAR.match(data, at)
        if scalar is not None:
            at = scalar.end()
            continue
        tag = data[at : at + 1]
        if tag == b"w":
            _, at = read_var_string(data, at + 1)
        elif tag == b"t":
            _, at = read_var_bytes(data, at + 1)
        elif tag in (b"u", b"v") and len(outer) < MAX_DEPTH:
            outer.append((left, keyed))
            keyed = tag == b"v"
            left, at = read_var_uint(data, at + 1)
            bound(left, 1 + keyed, data, at)
        else:
            raise InvalidUpdate("value of no known kind, nested too deep, or cut short")
    return at
