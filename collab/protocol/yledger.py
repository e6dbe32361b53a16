"""What a document holds, by client, so that yrs is only handed updates that it can take whole and safely.

yrs 0.28 takes updates that come too early, and is then unsafe: two hostile messages of ten bytes, the first behind a
gap in a client's clocks and the second beside that gap, end the process by a segmentation fault. A clock that falls
between the two code units of a character beyond the BMP shifts all later clocks of its author, whose edits are lost
from then on. A map's entry of several units that is split is used after it was freed. And shared types are deleted
recursively: 100,000 levels overflow the stack. So:

* An update is admitted when nothing that it builds on is missing: no gap, no unknown origin, parent or deletion.
  Otherwise it has to wait; Yjs clients send what is missing with their answer to Step1.
* No clock in an admitted update points into the middle of a surrogate pair, and no map's entry is longer than one.
* `nesting` is never less than the depth of the shared types.
"""

from __future__ import annotations

import re
from typing import Final

from collab.errors import InvalidUpdate
from collab.protocol.yarrival import Arrival, Clock, read_client, read_clock, wait_for
from collab.protocol.ymarks import Marks, mark_pairs
from collab.protocol.yupdate import (
    ERASED,
    TYPED,
    Update,
    parse_state_vector,
    parse_update,
)

_ASTRAL = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
_RIGHT_ONLY: Final = b"\x44"


