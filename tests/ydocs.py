"""Yjs documents and messages for tests, made with pycrdt."""

from __future__ import annotations

import pycrdt

from collab.protocol.lib0 import read_var_bytes, read_var_uint, var_bytes


class Editor:
    """A Yjs client's document; `text` is its one root, and each edit gives the update that says it.

    Args:
        client_id: a number that Yjs would have drawn; random by default.
        native: whether what it reads is of the native dialect, whose short form of Update is y-websocket's awareness.
    """

    def __init__(self, client_id: int | None = None, *, native: bool = False) -> None:
        self.native = native
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client_id)
        self.text = self.doc.get("text", type=pycrdt.Text)

    def type(self, text: str) -> bytes:
        """Append `text`; the update."""
        return self.insert(len(self.text), text)

    def insert(self, at: int, text: str) -> bytes:
        """Insert `text` before the byte `at`; the update."""
        before = self.doc.get_state()
        self.text.insert(at, text)
        return self.doc.get_update(before)

    def delete(self, start: int, stop: int) -> bytes:
        """Delete from the text; the update."""
        before = self.doc.get_state()
        del self.text[start:stop]
        return self.doc.get_update(before)

    def read(self, message: object) -> None:
        """Take what a message brings to the document; what is no document sync is left alone."""
        if not isinstance(message, bytes):
            return
        if message[:2] in (b"\x00\x01", b"\x00\x02"):
            self.doc.apply_update(read_var_bytes(message, 2)[0])
        elif self.native and message[:1] == b"\x01":
            self.doc.apply_update(read_var_bytes(message, 1)[0])

    @property
    def clocks(self) -> dict[int, int]:
        """What the document holds, by client: unlike state vectors, equal for equal documents."""
        return clocks(self.doc.get_state())

    def __str__(self) -> str:
        return str(self.text)


def clocks(state_vector: bytes) -> dict[int, int]:
    """A state vector's clock by client; the bytes themselves come in no particular order."""
    count, at = read_var_uint(state_vector, 0)
    found = {}
    for _ in range(count):
        client, at = read_var_uint(state_vector, at)
        found[client], at = read_var_uint(state_vector, at)
    return found


def step1(state_vector: bytes = b"\x00") -> bytes:
    """A SyncStep1, alike in both dialects."""
    return b"\x00\x00" + var_bytes(state_vector)


def step2(update: bytes) -> bytes:
    """A SyncStep2, alike in both dialects."""
    return b"\x00\x01" + var_bytes(update)


def update(update: bytes) -> bytes:
    """An Update, alike in both dialects."""
    return b"\x00\x02" + var_bytes(update)


def yjs_awareness(client: int, clock: int, state: str) -> bytes:
    """An awareness message of the y-websocket dialect about one client with a small id."""
    from collab.protocol.yawareness import encode_awareness

    return b"\x01" + var_bytes(encode_awareness({client: (clock, None if state == "null" else state)}))
