"""The store that keeps nothing: a document lives as long as its room, which is its memory."""

from __future__ import annotations

from collab.stores.base import Store


class MemoryStore(Store):
    """Every document is new when its first visitor comes, and gone with its last."""

    def load(self, document_id: str) -> bytes | None:
        return None
