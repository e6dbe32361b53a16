"""What a client says takes effect: one function for each message, in the order sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from collab.errors import RateLimited, ReadOnly
from collab.protocol.messages import (
    Auth,
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


READ_ONLY: Final = "You may read this document, not change it: your change was not taken"


def _update(session: Session, room: Room, message: Update) -> None:
    session.changes += 1
    if session.may_write:
        room.submit(session, message.update, session.number() if session.numbered else 0)
    else:
        _turn_down(session, room, session.number())


def _step2(session: Session, room: Room, message: SyncStep2) -> None:
    number = session.number_answer()
    if session.may_write:
        room.fill(session, message.update, number)
    elif room.has(message.update):
        room.submit(session, EMPTY_UPDATE, number)
    else:
        _turn_down(session, room, number)


def _turn_down(session: Session, room: Room, number: int) -> None:
    room.submit(session, EMPTY_UPDATE, number)  # it is done with
    session.refuse(ReadOnly(READ_ONLY), number)


def _step1(session: Session, room: Room, message: SyncStep1) -> None:
    check_state_vector(message.state_vector)
    if not message.reply:
        session.ask_back(room)
    connection = session.connection
    if connection.backlog is None:
        connection.put(session.bring_up(room, message.state_vector))
    else:
        connection.backlog.of(session).owed = message.state_vector


def _check_rate(session: Session) -> None:
    if not session.presences.take(session.connection.heard):
        raise RateLimited("presence more often than COLLAB_RATE_AWARENESS allows: say it again later")


def _awareness(session: Session, room: Room, message: Awareness) -> None:
    _check_rate(session)
    room.presences.update(session, message.awareness, session.connection.heard)


def _awareness_json(session: Session, room: Room, message: AwarenessJson) -> None:
    _check_rate(session)
    room.regroup(session, session.dialect.with_json_presence())
    room.presences.update_json(session, message.parts, session.connection.heard)


def _query_awareness(session: Session, room: Room, message: QueryAwareness) -> None:
    if message.json:
        room.regroup(session, session.dialect.with_json_presence())
    backlog = session.connection.backlog
    if backlog is None:
        session.reply(Presence(room.presences.awareness.present()))
    else:
        # Answered once, when all that waits has been read.
        backlog.of(session).missed.add(Presence)


def _sync_status(session: Session, room: Room, message: SyncStatus) -> None:
    # It asks about all that it has sent so far, so it is answered as an update that changes nothing would be.
    room.submit(session, EMPTY_UPDATE, session.await_status(message))


def _auth(session: Session, room: Room, message: Auth) -> None:
    session.renew(message.token)


def _relay(session: Session, room: Room, message: Relay) -> None:
    room.relay(session, message)


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
    Auth: _auth,
    Relay: _relay,
    Ping: _ping,
    Ignored: _ignored,
}
