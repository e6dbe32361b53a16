"""`collab kick` and `collab recheck`: what is done to a running server, by its local admin socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from pathlib import Path
from typing import Any, Final

import click

from collab.commands.console import counted, emit, json_option, plain
from collab.commands.outcome import Failed, Misused, Unusable
from collab.commands.target import name
from collab.config import Settings

TIMEOUT: Final = 10.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A time such as 30s, 10m, 2h or 7d, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read one."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd])", str(value))
        if not match:
            self.fail(f"{value!r} is no time such as 30s, 10m, 2h or 7d.", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


def ask_server(action: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the running server answers; `Failed` if none does, or it cannot."""
    path = Path(Settings.load(os.environ).admin_socket)
    connection = Local(path)
    try:
        connection.request("POST", f"/admin/api/{action}", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        text = (
            f"No server answers at {path.absolute()} (COLLAB_ADMIN_SOCKET): {error}. Run this in the server's folder "
            f"and as its user, or set COLLAB_ADMIN_SOCKET as the server has it."
        )
        raise Unusable("no_server", text) from error
    finally:
        connection.close()
    if response.status != 200:
        told = answer.get("error", {})
        kind = Misused if response.status == 400 else Failed
        raise kind(told.get("code", "failed"), told.get("message", f"The server answered {response.status}."))
    return dict(answer)


_document = click.argument("document_id", metavar="ID", type=name)
_user = click.argument("user_id", metavar="[USER]", type=name, required=False)


@click.command()
@_document
@_user
@click.option("--for", "seconds", type=Duration(), default=0.0, metavar="TIME", help="Keep them out: 30s, 10m, 2h, 7d.")
@click.option("--reason", default="", help="What they are told.")
@json_option
def kick(document_id: str, user_id: str | None, seconds: float, reason: str, as_json: bool) -> None:
    """Send a user, or everybody, out of a document that is open."""
    body = {"room": document_id, "user": user_id, "seconds": seconds, "reason": reason}
    sessions = ask_server("kick", body)["sessions"]
    told = {"id": document_id, "user": user_id, "sessions": sessions, "seconds": seconds}
    emit(as_json, told, [f"{counted(sessions, 'session')} of {plain(document_id)!r} ended."])


@click.command()
@_document
@_user
@json_option
def recheck(document_id: str, user_id: str | None, as_json: bool) -> None:
    """Decide once more what a user, or everybody, may do in a document that is open."""
    sessions = ask_server("recheck", {"room": document_id, "user": user_id})["sessions"]
    told = {"id": document_id, "user": user_id, "sessions": sessions}
    emit(as_json, told, [f"{counted(sessions, 'session')} of {plain(document_id)!r} looked at again."])
