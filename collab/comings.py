"""The lines of the log about who comes, who goes, and who is refused.

A connection's life is two lines. One for many documents (Hocuspocus) has two more for each session on it, which name
the connection. Whatever a client says of itself is in them as `repr` has it, within bounds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from collab.clock import now
from collab.errors import HandshakeRefused, ProtocolError
from collab.logs import logger, plain, tell

if TYPE_CHECKING:
    from collab.connection import Connection
    from collab.session import Session

MAX_ADDRESS: Final = 64
MAX_PATH: Final = 300
"""Characters of them that are logged."""

_WHO: Final = "session %(session)s, user %(user)r, document %(document)r"
_FROM: Final = "Connection %(connection)d (%(dialect)s) came from %(address)s"
_WENT: Final = (
    "Connection %(connection)d (%(dialect)s) from %(address)s went after %(seconds).1f s, ended by the %(by)s "
    "(%(code)d %(reason)r): in %(messages_in)d messages, %(bytes_in)d bytes; "
    "out %(messages_out)d messages, %(bytes_out)d bytes"
)
_UPDATES: Final = "%(updates)d updates"

log = logger(__name__)


class Ending(NamedTuple):
    """Why a connection is over."""

    by: str
    """Who meant it to be: `client`, `server`, or `network` if nobody did."""
    code: int
    reason: str = ""


LOST: Final = Ending("network", 1006)
"""It broke, without a word of anybody."""


def _who(session: Session) -> dict[str, Any]:
    return {"session": session.id, "user": session.user_id, "document": session.document_id}


def _where(connection: Connection, dialect: str) -> dict[str, Any]:
    return {
        "connection": connection.number,
        "dialect": dialect,
        "address": plain(connection.address, MAX_ADDRESS) or "here",
    }


def came(connection: Connection, dialect: str, session: Session | None) -> None:
    """A connection has been opened; for one session if that is known by now."""
    if not log.isEnabledFor(logging.INFO):
        return
    if session is None:
        tell(log, logging.INFO, _FROM, **_where(connection, dialect))
    else:
        tell(log, logging.INFO, f"{_FROM}: {_WHO}", **_where(connection, dialect), **_who(session))


def went(connection: Connection, dialect: str, session: Session | None) -> None:
    """A connection is over."""
    if not log.isEnabledFor(logging.INFO):
        return
    facts: dict[str, Any] = {
        **_where(connection, dialect),
        **connection.ending._asdict(),
        "seconds": round(now() - connection.since, 3),
        "messages_in": connection.messages_in,
        "bytes_in": connection.bytes_in,
        "messages_out": connection.messages_out,
        "bytes_out": connection.bytes_out,
    }
    if session is None:
        tell(log, logging.INFO, _WENT, **facts)
    else:
        text = f"{_WENT}, {_UPDATES}; {_WHO}"
        tell(log, logging.INFO, text, **facts, **_who(session), updates=session.changes)


def entered(session: Session) -> None:
    """One of many sessions on a connection has been let into its document."""
    text = f"Came in on connection %(connection)d: {_WHO}"
    tell(log, logging.INFO, text, connection=session.connection.number, **_who(session))


def left(session: Session, reason: str) -> None:
    """One of many sessions on a connection is over."""
    text = f"Left on connection %(connection)d, %(reason)r: {_WHO}; {_UPDATES}"
    facts = {"connection": session.connection.number, "reason": reason, "updates": session.changes}
    tell(log, logging.INFO, text, **facts, **_who(session))


def resumed(session: Session, was: str) -> None:
    """A session goes on over another connection, under the id that it had."""
    text = f"Went on as before over connection %(connection)d, not as %(was)s: {_WHO}"
    tell(log, logging.INFO, text, connection=session.connection.number, was=was, **_who(session))


def refused_upgrade(path: str, address: str, error: HandshakeRefused) -> None:
    """Somebody was not let in; `path` is without the query, in which there may be a token."""
    tell(
        log,
        logging.WARNING,
        "Refused a connection to %(path)r from %(address)s: %(status)d %(code)s. %(reason)s",
        path=path[:MAX_PATH],
        address=plain(address, MAX_ADDRESS) or "here",
        status=error.status,
        code=error.code,
        reason=error.message,
    )


def denied(connection: Connection, document_id: str, error: HandshakeRefused) -> None:
    """Somebody on a connection with many sessions was not let into a document."""
    tell(
        log,
        logging.WARNING,
        "Refused document %(document)r on connection %(connection)d: %(status)d %(code)s. %(reason)s",
        document=document_id,
        connection=connection.number,
        status=error.status,
        code=error.code,
        reason=error.message,
    )


def refused_message(session: Session, error: ProtocolError) -> None:
    """A message was not taken because of what it is."""
    tell(
        log,
        logging.WARNING,
        f"Refused a message on connection %(connection)d: %(code)s, %(reason)s; {_WHO}",
        connection=session.connection.number,
        code=error.code,
        reason=str(error),
        **_who(session),
    )
