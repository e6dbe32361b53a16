"""`collab kick`, `recheck`, `say`, `drain` and `dashboard`: what is done to a running server."""

from __future__ import annotations

import html
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from collab.commands.api import reach, room_argument, url_option
from collab.commands.console import counted, emit, json_option, plain
from collab.commands.outcome import Unusable
from collab.commands.target import name

OPENING: Final = 10.0
"""Seconds that a browser has to read the file by which it is sent to a link."""

_REDIRECT: Final = (
    '<!doctype html><meta http-equiv="refresh" content="0; url={0}"><a href="{0}">Open the dashboard</a>\n'
)

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


_user = click.argument("user", metavar="[USER]", type=name, required=False)


@click.command()
@room_argument
@_user
@click.option("--for", "seconds", type=Duration(), default=0.0, metavar="TIME", help="Keep them out: 30s, 10m, 2h, 7d.")
@click.option("--reason", default="", help="What they are told.")
@url_option
@json_option
def kick(room: str, user: str | None, seconds: float, reason: str, url: str | None, as_json: bool) -> None:
    """Send a user, or everybody, out of a room."""
    told = reach(url).post("kick", {"room": room, "user": user, "seconds": seconds, "reason": reason})
    answer = {"room": room, "user": user, "seconds": seconds, **told}
    emit(as_json, answer, [f"{counted(told['sessions'], 'session')} of {plain(room)!r} ended."])


@click.command()
@room_argument
@_user
@url_option
@json_option
def recheck(room: str, user: str | None, url: str | None, as_json: bool) -> None:
    """Decide once more what a user, or everybody, may do in a room."""
    told = reach(url).post("recheck", {"room": room, "user": user})
    lines = [f"{counted(told['sessions'], 'session')} of {plain(room)!r} looked at again."]
    emit(as_json, {"room": room, "user": user, **told}, lines)


@click.command()
@room_argument
@click.argument("text")
@url_option
@json_option
def say(room: str, text: str, url: str | None, as_json: bool) -> None:
    """Tell everybody in a room something."""
    told = reach(url).post("say", {"room": room, "text": text})
    lines = [f"{counted(told['told'], 'session')} of {plain(room)!r} told."]
    if told["untold"]:
        lines.append(f"{counted(told['untold'], 'session')} cannot be told: y-websocket without ?events=1.")
    emit(as_json, {"room": room, "text": text, **told}, lines)


@click.command()
@url_option
@json_option
def drain(url: str | None, as_json: bool) -> None:
    """Take no new sessions and send away the others, before a deploy; the server goes on until it is stopped."""
    told = reach(url).post("drain", {})
    text = (
        f"The server is draining: {counted(told['connections'], 'connection')} to go. `collab stats --watch` shows it."
    )
    emit(as_json, told, [text])


@click.command()
@click.option("--open", "launch", is_flag=True, help="Open it in a browser.")
@url_option
@json_option
def dashboard(launch: bool, url: str | None, as_json: bool) -> None:
    """Print a link to the dashboard that signs in once, within five minutes."""
    api = reach(url)
    ticket = api.post("ticket", {})
    link = f"{api.url}{ticket['path']}" if api.url else ticket["url"]
    if link is None:
        text = f"The server does not know where it is reached: open {ticket['path']} there, or say --url."
        raise Unusable("no_address", text)
    emit(as_json, {"url": link, "until": ticket["until"]}, [link])
    if launch:
        _open(link)


def _open(link: str) -> None:
    """Open a link in a browser by a file of this user's: arguments can be read by everybody on the machine."""
    with tempfile.NamedTemporaryFile("w", prefix="collab-", suffix=".html", encoding="utf-8") as file:
        file.write(_REDIRECT.format(html.escape(link)))
        file.flush()
        if click.launch(Path(file.name).as_uri()):
            raise Unusable("no_browser", "There is no browser to open it in: open the link yourself.")
        time.sleep(OPENING)
