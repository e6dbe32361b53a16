"""The y-websocket dialect, as y-websocket 1 to 3, @y/websocket 4, y-sweet and pycrdt's provider speak it.

One message a frame, binary only: clients up to 3.0 read one message of a frame and break on text. Codes that are
not in the table are overlooked, as this family's clients and servers do.

A client that asks for them gets the server's own words as well (`EVENT`); the others would log an error.
"""

from __future__ import annotations

from typing import Final

from collab.errors import InvalidMessage, TooLarge
from collab.protocol.dialect import Dialect
from collab.protocol.frames import BINARY, encode_frame
from collab.protocol.lib0 import read_var_bytes, read_var_uint, var_bytes, var_string
from collab.protocol.messages import (
    Awareness,
    ClientMessage,
    Error,
    Ignored,
    Presence,
    QueryAwareness,
    Say,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Update,
)
from collab.protocol.yawareness import encode_awareness
from collab.protocol.ysync import decode_sync, encode_sync

SYNC: Final = 0
AWARENESS: Final = 1
AUTH: Final = 2
QUERY_AWARENESS: Final = 3
SYNC_STATUS: Final = 102
EVENT: Final = 103
MAX_STATUS: Final = 256
"""Bytes of a sync-status, which is kept until all that was sent before it is stored; y-sweet's is a number."""
_UPDATE: Final = bytes((SYNC, 2))
_HEADS: Final = tuple(encode_frame(BINARY, _UPDATE + bytes((size,)) + bytes(size))[:5] for size in range(123))
"""What comes before an update of so many bytes, frame and all, while a byte holds the size of either."""


class YWebsocket(Dialect):
    """One variant of the dialect; use the instances `YWEBSOCKET` and `YWEBSOCKET_EVENTS`."""

    __slots__ = ("events",)

    name = "yjs"
    # Clients give a connection up that brought them no message for 30 s; pings do not count for them.
    keepalive = 20.0
    hears_itself = True

    def __init__(self, events: bool) -> None:
        self.events = events

    def decode(self, payload: bytes, text: bool) -> ClientMessage:
        if text:
            return Ignored("text")
        if payload[:2] == _UPDATE and len(payload) > 2 and payload[2] == len(payload) - 3 < 0x80:
            # nearly all traffic: one small update
            return Update(payload[3:])
        code, at = read_var_uint(payload, 0)
        if code == SYNC:
            return decode_sync(payload, at)
        if code in (AWARENESS, SYNC_STATUS):
            body, at = read_var_bytes(payload, at)
            if at != len(payload):
                raise InvalidMessage("bytes behind the end of a message")
            if code == AWARENESS:
                return Awareness(body)
            if len(body) > MAX_STATUS:
                raise TooLarge(f"sync-status over {MAX_STATUS} bytes")
            return SyncStatus(body)
        return QueryAwareness() if code == QUERY_AWARENESS else Ignored("code")

    def encode(self, message: ServerMessage) -> bytes:
        if type(message) is Update and len(message.update) < len(_HEADS):  # nearly all traffic
            return _HEADS[len(message.update)] + message.update
        if isinstance(message, (Update, SyncStep1, SyncStep2)):
            body = bytes((SYNC,)) + encode_sync(message)
        elif isinstance(message, Presence):
            body = bytes((AWARENESS,)) + var_bytes(encode_awareness(message.entries))
        elif isinstance(message, SyncStatus):
            body = bytes((SYNC_STATUS,)) + var_bytes(message.payload)
        elif isinstance(message, Say) and self.events:
            body = bytes((EVENT,)) + var_string(message.json)
        elif isinstance(message, Error):
            # The one message of this dialect that carries words: its clients log it and go on.
            body = bytes((AUTH, 0)) + var_string(f"{message.code}: {message.message}")
        else:
            return b""
        return encode_frame(BINARY, body)


YWEBSOCKET: Final = YWebsocket(events=False)
YWEBSOCKET_EVENTS: Final = YWebsocket(events=True)
