"""Awareness updates of y-protocols, bytes to entries and back.

An awareness update is varUint(n) and n times varUint(client) varUint(clock) varString(state), the state being JSON
text and `null` for gone. Bound here: counts are held against the bytes left, states against a size, and every state
that passes is JSON that a browser can read, since the others will get it as it came.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from collab.errors import InvalidMessage, InvalidUpdate, TooLarge
from collab.protocol.jsontext import parse_json
from collab.protocol.lib0 import read_var_bytes, read_var_uint, var_string, var_uint

_LEAST_ENTRY: Final = 3
MAX_CLOCK: Final = 2**32 - 1
"""A clock that counts renewals and cursor moves never comes near; and one more than it must still be a number."""

MAX_ENTRIES: Final = 2048
"""Entries in one update: reading that many holds the loop for about 20 ms."""


class Entry(NamedTuple):
    """One client's presence: `state` is JSON text, None for gone."""

    client: int
    clock: int
    state: str | None


def decode_awareness(update: bytes, max_state: int) -> list[Entry]:
    """Read an awareness update.

    Args:
        update: the bytes, without the length before them.
        max_state: largest state in bytes.

    Raises:
        InvalidUpdate: malformed, or with a state that is not JSON.
        TooLarge: a state over `max_state`, or more than `MAX_ENTRIES` entries.
    """
    try:
        count, at = read_var_uint(update, 0)
        if count * _LEAST_ENTRY > len(update) - at:
            raise InvalidUpdate("awareness update with more entries than bytes")
        if count > MAX_ENTRIES:
            raise TooLarge(f"awareness update about more than {MAX_ENTRIES} clients")
        entries = []
        for _ in range(count):
            client, at = read_var_uint(update, at)
            clock, at = read_var_uint(update, at)
            raw, at = read_var_bytes(update, at)
            if len(raw) > max_state:
                raise TooLarge(f"awareness state over the limit of {max_state} bytes")
            if clock > MAX_CLOCK:
                raise InvalidUpdate("awareness clock out of range")
            text = raw.decode()
            entries.append(Entry(client, clock, None if parse_json(text) is None else text))
    except (InvalidUpdate, TooLarge):
        raise
    except UnicodeDecodeError:
        raise InvalidUpdate("awareness state that is not valid UTF-8") from None
    except InvalidMessage as error:
        raise InvalidUpdate(f"awareness update: {error}") from None
    if at != len(update):
        raise InvalidUpdate("awareness update with bytes behind its end")
    return entries


def encode_awareness(entries: dict[int, tuple[int, str | None]]) -> bytes:
    """Write an awareness update from (clock, state) by client id."""
    parts = [var_uint(len(entries))]
    for client, (clock, state) in entries.items():
        parts += (var_uint(client), var_uint(clock), var_string("null" if state is None else state))
    return b"".join(parts)
