"""A running server as commands reach it: its admin interface, by the local socket or over HTTP.

Invariants borne here:

* The token comes from the environment, never from an argument, which everybody on the machine can see; and it goes in
  clear to this machine alone.
* Whatever goes wrong is an error that says what to do.
"""

from __future__ import annotations

import http.client
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import click

from collab.commands.console import plain
from collab.commands.outcome import Failed, Missing, Misused, Refused, Unusable
from collab.commands.settings import load_settings

F = TypeVar("F", bound=Callable[..., Any])

Answer = dict[str, Any]

TIMEOUT: Final = 10.0
QUICK: Final = 0.5
"""Seconds that a server has while somebody waits for a completion."""

HOW_LOCAL: Final = (
    "Run this in the server's folder and as its user, or set COLLAB_ADMIN_SOCKET as the server has it; a server on "
    "another machine is reached by --url (COLLAB_ADMIN_URL) and COLLAB_ADMIN_TOKEN."
)
NO_TOKEN: Final = (
    "COLLAB_ADMIN_TOKEN is not set: over HTTP the server wants to see its own. Set it in the environment, where others "
    "on this machine cannot read it."
)


class Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api(ABC):
    """The admin interface of a running server.

    Attributes:
        url: of the server, if it is reached by one.
        timeout: seconds that it has for an answer.
    """

    url: str | None = None

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout

    @abstractmethod
    def _connect(self) -> http.client.HTTPConnection:
        """A connection, not opened yet."""

    @abstractmethod
    def _unreachable(self, error: Exception) -> Failed:
        """What to raise where nobody answers."""

    def _prefix(self) -> str:
        return ""

    def _headers(self) -> dict[str, str]:
        return {}

    def get(self, path: str, **query: str | int) -> Answer:
        """What the server tells; `Failed` if there is none, or it cannot."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Have something done; as `get`."""
        return self._ask("POST", path, json.dumps(body))

    def rooms(self, prefix: str = "") -> list[Answer]:
        """All rooms that are open whose ids begin so."""
        rooms: list[Answer] = []
        after: str | None = ""
        while after is not None:
            page = self.get("rooms", prefix=prefix, after=after, limit=1000)
            rooms += page["rooms"]
            after = page["next"]
        return rooms

    def _ask(self, method: str, path: str, body: str | None) -> Answer:
        connection = self._connect()
        headers = {**self._headers(), **({"Content-Type": "application/json"} if body is not None else {})}
        try:
            connection.request(method, f"{self._prefix()}/admin/api/{path}", body, headers)
            response = connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and response.status == 200:
            return answer
        told = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(told, dict) or told.get("code") in ("not_found", "method_not_allowed"):
            raise self._strange(response)
        raise _failure(response.status, told)

    def _strange(self, response: http.client.HTTPResponse) -> Failed:
        where = f" (it sends us to {plain(response.headers['Location'])})" if response.headers["Location"] else ""
        text = (
            f"What answers at {self.url or 'the socket'} with {response.status}{where} is no collab server's admin "
            f"interface. Is the address right? An application of your own has it when COLLAB_ADMIN_TOKEN is set there."
        )
        return Unusable("no_admin", text)


def _failure(status: int, error: Mapping[str, Any]) -> Failed:
    """What an error that the server tells is for whoever has typed the command."""
    otherwise = {"code": "failed", "message": f"The server answered {status}."}
    told = {name: error[name] if isinstance(error.get(name), str) else otherwise[name] for name in otherwise}
    code, message = plain(told["code"]), plain(told["message"])
    if status == 401:
        text = f"The server does not take the token: set COLLAB_ADMIN_TOKEN to the server's own. It says: {message}."
        return Unusable(code, text)
    kinds = {400: Misused, 413: Misused, 403: Unusable, 404: Missing, 429: Unusable, 503: Unusable}
    kind = Unusable if code == "no_page" else kinds.get(status, Failed)
    return kind(code, f"{message.removesuffix('.')}.")


class LocalApi(Api):
    """By the local socket.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        super().__init__(timeout)
        self._path = path.absolute()

    def _connect(self) -> http.client.HTTPConnection:
        return Local(self._path, self.timeout)

    def _unreachable(self, error: Exception) -> Failed:
        why = getattr(error, "strerror", None) or error
        text = f"No server answers at {self._path} (COLLAB_ADMIN_SOCKET): {why}. {HOW_LOCAL}"
        return Unusable("no_server", text)


class HttpApi(Api):
    """Over HTTP.

    Args:
        url: where the server is reached, such as ``https://docs.example.org``.
        token: that it wants to see.

    Raises:
        Failed: the address is none, the token would go over a network in clear, or there is none.
    """

    def __init__(self, url: str, token: str, timeout: float = TIMEOUT) -> None:
        super().__init__(timeout)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https"):
            text = "--url (COLLAB_ADMIN_URL) is the server's address, such as https://docs.example.org."
            raise Misused("usage", text)
        self._secure = parts.scheme == "https"
        self._host, self._port = host, port
        self._path = parts.path.rstrip("/")
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{parts.scheme}://{shown}{f':{port}' if port else ''}{self._path}"
        if not self._secure and not _is_local(host):
            text = f"The token would go to {self.url} in clear, for everybody on the way to read: use https://."
            raise Refused("insecure", text)
        if not token:
            raise Unusable("no_token", NO_TOKEN)
        self._token = token

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self.timeout)

    def _prefix(self) -> str:
        return self._path

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _unreachable(self, error: Exception) -> Failed:
        why = getattr(error, "strerror", None) or error
        text = (
            f"No server answers at {self.url} (--url or COLLAB_ADMIN_URL): {why}. Is it running, and reached by that?"
        )
        return Unusable("no_server", text)


def _is_local(host: str) -> bool:
    from collab.web.addresses import is_local

    return is_local(host)


def reach(url: str | None, timeout: float = TIMEOUT) -> Api:
    """The server at `url`, or else where the settings say; by default by the local socket."""
    settings = load_settings()
    address = url or settings.admin_url
    if address:
        return HttpApi(address, settings.admin_token, timeout)
    return LocalApi(Path(settings.admin_socket), timeout)


def url_option(command: F) -> F:
    """Give a command its `--url`."""
    text = "The server's address (COLLAB_ADMIN_URL), instead of its local socket; with COLLAB_ADMIN_TOKEN."
    return click.option("--url", metavar="URL", help=text)(command)


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The open rooms whose ids begin so, if a server tells them at once."""
    try:
        page = reach(ctx.params.get("url"), QUICK).get("rooms", prefix=incomplete, limit=100)
    except Exception:  # whoever presses a key has asked for no command, and wants no error in the middle of a line
        return []
    return [room["id"] for room in page["rooms"]]


def room_argument(command: F) -> F:
    """Give a command its `ROOM`."""
    from collab.commands.target import name

    return click.argument("room", type=name, shell_complete=_complete)(command)
