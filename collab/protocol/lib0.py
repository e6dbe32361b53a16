"""The lib0 primitives that every dialect is made of: varUint, varBytes, varString (protocols.md §2).

Readers take the message and a position and give the value and the next position; they copy nothing but the
value itself, so a message is read in one pass. Invariants borne here:

* Nothing but `InvalidMessage` escapes, whatever the bytes are: truncated, overlong, out of range or not UTF-8.
* Bound before memory: a length is compared with the bytes that are left before anything is made of it.
* A varUint is at most 2**53 - 1 in at most 8 bytes. Padded forms (``80 00`` for 0) are read, since lib0 reads
  them, and never written.
"""

from __future__ import annotations

from typing import Final

from collab.errors import InvalidMessage

MAX_VAR_UINT: Final = 2**53 - 1

_MAX_SHIFT: Final = 49
"""Shift of the eighth and last byte that a varUint may have."""

_ONE_BYTE: Final = tuple(bytes((n,)) for n in range(0x80))


def read_var_uint(data: bytes, at: int) -> tuple[int, int]:
    """Read the varUint at position `at`: ``(value, next position)``, 0 <= value <= 2**53 - 1.

    Raises:
        InvalidMessage: the bytes end too early, or it has more than 8 bytes or more than 53 bits.
    """
    try:
        byte = data[at]
        # Types, steps and nearly all lengths fit into one byte.
        if byte < 0x80:
            return byte, at + 1
        return _read_long_var_uint(data, at)
    except IndexError:
        raise InvalidMessage("message ends inside a number") from None


def _read_long_var_uint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varUint of two bytes or more; IndexError when the data ends first."""
    value = data[at] & 0x7F
    for shift in range(7, _MAX_SHIFT + 1, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > MAX_VAR_UINT:
                break
            return value, at + 1
    raise InvalidMessage("number larger than 2**53 - 1")


def read_var_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Read varUint(length) and that many bytes at position `at`: ``(bytes, next position)``.

    Raises:
        InvalidMessage: the bytes end too early, or the length is no varUint.
    """
    try:
        length = data[at]
        start = at + 1
        if length >= 0x80:
            length, start = _read_long_var_uint(data, at)
    except IndexError:
        raise InvalidMessage("message ends inside a number") from None
    end = start + length
    if end > len(data):
        raise InvalidMessage("message ends inside a field")
    return data[start:end], end


def read_var_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a string in UTF-8 whose length counts bytes: ``(text, next position)``.

    Raises:
        InvalidMessage: as `read_var_bytes`, or the bytes are not strict UTF-8 (surrogates are refused).
    """
    raw, end = read_var_bytes(data, at)
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        raise InvalidMessage("text is not valid UTF-8") from None


def var_uint(n: int) -> bytes:
    """Encode 0 <= `n` <= 2**53 - 1 in the fewest bytes.

    Raises:
        InvalidMessage: `n` is out of range.
    """
    if 0 <= n < 0x80:
        return _ONE_BYTE[n]
    if not 0 <= n <= MAX_VAR_UINT:
        raise InvalidMessage("number outside 0..2**53 - 1")
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def var_bytes(b: bytes) -> bytes:
    """Encode `b` after its length."""
    return var_uint(len(b)) + b


def var_string(s: str) -> bytes:
    """Encode `s` as UTF-8 after its length in bytes.

    Raises:
        InvalidMessage: `s` holds a lone surrogate, which JSON can bring in and UTF-8 cannot carry.
    """
    try:
        return var_bytes(s.encode())
    except UnicodeEncodeError:
        raise InvalidMessage("text holds a lone surrogate") from None
