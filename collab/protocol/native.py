"""The native dialect: JSON text frames and binary frames that start with a type byte (docs/native-protocol.md).

Four variants of one dialect: server events as JSON text or, for subprotocol `collab.binary`, as binary frames; and
presence as awareness updates or as JSON. What a client says as JSON and the server does not define is relayed to
the others exactly as it came.
"""

from __future__ import annotations

from typing import Any, Final

from collab.errors import InvalidMessage, ProtocolError, UnknownType
from collab.protocol.dialect import Dialect
from collab.protocol.frames import BINARY, TEXT, encode_frame
from collab.protocol.jsontext import dump_json, parse_json
from collab.protocol.lib0 import read_var_bytes, read_var_uint, var_bytes, var_string, var_uint
from collab.protocol.messages import (
    Ack,
    AskToken,
    Auth,
    Awareness,
    AwarenessJson,
    ClientMessage,
    Error,
    Granted,
    InitialState,
    Join,
    Leave,
    Ping,
    Pong,
    Presence,
    QueryAwareness,
    Relay,
    Say,
    ServerMessage,
    SyncStep1,
    SyncStep2,
    Update,
)
from collab.protocol.yawareness import encode_awareness
from collab.protocol.ysync import decode_sync, encode_sync

SYNC: Final = 0
SYNC_UPDATE: Final = 1
AWARENESS: Final = 2
QUERY_AWARENESS: Final = 3
ACK: Final = 4
JOIN: Final = 10
LEAVE: Final = 11
INITIAL_STATE: Final = 12
RELAY: Final = 13
ERROR: Final = 99

_SERVERS_OWN: Final = frozenset((ACK, JOIN, LEAVE, INITIAL_STATE, RELAY, ERROR))
_SERVERS_OWN_TEXT: Final = frozenset(("join", "leave", "initial_state", "error", "pong", "ack", "say"))
_PARTS: Final = ("user", "cursor", "state")


class Native(Dialect):
    """One variant of the dialect; use the instances in `NATIVE`."""

    __slots__ = ("binary", "json_presence")

    name = "native"
    numbers_updates = True

    def __init__(self, binary: bool, json_presence: bool) -> None:
        self.binary = binary
        self.json_presence = json_presence

    def with_json_presence(self) -> Dialect:
        return NATIVE[self.binary, True]

    def decode(self, payload: bytes, text: bool) -> ClientMessage:
        if text:
            return _decode_text(payload.decode())
        kind, at = read_var_uint(payload, 0)
        if kind == SYNC:
            return decode_sync(payload, at)
        if kind in (SYNC_UPDATE, AWARENESS):
            body, at = read_var_bytes(payload, at)
            message: ClientMessage = Update(body) if kind == SYNC_UPDATE else Awareness(body)
        elif kind == QUERY_AWARENESS:
            message = QueryAwareness()
        elif kind in _SERVERS_OWN:
            raise InvalidMessage("a message type that only the server sends")
        else:
            raise UnknownType("no such binary message type")
        if at != len(payload):
            raise InvalidMessage("bytes behind the end of a message")
        return message

    def encode(self, message: ServerMessage) -> bytes:
        if isinstance(message, Update):
            return encode_frame(BINARY, bytes((SYNC_UPDATE,)) + var_bytes(message.update))
        if isinstance(message, (SyncStep1, SyncStep2)):
            return encode_frame(BINARY, bytes((SYNC,)) + encode_sync(message))
        if isinstance(message, Ack):
            return encode_frame(BINARY, bytes((ACK,)) + var_uint(message.number))
        if isinstance(message, Presence) and not self.json_presence:
            return encode_frame(BINARY, bytes((AWARENESS,)) + var_bytes(encode_awareness(message.entries)))
        kind, text = _event(message)
        if not text:
            return b""
        if self.binary and kind:
            return encode_frame(BINARY, bytes((kind,)) + var_string(text))
        if self.binary:
            # JSON presence and pongs have no binary type, and this variant never gets a text frame.
            return encode_frame(BINARY, bytes((RELAY,)) + var_string(text))
        return encode_frame(TEXT, text.encode())


NATIVE: Final = {(binary, presence): Native(binary, presence) for binary in (False, True) for presence in (False, True)}
"""The variants by (server events as binary frames, presence as JSON)."""


def _decode_text(text: str) -> ClientMessage:
    message = parse_json(text)
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str):
        raise InvalidMessage('a text message is a JSON object with a "type" that is a string')
    if kind == "awareness":
        return AwarenessJson({part: message[part] for part in _PARTS if part in message})
    if kind == "query_awareness":
        return QueryAwareness(json=True)
    if kind == "ping":
        return Ping()
    if kind == "auth":
        token = message.get("token")
        if not isinstance(token, str):
            raise InvalidMessage('an auth message has a "token" that is a string')
        return Auth(token)
    if kind in _SERVERS_OWN_TEXT:
        raise InvalidMessage("a message type that only the server sends, or that this server does not take")
    return Relay(text)


def is_relayed(text: str) -> bool:
    """Whether a native client could have sent this to the others."""
    try:
        return isinstance(_decode_text(text), Relay)
    except ProtocolError:
        return False


def is_the_servers(text: str) -> bool:
    """Whether this would pass for something that the server says to everybody (`Say`)."""
    try:
        message = parse_json(text)
    except ProtocolError:
        return False
    return isinstance(message, dict) and message.get("type") == "say"


def _event(message: ServerMessage) -> tuple[int, str]:
    """A server event's binary type (0: it has none) and JSON text; no text where the dialect has no words for it."""
    if isinstance(message, Relay):
        return RELAY, message.text if message.json else ""
    if isinstance(message, Join):
        return JOIN, dump_json({"type": "join", "user": {"id": message.user_id, "name": message.user_name}})
    if isinstance(message, Leave):
        return LEAVE, dump_json({"type": "leave", "user": {"id": message.user_id, "name": message.user_name}})
    if isinstance(message, InitialState):
        state = {"session": message.session, "users": message.users, "epoch": message.epoch}
        head = dump_json({"type": "initial_state", **state})
        return INITIAL_STATE, f'{head[:-1]},"awareness":{_states(message.awareness)}}}'
    if isinstance(message, Error):
        error: dict[str, Any] = {"type": "error", "code": message.code, "message": message.message}
        if message.update is not None:
            error["update"] = message.update
        return ERROR, dump_json(error)
    if isinstance(message, Say):
        return 0, message.json
    if isinstance(message, AskToken):
        return 0, '{"type":"auth"}'
    if isinstance(message, Granted):
        return 0, dump_json({"type": "auth", "rights": message.rights})
    if isinstance(message, Presence):
        return 0, f'{{"type":"awareness","awareness":{_states(message.entries)}}}' if message.entries else ""
    if isinstance(message, Pong):
        return 0, '{"type":"pong"}'
    return 0, ""


def _states(entries: dict[int, tuple[int, str | None]]) -> str:
    """Presence as a JSON object; the states are JSON texts already and go in as they came."""
    return "{" + ",".join(f'"{client}":{state or "null"}' for client, (_, state) in entries.items()) + "}"
