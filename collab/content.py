"""Documents for people: as JSON, and as plain text.

What a root is, an update does not say. It is found out from what is in the root (`_shape`):

* entries alone make a map; text, formats or embeds make a text; XML elements and texts alone make XML; anything else
  that is listed makes an array;
* a root that has been emptied is a map if it had entries, otherwise a text: nothing is left that tells it from others;
* a root that has both, as Yjs 14 allows, becomes ``{"attrs": entries, "children": list}``, save in XML elements.

XML is well-formed, where Yjs' own leaves ``<`` and ``&`` as they are. Shared types that nest deeper than `MAX_LEVELS`
are refused, since JSON's readers and writers would not get through them.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import read_var_bytes, read_var_string
from collab.protocol.yitems import BINARY, DOCUMENT, EMBED, FORMAT, TYPE, Branch, Item, chunks
from collab.protocol.yorder import read_trees
from collab.protocol.yupdate import TEXT, VALUES
from collab.protocol.yvalues import as_json, read_json
from collab.updates import settle

MAX_LEVELS: Final = 200
"""Nesting of shared types: two to three frames of Python each, of which it allows 1,000 in all."""

_ARRAY: Final = 0
_MAP: Final = 1
_TEXT: Final = 2
_ELEMENT: Final = 3
_FRAGMENT: Final = 4
_XML_TEXT: Final = 6
_XML: Final = (_ELEMENT, _FRAGMENT, _XML_TEXT)

_BREAKS: Final = ("br", "hardBreak", "hard_break")
_NO_NAME: Final = re.compile(r"[^\w.:-]")


def to_json(content: bytes) -> dict[str, Any]:
    """The roots of a document, given as one update, by name: what `json.dumps` can write.

    A text is a str, or a list of ``{"insert": ..., "attributes": {...}}`` if it has formats or embeds; XML is a str.
    Bytes are in base64, a bigint above 2**53 is a str (a float once yrs has rounded it), a subdocument is
    ``{"guid": ...}``; undefined, NaN and the infinities are None.

    Raises:
        InvalidUpdate: the update cannot be read, or nests deeper than `MAX_LEVELS`.
    """
    return {name: _json(root, 0) for name, root in _roots(content)}


def to_text(content: bytes) -> str:
    """What there is to read in a document, given as one update: its roots in the order of their names.

    Texts are as they are, without formats and embeds. XML elements are on lines of their own, unless they stand beside
    text; line breaks (`br`, `hardBreak`, `hard_break`) are such. Of maps, by key, and of arrays each string is a line.

    Raises:
        InvalidUpdate: the update cannot be read, or nests deeper than `MAX_LEVELS`.
    """
    page = _Page()
    for _, root in _roots(content):
        page.end()
        page.add(root, 0)
    return "\n".join("".join(line) for line in page.lines)


def _shape(branch: Branch, listed: list[Item]) -> int:
    """What a shared type with these items listed is, as updates number types: 0, 1, 2, 3, 4 or 6."""
    # Yjs 14 calls everything that has no name a fragment.
    if branch.kind in (_ARRAY, _MAP, _TEXT, _ELEMENT, _XML_TEXT):
        return branch.kind
    if any(item.kind in (TEXT, EMBED, FORMAT) for item in listed):
        return _TEXT
    if listed:
        xml = all(item.branch is not None and item.branch.kind in (_ELEMENT, _XML_TEXT) for item in listed)
        return _FRAGMENT if xml else _ARRAY
    if branch.firsts.keys() - {None}:
        return _MAP
    return _TEXT if branch.kind != _FRAGMENT else _FRAGMENT


def _roots(content: bytes) -> list[tuple[str, Branch]]:
    (tree,) = read_trees([settle([content]).content])
    return sorted(tree.roots.items())


def _deeper(level: int) -> int:
    if level >= MAX_LEVELS:
        raise InvalidUpdate("shared types nested too deep")
    return level + 1


def _json(branch: Branch, level: int) -> Any:
    listed, entries = branch.listed(), branch.entries()
    kind = _shape(branch, listed)
    level = _deeper(level)
    if kind == _ELEMENT:
        return _xml(branch, level)
    attributes = {key: _values(item, level)[0] for key, item in entries.items()}
    if kind == _MAP and not listed:
        return attributes
    if kind in _XML:
        children: Any = _inner_xml(listed, level)
    elif kind == _TEXT:
        children = _delta(listed, level)
    else:
        children = [value for item in listed for value in _values(item, level)]
    return {"attrs": attributes, "children": children} if attributes else children


def _values(item: Item, level: int) -> list[Any]:
    """What an item of an array, an entry or an embed is in JSON."""
    if item.branch is not None:
        return [_json(item.branch, level)]
    if item.kind == BINARY:
        return [as_json(read_var_bytes(item.raw, 0)[0])]
    if item.kind == EMBED:
        return [as_json(read_json(read_var_string(item.raw, 0)[0]))]
    if item.kind == DOCUMENT:
        return [{"guid": read_var_string(item.raw, 0)[0]}]
    if item.kind == TEXT:
        return [item.value]
    return [as_json(value) for value in item.value] if item.kind != FORMAT else []


def _delta(listed: list[Item], level: int) -> str | list[dict[str, Any]]:
    """A text, or its delta."""
    found = list(chunks(listed))
    if all(isinstance(chunk, str) and not formats for chunk, formats in found):
        return "".join(str(chunk) for chunk, _ in found)
    delta: list[dict[str, Any]] = []
    for chunk, formats in found:
        for value in [chunk] if isinstance(chunk, str) else _values(chunk, level):
            insert = {"insert": value}
            if formats:
                insert["attributes"] = {key: as_json(read_json(raw)) for key, raw in sorted(formats.items())}
            delta.append(insert)
    return delta


def _xml(branch: Branch, level: int) -> str:
    """A shared type as XML, its own tag included."""
    level = _deeper(level)
    if branch.kind != _ELEMENT:
        return _inner_xml(branch.listed(), level) if branch.kind == _XML_TEXT else escape(_said(_json(branch, level)))
    tag = _NO_NAME.sub("_", branch.name)
    values = {key: _said(_values(item, level)[0]) for key, item in branch.entries().items()}
    return f"<{tag}{_attributes(values)}>{_inner_xml(branch.listed(), level)}</{tag}>"


def _inner_xml(listed: list[Item], level: int) -> str:
    """What an element, a fragment or a text of XML has in it; formats become elements."""
    out: list[str] = []
    for chunk, formats in chunks(listed):
        if isinstance(chunk, str):
            said = escape(chunk)
        elif chunk.branch is not None:
            said = _xml(chunk.branch, level)
        else:
            said = "".join(escape(_said(value)) for value in _values(chunk, level))
        for key in sorted(formats, reverse=True):
            tag = _NO_NAME.sub("_", key)
            value = as_json(read_json(formats[key]))
            values = {name: _said(value[name]) for name in sorted(value)} if isinstance(value, dict) else {}
            said = f"<{tag}{_attributes(values)}>{said}</{tag}>"
        out.append(said)
    return "".join(out)


def _attributes(values: dict[str, str]) -> str:
    return "".join(f" {_NO_NAME.sub('_', name)}={quoteattr(value)}" for name, value in values.items())


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Page:
    """Lines of text, the last of which may be open for more."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []
        self._open = False

    def write(self, text: str) -> None:
        """Add to the open line, or to a new one."""
        if not self._open:
            self.lines.append([])
            self._open = True
        self.lines[-1].append(text)

    def end(self) -> None:
        """What comes next is on a new line."""
        self._open = False

    def add(self, branch: Branch, level: int) -> None:
        """Add what there is to read in a shared type, nested ones included."""
        listed = branch.listed()
        kind = _shape(branch, listed)
        level = _deeper(level)
        beside = kind == _ELEMENT and any(
            item.kind == TEXT or (item.branch is not None and item.branch.kind == _XML_TEXT) for item in listed
        )
        for item in listed:
            if item.kind == TEXT:
                self.write(item.value)
            elif item.kind == TYPE and item.branch is not None and beside:
                if item.branch.name in _BREAKS:
                    self.write("\n")
                self.add(item.branch, level)
            elif item.kind in (TYPE, VALUES):
                self._add_line(item, level)
        if kind not in _XML:
            for item in branch.entries().values():
                self._add_line(item, level)

    def _add_line(self, item: Item, level: int) -> None:
        """Add an item on a line of its own; an XML element that is empty is an empty line."""
        self.end()
        if item.branch is not None:
            before = len(self.lines)
            self.add(item.branch, level)
            if len(self.lines) == before and item.branch.kind == _ELEMENT:
                self.write("")
        elif item.kind == VALUES:
            self._add_strings(item.value)
        self.end()

    def _add_strings(self, values: list[Any]) -> None:
        for value in values:
            if isinstance(value, str):
                self.end()
                self.write(value)
            elif isinstance(value, list | dict):
                self._add_strings(list(value.values()) if isinstance(value, dict) else value)
