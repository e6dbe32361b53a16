"""Versions of documents while the server runs: listed, read, saved, and brought back under the hands of those at work.

Invariants borne here:

* The store is asked, and versions are compared, in a thread of their own: neither the loop nor the documents that are
  being opened wait for it.
* A version is brought back by an edit of the open document, one at a time: whoever is in it gets that as any other
  edit, and two who ask at once do not get it twice.
* What is saved or brought back here is on disk when it is answered.

All methods switch greenlets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from gevent import sleep
from gevent.lock import BoundedSemaphore

from collab.clock import now
from collab.content import to_json, to_text
from collab.errors import DOCUMENT_FULL, NOT_STORABLE, HandshakeRefused, Quarantined, StoreError, TooLarge
from collab.history import revert
from collab.offloop import OffLoop
from collab.protocol.jsontext import dump_json
from collab.protocol.yupdate import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from collab.room import Room
from collab.rooms import Rooms
from collab.stores.base import Store, Version
from collab.updates import settle

FORMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "text": lambda content: to_text(content).encode(),
    "json": lambda content: dump_json(to_json(content)).encode(),
    "update": bytes,
}
"""How a version can be shown, and what makes it so of one update."""

MAX_CONTENT: Final = 4 * 1024 * 1024
"""Bytes of a document or version that is taken apart here: a second or two of work for each in the worst case."""

MAX_NAMED: Final = 1000
"""Versions with a name that a document may have: nobody but an operator deletes them."""

STORE_TIMEOUT: Final = 10.0
"""Seconds that what was brought back may take to be stored."""


class Facts(NamedTuple):
    """What there is to know of a document before it is opened."""

    exists: bool
    epoch: str | None


class Restored(NamedTuple):
    """What came of bringing a version back."""

    version: Version
    before: Version | None
    """What the document was until then; None where that was what the version is."""


class Versions:
    """The versions of all documents of one process.

    Args:
        store: nobody else's.
        rooms: the documents that are open.
    """

    def __init__(self, store: Store, rooms: Rooms) -> None:
        self._off = OffLoop(store)
        self._rooms = rooms
        self._turn = BoundedSemaphore(1)

    def describe(self, document_id: str) -> Facts:
        """Whether there is a document.

        Raises:
            Quarantined: it cannot be opened.
            StoreError: it cannot be told now.
        """
        room = self._rooms.map.get(document_id)
        if room is not None:
            return Facts(not room.journal.new, room.journal.epoch)
        entry = self._off.call(self._off.store.describe, document_id)
        if entry is not None and entry.quarantine is not None:
            raise Quarantined(entry.quarantine)
        return Facts(entry is not None, entry and entry.epoch)

    def read(self, document_id: str, form: str) -> bytes | None:
        """The content of a document as it is now, in one of `FORMS`; None if there is no such document.

        Raises:
            InvalidUpdate: it cannot be shown so.
            Quarantined: it cannot be opened.
            StoreError: it cannot be had now.
            TooLarge: it is larger than `MAX_CONTENT`, and is not wanted as an update.
        """
        room = self._rooms.map.get(document_id)
        if room is not None:
            content = self._content(room)
        else:
            loaded = self._off.call(self._off.store.load, document_id)
            if loaded is None:
                return None
            content = self._off.call(settle, loaded.updates).content
        if form != "update" and len(content) > MAX_CONTENT:
            raise TooLarge(
                f"the document is larger than {MAX_CONTENT} bytes: read it as an update, which may be any size"
            )
        return self._off.call(FORMS[form], content)

    def list(self, document_id: str) -> Sequence[Version]:
        """A document's versions, the latest first.

        Raises:
            HandshakeRefused: 404, there is no such document.
            StoreError: they cannot be told now.
        """
        found = self._off.call(self._off.store.versions, document_id)
        unknown = not found and document_id not in self._rooms.map
        if unknown and self._off.call(self._off.store.describe, document_id) is None:
            raise _no_document()
        return found

    def find(self, document_id: str, number: int) -> Version:
        """The facts about a version.

        Raises:
            HandshakeRefused: 404, there is no such document or version.
            StoreError: they cannot be told now.
        """
        for version in self.list(document_id):
            if version.id == number:
                return version
        raise _no_version()

    def show(self, document_id: str, number: int, form: str) -> bytes:
        """The content of a version in one of `FORMS`.

        Raises:
            HandshakeRefused: 404, there is no such document or version; 413, it is larger than `MAX_CONTENT`.
            InvalidUpdate: it cannot be shown so.
            StoreError: it cannot be had now, or what the store has is damaged.
        """
        return self._off.call(FORMS[form], self._read(document_id, number))

    def _read(self, document_id: str, number: int) -> bytes:
        _check_size(self.find(document_id, number).size)
        content = self._off.call(self._off.store.read_version, document_id, number)
        if content is None:
            raise _no_version()
        return content

    def save(self, document_id: str, name: str) -> Version:
        """Keep a document as it is now, until an operator deletes that.

        Raises:
            HandshakeRefused: 404, there is no such document; 409, it has `MAX_NAMED` of them, or is gone meanwhile.
            Quarantined: it cannot be opened.
            StoreError: that cannot be done now.
        """
        with self._turn, self._opened(document_id) as room:
            return self._save(room, self._content(room), name)

    def restore(self, document_id: str, number: int, name: str) -> Restored:
        """Bring a document back to a version, after having saved what it is until now as `name`.

        Raises:
            HandshakeRefused: as `show` and `save`; 409 as well where the document is full.
            InvalidUpdate: there is no edit that does it.
            Quarantined: it cannot be opened.
            StoreError: that cannot be done now.
        """
        with self._turn, self._opened(document_id) as room:
            version = self.find(document_id, number)
            content = self._content(room)
            _check_size(len(content))
            update = self._off.call(revert, content, self._read(document_id, number))
            if update == EMPTY_UPDATE:
                return Restored(version, None)
            before = self._save(room, content, name)
            self._amend(room, update)
            return Restored(version, before)

    def _amend(self, room: Room, update: bytes) -> None:
        """Make an edit of our own, and wait until it is stored."""
        _check_open(room)
        if room.journal.unstored.full:
            raise StoreError(NOT_STORABLE)
        if room.journal.full and update[0]:
            raise HandshakeRefused(409, "document_full", DOCUMENT_FULL)
        room.amend(update)
        self._wait_stored(room)

    def _content(self, room: Room) -> bytes:
        room.commit()
        return room.document.diff(EMPTY_STATE_VECTOR, ours=True)

    def _save(self, room: Room, content: bytes, name: str) -> Version:
        store = self._off.store
        if room.journal.new:
            self._wait_stored(room)  # until then the store has nothing to keep a version of
            if room.journal.new:
                raise _no_document()
        known = self._off.call(store.versions, room.document_id)
        if sum(version.name is not None for version in known) >= MAX_NAMED:
            text = f"The document has {MAX_NAMED} versions with names: its operator has to delete some"
            raise HandshakeRefused(409, "too_many_versions", text)
        version = self._off.call(store.save_version, room.document_id, room.journal.epoch, content, name)
        if version is None:
            raise _changed()
        return version

    @contextmanager
    def _opened(self, document_id: str) -> Iterator[Room]:
        """The room of a document that there is; while it is worked on only the loss of its document closes it."""
        if document_id not in self._rooms.map and not self.describe(document_id).exists:
            raise _no_document()
        room = self._rooms.enter(document_id)
        room.held += 1
        try:
            yield room
        finally:
            room.held -= 1
            if room.deserted:
                self._rooms.release(room)

    def _wait_stored(self, room: Room) -> None:
        latest, deadline = room.journal.latest, now() + STORE_TIMEOUT
        while room.journal.unstored.stored < latest:
            if now() >= deadline:
                raise StoreError("it was done, but is not stored yet; it will be as soon as that can be")
            sleep(0.01)
        _check_open(room)

    def close(self, timeout: float) -> None:
        """Let go of the store."""
        self._off.close(timeout)


def _check_open(room: Room) -> None:
    if room.closed or room.journal.abandoned:
        raise _changed()


def _check_size(size: int) -> None:
    if size > MAX_CONTENT:
        text = f"It is larger than {MAX_CONTENT} bytes: `collab versions` on the server's machine takes any size"
        raise HandshakeRefused(413, "too_large", text)


def _no_document() -> HandshakeRefused:
    return HandshakeRefused(404, "no_document", "There is no such document yet: it begins with the first edit")


def _no_version() -> HandshakeRefused:
    return HandshakeRefused(404, "no_version", "The document has no such version")


def _changed() -> HandshakeRefused:
    return HandshakeRefused(409, "changed", "The document was replaced or deleted meanwhile: look again")
