"""The wire vocabulary, the same for all dialects: what clients can say, and what the server can.

A dialect turns bytes into these and these into bytes; the room and the session know nothing else. `update` is a
Yjs update (v1), `state_vector` a Yjs state vector, `awareness` an awareness update, all as they are on the wire;
`text` is JSON exactly as it came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from collab.errors import ProtocolError
from collab.protocol.jsontext import dump_json


class SyncStep1(NamedTuple):
    """Here is what I have: send what I lack. Both ways; `reply`: it answers one, and wants none back."""

    state_vector: bytes
    reply: bool = False


class SyncStep2(NamedTuple):
    """The answer to a SyncStep1. Both ways."""

    update: bytes


class Update(NamedTuple):
    """A change of the document. Both ways."""

    update: bytes


class Awareness(NamedTuple):
    """Presence of one or more awareness clients, as an awareness update. From a client."""

    awareness: bytes


class AwarenessJson(NamedTuple):
    """Presence of a native client that has no Yjs: only the parts that it named, None to clear one. From a client."""

    parts: dict[str, Any]


class QueryAwareness(NamedTuple):
    """Tell me all presence. From a client; `json` switches a native client to JSON presence."""

    json: bool = False


class Presence(NamedTuple):
    """Presence by awareness client id: (clock, state as JSON text, None for gone). To a client."""

    entries: dict[int, tuple[int, str | None]]


class SyncStatus(NamedTuple):
    """y-sweet's 102: returned unchanged once all that came before it is stored. Both ways."""

    payload: bytes


class Relay(NamedTuple):
    """A client's own message, for the other clients. Both ways; `json`: it is an object with a `type` of its own."""

    text: str
    json: bool = True


class Say(NamedTuple):
    """Something that whoever runs the server tells everybody in a document. To a client."""

    text: str

    @property
    def json(self) -> str:
        """As all dialects that have words for it say it."""
        return dump_json({"type": "say", "text": self.text})


class Auth(NamedTuple):
    """A token, to come in with or to go on with; `version` is the client's, if it tells. From a client."""

    token: str
    version: str | None = None


class Quit(NamedTuple):
    """Leave the document, not the connection. From a client."""


class Ping(NamedTuple):
    """A native client's `{"type": "ping"}`. From a client."""


class Pong(NamedTuple):
    """The answer to `Ping`. To a client."""


class Ignored(NamedTuple):
    """Something that the dialect tells us to overlook and count. From a client."""

    what: str


class Join(NamedTuple):
    """A user is in the document now, with the first of its sessions. To a client."""

    user_id: str
    user_name: str


class Leave(NamedTuple):
    """A user has left the document, with the last of its sessions. To a client."""

    user_id: str
    user_name: str


class InitialState(NamedTuple):
    """What a newcomer needs to know: its own session, the other users, all presence, which document. To a client."""

    session: dict[str, str | int]
    users: list[dict[str, str]]
    awareness: dict[int, tuple[int, str | None]]
    epoch: str


class Ack(NamedTuple):
    """All of this session's updates up to `number` are done with. To a client."""

    number: int


class Taken(NamedTuple):
    """One of this session's changes is done with, or was refused. To a client that is told of each."""

    taken: bool


class AskToken(NamedTuple):
    """The token is about to expire: send a fresh one. To a client."""


class Granted(NamedTuple):
    """What the client may do from here on: `read`, `write` or `admin`. To a client."""

    rights: str


class Denied(NamedTuple):
    """The client may not be in the document. To a client."""

    reason: str


class Farewell(NamedTuple):
    """The document is closed for this client, the connection is not. To a client."""

    reason: str


class Error(NamedTuple):
    """The server could not take something. To a client; `update` is the number of the update refused, if it was one."""

    code: str
    message: str
    update: int | None = None

    @classmethod
    def of(cls, error: ProtocolError, update: int | None = None) -> Error:
        """The message that tells a client of `error`."""
        return cls(error.code, str(error), update)


ClientMessage = (
    SyncStep1
    | SyncStep2
    | Update
    | Awareness
    | AwarenessJson
    | QueryAwareness
    | SyncStatus
    | Relay
    | Auth
    | Quit
    | Ping
    | Ignored
)
ServerMessage = (
    SyncStep1
    | SyncStep2
    | Update
    | Presence
    | SyncStatus
    | Relay
    | Say
    | Pong
    | Join
    | Leave
    | InitialState
    | Ack
    | Taken
    | AskToken
    | Granted
    | Denied
    | Farewell
    | Error
)
