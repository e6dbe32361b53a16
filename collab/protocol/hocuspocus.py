"""The Hocuspocus dialect, as @hocuspocus/provider 2 to 4 speak it: many documents on one connection.

Each frame begins with the address of the document that it is about: its name, or with session awareness its name, a NUL
and a session's id. What a client named is repeated exactly as it came. Bare pings and pongs have no address.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from collab.errors import InvalidMessage, TooLarge, UnknownType
from collab.protocol.dialect import Dialect
from collab.protocol.frames import BINARY, encode_frame
from collab.protocol.jsontext import MAX_TEXT
from collab.protocol.lib0 import read_var_bytes, read_var_string, read_var_uint, var_bytes, var_string
from collab.protocol.messages import (
    AskToken,
    Auth,
    Awareness,
    ClientMessage,
    Denied,
    Farewell,
    Granted,
    Ignored,
    Presence,
    QueryAwareness,
    Quit,
    Relay,
    Say,
    ServerMessage,
    SyncStep1,
    SyncStep2,
    Taken,
    Update,
)
from collab.protocol.native import is_relayed, is_the_servers
from collab.protocol.yawareness import encode_awareness
from collab.protocol.ysync import decode_sync, encode_sync

SYNC: Final = 0
AWARENESS: Final = 1
AUTH: Final = 2
QUERY_AWARENESS: Final = 3
SYNC_REPLY: Final = 4
STATELESS: Final = 5
CLOSE: Final = 7
SYNC_STATUS: Final = 8
PING: Final = b"\x09"
PONG: Final = b"\x0a"

MAX_ADDRESS: Final = 2048
"""Bytes of an address: 255 characters of a name, and a session's id."""
MAX_TOKEN: Final = 16384
"""Characters of a token."""

_TOKEN, _DENIED, _GRANTED = range(3)


class Envelope(NamedTuple):
    """Whom a frame is for."""

    address: bytes
    """The varString itself, length included."""
    kind: int


def open_envelope(payload: bytes) -> Envelope:
    """Read the beginning of a client's frame.

    Raises:
        InvalidMessage: it is truncated.
        TooLarge: the address is over `MAX_ADDRESS`.
    """
    size, at = read_var_uint(payload, 0)
    if size > MAX_ADDRESS:
        raise TooLarge(f"address over {MAX_ADDRESS} bytes")
    kind, _ = read_var_uint(payload, at + size)
    return Envelope(payload[: at + size], kind)


class Hocuspocus(Dialect):
    """The dialect as it is spoken about one address.

    Args:
        address: as in an `Envelope`.
    """

    __slots__ = ("address",)

    name = "hocuspocus"
    hears_itself = True
    told_of_each = True

    def __init__(self, address: bytes) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hocuspocus) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

    @property
    def document_name(self) -> str:
        """The name of the document that the address is about; U+FFFD stands where it is not UTF-8."""
        return read_var_bytes(self.address, 0)[0].decode(errors="replace").partition("\0")[0]

    def decode(self, payload: bytes, text: bool) -> ClientMessage:
        if text:
            return Ignored("text")
        kind, at = read_var_uint(payload, len(self.address))
        if kind in (SYNC, SYNC_REPLY):
            message = decode_sync(payload, at)
            return message._replace(reply=True) if kind and isinstance(message, SyncStep1) else message
        if kind == AWARENESS:
            body, at = read_var_bytes(payload, at)
            _check_end(payload, at)
            return Awareness(body)
        if kind == AUTH:
            return _decode_auth(payload, at)
        if kind == STATELESS:
            said, at = read_var_string(payload, at)
            _check_end(payload, at)
            if len(said) > MAX_TEXT:
                raise TooLarge(f"stateless message over {MAX_TEXT} characters")
            relayed = is_relayed(said)
            if not relayed and is_the_servers(said):
                raise InvalidMessage("a stateless message that only the server sends")
            return Relay(said, relayed)
        if kind == QUERY_AWARENESS:
            return QueryAwareness()
        if kind == CLOSE:
            return Quit()
        raise UnknownType("no such message type, or one that only the server sends")

    def encode(self, message: ServerMessage) -> bytes:
        if isinstance(message, (Update, SyncStep1, SyncStep2)):
            body = bytes((SYNC,)) + encode_sync(message)
        elif isinstance(message, Presence):
            body = bytes((AWARENESS,)) + var_bytes(encode_awareness(message.entries))
        elif isinstance(message, Taken):
            body = bytes((SYNC_STATUS, message.taken))
        elif isinstance(message, Relay):
            body = bytes((STATELESS,)) + var_string(message.text)
        elif isinstance(message, Say):
            body = bytes((STATELESS,)) + var_string(message.json)
        elif isinstance(message, Granted):
            scope = "readonly" if message.rights == "read" else "read-write"
            body = bytes((AUTH, _GRANTED)) + var_string(scope)
        elif isinstance(message, Denied):
            body = bytes((AUTH, _DENIED)) + var_string(message.reason)
        elif isinstance(message, AskToken):
            body = bytes((AUTH, _TOKEN))
        elif isinstance(message, Farewell):
            body = bytes((CLOSE,)) + var_string(message.reason)
        else:
            return b""
        return encode_frame(BINARY, self.address + body)


def _decode_auth(payload: bytes, at: int) -> Auth:
    step, at = read_var_uint(payload, at)
    if step != _TOKEN:
        raise InvalidMessage("an authentication message that only the server sends")
    token, at = read_var_string(payload, at)
    if len(token) > MAX_TOKEN:
        raise TooLarge(f"token over {MAX_TOKEN} characters")
    version: str | None = None
    if at < len(payload):
        version, at = read_var_string(payload, at)
    _check_end(payload, at)
    return Auth(token, version)


def _check_end(payload: bytes, at: int) -> None:
    if at != len(payload):
        raise InvalidMessage("bytes behind the end of a message")
