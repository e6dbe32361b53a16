"""Structural check of Yjs v1 updates and state vectors, before the decoder of pycrdt (yrs) sees them.

yrs allocates for the counts that it reads, recurses into values and computes with 32-bit numbers that wrap. So:

* Every count and length is bounded by the bytes that are left, and all of an accepted update is accounted for,
  so what yrs allocates is linear in the bytes that came.
* Clocks stay below 2**31 (yrs subtracts them as 32-bit signed numbers) and clients below 2**53, which wrap otherwise.
* What is in the structs is bounded by `collab.protocol.ycontent`; the walk is linear in the length of the input.
* `InvalidUpdate` is all that escapes.

Accepted is all that Yjs 13.6 and 14 and yrs write: clients named once, delete ranges in order, no bytes behind.
The grammar stands in the regular expressions; they also are the fast path for what nearly all traffic is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Final, NamedTuple

from collab.errors import InvalidMessage, InvalidUpdate
from collab.protocol.lib0 import read_var_string, read_var_uint, var_uint
from collab.protocol.ycontent import CONTENT, MAX_CLOCK, bound, read_clock

EMPTY_UPDATE: Final = b"\x00\x00"
EMPTY_STATE_VECTOR: Final = b"\x00"

MAX_CLIENTS: Final = 1 << 16
"""Clients in one update: yrs searches the clients it waits for one by one, 65,536 of them in 2 s."""

MAX_STRUCTS: Final = 500_000
"""Structs, and deleted ranges, in one update: taking so many apart holds 100 MB and the loop for 2 s."""

_CROWD: Final = 1024
"""Number of clients from which their spread is looked at."""

_STEP: Final = rb"[\x80-\xff]"
_CLIENT: Final = rb"(?:" + _STEP + rb"{0,6}+[\x00-\x7f]|" + _STEP + rb"{7}[\x00-\x0f])"
_CLOCK: Final = rb"(?:" + _STEP + rb"{0,3}+[\x00-\x7f]|" + _STEP + rb"{4}[\x00-\x07])"
_PAIR: Final = rb"(" + _CLIENT + rb")(" + _CLOCK + rb")"

# Clocks of four bytes and a length below 128 cannot pass MAX_CLOCK together.
_SHORT: Final = _STEP + rb"{0,3}+[\x00-\x7f]"

TYPED = re.compile(
    rb"\x01\x01(" + _CLIENT + rb")(" + _SHORT + rb")"
    rb"(?:([\x84\x44])|\xc4)" + _PAIR + rb"(?(3)|" + _PAIR + rb")[\x01-\x7f]"
)
"""One struct, text beside known text, up to the length of the text, which `check_update` then compares with what is
left. Groups: client, clock, whether there is one origin only, client and clock of the origin, of the right one."""

ERASED = re.compile(rb"\x00\x01(" + _CLIENT + rb")\x01(" + _SHORT + rb")(" + _SHORT + rb")\Z")
"""Nothing but one deleted range. Groups: client, clock, length."""

# Flags of an item: 80 has an origin, 40 has a right origin, 20 has a key; without either origin its parent follows,
# by id or by name. GC and Skip are only a length.
_HEAD = re.compile(
    rb"(?:[\x41-\x49\x61-\x69\x81-\x89\xa1-\xa9]|([\xc1-\xc9\xe1-\xe9])|[\x01-\x09\x21-\x29]\x00)"
    + _PAIR + rb"(?(1)" + _PAIR + rb")|[\x01-\x09\x21-\x29]\x01|[\x00\x0a]"
)  # fmt: skip
GC: Final = 0
TEXT: Final = 4
VALUES: Final = 8
SKIP: Final = 10


class Struct(NamedTuple):
    """One struct of an update: `clock` and `length` in clock units, the match of its head, where its content is.

    The groups of `head` are clients and clocks in varUint form: 2 and 3 of the origin, else of the right origin, else
    of the parent; 4 and 5 of the right origin behind an origin; `lastindex` is None without any.
    """

    clock: int
    length: int
    head: re.Match[bytes]
    content_at: int


class Section(NamedTuple):
    """What an update holds of one client: clocks from `start` up to, not including, `end`."""

    client: int
    start: int
    end: int
    structs: list[Struct]


class Update(NamedTuple):
    """An update taken apart; deletions are ``(client, first clock, clock behind the last)``."""

    sections: list[Section]
    deletions: list[tuple[int, int, int]]


def check_update(update: bytes) -> None:
    """Refuse an update that is malformed or could harm.

    Raises:
        InvalidUpdate: for every fault; nothing else.
    """
    typed = TYPED.match(update)
    if typed is not None:
        start = typed.end()
        if len(update) - start - 1 == update[start - 1] and not update[-1]:
            try:
                update[start:].decode()
            except UnicodeDecodeError:
                raise InvalidUpdate("text is not valid UTF-8") from None
            return
    elif ERASED.match(update) is not None:
        return
    parse_update(update)


def check_state_vector(sv: bytes) -> None:
    """Refuse a state vector that is malformed, names more clients than it has bytes for, or has bytes behind.

    Raises:
        InvalidUpdate: for every fault; nothing else.
    """
    if sv != EMPTY_STATE_VECTOR:
        parse_state_vector(sv)


def parse_state_vector(sv: bytes, *, ours: bool = False) -> dict[int, int]:
    """Read a state vector into next clock by client, checked as `check_state_vector` says; `ours`: any clients go."""
    try:
        count, at = read_var_uint(sv, 0)
        bound(count, 2, sv, at)
        clocks: dict[int, int] = {}
        for _ in range(count):
            client, at = read_var_uint(sv, at)
            clocks[client], at = read_clock(sv, at)
    except InvalidMessage as error:
        raise InvalidUpdate(str(error)) from None
    if at != len(sv):
        raise InvalidUpdate("bytes behind the state vector")
    if not ours:
        if len(clocks) > MAX_CLIENTS:
            raise InvalidUpdate("too many clients")
        _check_spread(clocks)
    return clocks


def parse_update(update: bytes, *, ours: bool = False) -> Update:
    """Take an update apart, checked as `check_update` says; `ours`: any number of any clients and structs goes."""
    try:
        count, at = read_var_uint(update, 0)
        bound(count, 5, update, at)
        most = MAX_CLOCK if ours else MAX_STRUCTS
        sections: list[Section] = []
        for _ in range(count):
            section, at = _read_section(update, at, most)
            most -= len(section.structs)
            sections.append(section)
        if len(sections) > 1 and not ours:
            clients = {section.client for section in sections}
            if len(clients) < count or count > MAX_CLIENTS:
                raise InvalidUpdate("client in two places, or too many clients")
            _check_spread(clients)
        return Update(sections, _read_deletions(update, at, ours))
    except InvalidUpdate:
        raise
    except InvalidMessage as error:
        raise InvalidUpdate(str(error)) from None


def deletions_at(update: bytes) -> int:
    """Position of the delete set in an update that was checked."""
    count, at = read_var_uint(update, 0)
    for _ in range(count):
        _, at = _read_section(update, at, MAX_CLOCK)
    return at


def encode_state_vector(clocks: dict[int, int]) -> bytes:
    """Encode next clock by client; what `parse_state_vector` reads."""
    return var_uint(len(clocks)) + b"".join(var_uint(client) + var_uint(clock) for client, clock in clocks.items())


def _read_section(update: bytes, at: int, most: int) -> tuple[Section, int]:
    """Read the structs of one client, at most so many: the section and the position behind it."""
    count, at = read_var_uint(update, at)
    bound(count, 2, update, at)
    if count > most:
        raise InvalidUpdate("too many structs in one update")
    client, at = read_var_uint(update, at)
    start, at = read_clock(update, at)
    clock = start
    structs: list[Struct] = []
    match = _HEAD.match
    for _ in range(count):
        head = match(update, at)
        if head is None:
            raise InvalidUpdate("struct that does not exist, or cut short")
        info = update[at]
        content_at = head.end()
        if info < 0x40:
            content_at = _skip_parent(update, at, content_at)
        at, length = CONTENT[info & 0x0F](update, content_at)
        structs.append(Struct(clock, length, head, content_at))
        clock += length
    # yrs panics on a section that holds nothing.
    if clock == start or clock > MAX_CLOCK:
        raise InvalidUpdate("client's structs are empty, or beyond the last clock")
    return Section(client, start, clock, structs), at


def _skip_parent(update: bytes, start: int, at: int) -> int:
    """Read on behind the head of a struct without origins: the name of its parent and its key, where it has them."""
    info = update[start]
    if info in (GC, SKIP):
        return at
    if update[start + 1]:
        _, at = read_var_string(update, at)
    if info & 0x20:
        _, at = read_var_string(update, at)
    return at


def _read_deletions(update: bytes, at: int, ours: bool) -> list[tuple[int, int, int]]:
    """Read a delete set whose ranges are in order: overlapping ones would each be walked through the document."""
    count, at = read_var_uint(update, at)
    bound(count, 2, update, at)
    found: list[tuple[int, int, int]] = []
    clients: set[int] = set()
    for _ in range(count):
        client, at = read_var_uint(update, at)
        ranges, at = read_var_uint(update, at)
        bound(ranges, 2, update, at)
        if len(found) + ranges > MAX_STRUCTS and not ours:
            raise InvalidUpdate("too many deleted ranges in one update")
        end = 0
        for _ in range(ranges):
            start, at = read_var_uint(update, at)
            length, at = read_var_uint(update, at)
            if start < end:
                raise InvalidUpdate("deleted ranges overlap or are out of order")
            end = start + length
            found.append((client, start, end))
        if end > MAX_CLOCK or client in clients:
            raise InvalidUpdate("deleted ranges beyond the last clock, or of one client in two places")
        clients.add(client)
    if at != len(update):
        raise InvalidUpdate("bytes behind the update")
    if not ours:
        _check_spread(clients)
    return found


def _check_spread(clients: Collection[int]) -> None:
    """Refuse clients chosen to collide: yrs hashes a client by its low bits, and a chain is searched in full."""
    size = len(clients)
    if size > _CROWD:
        mask = (1 << size.bit_length()) - 1
        chains = Counter(client & mask for client in clients)
        if sum(length * length for length in chains.values()) > 16 * size:
            raise InvalidUpdate("clients chosen to collide")
