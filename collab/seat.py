"""One address of a connection with many sessions: somebody who wants into a document, or is in it."""

from __future__ import annotations

from collab.protocol.hocuspocus import Hocuspocus
from collab.session import Session


class Seat:
    """One address: somebody who wants into a document, or is in it.

    Attributes:
        session: who is in; None until then.
        held: what came before that.
        deciding: whether somebody is deciding, or opening the document.
        admitted: whether that is decided.
        gone: whether nobody wants in any more.
        by: when it has to be decided.
        version: of the provider, if it tells.
    """

    __slots__ = ("admitted", "by", "deciding", "dialect", "gone", "held", "session", "version")

    def __init__(self, dialect: Hocuspocus, by: float) -> None:
        self.dialect = dialect
        self.session: Session | None = None
        self.held: list[bytes] = []
        self.deciding = self.admitted = self.gone = False
        self.by = by
        self.version: str | None = None
