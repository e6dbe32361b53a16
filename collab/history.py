"""Going back to an earlier version of a document, by a new edit on top of what it is now.

Only what differs is touched: what the version does not have is deleted, and what it has and is deleted by now is
written once more, at the place where it was. Clients that are at work follow as they follow any other edit.

Bound here: an update is only handed out when a document has taken it and then had the value of the version.

yrs' UndoManager comes to the same values, and faster. But it writes what was typed in many strokes in as many structs
again (144 KB for a text of 32 KB), and has to be told the type of each root, which nothing tells.
"""

from __future__ import annotations

import secrets
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from collab.document import Document
from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_string, var_string, var_uint
from collab.protocol.yitems import DOCUMENT, EMBED, Branch, Item, Tree, chunks
from collab.protocol.yorder import read_trees
from collab.protocol.yupdate import EMPTY_STATE_VECTOR, EMPTY_UPDATE, TEXT, VALUES
from collab.protocol.yvalues import canonical, read_json, read_value
from collab.updates import settle

CLIENTS: Final = 1 << 32
"""Clients of edits are drawn below this, as Yjs does."""

_NONE: Final = Branch()


def revert(content: bytes, version: bytes) -> bytes:
    """The update that gives the document `content` the value it had at `version`; `EMPTY_UPDATE` if it has it.

    Raises:
        InvalidUpdate: one of them cannot be read, or is made so that there is no such update.
    """
    content = settle([content]).content
    version = settle([version]).content
    now, then = read_trees([content, version])
    if _same(now, then):
        return EMPTY_UPDATE
    # What is kept of another document, or a forged one, may not fit: then nothing is kept.
    for keep in (True, False):
        update = _Edit(_draw(now.clients | then.clients), now, keep=keep).towards(then)
        document = Document(content)
        if not document.apply([update]) and not document.early:
            (became,) = read_trees([document.diff(EMPTY_STATE_VECTOR)])
            if _same(became, then):
                return update
    raise InvalidUpdate("version that this document cannot be brought back to")


def _draw(taken: set[int]) -> int:
    """A client that is not in use."""
    while (client := secrets.randbelow(CLIENTS)) in taken or not client:
        continue
    return client


