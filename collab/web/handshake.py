"""What is decided about an upgrade before it is answered: is it one, which document, which dialect, who.

Bound here: whatever a request lacks or claims wrongly is a `HandshakeRefused` with a status and a code; nothing that
the client sent is repeated in it.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from collab.errors import HandshakeRefused
from collab.member import Identity
from collab.protocol.dialect import Dialect
from collab.protocol.native import NATIVE
from collab.protocol.ywebsocket import YWEBSOCKET

MAX_NAME: Final = 255
"""Characters in a document id, a user id or a user name."""

YJS: Final = "yjs"
COLLAB_BINARY: Final = "collab.binary"


class Upgrade(NamedTuple):
    """An upgrade that may be granted."""

    document_id: str
    dialect: Dialect
    subprotocol: str | None
    identity: Identity


def check_upgrade(environ: Mapping[str, Any]) -> None:
    """Check that the request is a WebSocket handshake that this server speaks (RFC 6455 §4.2.1).

    Raises:
        HandshakeRefused: 426 for no upgrade or another version, 400 for a bad key, 501 for TLS in this process.
    """
    wanted = (
        environ["REQUEST_METHOD"] == "GET"
        and environ["SERVER_PROTOCOL"] != "HTTP/1.0"
        and environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and "upgrade" in _tokens(environ.get("HTTP_CONNECTION", "").lower())
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
    if not _is_name(document_id):
        text = "A document id is 1 to 255 characters of valid UTF-8 without control characters"
        raise HandshakeRefused(400, "bad_document_id", text)
    return document_id


def choose(document_id: str, native: bool, offers: str, query: Mapping[str, str]) -> Upgrade:
    """Settle dialect, subprotocol and user.

    Args:
        document_id: checked.
        native: whether it came in on the native path.
        offers: the client's `Sec-WebSocket-Protocol`.
        query: the query's parameters.

    Raises:
        HandshakeRefused: 400, `user_id` or `user_name` is not 1 to 255 characters without control characters.
    """
    user_id = query.get("user_id") or f"anonymous-{secrets.token_hex(8)}"
    session_id = query.get("session_id") or None
    user_name = query.get("user_name") or query.get("user_id") or "Anonymous"
    if not (_is_name(user_id) and _is_name(user_name)):
        text = "user_id and user_name are 1 to 255 characters without control characters"
        raise HandshakeRefused(400, "bad_user", text)
    identity = Identity(user_id, user_name, not query.get("user_id"), session_id)
    offered = _tokens(offers)
    if not native or YJS in offered:
        identity = identity._replace(session_id=None)
        return Upgrade(document_id, YWEBSOCKET, YJS if YJS in offered else None, identity)
    binary = COLLAB_BINARY in offered
    dialect = NATIVE[binary, query.get("awareness") == "json"]
    return Upgrade(document_id, dialect, COLLAB_BINARY if binary else None, identity)


def _tokens(header: str) -> list[str]:
    return [token.strip() for token in header.split(",")]


def _is_name(text: str) -> bool:
    """Control characters are C0, DEL and C1; U+FFFD stands where a decoder found no UTF-8."""
    return 0 < len(text) <= MAX_NAME and not any(c < " " or "\x7f" <= c <= "\x9f" or c == "\ufffd" for c in text)
