"""What is decided about an upgrade before it is answered: is it one, which document, which dialect, which token.

Bound here: whatever a request lacks or claims wrongly is a `HandshakeRefused` with a status and a code; nothing that
the client sent is repeated in it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from collab.errors import HandshakeRefused
from collab.names import is_name
from collab.protocol.dialect import Dialect
from collab.protocol.native import NATIVE
from collab.protocol.ywebsocket import YWEBSOCKET, YWEBSOCKET_EVENTS

YJS: Final = "yjs"
COLLAB_BINARY: Final = "collab.binary"
NATIVE_JSON: Final = "collab.json"
"""What is spoken without a subprotocol as well: for browsers, which need one back when they offer a token as one."""
TOKEN: Final = "collab.token."
"""What a token among the subprotocols begins with: browsers cannot set headers."""


class Upgrade(NamedTuple):
    """An upgrade that may be granted."""

    dialect: Dialect
    subprotocol: str | None
    session_id: str | None
    """The session that a native client says it had, and wants to go on with."""


def check_upgrade(environ: Mapping[str, Any]) -> None:
    """Check that the request is a WebSocket handshake that this server speaks (RFC 6455 §4.2.1).

    Raises:
        HandshakeRefused: 426 for no upgrade or another version, 400 for a bad key, 501 for TLS in this process.
    """
    wanted = (
        environ["REQUEST_METHOD"] == "GET"
        and environ["SERVER_PROTOCOL"] != "HTTP/1.0"
        and environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and "upgrade" in split_header(environ.get("HTTP_CONNECTION", "").lower())
        and environ.get("HTTP_SEC_WEBSOCKET_VERSION") == "13"
    )
    if not wanted:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        raise HandshakeRefused(426, "upgrade_required", "This address speaks WebSocket, version 13", headers)
    try:
        key = base64.b64decode(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 16 or not environ.get("HTTP_HOST"):
        raise HandshakeRefused(400, "bad_handshake", "No Host, or a Sec-WebSocket-Key that is not 16 bytes in base 64")
    if environ.get("wsgi.url_scheme") == "https" and hasattr(environ.get("gunicorn.socket"), "cipher"):
        text = "This server does not end TLS itself: put a proxy such as nginx in front of it"
        raise HandshakeRefused(501, "tls_not_supported", text)


def read_document_id(raw_path: str, prefix: str) -> str:
    """The document id behind `prefix` in a WSGI `PATH_INFO` (percent-decoded bytes as Latin-1).

    Raises:
        HandshakeRefused: 400, it is not 1 to 255 characters of valid UTF-8 without control characters.
    """
    try:
        document_id = raw_path.encode("latin-1").decode()[len(prefix) :]
    except UnicodeError:
        document_id = ""
    if not is_name(document_id):
        text = "A document id is 1 to 255 characters of valid UTF-8 without control characters"
        raise HandshakeRefused(400, "bad_document_id", text)
    return document_id


def choose(native: bool, offers: Sequence[str], query: Mapping[str, str]) -> Upgrade:
    """Settle dialect and subprotocol.

    Args:
        native: whether it came in on the native path.
        offers: the client's subprotocols.
        query: the query's parameters.
    """
    if not native or YJS in offers:
        dialect: Dialect = YWEBSOCKET_EVENTS if query.get("events") == "1" else YWEBSOCKET
        return Upgrade(dialect, YJS if YJS in offers else None, None)
    chosen = next((name for name in (COLLAB_BINARY, NATIVE_JSON) if name in offers), None)
    dialect = NATIVE[chosen == COLLAB_BINARY, query.get("awareness") == "json"]
    return Upgrade(dialect, chosen, query.get("session_id") or None)


def read_token(environ: Mapping[str, Any], offers: Sequence[str], query: Mapping[str, str]) -> str | None:
    """The token that a client shows: as a bearer, in the query, or among its subprotocols (`collab.token.<token>`).

    The first of them counts. None if there is none, or it is empty.
    """
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return str(token.strip())
    offered = (offer.removeprefix(TOKEN) for offer in offers if offer.startswith(TOKEN))
    return query.get("token") or next(filter(None, offered), None)


def split_header(header: str) -> list[str]:
    """The values of a header that is a list."""
    return [value.strip() for value in header.split(",")]
