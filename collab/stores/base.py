"""The contract of a store: what the rest of the package knows of it, and what one test suite holds all stores to.

A document is its epoch and its updates. The epoch is drawn when a document begins: one that was deleted or lost and
begun anew has another one, and so has one that was put in the place of another. Whoever has the former one open is
told, instead of being mixed with the new.

Rules for every store, tested under `kill -9`:

* What a method has written when it returns survives the loss of the process and of power.
* Each method takes effect as a whole or not at all.
* `compact` never changes what `load` returns, taken as a document.
* Any number of stores, in any number of processes, may be open on the same data.

Methods block: they are called off the loop, each store object by one thread at a time (`another` gives one more). Times
are seconds since 1970. All methods raise `StoreError` when the store cannot do what is asked: nothing was done then as
far as is known, and asking again is right; only `append` may have taken effect all the same, which does no harm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

NOTICE_AGE: Final = 600.0
"""Seconds for which a notice is kept."""


class Record(NamedTuple):
    """What a document gained in a while, as one update."""

    document_id: str
    epoch: str
    update: bytes
    new: bool
    """The store had no such document when it was opened: make it."""


class Loaded(NamedTuple):
    """A document, to be opened."""

    epoch: str
    updates: Sequence[bytes]
    """In the order in which they were stored; the first is usually most of it."""
    versioned: float
    """When its latest version was saved, or when it was made if there is none."""


class Entry(NamedTuple):
    """A document, to be listed."""

    document_id: str
    epoch: str
    created: float
    changed: float
    records: int
    size: int
    """Bytes of its updates; not those of its versions."""
    versions: int
    quarantine: str | None
    """Why it is in quarantine, if it is."""


class Version(NamedTuple):
    """A document as it was at some time."""

    id: int
    name: str | None
    """None for one that was saved by itself."""
    saved: float
    size: int


class Person(NamedTuple):
    """Somebody who has been in a document."""

    user_id: str
    user_name: str
    seen: float
    """When last."""


class Notes(NamedTuple):
    """Who was in a document."""

    document_id: str
    epoch: str
    people: Sequence[Person]


class Whole(NamedTuple):
    """All that a store has of one document, as it goes into a backup."""

    entry: Entry
    updates: Sequence[bytes | None]
    """None for one that is damaged."""
    versions: Sequence[tuple[Version, bytes]]
    """The latest first, without those that are damaged."""
    people: Sequence[Person]


class Store(ABC):
    """Keeps documents beyond their rooms."""

    blocking = True
    """Whether methods wait for anything outside of the process."""

    # ---- what a room needs

    @abstractmethod
    def load(self, document_id: str) -> Loaded | None:
        """A document; None when there is none.

        Raises:
            Quarantined: it is in quarantine; the text says why.
            Damaged: its bytes are not those that were stored.
        """

    @abstractmethod
    def append(self, records: Sequence[Record]) -> frozenset[str]:
        """Store what documents have gained, in one go; some may be of the same document.

        Returns:
            The ids of documents of which a record was not stored: the store has another epoch of them, or none where
            the record is not of a new one, or they are in quarantine. All the others are stored.
        """

    @abstractmethod
    def compact(self, document_id: str, epoch: str) -> int | None:
        """Replace a document's updates by one (`collab.updates.squash`), unless that is what it has.

        Updates that come meanwhile stay. Does nothing where the document is in quarantine, gone or of another epoch,
        or where somebody else compacts it at the same time.

        Returns:
            The size of the one update in bytes; None where nothing was done.

        Raises:
            Damaged: its bytes are not those that were stored.
        """

    @abstractmethod
    def note_people(self, notes: Iterable[Notes], keep: int) -> None:
        """Remember who was in documents, in one go; of more than `keep` in one those seen last.

        Nothing where the document is gone or of another epoch.
        """

    @abstractmethod
    def people(self, document_id: str) -> Sequence[Person]:
        """Who has been in a document, last seen first."""

    # ---- what people need

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All documents whose ids begin with `prefix`, by id; read as they are asked for."""

    @abstractmethod
    def describe(self, document_id: str) -> Entry | None:
        """One document; None when there is none."""

    @abstractmethod
    def delete(self, document_id: str) -> bool:
        """Forget a document with all its versions and people; whether there was one. Gives a notice of it."""

    @abstractmethod
    def read(self, document_id: str) -> Whole | None:
        """All that there is of a document, in quarantine and damaged or not; None when there is none."""

    @abstractmethod
    def write(self, whole: Whole, *, replace: bool = False) -> None:
        """Store what `read` gave, here or elsewhere; damaged updates are left out. Gives a notice of it.

        Where `replace` takes the place of a document, or notice was given of one of that name in the last ten minutes
        and so somebody may still have it open, it gets an epoch of its own; the rest is as it was.

        Raises:
            Exists: there is such a document, and it is not to be replaced.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Store]:
        """A view of everything as it is now, for reading only, that later writes do not change."""

    # ---- versions

    @abstractmethod
    def save_version(self, document_id: str, epoch: str, content: bytes, name: str | None = None) -> Version | None:
        """Keep `content` (one update) as a version; None if the document is gone."""

    @abstractmethod
    def versions(self, document_id: str) -> Sequence[Version]:
        """A document's versions, the latest first."""

    @abstractmethod
    def read_version(self, document_id: str, version: int) -> bytes | None:
        """The content of a version; None when there is none.

        Raises:
            Damaged: its bytes are not those that were stored.
        """

    @abstractmethod
    def delete_version(self, document_id: str, version: int) -> bool:
        """Forget a version; whether there was one."""

    @abstractmethod
    def prune_versions(self, document_id: str, keep: int) -> int:
        """Forget all but the latest `keep` of the versions without a name; how many."""

    # ---- quarantine

    @abstractmethod
    def quarantine(self, document_id: str, reason: str) -> None:
        """Keep a document as it is: it can neither be loaded nor changed until it is released. Gives a notice of it."""

    @abstractmethod
    def release(self, document_id: str) -> bool:
        """End a document's quarantine; whether it was in one. Gives a notice of it."""

    # ---- notices: what a process that has a document open must hear of

    @abstractmethod
    def notify(self, document_id: str) -> None:
        """Give notice that somebody who has no room of it has changed a document; kept for ten minutes."""

    @abstractmethod
    def notices(self) -> Sequence[tuple[int, str]]:
        """The notices of the last ten minutes: a number that is never used again, and the document's id."""

    # ---- its own life

    @abstractmethod
    def another(self) -> Store:
        """A store on the same data, for another thread."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that the store can be written to; raise StoreError with what to do if not."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. Idempotent; the next call opens them again."""
