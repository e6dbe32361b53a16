"""Every error that `collab` raises, whose fault it is, and how it is answered.

    CollabError
    ├── ConfigError            the operator's: a setting that cannot work; raised at start-up
    ├── StoreError             ours: the store could not do what was asked
    │   ├── Damaged            what it has is not what was stored
    │   ├── Quarantined        the document is kept as it is until an operator has looked
    │   └── Exists             there is such a document already
    ├── HandshakeRefused       the client's (or ours: 503): the upgrade is answered with an HTTP status
    │   ├── Unauthenticated    who it is cannot be told
    │   └── Forbidden          who it is may not do this
    └── ProtocolError          the peer's: what it sent cannot be taken
        ├── InvalidMessage     the session goes on, its client is told
        │   ├── UnknownType
        │   ├── InvalidUpdate
        │   ├── TooLarge
    │   ├── ReadOnly
    │   ├── RateLimited
    │   ├── DocumentFull
        │   └── NotStorable    ours: the store is away, and as much as may be is kept in memory already
        └── FrameError         the stream itself is broken: the socket is closed with `close_code`

Bound here: a decoder given bytes from the network raises `ProtocolError` and nothing else, and no message of
these errors repeats what the peer sent.
"""

from __future__ import annotations

from typing import Final


class CollabError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigError(CollabError):
    """A setting that cannot work; the text names the setting and says what to do."""


class StoreError(CollabError):
    """The store could not load or keep a document; the text says what to do."""


class Damaged(StoreError):
    """What the store has of a document is not what was stored."""


class Quarantined(StoreError):
    """The document is in quarantine: kept as it is, and not opened, until an operator has looked."""


class Exists(StoreError):
    """There is such a document already."""


class HandshakeRefused(CollabError):
    """An upgrade that is answered with an HTTP error instead of 101.

    Args:
        status: HTTP status code.
        code: machine-readable code of the JSON body, such as ``bad_document_id``.
        message: what happened and what to do, for the person at the other end.
        headers: further response headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


class Unauthenticated(HandshakeRefused):
    """Who it is cannot be told: no token, or one that is not valid (any more)."""

    def __init__(self, message: str) -> None:
        super().__init__(401, "unauthenticated", message, {"WWW-Authenticate": "Bearer"})


class Forbidden(HandshakeRefused):
    """Who it is may not be in the document, or not from that page."""

    def __init__(self, message: str, code: str = "forbidden") -> None:
        super().__init__(403, code, message)


class ProtocolError(CollabError):
    """What a peer sent cannot be taken.

    `code` is the wire code of the native protocol's error message and the label of the metric.
    """

    code = "invalid_message"


class InvalidMessage(ProtocolError):
    """One message is refused; the session goes on."""


class UnknownType(InvalidMessage):
    """A message whose type byte is not in the dialect's table."""

    code = "unknown_type"


class InvalidUpdate(InvalidMessage):
    """A document update, state vector or awareness update that is malformed or hostile."""

    code = "invalid_update"


class TooLarge(InvalidMessage):
    """A message or state over one of the limits."""

    code = "too_large"


class ReadOnly(InvalidMessage):
    """An update of somebody who may only read."""

    code = "read_only"


class RateLimited(InvalidMessage):
    """More often than may be."""

    code = "rate_limited"


class DocumentFull(InvalidMessage):
    """An update of a document that is as large as it may become."""

    code = "document_full"


class NotStorable(InvalidMessage):
    """An update that is not taken because the store is away and `COLLAB_MAX_UNSTORED` is reached."""

    code = "not_storable"


class FrameError(ProtocolError):
    """The WebSocket stream is broken; nothing after it can be read.

    Args:
        close_code: RFC 6455 close code that tells the peer why (1002, 1003, 1007, 1008, 1009).
        message: the reason given in the close frame.
    """

    code = "bad_frame"

    def __init__(self, close_code: int, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code


NOT_STORABLE: Final = (
    "The server cannot store changes now and keeps no more of them in memory: this one was not taken. "
    "You will be asked for it again when it can."
)
DOCUMENT_FULL: Final = "The document is as large as it may become (COLLAB_MAX_DOCUMENT_SIZE): this change was not taken"
