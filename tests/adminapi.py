"""The admin interface over HTTP as tests ask it, and what makes schemathesis many people instead of one.

Schemathesis loads this file as its hooks: were all of its wrong tokens of one address, the server would soon listen to
nothing from there any more.
"""

from __future__ import annotations

import http.client
import json
import random
from typing import Any, NamedTuple

import schemathesis
from processes import Server

TOKEN = "a-token-of-the-tests"


class Told(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        """Of the error that it is."""
        assert self.body.keys() == {"error"} and self.body["error"].keys() == {"code", "message"}
        return str(self.body["error"]["code"])


def call(
    server: Server,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = TOKEN,
    headers: dict[str, str] | None = None,
) -> Told:
    """What the interface answers; `path` is below `/admin/api/`."""
    sent = {"Authorization": f"Bearer {token}"} if token is not None else {}
    if body is not None:
        sent["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, f"/admin/api/{path}", data, {**sent, **(headers or {})})
        response = connection.getresponse()
        said = response.read()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Told(response.status, told, json.loads(said) if said else None)
    finally:
        connection.close()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Come from somewhere else each time."""
    case.headers["X-Forwarded-For"] = f"2001:db8:{random.getrandbits(16):x}:{random.getrandbits(16):x}::1"