class _Edit:
    """Structs of one new client, and deletions, which make a document into another.

    Args:
        client: who writes.
        now: the document.
        keep: whether what is in both stays; otherwise everything is written anew.
    """

    def __init__(self, client: int, now: Tree, *, keep: bool) -> None:
        self._client = client
        self._now = now
        self._keep = keep
        self._clock = 0
        self._structs: list[bytes] = []
        self._erased: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._open: deque[tuple[Branch, Branch, bytes]] = deque()

    def towards(self, then: Tree) -> bytes:
        """The update that makes the document into `then`."""
        for name in sorted({*self._now.roots, *then.roots}):
            parent = b"\x01" + var_string(name)
            self._open.append((self._now.roots.get(name, _NONE), then.roots.get(name, _NONE), parent))
        while self._open:
            now, then_branch, parent = self._open.popleft()
            self._change_list(now, then_branch, parent)
            self._change_entries(now, then_branch, parent)
        if not self._structs:
            return b"\x00" + self._deletions()
        head = b"\x01" + var_uint(len(self._structs)) + var_uint(self._client) + b"\x00"
        return head + b"".join(self._structs) + self._deletions()

    def _change_list(self, now: Branch, then: Branch, parent: bytes) -> None:
        """Make what `now` lists what `then` lists; `parent` as structs without neighbours name it."""
        order = {item: place for place, item in enumerate(now.items())}
        last = next(reversed(order), None)
        kept: set[Item] = set()
        runs: dict[Item | None, list[Item]] = {}
        anchor = None if self._keep else last
        for wanted in then.listed():
            item = self._now.items.get((wanted.client, wanted.clock))
            if self._keep and item in order:
                if not item.deleted:
                    self._keep_item(item, wanted)
                    kept.add(item)
                    anchor = item
                    continue
                if anchor not in runs:
                    anchor = item
            runs.setdefault(anchor, []).append(wanted)
        for anchor, run in runs.items():
            self._write_run(run, anchor, now.firsts.get(None) if anchor is None else anchor.right, parent)
        for item in order:
            if not item.deleted and item not in kept:
                self._erased[item.client].append((item.clock, item.clock + item.length))

    def _change_entries(self, now: Branch, then: Branch, parent: bytes) -> None:
        """Make the entries of `now` those of `then`."""
        old, new = now.entries(), then.entries()
        for key in sorted({*old, *new}):
            item, wanted = old.get(key), new.get(key)
            if self._keep and item and wanted and (item.client, item.clock) == (wanted.client, wanted.clock):
                self._keep_item(item, wanted)
                continue
            if item:
                self._erased[item.client].append((item.clock, item.clock + item.length))
            if wanted:
                last = now.lasts.get(key)
                named = parent + var_string(key)
                self._write(0x20 | wanted.kind, _end(last) if last else b"", b"", named, [wanted])

    def _keep_item(self, item: Item, wanted: Item) -> None:
        """Leave an item as it is, but for what is in it."""
        if item.branch and wanted.branch:
            self._open.append((item.branch, wanted.branch, b"\x00" + _start(item)))

    def _write_run(self, run: list[Item], left: Item | None, right: Item | None, parent: bytes) -> None:
        """Write copies of items in a row between two that are there."""
        before = _end(left) if left else b""
        behind = _start(right) if right else b""
        at = 0
        while at < len(run):
            kind = run[at].kind
            end = at + 1
            while kind in (TEXT, VALUES) and end < len(run) and run[end].kind == kind:
                end += 1
            self._write(kind, before, behind, parent, run[at:end])
            before = var_uint(self._client) + var_uint(self._clock - 1)
            at = end

    def _write(self, info: int, left: bytes, right: bytes, parent: bytes, copied: Sequence[Item]) -> None:
        """Write one struct with the content of items of the same kind; what is in a shared type follows later."""
        first = copied[0]
        if first.branch:
            self._open.append((_NONE, first.branch, b"\x00" + var_uint(self._client) + var_uint(self._clock)))
        info |= 0x80 * bool(left) | 0x40 * bool(right)
        content = b"".join(item.raw for item in copied)
        length = sum(item.length for item in copied)
        if first.kind == TEXT:
            content = var_string("".join(item.value for item in copied))
        elif first.kind == VALUES:
            content = var_uint(length) + content
        self._structs.append(bytes((info,)) + (left + right or parent) + content)
        self._clock += length

    def _deletions(self) -> bytes:
        out = [var_uint(len(self._erased))]
        for client, ranges in self._erased.items():
            joined: list[list[int]] = []
            for start, end in sorted(ranges):
                if joined and joined[-1][1] == start:
                    joined[-1][1] = end
                else:
                    joined.append([start, end])
            out += [var_uint(client), var_uint(len(joined))]
            out += [var_uint(start) + var_uint(end - start) for start, end in joined]
        return b"".join(out)


def _start(item: Item) -> bytes:
    return var_uint(item.client) + var_uint(item.clock)


def _end(item: Item) -> bytes:
    return var_uint(item.client) + var_uint(item.clock + item.length - 1)


def _same(one: Tree, other: Tree) -> bool:
    """Whether two documents have the same value; what is empty is as good as what is not there."""
    pairs = [(one.roots.get(name, _NONE), other.roots.get(name, _NONE)) for name in {*one.roots, *other.roots}]
    while pairs:
        a, b = pairs.pop()
        (said, inner), (meant, wanted) = _value(a), _value(b)
        if said != meant:
            return False
        pairs += zip(inner, wanted, strict=True)
    return True


def _value(branch: Branch) -> tuple[list[Any], list[Branch]]:
    """What a shared type says, apart from the shared types in it, and these."""
    said: list[Any] = []
    inner: list[Branch] = []
    for chunk, formats in chunks(branch.listed()):
        style = {key: canonical(read_json(value)) for key, value in formats.items()}
        said += [(part, style) for part in ([chunk] if isinstance(chunk, str) else _parts(chunk, inner))]
    said += [(key, list(_parts(item, inner))) for key, item in branch.entries().items()]
    return said, inner


def _parts(item: Item, inner: list[Branch]) -> Iterable[Any]:
    """What an item says, in parts that do not depend on how items were cut; its type is added to `inner`."""
    if item.branch:
        inner.append(item.branch)
        return [(item.branch.kind, item.branch.name)]
    if item.kind == VALUES:
        return [canonical(value) for value in item.value]
    if item.kind == EMBED:
        return [canonical(read_json(read_var_string(item.raw, 0)[0]))]
    if item.kind == DOCUMENT:
        guid, at = read_var_string(item.raw, 0)
        return [(guid, canonical(read_value(item.raw, at)[0]))]
    return [(item.kind, item.raw)]