class Ledger:
    """Clocks of a document.

    Attributes:
        known: if the update admitted last brings again what was held before, the clocks that its clients had then.
        new: False if the update admitted last is text that was held before, all of it.
        nesting: number of structs that can each have made shared types one level deeper.
        usual: whether the update admitted last is text beside known text or one deletion, and nothing else.
    """

    __slots__ = ("_keyed", "_marked", "_next", "_pairs", "known", "nesting", "new", "usual")

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._pairs = Marks()  # low surrogates
        self._keyed = Marks()  # entries of maps, attributes
        self._marked = False  # whether there are any of these
        self.nesting = 0
        self.usual = self.new = False
        self.known: dict[int, int] | None = None

    def load(self, content: bytes, state_vector: bytes) -> None:
        """Start from the content of a document, which yrs encoded without gaps."""
        self.__init__()  # type: ignore[misc]
        self.reset(state_vector)
        for section in parse_update(content, ours=True).sections:
            mark_pairs(content, section, 0, self._pairs)
            for struct in section.structs:
                info = struct.head[0][0]
                if info & 0x20:
                    self._keyed.add(section.client, struct.clock, struct.clock + struct.length)
                self.nesting += info < 0x40 and struct.head.lastindex is not None
        self._marked = bool(self._pairs or self._keyed)

    def reset(self, state_vector: bytes) -> None:
        """Take the clocks that the document says it has, and forget what was admitted beyond them."""
        self._next = parse_state_vector(state_vector, ours=True)
        self._pairs.cut(self._next)
        self._keyed.cut(self._next)
        self._marked = bool(self._pairs or self._keyed)

    def clocks(self) -> dict[int, int]:
        """The clock that comes next, by client."""
        return dict(self._next)

    def clock(self, client: int) -> int:
        """The clock that comes next from `client`."""
        return self._next.get(client, 0)

    def admit(self, update: bytes) -> Clock | None:
        """Check an update and, if nothing is missing, count it as held: None, or a clock that is missing.

        Raises:
            InvalidUpdate: it is malformed, refers to itself, or splits a character.
        """
        self.known = None
        self.usual = self.new = True
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
        self.usual = False
        return self._admit_parsed(update, parse_update(update))

    def admit_next(self, update: bytes) -> bool:
        """Count an update as held if it is its client's next text, in ASCII, beside known text; else do nothing.

        `admit` in one step for nearly all updates; what that tells in attributes is not told here.
        """
        typed = None if self._marked else TYPED.match(update)
        if typed is None:
            return False
        start = typed.end()
        text = update[start:-1]
        if len(text) != update[start - 1] or update[-1] or not text.isascii():
            return False
        raw_client, raw_clock, _, raw_left, left_clock, raw_right, right_clock = typed.groups()
        clocks = self._next
        client, clock = read_client(raw_client), read_clock(raw_clock)
        if clock != clocks.get(client, 0) or read_clock(left_clock) >= clocks.get(read_client(raw_left), 0):
            return False
        if raw_right is not None and read_clock(right_clock) >= clocks.get(read_client(raw_right), 0):
            return False
        clocks[client] = clock + len(text)
        return True

    def _admit_typed(self, typed: re.Match[bytes], length: int) -> Clock | None:
        """Admit a text of `length` characters, none of them beyond the BMP, beside known text."""
        raw_client, raw_clock, info, raw_left, left_clock, raw_right, right_clock = typed.groups()
        clocks = self._next
        client = read_client(raw_client)
        clock = read_clock(raw_clock)
        known = clocks.get(client, 0)
        if clock > known:
            return client, clock - 1
        left = read_client(raw_left)
        at = read_clock(left_clock)
        if at >= clocks.get(left, 0):
            return wait_for(left, at, client, clock)
        if self._marked:
            self._check_beside(left, at, info != _RIGHT_ONLY)
        if raw_right is not None:
            right = read_client(raw_right)
            at = read_clock(right_clock)
            if at >= clocks.get(right, 0):
                return wait_for(right, at, client, clock)
            if self._marked:
                self._check_beside(right, at, False)
        if clock < known:
            # What is left of it, if anything is, stands beside what is known.
            if clock + length > known and self._keyed.has(client, known - 1):
                raise InvalidUpdate("more than one value for a key")
            self.known = {client: known}
            self.new = clock + length > known
        if clock + length > known:
            clocks[client] = clock + length
        return None

    def _check_beside(self, client: int, clock: int, after: bool) -> None:
        """Refuse text after or before `clock` when that is within a character or an entry of a map."""
        if self._pairs.has(client, clock + after):
            raise InvalidUpdate("clock between the halves of a character")
        if self._keyed.has(client, clock):
            raise InvalidUpdate("more than one value for a key")

    def _admit_erased(self, raw_client: bytes, raw_clock: bytes, raw_length: bytes) -> Clock | None:
        """Admit one deleted range."""
        client = read_client(raw_client)
        clock = read_clock(raw_clock)
        end = clock + read_clock(raw_length)
        if end > self._next.get(client, 0):
            return client, end - 1
        if self._marked and (self._pairs.has(client, clock) or self._pairs.has(client, end)):
            raise InvalidUpdate("clock between the halves of a character")
        return None

    def _admit_parsed(self, update: bytes, parsed: Update) -> Clock | None:
        arrival = Arrival(self._next, self._keyed, parsed)
        missing = arrival.follow()
        if missing is not None:
            return missing
        reached = arrival.reached
        for client, _, end in parsed.deletions:
            if end > reached.get(client, self.clock(client)):
                return client, end - 1
        if self._pairs or _ASTRAL.search(update):
            pairs = Marks()
            for section in parsed.sections:
                mark_pairs(update, section, self.clock(section.client), pairs)
            self._check_pairs(parsed, pairs)
            self._pairs.update(pairs)
        self._keyed.update(arrival.keyed)
        self._marked = bool(self._pairs or self._keyed)
        for section in parsed.sections:
            self.nesting += sum(
                struct.head[0][0] < 0x40 and struct.head.lastindex is not None for struct in section.structs
            )
            if section.start < self.clock(section.client):
                self.known = {section.client: self.clock(section.client) for section in parsed.sections}
        self._next.update(reached)
        return None

    def _check_pairs(self, parsed: Update, fresh: Marks) -> None:
        """Refuse clocks that point between the two halves of a character, in the document or in the update itself."""
        places: list[Clock] = []
        for section in parsed.sections:
            places.append((section.client, self.clock(section.client)))
            for struct in section.structs:
                head = struct.head
                info = head[0][0]
                if info >= 0x80:
                    places.append((read_client(head[2]), read_clock(head[3]) + 1))
                if info & 0x40:
                    group = 4 if head.lastindex == 5 else 2
                    places.append((read_client(head[group]), read_clock(head[group + 1])))
        for client, start, end in parsed.deletions:
            places += ((client, start), (client, end))
        if any(self._pairs.has(*place) or fresh.has(*place) for place in places):
            raise InvalidUpdate("clock between the halves of a character")


def _length(raw: bytes) -> int:
    """Code units in UTF-8 text without characters beyond the BMP."""
    try:
        return len(raw.decode())
    except UnicodeDecodeError:
        raise InvalidUpdate("text is not valid UTF-8") from None
