"""What a client says takes effect: one function for each message, in the order sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from collab.protocol.messages import (
    Awareness,
    AwarenessJson,
    Ignored,
    Ping,
    Pong,
    Presence,
    QueryAwareness,
    Relay,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Update,
)
from collab.protocol.yupdate import EMPTY_UPDATE, check_state_vector
from collab.room import Room

if TYPE_CHECKING:
    from collab.session import Session


def _update(session: Session, room: Room, message: Update) -> None:
    room.submit(session, message.update, session.number())


def _step2(session: Session, room: Room, message: SyncStep2) -> None:
    room.fill(session, message.update, session.number())


def _step1(session: Session, room: Room, message: SyncStep1) -> None:
    if session.backlog is None:
        session.put(room.step2(session.dialect, message.state_vector))
    else:
        check_state_vector(message.state_vector)
        session.backlog.owed = message.state_vector


def _awareness(session: Session, room: Room, message: Awareness) -> None:
    room.presences.update(session, message.awareness, session.heard)


def _awareness_json(session: Session, room: Room, message: AwarenessJson) -> None:
    room.regroup(session, session.dialect.with_json_presence())
    room.presences.update_json(session, message.parts, session.heard)


def _query_awareness(session: Session, room: Room, message: QueryAwareness) -> None:
    if message.json:
        room.regroup(session, session.dialect.with_json_presence())
    if session.backlog is None:
        session.reply(Presence(room.presences.awareness.present()))
    else:
        # Answered once, when all that waits has been read.
        session.backlog.missed.add(Presence)


def _sync_status(session: Session, room: Room, message: SyncStatus) -> None:
    # It asks about all that it has sent so far, so it is answered as an update that changes nothing would be.
    room.submit(session, EMPTY_UPDATE, session.await_status(message))


def _relay(session: Session, room: Room, message: Relay) -> None:
    room.relay(session, message.text)


def _ping(session: Session, room: Room, message: Ping) -> None:
    session.reply(Pong())


def _ignored(session: Session, room: Room, message: Ignored) -> None:
    session.overlook(message)


HANDLERS: Final[dict[type, Callable[[Session, Room, Any], None]]] = {
    Update: _update,
    SyncStep1: _step1,
    SyncStep2: _step2,
    Awareness: _awareness,
    AwarenessJson: _awareness_json,
    QueryAwareness: _query_awareness,
    SyncStatus: _sync_status,
    Relay: _relay,
    Ping: _ping,
    Ignored: _ignored,
}
