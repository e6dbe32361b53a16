"""Between the rooms and the store: sees to it that what rooms gain is stored, and that their documents are in order.

Invariants borne here:

* At most one greenlet at a time keeps one document in order.
* What others have stored reaches the rooms that have the document open, or ends them where it is another one by now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import Final

from collab.archive import Archive, Seed
from collab.config import Settings
from collab.crew import Crew
from collab.errors import InvalidUpdate, StoreError
from collab.events import Events
from collab.journal import Journal
from collab.logs import logger, tell
from collab.metrics import Metrics
from collab.room import Room
from collab.saver import Saver
from collab.stores.base import Store

LACKING: Final = (
    "yrs refuses an edit of document %(document)r that was found to fit, told and stored; its members have to come "
    "again. Please report this."
)

log = logger(__name__)


class Caretaker:
    """Looks after the documents of the rooms of one process.

    Args:
        settings: sizes and times.
        store: where documents are kept.
        metrics: where to count.
        crew: where greenlets come from.
        rooms: by document id; the hub's.
        loading: ids of documents that will be among them; the hub's.
        release: called with a room that nobody is in, to look whether it can go.
        gone: called with a room whose document is another one in the store by now, or none.
        events: where to tell what happens.
        seed_text: what new documents begin with.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        crew: Crew,
        rooms: Mapping[str, Room],
        loading: Container[str],
        release: Callable[[Room], None],
        gone: Callable[[Room], None],
        events: Events,
        seed_text: Seed | None,
    ) -> None:
        self.archive = Archive(store.another(), settings, metrics, seed_text)
        unstored = self.archive.unstored
        self.saver = Saver(store, unstored, settings, metrics, self._stored, self._clean, self._lost)
        self._metrics = metrics
        self._crew = crew
        self._rooms = rooms
        self._loading = loading
        self._release = release
        self._gone = gone
        self._events = events
        self._looking = False
        self._blind = False  # what others do could not be told when it was last asked

    def start(self) -> None:
        """Start the saver."""
        self.saver.start(self._crew)

    def may_go(self, room: Room) -> bool:
        """Whether nothing is left to do for `room`, which nobody is in; if something is, it is begun or waited for."""
        if not room.journal.clean:
            room.journal.follow()
            return False
        if not self.archive.left_in_order(room):
            self._care(room, self.archive.leave_in_order)
            return False
        return not room.journal.busy

    def _stored(self, journals: Sequence[Journal]) -> None:
        self._events.stored(journal.document_id for journal in journals if not journal.abandoned)

    def _clean(self, journal: Journal) -> None:
        if journal.room is not None and journal.room.deserted:
            self._release(journal.room)

    def _lost(self, journal: Journal) -> None:
        if journal.room is not None:  # else it is seen when it is to be opened
            self._gone(journal.room)

    def _care(self, room: Room, work: Callable[[Room], None]) -> None:
        if not room.journal.busy:
            room.journal.busy = True
            self._crew.spawn("care", self._take_care, room, work)

    def _take_care(self, room: Room, work: Callable[[Room], None]) -> None:
        try:
            work(room)
        finally:
            room.journal.busy = False
            # Where the store has just failed, its turn comes with the next clean-up.
            if room.deserted and (self.archive.left_in_order(room) or not self.archive.resting):
                self._release(room)

    def tick(self) -> None:
        """Begin what is due, in greenlets of its own."""
        resting, full = self.archive.resting, self.archive.unstored.full
        for room in self._rooms.values():
            if not resting and self.archive.wanted(room):
                self._care(room, self.archive.keep_in_order)
            if room.document.lacking:
                self._start_over(room)
            if room.turned_away and not (full or room.journal.full):
                room.ask_again()
        if self._rooms and not self._looking:
            self._looking = True
            self._crew.spawn("notices", self._look_around)

    def _start_over(self, room: Room) -> None:
        """Have the members of a room come again, and bring what its document lacks, though it was told and stored."""
        room.document.lacking = False
        self._metrics.count("room_faults")
        for member in room.members():
            member.lost()
        tell(log, logging.ERROR, LACKING, document=room.document_id)

    def _look_around(self) -> None:
        """Note who is here, and follow what others have done to the documents that are open here."""
        try:
            self.archive.note_people(list(self._rooms.values()))
            self._follow(self.archive.noticed())
        except StoreError as error:
            self._metrics.count("store_failures")
            if not self._blind:
                self._blind = True
                log.warning("What others have stored cannot be told now: %s", error)
        else:
            if self._blind:
                # Notices are kept for ten minutes, and this may have been longer.
                self._blind = False
                self.archive.again(self._rooms)
        finally:
            self._looking = False

    def _follow(self, changed: Collection[str]) -> None:
        """Bring the rooms of documents up to date that others have changed."""
        for document_id in changed:
            room = self._rooms.get(document_id)
            try:
                if room is None and document_id in self._loading:
                    self.archive.again([document_id])  # what is being loaded may be older than that
                elif room is not None and not self.archive.refresh(room):
                    self._gone(room)
            except (StoreError, InvalidUpdate) as error:
                self._metrics.count("store_failures")
                text = "What others have made of document %(document)r cannot be told now: %(error)s"
                tell(log, logging.WARNING, text, document=document_id, error=error)
                self.archive.again([document_id])

    def put_away(self, timeout: float) -> None:
        """Store what is not stored yet, and who was here. Switches greenlets."""
        if not self.saver.flush(timeout):
            lost = [room.document_id for room in self._rooms.values() if not room.journal.clean]
            log.error(
                "%d bytes of changes to %d documents could not be stored and are lost with this process, unless a "
                "client that has them comes back: %s. %s",
                self.archive.unstored.size,
                len(lost),
                ", ".join(map(repr, lost[:10])),
                self.saver.trouble,
            )
        elif self.saver.trouble is None:
            self.archive.note_people(list(self._rooms.values()))
        self.saver.stop()

    def close(self, timeout: float) -> None:
        """Let go of the store, in twice so many seconds at most. Switches greenlets."""
        self.archive.close(timeout)
        self.saver.close(timeout)
