"""The local admin socket and the commands that use it, beside a real server."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import pytest
from commandline import refusal
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from processes import ROOT, SERVE, Serve, Server
from wire import Closed, ask, connect, is_step1, request

from collab import control, create_app
from collab.commands.api import Local

COLLAB = [sys.executable, "-m", "collab"]


class Steered(NamedTuple):
    """A server, and where its admin socket is."""

    server: Server
    path: Path


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    """One that all tests share which do not end it."""
    path = tmp_path_factory.mktemp("control") / "admin.sock"
    server = Server(SERVE, {"COLLAB_ADMIN_SOCKET": str(path), "COLLAB_RESUME_GRACE": "0"}).wait_ready()
    server.wait_output(f"reach this server by {path}")
    yield Steered(server, path)
    assert server.stop() == 0
    assert "Traceback" not in server.output
    assert not path.exists(), "the socket goes with the server"


def collab(path: Path, *args: str, code: int = 0) -> Any:
    """Run a command in a process of its own; its answer."""
    command = [*COLLAB, *args, "--json"]
    environment = {**os.environ, "COLLAB_ADMIN_SOCKET": str(path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def post(path: Path, action: str, body: str, kind: str = "application/json") -> tuple[int, Any]:
    """What the admin interface answers to a body."""
    connection = Local(path)
    try:
        connection.request("POST", f"/admin/api/{action}", body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_user_is_kicked_and_kept_out(steered: Steered) -> None:
    server, path = steered
    with (
        connect(server.port, "/ws/document/my%20doc?user_id=alice") as alice,
        connect(server.port, "/yjs/my%20doc?user_id=bob") as bob,
    ):
        alice.read_until(is_step1)
        bob.read_until(is_step1)
        told = collab(path, "kick", "my doc", "bob", "--for", "10m", "--reason", "be nice")
        assert told.pop("node")
        assert told == {"room": "my doc", "user": "bob", "sessions": 1, "seconds": 600.0}
        assert bob.read_closed() == Closed(4403, "be nice")
        alice.read_until(lambda message: isinstance(message, dict) and message["type"] == "leave")
    answer = ask(server.port, request("/yjs/my%20doc?user_id=bob"))
    assert (answer.status, answer.error["code"]) == (403, "kicked")
    assert ask(server.port, request("/yjs/my%20doc?user_id=alice")).status == 101
    assert ask(server.port, request("/yjs/other?user_id=bob")).status == 101


def test_everybody_is_kicked_or_looked_at_again(steered: Steered) -> None:
    server, path = steered
    with connect(server.port, "/yjs/doc?user_id=alice") as alice, connect(server.port, "/yjs/doc") as bob:
        for wire in (alice, bob):
            wire.read_until(is_step1)
        assert collab(path, "recheck", "doc")["sessions"] == 2
        assert collab(path, "recheck", "doc", "alice")["sessions"] == 1
        assert collab(path, "kick", "doc")["sessions"] == 2
        for wire in (alice, bob):
            assert wire.read_closed().code == 4403
    assert collab(path, "kick", "doc")["sessions"] == 0


def test_the_socket_is_its_owners_alone(steered: Steered) -> None:
    assert stat.S_IMODE(steered.path.stat().st_mode) == 0o600


def test_where_no_server_answers_the_error_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    answer = collab(path, "kick", "doc", code=4)
    assert answer["error"]["code"] == "no_server"
    assert str(path) in answer["error"]["message"] and "COLLAB_ADMIN_SOCKET" in answer["error"]["message"]


def test_a_socket_in_use_is_not_taken_and_one_left_by_a_server_that_was_killed_is(
    serve: Serve, steered: Steered, tmp_path: Path
) -> None:
    other = serve(COLLAB_ADMIN_SOCKET=steered.path)
    other.wait_output("another server has it")
    other.stop()
    assert collab(steered.path, "kick", "doc")["sessions"] == 0, "the first one still answers"
    path = tmp_path / "admin.sock"
    killed = serve(COLLAB_ADMIN_SOCKET=path)
    killed.wait_output("reach this server by")
    killed.kill()
    assert path.is_socket()
    serve(COLLAB_ADMIN_SOCKET=path).wait_output("reach this server by")
    assert collab(path, "kick", "doc")["sessions"] == 0


def test_a_path_that_cannot_be_had_is_told_and_the_server_serves(serve: Serve, tmp_path: Path) -> None:
    server = serve(COLLAB_ADMIN_SOCKET=tmp_path / ("x" * 120))
    assert "COLLAB_ADMIN_SOCKET" in server.wait_output("a path of more than 100 bytes")
    assert ask(server.port, request("/yjs/doc")).status == 101


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ("{}", "application/json", 400),
        ('{"room": ""}', "application/json", 400),
        ('{"room": 1}', "application/json", 400),
        ('{"room": "d", "user": 1}', "application/json", 400),
        ('{"room": "d", "seconds": -1}', "application/json", 400),
        ('{"room": "d", "seconds": true}', "application/json", 400),
        ('{"room": "d", "seconds": 1e300}', "application/json", 400),
        ('{"room": "d", "reason": "' + "x" * 121 + '"}', "application/json", 400),
        ('{"room": "d"}', "text/plain", 415),
        ('{"room": "' + "x" * 70000 + '"}', "application/json", 413),
    ],
)
def test_what_is_not_understood_is_answered(steered: Steered, body: str, kind: str, status: int) -> None:
    answered, told = post(steered.path, "kick", body, kind)
    assert answered == status
    assert told["error"].keys() == {"code", "message"}


@pytest.mark.parametrize("time", ["10", "m", "-1m", "1w", "1e9s", "10 m"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    assert refusal("memory:", "kick", "doc", f"--for={time}", code=2) == "usage"


def test_a_server_that_stops_leaves_its_successors_socket_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "admin.sock"
    successors: list[socket.socket] = []
    started = Event()

    class Slow(WSGIServer):
        def start(self) -> None:
            super().start()
            started.set()

        def stop(self, timeout: float | None = None) -> None:
            super().stop(timeout)
            path.unlink(missing_ok=True)
            successors.append(socket.socket(socket.AF_UNIX))
            successors[0].bind(str(path))

    monkeypatch.setattr(control, "WSGIServer", Slow)
    hub = create_app({"COLLAB_STORE": "memory:"}).extensions["collab"]
    serving = gevent.spawn(control.Control(hub, path).run)
    assert started.wait(10) and path.is_socket()
    hub.stop()
    serving.get(timeout=10)
    assert path.is_socket()
    successors[0].close()
