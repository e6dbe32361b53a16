"""The contract of a store, which is the only thing that the rest of the package knows of it."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Store(ABC):
    """Keeps documents beyond their rooms."""

    @abstractmethod
    def load(self, document_id: str) -> bytes | None:
        """The document's content as one Yjs update (v1); None when there is no such document.

        May wait, and is called in a greenlet of its own; never twice at once for one document.

        Raises:
            StoreError: it cannot be told; whoever wants the document is told to come back later.
        """
