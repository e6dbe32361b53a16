"""Edit histories for tests: several pycrdt clients at work on all kinds of shared types, now and then in step."""

from __future__ import annotations

from random import Random
from typing import Any

import pycrdt

from collab.document import Document

CHUNKS = ("a", "bc", "héllo ", "😀", "漢字", "x😀y", "\n", "👍🏽é")
FORMATS: tuple[dict[str, Any], ...] = ({"bold": True}, {"bold": None}, {"i": {"a": [1]}}, {"link": {"href": "x&y"}})
VALUES: tuple[Any, ...] = (1, 2.5, "s😀", None, True, b"\x01\x02", {"k": [1, {"z": 2}], "b": 1}, [1, [2]], 2**40, "")


class History:
    """Clients with one document; `version()` is what the server has of it."""

    def __init__(self, random: Random, clients: int = 3) -> None:
        self.random = random
        self.docs: list[pycrdt.Doc[Any]] = [pycrdt.Doc(client_id=10 + n) for n in range(clients)]
        self.server = Document()

    def version(self) -> bytes:
        """The server's document, as it would be stored."""
        return self.server.diff(b"\x00")

    def edit(self, count: int) -> None:
        """Make edits at random, and send some of them about; at the end everybody has all of them."""
        for _ in range(count):
            doc = self.random.choice(self.docs)
            self._step(doc)
            if self.random.random() < 0.4:
                self.sync(doc)
        for _ in range(2):
            for doc in self.docs:
                self.sync(doc)

    def sync(self, doc: pycrdt.Doc[Any]) -> None:
        """Bring a client and the server to the same state."""
        refused = self.server.apply([doc.get_update(self.server.state_vector())])
        assert not refused and not self.server.early
        doc.apply_update(self.server.diff(doc.get_state()))

    def _step(self, doc: pycrdt.Doc[Any]) -> None:
        random = self.random
        kind = random.randrange(4)
        if kind == 0:
            self._write(doc.get(random.choice(("t", "u")), type=pycrdt.Text))
        elif kind == 1:
            self._list(doc.get("a", type=pycrdt.Array))
        elif kind == 2:
            self._set(doc.get("m", type=pycrdt.Map), 0)
        else:
            self._mark_up(doc.get("x", type=pycrdt.XmlFragment), 0)

    def _at(self, text: Any) -> int:
        """A position in a text, in the bytes that pycrdt counts in."""
        whole = str(text) if isinstance(text, pycrdt.Text) else "".join(str(part) for part, _ in text.diff())
        return len(whole[: self.random.randint(0, len(whole))].encode())

    def _write(self, text: Any) -> None:
        random = self.random
        whole = "".join(part if isinstance(part, str) else "\x00" for part, _ in text.diff())
        start, end = sorted(random.randint(0, len(whole)) for _ in range(2))
        if "\x00" in whole:  # an embed's length is one
            first, last = (len(whole[:n].encode()) for n in (start, end))
        else:
            first, last = len(whole[:start].encode()), len(whole[:end].encode())
        action = random.randrange(6)
        if action < 3 or not whole:
            text.insert(first, random.choice(CHUNKS), random.choice((None, None, *FORMATS)))
        elif action == 3:
            del text[first:last]
        elif action == 4:
            text.format(first, last, random.choice(FORMATS))
        elif isinstance(text, pycrdt.Text):
            text.insert_embed(first, random.choice(({"img": "x"}, 1, "e")), random.choice((None, {"bold": True})))

    def _list(self, array: Any) -> None:
        random = self.random
        at = random.randint(0, len(array))
        action = random.randrange(5)
        if action < 2:
            array[at:at] = [random.choice(VALUES) for _ in range(random.randint(1, 4))]
        elif action == 2:
            array.insert(at, self._new(0))
        elif action == 3 and at < len(array):
            del array[at : random.randint(at, len(array))]
        elif at < len(array):
            self._inside(array[at], 0)

    def _set(self, entries: Any, level: int) -> None:
        random = self.random
        key = random.choice("kpq")
        action = random.randrange(5)
        if action < 2:
            entries[key] = random.choice(VALUES)
        elif action == 2:
            entries[key] = self._new(level)
        elif action == 3 and key in entries:
            del entries[key]
        elif key in entries:
            self._inside(entries[key], level + 1)

    def _inside(self, value: object, level: int) -> None:
        if isinstance(value, pycrdt.Map):
            self._set(value, level)
        elif isinstance(value, pycrdt.Array):
            self._list(value)
        elif isinstance(value, pycrdt.Text):
            self._write(value)

    def _new(self, level: int) -> Any:
        choice = self.random.randrange(3)
        if choice == 0:
            return pycrdt.Text(self.random.choice(CHUNKS))
        if choice == 1 or level > 2:
            return pycrdt.Array([1, "z", pycrdt.Text("in")])
        return pycrdt.Map({"deep": pycrdt.Map({"er": pycrdt.Text("t")}), "n": 1})

    def _mark_up(self, parent: Any, level: int) -> None:
        random = self.random
        children = parent.children
        at = random.randint(0, len(children))
        action = random.randrange(6)
        if action == 0 or (action < 3 and not len(children)):
            new = pycrdt.XmlElement(random.choice("pb"), {"c": random.choice("vw&")}, [pycrdt.XmlText("hi")])
            children.insert(at, new)
        elif action == 1:
            children.insert(at, pycrdt.XmlText(random.choice(CHUNKS)))
        elif action == 2:
            del children[random.randrange(len(children))]
        elif at < len(children):
            child = children[at]
            if isinstance(child, pycrdt.XmlText):
                self._write(child)
            elif random.random() < 0.3:
                child.attributes[random.choice("cd")] = random.choice("xyz")
            elif level < 4:
                self._mark_up(child, level + 1)
