"""What a document holds, by client, so that it is only handed updates that it can take whole.

yrs 0.28 takes updates that come too early, and is then unsafe: two hostile messages of ten bytes, the first behind a
gap in a client's clocks and the second beside that gap, end the process by a segmentation fault. A clock that falls
between the two code units of a character beyond the BMP shifts all later clocks of its author, whose edits are lost
from then on. And it deletes shared types recursively, 100,000 levels of which overflow the stack. So:

* An update is admitted when nothing that it builds on is missing: no gap, no unknown origin, parent or deletion.
  Otherwise it has to wait; Yjs clients send what is missing with their answer to Step1.
* No clock in an admitted update points into the middle of a surrogate pair.
* `nesting` is never less than the depth of the shared types.
* Cost of the usual update is that of its match; memory is one number per client and two bytes per such character.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_string, read_var_uint
from collab.protocol.yupdate import (
    ERASED,
    SKIP,
    TEXT,
    TYPED,
    Section,
    Struct,
    Update,
    parse_state_vector,
    parse_update,
)

MAX_WAITING: Final = 1000
"""Clients of one update that wait for each other in a row: yrs searches that row for each of its structs."""

_ASTRAL = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
_RIGHT_ONLY: Final = b"\x44"
_NONE: Final[Mapping[int, Sequence[int]]] = {}
_SKIPPED: Final = bytes((SKIP,))
_NESTED = re.compile(rb"[\x01-\x09\x21-\x29]\x00")

Clock = tuple[int, int]
"""A client and one of its clocks."""


@lru_cache(maxsize=1 << 14)
def _client(raw: bytes) -> int:
    """Decode a client; few write at a time, so nearly all are remembered."""
    return read_var_uint(raw, 0)[0]


def _clock(raw: bytes) -> int:
    """Decode a clock that a regular expression has found."""
    size = len(raw)
    if size == 1:
        return raw[0]
    if size == 2:
        return raw[0] - 0x80 + (raw[1] << 7)
    if size == 3:
        return raw[0] - 0x4080 + (raw[1] << 7) + (raw[2] << 14)
    return read_var_uint(raw, 0)[0]


class Ledger:
    """Clocks of a document.

    Attributes:
        known: if the update admitted last brings again what was held before, the clocks that its clients had then.
        nesting: number of structs that can each have made shared types one level deeper.
    """

    __slots__ = ("_next", "_pairs", "known", "nesting")

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._pairs: dict[int, array[int]] = {}  # clocks of low surrogates, ascending
        self.nesting = 0
        self.known: dict[int, int] | None = None

    def load(self, content: bytes, state_vector: bytes) -> None:
        """Start from the content of a document, which yrs encoded without gaps."""
        self.reset(state_vector)
        self.nesting = len(_NESTED.findall(content))
        self._pairs = {}
        if _ASTRAL.search(content):
            for section in parse_update(content).sections:
                self._keep_pairs(section.client, _pairs_in(content, section), 0)

    def reset(self, state_vector: bytes) -> None:
        """Take the clocks that the document says it has."""
        self._next = parse_state_vector(state_vector)

    def clocks(self) -> dict[int, int]:
        """The clock that comes next, by client."""
        return dict(self._next)

    def clock(self, client: int) -> int:
        """The clock that comes next from `client`."""
        return self._next.get(client, 0)

    def admit(self, update: bytes) -> Clock | None:
        """Check an update and, if nothing is missing, count it as held: None, or the first clock that is missing.

        Raises:
            InvalidUpdate: it is malformed, refers to itself, or splits a character.
        """
        self.known = None
        typed = TYPED.match(update)
        if typed is not None:
            start = typed.end()
            text = update[start:-1]
            if len(text) == update[start - 1] and not update[-1]:
                if text.isascii():
                    return self._admit_typed(typed, len(text))
                if not _ASTRAL.search(text):
                    return self._admit_typed(typed, _length(text))
        else:
            erased = ERASED.match(update)
            if erased is not None:
                return self._admit_erased(*erased.groups())
        return self._admit_parsed(update, parse_update(update))

    def _admit_typed(self, typed: re.Match[bytes], length: int) -> Clock | None:
        """Admit a text of `length` characters, none of them beyond the BMP, beside known text."""
        raw_client, raw_clock, info, raw_left, left_clock, raw_right, right_clock = typed.groups()
        clocks = self._next
        client = _client(raw_client)
        clock = _clock(raw_clock)
        known = clocks.get(client, 0)
        if clock > known:
            return client, clock - 1
        left = _client(raw_left)
        at = _clock(left_clock)
        if at >= clocks.get(left, 0):
            return _wait_for(left, at, client, clock)
        if self._pairs:
            self._refuse_pair(left, at + (info != _RIGHT_ONLY))
        if raw_right is not None:
            right = _client(raw_right)
            at = _clock(right_clock)
            if at >= clocks.get(right, 0):
                return _wait_for(right, at, client, clock)
            if self._pairs:
                self._refuse_pair(right, at)
        if clock < known:
            self.known = {client: known}
        if clock + length > known:
            clocks[client] = clock + length
        return None

    def _admit_erased(self, raw_client: bytes, raw_clock: bytes, raw_length: bytes) -> Clock | None:
        """Admit one deleted range."""
        client = _client(raw_client)
        clock = _clock(raw_clock)
        end = clock + _clock(raw_length)
        if end > self._next.get(client, 0):
            return client, end - 1
        if self._pairs:
            self._refuse_pair(client, clock)
            self._refuse_pair(client, end)
        return None

    def _admit_parsed(self, update: bytes, parsed: Update) -> Clock | None:
        reached, missing = self._follow(parsed.sections)
        if missing is not None:
            return missing
        for client, _, end in parsed.deletions:
            if end > reached.get(client, self.clock(client)):
                return client, end - 1
        fresh: dict[int, list[int]] = {}
        if self._pairs or _ASTRAL.search(update):
            fresh = {section.client: _pairs_in(update, section) for section in parsed.sections}
            self._check_pairs(update, parsed, fresh)
        for client, pairs in fresh.items():
            self._keep_pairs(client, pairs, self.clock(client))
        known = {section.client: self.clock(section.client) for section in parsed.sections}
        if any(section.start < known[section.client] for section in parsed.sections):
            self.known = known
        self._next.update(reached)
        self.nesting += sum(
            update[struct.head.start()] < 0x40 and struct.head.lastindex is not None
            for section in parsed.sections
            for struct in section.structs
        )
        return None

    def _follow(self, sections: list[Section]) -> tuple[dict[int, int], Clock | None]:
        """Go through the structs in the order in which yrs integrates them.

        Gives the clock that each client reaches, and the first clock that is neither held nor brought along.
        """
        brought = {section.client: section for section in sections}
        places = dict.fromkeys(brought, 0)
        reached = {client: self.clock(client) for client in brought}
        for section in sections:
            if section.start > reached[section.client]:
                return reached, (section.client, section.start - 1)
        for client in sorted(brought, reverse=True):
            row = [(client, brought[client].end - 1)]
            while row:
                client, until = row[-1]
                missing = self._advance(brought[client], until, places, reached)
                if missing is None:
                    row.pop()
                    continue
                other, clock = missing
                # What a Skip stands for is missing, although the update has a struct for it.
                skipped = brought[client].structs[places[client]].head[0] == _SKIPPED
                if skipped or other not in brought or clock >= brought[other].end:
                    return reached, missing
                if len(row) > MAX_WAITING or any(other == waiting for waiting, _ in row):
                    raise InvalidUpdate("structs wait for each other")
                row.append(missing)
        return reached, None

    def _advance(self, section: Section, until: int, places: dict[int, int], reached: dict[int, int]) -> Clock | None:
        """Integrate a client's structs up to the clock `until`: None, or the clock that the next of them waits for."""
        client, _, _, structs = section
        place = places[client]
        known = reached[client]
        missing = None
        while known <= until and place < len(structs):
            struct = structs[place]
            if struct.clock + struct.length > known:
                missing = self._missing(client, struct, reached)
                if missing is not None:
                    break
                known = reached[client] = struct.clock + struct.length
            place += 1
        places[client] = place
        return missing

    def _missing(self, client: int, struct: Struct, reached: dict[int, int]) -> Clock | None:
        """The clock that a struct waits for, or None."""
        head = struct.head
        if head[0] == _SKIPPED:
            return client, struct.clock + struct.length - 1
        for group in range(2, (head.lastindex or 0) + 1, 2):
            other, at = _client(head[group]), _clock(head[group + 1])
            if at >= reached.get(other, self._next.get(other, 0)):
                return _wait_for(other, at, client, struct.clock)
        return None

    def _check_pairs(self, update: bytes, parsed: Update, fresh: dict[int, list[int]]) -> None:
        """Refuse clocks that point between the two halves of a character, in the document or in the update itself."""
        for section in parsed.sections:
            if self.clock(section.client) in fresh[section.client]:
                raise InvalidUpdate("text that splits a character")
            for struct in section.structs:
                head = struct.head
                info = update[head.start()]
                if info >= 0x80:
                    self._refuse_pair(_client(head[2]), _clock(head[3]) + 1, fresh)
                if info & 0x40:
                    group = 4 if head.lastindex == 5 else 2
                    self._refuse_pair(_client(head[group]), _clock(head[group + 1]), fresh)
        for client, start, end in parsed.deletions:
            self._refuse_pair(client, start, fresh)
            self._refuse_pair(client, end, fresh)

    def _refuse_pair(self, client: int, clock: int, fresh: Mapping[int, Sequence[int]] = _NONE) -> None:
        for pairs in (self._pairs.get(client, ()), fresh.get(client, ())):
            place = bisect_left(pairs, clock)
            if place < len(pairs) and pairs[place] == clock:
                raise InvalidUpdate("clock between the halves of a character")

    def _keep_pairs(self, client: int, pairs: list[int], known: int) -> None:
        """Remember those from the clock `known` on; what is before is there already."""
        pairs = [clock for clock in pairs if clock >= known]
        if pairs:
            self._pairs.setdefault(client, array("I")).extend(pairs)


def _length(raw: bytes) -> int:
    """Code units in UTF-8 text without characters beyond the BMP."""
    try:
        return len(raw.decode())
    except UnicodeDecodeError:
        raise InvalidUpdate("text is not valid UTF-8") from None


def _wait_for(other: int, at: int, client: int, clock: int) -> Clock:
    if other == client and at >= clock:
        raise InvalidUpdate("struct that refers to itself")
    return other, at


def _pairs_in(update: bytes, section: Section) -> list[int]:
    """Clocks of the low surrogates in a client's text, ascending."""
    found: list[int] = []
    for struct in section.structs:
        if update[struct.head.start()] & 0x0F == TEXT:
            text = read_var_string(update, struct.content_at)[0]
            if len(text) != struct.length:
                clock = struct.clock
                for character in text:
                    clock += 1
                    if character > "\uffff":
                        found.append(clock)
                        clock += 1
    return found
