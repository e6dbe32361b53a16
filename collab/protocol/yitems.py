"""A document's shared types and the items in them, as `collab.protocol.yorder` reads them out of an update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_string
from collab.protocol.yarrival import Clock
from collab.protocol.yupdate import TEXT

BINARY: Final = 3
EMBED: Final = 5
DELETED: Final = 1
FORMAT: Final = 6
TYPE: Final = 7
DOCUMENT: Final = 9

ROOT: Final = -1

MAX_WORN: Final = 64
"""Times its own size that the formats of a text may come to, told anew with each part: far more than people's texts do.

A text of a megabyte could come to many gigabytes otherwise.
"""
_FREE: Final = 16384


class Branch:
    """A shared type: its items, and those of its entries, as chains of which the last is the entry's value.

    Attributes:
        kind: the number that its type has in updates, or `ROOT`.
        name: of the root, or of the XML element.
    """

    __slots__ = ("firsts", "kind", "lasts", "name")

    def __init__(self, kind: int = ROOT, name: str = "") -> None:
        self.kind = kind
        self.name = name
        self.firsts: dict[str | None, Item] = {}  # under None that of the list
        self.lasts: dict[str | None, Item] = {}

    def items(self) -> Iterator[Item]:
        """The list, what is deleted included."""
        item = self.firsts.get(None)
        while item is not None:
            yield item
            item = item.right

    def listed(self) -> list[Item]:
        """The list without what is deleted."""
        return [item for item in self.items() if not item.deleted]

    def entries(self) -> dict[str, Item]:
        """The entries of a map, or attributes, sorted by key."""
        keys = sorted(key for key, item in self.lasts.items() if key is not None and not item.deleted)
        return {key: self.lasts[key] for key in keys}


class Item:
    """A struct or a part of one.

    Attributes:
        kind: that of its content, as in `ycontent.CONTENT`; nothing else is known of what was deleted.
        value: of text a str, of values a list.
        raw: the content as it was written, of values without their count; empty of text.
        branch: of a shared type that type.
        parent: None as long as it has no place, and of what went with a type that was deleted.
    """

    __slots__ = (
        "branch", "client", "clock", "deleted", "key", "kind", "length", "origin", "parent", "placed", "raw", "right",
        "right_origin", "value",
    )  # fmt: skip

    def __init__(self, client: int, clock: int, length: int, kind: int) -> None:
        self.client = client
        self.clock = clock
        self.length = length
        self.kind = kind
        self.deleted = kind == DELETED
        self.key: str | None = None
        self.value: Any = None
        self.raw = b""
        self.branch: Branch | None = None
        self.parent: Branch | None = None
        self.placed = False
        self.right: Item | None = None
        self.origin: Item | None = None
        self.right_origin: Item | None = None


class Tree(NamedTuple):
    """A document: its roots by name, its items by client and first clock, and all who have written in it."""

    roots: dict[str, Branch]
    items: dict[Clock, Item]
    clients: set[int]


def chunks(items: list[Item]) -> Iterator[tuple[str | Item, dict[str, str]]]:
    """What is listed, as a text: strings as long as they come with the same formats, and single items.

    Formats come as JSON by name, those that are null left out.

    Raises:
        InvalidUpdate: they come to more than `MAX_WORN` allows.
    """
    formats: dict[str, str] = {}
    worn = formats  # by the parts
    parts: list[str] = []
    left = _FREE + MAX_WORN * sum(item.length + len(item.raw) for item in items)
    size = 0  # of `formats`
    for item in items:
        left -= size
        if left < 0:
            raise InvalidUpdate("formats that come to far more than their text")
        if item.kind == FORMAT:
            key, at = read_var_string(item.raw, 0)
            value, _ = read_var_string(item.raw, at)
            formats = {name: formats[name] for name in formats if name != key}
            if value != "null":
                formats[key] = value
            size = sum(len(name) + len(formats[name]) for name in formats)
            continue
        if parts and (item.kind != TEXT or formats != worn):
            yield "".join(parts), worn
            parts = []
        worn = formats
        if item.kind == TEXT:
            parts.append(item.value)
        else:
            yield item, formats
    if parts:
        yield "".join(parts), worn
