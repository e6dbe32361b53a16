"""A document's items in their order: the update that holds all of it, taken apart into shared types.

An update says of each item what it was put between, not where it is now. Yjs and yrs put them in order as they
integrate them (YATA), and yrs then tells neither the kinds of roots nor the ids of items; so it is done again here.

Invariants borne here:

* Items are cut wherever anything refers to, so that each reference is to a whole item, and is that item itself.
* Nothing is walked recursively. Items that many clients put at the same place are compared with each other: that ends
  with an error beyond `MAX_STEPS`, which no people's document comes near.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_string, read_var_uint
from collab.protocol.yarrival import Clock, read_client, read_clock
from collab.protocol.ycontent import CONTENT
from collab.protocol.yitems import DELETED, ROOT, TYPE, Branch, Item, Tree
from collab.protocol.yupdate import GC, SKIP, TEXT, VALUES, Section, Struct, Update, parse_update
from collab.protocol.yvalues import read_value

MAX_STEPS: Final = 2_000_000
"""Comparisons of items at the same place in one document: 0.5 s."""

_Cuts = defaultdict[int, set[int]]


def read_trees(contents: Sequence[bytes]) -> list[Tree]:
    """Read documents out of the updates that hold all of them; what is the same item in two of them is cut alike.

    Raises:
        InvalidUpdate: one is malformed, or made to keep its reader busy.
    """
    updates = [parse_update(content, ours=True) for content in contents]
    cuts: _Cuts = defaultdict(set)
    for update in updates:
        _mark_cuts(update, cuts)
        if len(updates) > 1:
            for section in update.sections:
                cuts[section.client].update((*(struct.clock for struct in section.structs), section.end))
    ordered = {client: sorted(clocks) for client, clocks in cuts.items()}
    return [_Reader(content, update).read(ordered) for content, update in zip(contents, updates, strict=True)]


def _mark_cuts(update: Update, cuts: _Cuts) -> None:
    """Note all clocks at which an item has to start, since something refers to it or to the one before."""
    for section in update.sections:
        for struct in section.structs:
            head = struct.head
            info = head[0][0]
            if info >= 0x80:
                cuts[read_client(head[2])].add(read_clock(head[3]) + 1)
            if info & 0x40:
                group = 4 if info >= 0x80 else 2
                cuts[read_client(head[group])].add(read_clock(head[group + 1]))
    for client, start, end in update.deletions:
        cuts[client].update((start, end))


class _Reader:
    """One document on its way into order.

    Args:
        content: the update, and
        update: the same taken apart.
    """

    def __init__(self, content: bytes, update: Update) -> None:
        self._content = content
        self._update = update
        self._starts: dict[Clock, Item] = {}
        self._ends: dict[Clock, Item] = {}
        self._parents: dict[Item, Item | Branch | None] = {}
        self._roots: dict[str, Branch] = {}
        self._steps = 0

    def read(self, cuts: dict[int, list[int]]) -> Tree:
        """Make items of the structs, cut at these clocks by client, and put them in order."""
        rows: list[list[tuple[Item, Struct]]] = [
            self._cut(section, cuts.get(section.client, [])) for section in self._update.sections
        ]
        for client, start, end in self._update.deletions:
            while start < end and (item := self._starts.get((client, start))) is not None:
                item.deleted = True
                start += item.length
        before: dict[Item, Item] = {}
        for row in rows:
            for place, (item, struct) in enumerate(row):
                self._refer(item, struct)
                if place:
                    before[item] = row[place - 1][0]
        for row in rows:
            for item, _ in row:
                if not item.placed:
                    self._follow(item, before)
        return Tree(self._roots, self._starts, {section.client for section in self._update.sections})

    def _cut(self, section: Section, cuts: list[int]) -> list[tuple[Item, Struct]]:
        """The items of one client, each with its struct."""
        client = section.client
        row: list[tuple[Item, Struct]] = []
        at = 0
        for struct in section.structs:
            kind = struct.head[0][0] & 0x0F
            if kind in (GC, SKIP):
                continue
            end = struct.clock + struct.length
            at = bisect_right(cuts, struct.clock, at)
            bounds = [struct.clock]
            while at < len(cuts) and cuts[at] < end:
                bounds.append(cuts[at])
                at += 1
            bounds.append(end)
            pieces = [Item(client, start, stop - start, kind) for start, stop in pairwise(bounds)]
            _fill(self._content, struct, pieces)
            for item in pieces:
                self._starts[client, item.clock] = item
                self._ends[client, item.clock + item.length - 1] = item
                row.append((item, struct))
        return row

    def _refer(self, item: Item, struct: Struct) -> None:
        """Find what an item was put between, or below."""
        head = struct.head
        info = head[0][0]
        near: list[Item | None] = []
        if item.clock > struct.clock:
            item.origin = self._ends[item.client, item.clock - 1]
        elif info >= 0x80:
            item.origin = self._ends.get((read_client(head[2]), read_clock(head[3])))
            near.append(item.origin)
        if info & 0x40:
            group = 4 if info >= 0x80 else 2
            item.right_origin = self._starts.get((read_client(head[group]), read_clock(head[group + 1])))
            near.append(item.right_origin)
        if info < 0x40 and item.clock == struct.clock:
            self._parents[item] = self._parent(item, struct)
        elif None in near:
            # It stood beside what went with its type, and so has gone with it.
            self._parents[item] = None

    def _parent(self, item: Item, struct: Struct) -> Item | Branch | None:
        """The root, or the item that is the type, that an item is the first of; its key is noted."""
        content, head = self._content, struct.head
        at = head.end()
        parent: Item | Branch | None
        if head.lastindex is None:
            name, at = read_var_string(content, at)
            parent = self._roots.get(name)
            if parent is None:
                parent = self._roots[name] = Branch(ROOT, name)
        else:
            parent = self._starts.get((read_client(head[2]), read_clock(head[3])))
        if head[0][0] & 0x20:
            item.key, _ = read_var_string(content, at)
        return parent

    def _follow(self, item: Item, before: dict[Item, Item]) -> None:
        """Place an item, and first those it builds on."""
        row = [item]
        while row:
            item = row[-1]
            parent = self._parents.get(item)
            for other in (before.get(item), item.origin, item.right_origin, parent):
                if isinstance(other, Item) and not other.placed:
                    if len(row) > len(self._starts):
                        raise InvalidUpdate("structs wait for each other")
                    row.append(other)
                    break
            else:
                row.pop()
                if not item.placed:
                    item.placed = True
                    self._place(item)

    def _place(self, item: Item) -> None:
        """Put an item, all whose references are in order, into its chain, where Yjs would."""
        near = item.origin or item.right_origin
        if item in self._parents:
            parent = self._parents[item]
            item.parent = parent.branch if isinstance(parent, Item) and parent.parent is not None else None
            if isinstance(parent, Branch):
                item.parent = parent
        elif near is not None:
            item.parent, item.key = near.parent, near.key
        if item.parent is None:
            return
        branch, key = item.parent, item.key
        left = self._left_of(item, item.origin.right if item.origin else branch.firsts.get(key))
        if left is None:
            item.right = branch.firsts.get(key)
            branch.firsts[key] = item
        else:
            item.right = left.right
            left.right = item
        if item.right is None:
            branch.lasts[key] = item

    def _left_of(self, item: Item, other: Item | None) -> Item | None:
        """What an item comes to stand behind, of those from `other` on that are at the same place."""
        left = item.origin
        passed: set[Item] = set()
        rivals: set[Item] = set()
        while other is not None and other is not item.right_origin:
            self._steps += 1
            passed.add(other)
            rivals.add(other)
            if other.origin is item.origin:
                if other.client < item.client:
                    left = other
                    rivals.clear()
                elif other.right_origin is item.right_origin:
                    break
            elif other.origin is None or other.origin not in passed:
                break
            elif other.origin not in rivals:
                left = other
                rivals.clear()
            other = other.right
        if self._steps > MAX_STEPS:
            raise InvalidUpdate("too many edits at the same place")
        return left


def _fill(content: bytes, struct: Struct, pieces: list[Item]) -> None:
    """Hand the content of a struct to the items it was cut into."""
    kind, at = pieces[0].kind, struct.content_at
    if kind == TEXT:
        text, _ = read_var_string(content, at)
        wide = None if text.isascii() else text.encode("utf-16-le")
        for item in pieces:
            start = item.clock - struct.clock
            end = start + item.length
            item.value = text[start:end] if wide is None else wide[2 * start : 2 * end].decode("utf-16-le", "replace")
    elif kind == VALUES:
        _, at = read_var_uint(content, at)
        for item in pieces:
            start, item.value = at, []
            for _ in range(item.length):
                value, at = read_value(content, at)
                item.value.append(value)
            item.raw = content[start:at]
    elif kind != DELETED:
        item = pieces[0]
        item.raw = content[at : CONTENT[kind](content, at)[0]]
        if kind == TYPE:
            number, at = read_var_uint(item.raw, 0)
            item.branch = Branch(number, read_var_string(item.raw, at)[0] if number == 3 else "")
