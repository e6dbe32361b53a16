"""The keeper of documents that are at rest: opens them, and puts them in order when they are left.

Invariants borne here:

* Bytes that cannot be read put a document in quarantine; they are never opened half, and never overwritten.
* A document is begun from plain text under a client that only the text and the document's name decide, so that two
  who begin it at once begin it once.
* What goes wrong here costs order (a version, a compaction), never content.

Methods that ask the store switch greenlets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from collab.clock import ksuid, now, unix
from collab.config import Settings
from collab.document import Document
from collab.errors import Damaged, InvalidUpdate, Quarantined, StoreError
from collab.journal import RECORD_COST, Journal, Unstored
from collab.logs import logger, tell
from collab.metrics import Metrics
from collab.offloop import OffLoop
from collab.protocol.yupdate import EMPTY_STATE_VECTOR, parse_state_vector
from collab.room import Room
from collab.seeds import seed, seed_clients
from collab.stores.base import Loaded, Notes, Person, Store
from collab.updates import beyond, contain, is_known, settle, state_vector

MAX_PEOPLE: Final = 1000
"""Members that are remembered of each document; those seen last stay."""

PAUSE: Final = 30.0
"""Seconds for which documents are not kept in order after the store has failed at it."""

QUARANTINED: Final = (
    "Document %(document)r cannot be read and is in quarantine: %(error)s. Look with `collab quarantine show`; restore "
    "it from a backup, or let it go on with `collab quarantine release`."
)

Seed = Callable[[str], str | None]
"""Given the id of a document that does not exist yet, the plain text that it begins with, or None."""

log = logger(__name__)


class Opened(NamedTuple):
    """A document to make a room of."""

    document: Document
    journal: Journal
    seeds: set[int]


class Archive:
    """Opens documents and keeps them in order.

    Args:
        store: nobody else's.
        settings: sizes and times.
        metrics: where to count.
        seed_text: what documents begin with, if not empty.

    Attributes:
        unstored: what waits in the journals of all that was opened here.
    """

    def __init__(self, store: Store, settings: Settings, metrics: Metrics, seed_text: Seed | None = None) -> None:
        self.unstored = Unstored(settings.max_unstored)
        self._off = OffLoop(store)
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._seed_text = seed_text
        self._noticed: set[int] = set()
        self._again: set[str] = set()
        self._again_at = 0.0

    # ---- opening

    def open(self, document_id: str) -> Opened:
        """A document from the store, or a new one.

        Raises:
            Quarantined: it is in quarantine, or is from here on.
            StoreError: it cannot be told; trying again is right.
        """
        try:
            loaded = self._off.call(self._store.load, document_id)
            if loaded is None:
                return self._begin(document_id)
            document = self._off.call(read_document, loaded.updates)
        except (Damaged, InvalidUpdate) as error:
            self._off.call(self._store.quarantine, document_id, str(error))
            self._metrics.count("quarantined")
            tell(log, logging.ERROR, QUARANTINED, document=document_id, error=error)
            raise Quarantined(str(error)) from None
        journal = self._journal(document_id, loaded)
        return Opened(document, journal, _seeds(document_id, document))

    def _journal(self, document_id: str, loaded: Loaded, *, new: bool = False) -> Journal:
        sizes = [len(update) + RECORD_COST for update in loaded.updates] or [0]
        return Journal(
            self.unstored,
            document_id,
            loaded.epoch,
            new=new,
            base=sizes[0],
            tail=sum(sizes[1:]),
            versioned=loaded.versioned,
            at_once=self._settings.ack == "applied",
            most=self._settings.max_document_size,
        )

    def _begin(self, document_id: str) -> Opened:
        document = Document()
        journal = self._journal(document_id, Loaded(ksuid(), (), unix()), new=True)
        text = self._seed_text(document_id) if self._seed_text is not None else None
        if text:
            document.apply([seed(document_id, text)])
            journal.record(document.news())
        return Opened(document, journal, _seeds(document_id, document))

    # ---- order

    def due(self, room: Room) -> bool:
        """Whether a version of `room` is to be saved by itself."""
        interval, journal = self._settings.version_interval, room.journal
        return bool(interval) and journal.changes > journal.versioned_changes and unix() - journal.versioned >= interval

    def save_version(self, room: Room, name: str | None = None) -> None:
        """Keep the document as it is now as a version, and no more of those without a name than are to be kept."""
        journal, changes = room.journal, room.journal.changes
        content = room.document.diff(EMPTY_STATE_VECTOR, ours=True)
        version = self._off.call(self._store.save_version, room.document_id, journal.epoch, content, name)
        if version is not None:
            journal.versioned, journal.versioned_changes = version.saved, changes
            self._metrics.count("versions")
            self._off.call(self._store.prune_versions, room.document_id, self._settings.version_keep)

    def compact(self, room: Room) -> None:
        """Have one update in the store in place of many."""
        size = self._off.call(self._store.compact, room.document_id, room.journal.epoch)
        if size is not None:
            self._metrics.count("compactions")
        room.journal.compacted(room.journal.base if size is None else size + RECORD_COST)

    def note_people(self, rooms: Iterable[Room]) -> None:
        """Remember who has been in rooms since this was last asked."""
        seen, notes, noted_rooms = unix(), [], {}
        for room in rooms:
            if room.people and not room.journal.new:
                people, room.people = room.people, {}
                noted_rooms[room] = people
                noted = [Person(user_id, name, seen) for user_id, name in people.items()]
                notes.append(Notes(room.document_id, room.journal.epoch, noted))
        if notes:
            try:
                self._off.call(self._store.note_people, notes, MAX_PEOPLE)
            except StoreError as error:
                for room in noted_rooms:
                    room.people = {**noted_rooms[room], **room.people}
                self._failed(
                    "Who was in %(documents)d documents could not be noted: %(error)s", error, documents=len(notes)
                )

    def large(self, room: Room) -> bool:
        """Whether `room` has gained so much that it is worth a compaction; as much as it was, for a large one."""
        journal = room.journal
        return journal.tail >= max(self._settings.compact_size, journal.base) or (journal.full and journal.tail > 0)

    @property
    def resting(self) -> bool:
        """Whether the store has just failed at keeping documents in order, and is let alone with that for a while."""
        return now() < self._again_at

    def wanted(self, room: Room) -> bool:
        """Whether there is something for `keep_in_order` to do now."""
        return self.due(room) or self.large(room)

    def keep_in_order(self, room: Room) -> None:
        """Do what is due while people are in `room`."""
        if self.due(room):
            self._try(room, self.save_version)
        if self.large(room):
            self._try(room, self.compact)

    def left_in_order(self, room: Room) -> bool:
        """Whether nothing is left to do for `room` now that nobody is in it."""
        journal = room.journal
        return journal.finished == journal.changes and (journal.new or not room.people)

    def leave_in_order(self, room: Room) -> None:
        """Do what is due when nobody is in `room` any more and all of it is stored."""
        changes = room.journal.changes
        try:
            self.note_people([room])
            if self.due(room):
                self._try(room, self.save_version)
            if room.journal.tail > room.journal.base // 4:
                self._try(room, self.compact)
        finally:
            room.journal.finished = changes

    def _try(self, room: Room, work: Callable[[Room], None]) -> None:
        try:
            work(room)
        except (StoreError, InvalidUpdate) as error:
            text = "Document %(document)r is stored, but could not be kept in order: %(error)s"
            self._failed(text, error, document=room.document_id)

    def _failed(self, text: str, error: Exception, **facts: object) -> None:
        """Count it, and let the store alone with such things for a while; each while is told of once."""
        self._metrics.count("store_failures")
        if now() >= self._again_at:
            tell(log, logging.WARNING, text, error=error, **facts)
        self._again_at = now() + PAUSE

    # ---- what others have done to the store

    def noticed(self) -> set[str]:
        """Documents that somebody else has changed since this was last asked, and those that `again` was told of."""
        notices = self._off.call(self._store.notices)
        fresh = {document_id for number, document_id in notices if number not in self._noticed}
        self._noticed = {number for number, _ in notices}
        again, self._again = self._again, set()
        return fresh | again

    def again(self, document_ids: Iterable[str]) -> None:
        """Say these again when `noticed` is asked next: nothing could be made of it now."""
        self._again |= set(document_ids)

    def refresh(self, room: Room) -> bool:
        """Take into `room` what others have stored; False if its document is another one by now, or none."""
        new = room.journal.new
        try:
            loaded = self._off.call(self._store.load, room.document_id)
        except Quarantined:
            return False  # whoever comes back is told
        except Damaged as error:
            text = "What the store has of document %(document)r is damaged, and what is open here goes on: %(error)s"
            tell(log, logging.ERROR, text, document=room.document_id, error=error)
            return True
        if loaded is None:
            return new
        if loaded.epoch != room.journal.epoch:
            return False
        content = self._off.call(settle, loaded.updates).content
        room.adopt(self._off.call(beyond, content, room.document.state_vector()))
        self._give_back(room, content)
        return True

    def _give_back(self, room: Room, content: bytes) -> None:
        """Store what `room` has and the store does not: it may have been put back from an earlier time.

        What is on its way to the store is then stored twice, which does no harm.
        """
        clocks = self._off.call(state_vector, content)
        more = room.document.diff(clocks, ours=True)
        if not self._off.call(is_known, more, clocks, self._off.call(beyond, content, clocks), ours=True):
            room.journal.record([more])

    def close(self, timeout: float) -> None:
        """Let go of the store."""
        self._off.close(timeout)


def read_document(updates: Sequence[bytes]) -> Document:
    """Make a document of what a store has of it.

    Raises:
        InvalidUpdate: it cannot be read.
    """
    content, rest = settle(updates)
    try:
        document = Document(content)
    except BaseException as error:
        contain(error)
        raise InvalidUpdate(f"content that cannot be read: {error}") from None
    if rest is not None:
        document.apply([rest])
    return document


def _seeds(document_id: str, document: Document) -> set[int]:
    return seed_clients(document_id, parse_state_vector(document.state_vector(), ours=True))
