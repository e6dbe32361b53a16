"""Documents that begin with a plain text, which whoever gets there first writes, and so may several at once.

Invariants borne here:

* The same document, root and text give the same bytes everywhere: two seeds of a document are one, not two.
* The client that a seed names is above what Yjs draws (32 bits), and tells of which document it is a seed: its upper
  21 bits come from the document's id, its lower 32 from root and text. yrs draws 53 bits, so that one in 2,000,000 of
  its clients is taken for a seed of a given document: nothing but what the server itself began may be withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from collab.protocol.lib0 import var_string, var_uint
from collab.protocol.yupdate import EMPTY_UPDATE

_TEXT_OF_ROOT: Final = b"\x04\x01"
_TAGS: Final = (1 << 21) - 1


def seed(document_id: str, text: str, root: str = "text") -> bytes:
    """The update that gives a new document `text` in the root of that name; `EMPTY_UPDATE` for no text.

    Raises:
        InvalidMessage: a lone surrogate is in one of them.
    """
    if not text:
        return EMPTY_UPDATE
    content = var_string(root) + var_string(text)
    client = _tag(document_id) << 32 | int.from_bytes(sha256(content).digest()[:4], "big")
    return b"\x01\x01" + var_uint(client) + b"\x00" + _TEXT_OF_ROOT + content + b"\x00"


def seed_clients(document_id: str, clients: Iterable[int]) -> set[int]:
    """Those of `clients` that have seeded this document, with whatever text."""
    tag = _tag(document_id)
    return {client for client in clients if client >> 32 == tag}


def withdraw(client: int, length: int) -> bytes:
    """The update that deletes all that the seed `client` brought: `length` UTF-16 code units."""
    if not length:
        return EMPTY_UPDATE
    return b"\x00\x01" + var_uint(client) + b"\x01\x00" + var_uint(length)


def _tag(document_id: str) -> int:
    """Upper bits of the clients that seed a document, never 0."""
    return 1 + int.from_bytes(sha256(var_string(document_id)).digest()[:8], "big") % _TAGS
