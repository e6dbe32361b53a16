"""The store that keeps documents as long as the process lives: for tests, and for trying things out."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from collab.clock import ksuid, unix
from collab.errors import Damaged, Exists, InvalidUpdate, Quarantined, StoreError
from collab.stores.base import NOTICE_AGE, Entry, Loaded, Notes, Person, Record, Store, Version, Whole
from collab.updates import squash


@dataclass(slots=True)
class _Kept:
    """All that there is of one document."""

    epoch: str
    created: float
    changed: float
    updates: list[bytes] = field(default_factory=list)
    versions: list[tuple[Version, bytes]] = field(default_factory=list)  # the latest last
    people: dict[str, Person] = field(default_factory=dict)
    quarantine: str | None = None


class MemoryStore(Store):
    """Keeps everything in this process."""

    blocking = False

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._notices: list[tuple[int, str, float]] = []
        self._numbers = itertools.count(1)

    def load(self, document_id: str) -> Loaded | None:
        kept = self._kept.get(document_id)
        if kept is None:
            return None
        if kept.quarantine is not None:
            raise Quarantined(kept.quarantine)
        return Loaded(kept.epoch, list(kept.updates), kept.versions[-1][0].saved if kept.versions else kept.created)

    def append(self, records: Sequence[Record]) -> frozenset[str]:
        gone = set()
        now = unix()
        for document_id, epoch, update, new in records:
            kept = self._kept.get(document_id)
            if kept is None and new:
                kept = self._kept[document_id] = _Kept(epoch, now, now)
            if kept is None or kept.epoch != epoch or kept.quarantine is not None:
                gone.add(document_id)
            else:
                kept.updates.append(update)
                kept.changed = now
        return frozenset(gone)

    def compact(self, document_id: str, epoch: str) -> int | None:
        kept = self._of(document_id, epoch)
        if kept is None or kept.quarantine is not None or len(kept.updates) < 2:
            return None
        try:
            kept.updates = [squash(kept.updates)]
        except InvalidUpdate as error:
            raise Damaged(str(error)) from None
        return len(kept.updates[0])

    def note_people(self, notes: Iterable[Notes], keep: int) -> None:
        for document_id, epoch, people in notes:
            kept = self._of(document_id, epoch)
            if kept is not None:
                kept.people |= {person.user_id: person for person in people}
                kept.people = {person.user_id: person for person in _last_first(kept)[:keep]}

    def people(self, document_id: str) -> Sequence[Person]:
        kept = self._kept.get(document_id)
        return [] if kept is None else _last_first(kept)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for document_id in sorted(self._kept):
            entry = self.describe(document_id) if document_id.startswith(prefix) else None
            if entry is not None:
                yield entry

    def describe(self, document_id: str) -> Entry | None:
        kept = self._kept.get(document_id)
        if kept is None:
            return None
        size = sum(map(len, kept.updates))
        numbers = len(kept.updates), size, len(kept.versions)
        return Entry(document_id, kept.epoch, kept.created, kept.changed, *numbers, kept.quarantine)

    def delete(self, document_id: str) -> bool:
        there = self._kept.pop(document_id, None) is not None
        if there:
            self.notify(document_id)
        return there

    def read(self, document_id: str) -> Whole | None:
        entry, kept = self.describe(document_id), self._kept.get(document_id)
        if entry is None or kept is None:
            return None
        return Whole(entry, list(kept.updates), kept.versions[::-1], _last_first(kept))

    def write(self, whole: Whole, *, replace: bool = False) -> None:
        entry = whole.entry
        there = entry.document_id in self._kept
        if there and not replace:
            raise Exists(f"there is a document {entry.document_id!r} already")
        known = there or any(name == entry.document_id for _, name in self.notices())
        kept = _Kept(ksuid() if known else entry.epoch, entry.created, entry.changed, quarantine=entry.quarantine)
        kept.updates = [update for update in whole.updates if update is not None]
        for version, content in reversed(whole.versions):
            kept.versions.append((version._replace(id=next(self._numbers)), content))
        kept.people = {person.user_id: person for person in whole.people}
        self._kept[entry.document_id] = kept
        self.notify(entry.document_id)

    @contextmanager
    def snapshot(self) -> Iterator[Store]:
        view = _Snapshot()
        view._kept = copy.deepcopy(self._kept)
        view._notices = list(self._notices)
        yield view

    # ---- versions

    def save_version(self, document_id: str, epoch: str, content: bytes, name: str | None = None) -> Version | None:
        kept = self._of(document_id, epoch)
        if kept is None:
            return None
        version = Version(next(self._numbers), name, unix(), len(content))
        kept.versions.append((version, content))
        return version

    def versions(self, document_id: str) -> Sequence[Version]:
        kept = self._kept.get(document_id)
        return [] if kept is None else [version for version, _ in reversed(kept.versions)]

    def read_version(self, document_id: str, version: int) -> bytes | None:
        kept = self._kept.get(document_id)
        found = [content for known, content in kept.versions if known.id == version] if kept is not None else []
        return found[0] if found else None

    def delete_version(self, document_id: str, version: int) -> bool:
        return self._keep_versions(document_id, lambda known: known.id != version) > 0

    def prune_versions(self, document_id: str, keep: int) -> int:
        unnamed = [version.id for version in self.versions(document_id) if version.name is None]
        kept = set(unnamed[:keep])
        return self._keep_versions(document_id, lambda version: version.name is not None or version.id in kept)

    def _keep_versions(self, document_id: str, which: Callable[[Version], bool]) -> int:
        kept = self._kept.get(document_id)
        if kept is None:
            return 0
        before = len(kept.versions)
        kept.versions = [(version, content) for version, content in kept.versions if which(version)]
        return before - len(kept.versions)

    # ---- quarantine and notices

    def quarantine(self, document_id: str, reason: str) -> None:
        self._mark(document_id, reason)

    def release(self, document_id: str) -> bool:
        kept = self._kept.get(document_id)
        return kept is not None and kept.quarantine is not None and self._mark(document_id, None)

    def _mark(self, document_id: str, reason: str | None) -> bool:
        kept = self._kept.get(document_id)
        if kept is None:
            return False
        kept.quarantine = reason
        self.notify(document_id)
        return True

    def notify(self, document_id: str) -> None:
        now = unix()
        self._notices = [notice for notice in self._notices if notice[2] > now - NOTICE_AGE]
        self._notices.append((next(self._numbers), document_id, now))

    def notices(self) -> Sequence[tuple[int, str]]:
        oldest = unix() - NOTICE_AGE
        return [(number, document_id) for number, document_id, given in self._notices if given > oldest]

    # ---- its own life

    def another(self) -> Store:
        return self

    def check(self) -> None:
        """Nothing can be wrong."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _of(self, document_id: str, epoch: str) -> _Kept | None:
        kept = self._kept.get(document_id)
        return kept if kept is not None and kept.epoch == epoch else None


class _Snapshot(MemoryStore):
    """A copy, which would not pass on what is written to it."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise StoreError("a snapshot is for reading only")

    append = compact = note_people = delete = write = save_version = delete_version = prune_versions = _refuse
    quarantine = release = notify = _refuse


def _last_first(kept: _Kept) -> Sequence[Person]:
    return sorted(kept.people.values(), key=lambda person: (-person.seen, person.user_id))
