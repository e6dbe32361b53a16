"""The server as its operators meet it: how it starts, what it refuses to start with, what it says, how it stops."""

from __future__ import annotations

import contextlib
import itertools
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from issuer import SECRET, found_in, private_key, public_pem, token
from processes import HOST, ROOT, SERVE, Serve, Server
from wire import TIMEOUT, Ended, Wire, ask, connect, is_event, is_step1, request
from ydocs import Editor, step1, update

from collab import cli

GUNICORN = [sys.executable, "-m", "gunicorn"]
# As the Procfile has it, but with this environment's gunicorn.
PROCFILE = [*GUNICORN, *shlex.split((ROOT / "Procfile").read_text().removeprefix("web:"))[1:]]
STOP_WITHIN = 3.0
TOKENS: dict[str, Any] = {"COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": SECRET}


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself; its output is all in `stdout`."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )


# ---- one life, from start to end


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home directory of the server whose life is told."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def life(home: Path) -> Server:
    """A server that was started on any port, asked for a second worker, visited once, and stopped."""
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": "", "COLLAB_SEND_QEUE": "3"}
    server = Server([*SERVE[:-1], "0"], environment)
    try:
        line = server.wait_output("/ws/document/<id>")
        server.port = int(line.partition(f"ws://{HOST}:")[2].partition("/")[0])
        server.wait_ready()
        server.process.send_signal(signal.SIGTTIN)
        with connect(server.port, "/ws/document/life") as wire:
            wire.read_until(is_step1)
            wire.goodbye()
            wire.read_frame()
            wire.read_end()
    finally:
        server.stop()
    return server


def test_a_stop_is_a_success(life: Server) -> None:
    assert life.code == 0
    assert "Traceback" not in life.output


def test_it_says_where_to_connect_with_the_port_that_it_got(life: Server) -> None:
    assert life.port > 0
    assert f"ws://{HOST}:{life.port}/yjs" in life.output
    assert f"ws://{HOST}:{life.port}/ws/document/<id>" in life.output


def test_a_setting_that_nobody_knows_is_warned_of(life: Server) -> None:
    assert "COLLAB_SEND_QEUE" in life.output
    assert "COLLAB_SEND_QUEUE" in life.output


def test_the_log_says_what_was_stopped(life: Server) -> None:
    assert "Stopped" in life.output
    assert "'connections': {'native': 1}" in life.output
    assert "Ended what did not end by itself" not in life.output


def test_no_second_worker_is_added_to_a_running_server(life: Server) -> None:
    assert life.output.count("Booting worker") == 1


def test_no_control_socket_is_opened_that_several_servers_would_share(life: Server, home: Path) -> None:
    assert "Control socket" not in life.output
    assert list(home.iterdir()) == []


# ---- the command line


@pytest.mark.parametrize(
    ("arguments", "bind"),
    [
        ([], "127.0.0.1:8080"),
        (["--port", "9000"], "127.0.0.1:9000"),
        (["--host", "0.0.0.0"], "0.0.0.0:8080"),
        (["--host", "::1", "--port", "1"], "[::1]:1"),
    ],
)
def test_serve_listens_on_this_machine_alone_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], bind: str
) -> None:
    executed: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, command: executed.append(command))
    assert CliRunner().invoke(cli.main, ["serve", *arguments]).exit_code == 0
    (command,) = executed
    assert command[command.index("--bind") + 1] == bind


@pytest.mark.parametrize("arguments", [["--port", "65536"], ["--port", "-1"], ["--port", "http"], ["--prot", "1"]])
def test_serve_refuses_what_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr("os.execv", lambda path, command: pytest.fail("it started"))
    result = CliRunner().invoke(cli.main, ["serve", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.output


@pytest.mark.parametrize(("port", "bind"), [(None, "127.0.0.1:8080"), ("5000", "0.0.0.0:5000")])
def test_a_platform_that_sets_port_is_served_on_all_addresses(
    monkeypatch: pytest.MonkeyPatch, port: str | None, bind: str
) -> None:
    monkeypatch.delenv("PORT", raising=False)
    if port is not None:
        monkeypatch.setenv("PORT", port)
    assert runpy.run_path(str(ROOT / "collab" / "server.py"))["bind"] == bind


def test_the_command_says_its_version_and_what_it_can_do() -> None:
    version = run([sys.executable, "-m", "collab", "--version"])
    assert (version.returncode, version.stdout.strip().split()[-1].count(".")) == (0, 2)
    usage = run([sys.executable, "-m", "collab", "--help"])
    assert usage.returncode == 0
    assert "serve" in usage.stdout


def test_gunicorns_master_loads_nothing_that_gevent_has_yet_to_patch() -> None:
    code = "import collab.server, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run([sys.executable, "-c", code]).stdout.split())
    assert "collab" in loaded
    assert loaded & {"gevent", "flask", "werkzeug", "pycrdt"} == set()


# ---- other ways to start


def test_the_procfile_starts_it_with_its_own_settings_on_the_platforms_port(serve: Serve) -> None:
    running = serve(PROCFILE, **TOKENS)
    assert "Using worker: gevent" in running.output
    assert f"0.0.0.0:{running.port}" in running.output
    with connect(running.port, f"/yjs/doc?token={token()}") as wire:
        running.process.terminate()
        assert wire.read_closed().code == 1012
        wire.goodbye(1012)
        wire.read_end()
    assert running.wait_end() == 0


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ([*SERVE[:-1], "0"], {"WEB_CONCURRENCY": "2"}),
        (PROCFILE, {"WEB_CONCURRENCY": "2", "PORT": "0"}),
        ([*PROCFILE, "--workers", "2"], {"PORT": "0"}),
        ([*PROCFILE, "--workers", "9"], {"PORT": "0"}),
    ],
)
def test_several_workers_are_refused_before_anything_is_bound(command: list[str], environment: dict[str, str]) -> None:
    done = run(command, **environment)
    assert done.returncode != 0
    assert "WEB_CONCURRENCY" in done.stdout
    assert "bus" in done.stdout
    assert "Listening" not in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [([*SERVE[:-1], "0"], "COLLAB_MAX_MESSAGE_SIZE", "lots"), (PROCFILE, "COLLAB_STOP_TIMEOUT", "-1")],
)
def test_a_setting_that_cannot_work_is_named_in_one_line(command: list[str], name: str, value: str) -> None:
    done = run(command, **{name: value, "PORT": "0"})
    assert done.returncode != 0
    assert len([line for line in done.stdout.splitlines() if name in line and value in line]) == 1
    assert "Traceback" not in done.stdout
    assert "Listening" not in done.stdout


# ---- who may reach it

OPEN_TO_ALL = "could come in as anybody they like"
EMBEDDING = """
from flask import Flask
from collab import Collab, User

app = Flask(__name__)
collab = Collab(app)
"""
AUTHENTICATOR = """
@collab.authenticator
def who(request, token, document_id):
    return User("alice", "Alice") if token == "alice" else None
"""


def embedding(folder: Path, source: str, bind: str) -> list[str]:
    """The command that serves an application of somebody else's."""
    (folder / "their_app.py").write_text(source)
    arguments = ["-c", "python:collab.server", "--chdir", str(folder), "--bind", bind, "their_app:app"]
    return [*GUNICORN, *arguments]


def is_refused(done: subprocess.CompletedProcess[str], address: str) -> None:
    """It did not start, and says why and what to do, in one line."""
    assert done.returncode != 0
    (line,) = [line for line in done.stdout.splitlines() if OPEN_TO_ALL in line]
    assert address in line
    for remedy in ("COLLAB_AUTH=jwt", "COLLAB_JWT_SECRET", "COLLAB_JWT_PUBLIC_KEY", "COLLAB_JWT_JWKS_URL", "127.0.0.1"):
        assert remedy in line
    assert "Traceback" not in done.stdout
    assert done.stdout.count("Booting worker") <= 1, "it is tried again and again"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_serve_refuses_to_be_open_to_all_before_anything_is_bound(host: str) -> None:
    done = run([*SERVE[:-2], "--host", host, "--port", "0"])
    is_refused(done, f"[{host}]:0" if ":" in host else f"{host}:0")
    assert "Listening" not in done.stdout


def test_a_platforms_server_refuses_to_be_open_to_all() -> None:
    is_refused(run(PROCFILE, PORT="0"), "0.0.0.0:")


def test_on_heroku_what_to_set_is_said_as_it_is_set_there() -> None:
    several = run(PROCFILE, PORT="0", DYNO="web.1", WEB_CONCURRENCY="2")
    assert "heroku config:set WEB_CONCURRENCY=1\n" in several.stdout
    open_to_all = run(PROCFILE, PORT="0", DYNO="web.1", WEB_CONCURRENCY="1")
    is_refused(open_to_all, "0.0.0.0:")
    assert "heroku config:set COLLAB_AUTH=jwt COLLAB_JWT_SECRET=" in open_to_all.stdout


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", ":0"])
def test_an_application_around_it_is_not_open_to_all_either(tmp_path: Path, bind: str) -> None:
    is_refused(run(embedding(tmp_path, EMBEDDING, bind)), "[::]:" if "[" in bind else "0.0.0.0:")


def test_behind_a_proxy_it_is_warned_of_even_on_this_machines_own_address(serve: Serve) -> None:
    running = serve(COLLAB_TRUSTED_PROXIES=HOST)
    assert running.wait_output("one of COLLAB_TRUSTED_PROXIES, can come in as anybody").count("COLLAB_AUTH is dev") == 1
    running.stop()
    assert "COLLAB_AUTH is dev" not in serve(COLLAB_TRUSTED_PROXIES=HOST, **TOKENS).output


def test_one_of_several_addresses_is_enough_to_refuse(tmp_path: Path) -> None:
    command = embedding(tmp_path, EMBEDDING, "127.0.0.1:0")
    is_refused(run([*command[:-1], "--bind", "0.0.0.0:0", command[-1]]), "0.0.0.0:")


def test_an_application_that_asks_who_people_are_may_be_reached_by_all(tmp_path: Path, serve: Serve) -> None:
    running = serve(embedding(tmp_path, EMBEDDING + AUTHENTICATOR, "0.0.0.0:{port}"))
    assert ask(running.port, request("/yjs/doc")).status == 403
    with connect(running.port, "/yjs/doc?token=alice") as wire:
        wire.read_until(is_step1)
    assert OPEN_TO_ALL not in running.output


def test_an_application_whose_own_settings_want_tokens_may_be_reached_by_all(tmp_path: Path, serve: Serve) -> None:
    own = f'app.config.update(COLLAB_AUTH="jwt", COLLAB_JWT_SECRET={SECRET!r})\ncollab ='
    running = serve(embedding(tmp_path, EMBEDDING.replace("collab =", own), "0.0.0.0:{port}"))
    assert ask(running.port, request("/yjs/doc")).status == 401
    assert found_in(running.output) == []


def test_on_a_local_socket_or_name_nobody_is_asked(tmp_path: Path) -> None:
    local = tmp_path / "s"
    command = [*embedding(tmp_path, EMBEDDING, f"unix:{local}")]
    running = Server([*command[:-1], "--bind", "localhost:{port}", command[-1]], {}).wait_ready()
    try:
        assert running.wait_output(f"one that connects to {local}, can come in as anybody")
        with connect(running.port, "/yjs/doc"), socket.socket(socket.AF_UNIX) as near:
            near.settimeout(TIMEOUT)
            near.connect(str(local))
            near.sendall(request("/yjs/doc"))
            assert near.recv(12) == b"HTTP/1.1 101"
    finally:
        assert running.stop() == 0


def test_serve_with_tokens_may_be_reached_by_all_and_loads_nothing_too_early(serve: Serve) -> None:
    pem = public_pem(private_key("p256"))
    command = [*SERVE, "--host", "0.0.0.0"]
    keys: dict[str, Any] = {"COLLAB_AUTH": "jwt", "COLLAB_JWT_PUBLIC_KEY": pem, "COLLAB_JWT_ALGORITHM": "ES256"}
    for check in (TOKENS, keys):
        running = serve(command, PYTHONWARNINGS="default::RuntimeWarning", **check)
        assert ask(running.port, request("/yjs/doc")).status == 401
        assert "MonkeyPatchWarning" not in running.output
        running.stop()
        assert found_in(running.output) == []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"COLLAB_AUTH": "jwt"}, "COLLAB_JWT_SECRET"),
        ({"COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": "too short"}, "needs 32"),
        ({**TOKENS, "COLLAB_JWT_ALGORITHM": "none"}, "COLLAB_JWT_ALGORITHM"),
        ({**TOKENS, "COLLAB_AUTH": "dev"}, "COLLAB_AUTH is dev"),
        ({**TOKENS, "COLLAB_AUTH": "oidc"}, "COLLAB_AUTH is 'oidc'"),
        ({"COLLAB_AUTH": "jwt", "COLLAB_JWT_PUBLIC_KEY": "/nowhere/public.pem"}, "COLLAB_JWT_PUBLIC_KEY"),
        ({"COLLAB_AUTH": "jwt", "COLLAB_JWT_JWKS_URL": "/keys"}, "COLLAB_JWT_JWKS_URL"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_tokens_that_could_not_be_checked_are_told_of_in_one_line(environment: dict[str, str], words: str) -> None:
    done = run([*SERVE[:-1], "0"], **environment)
    assert done.returncode != 0
    assert len([line for line in done.stdout.splitlines() if words in line]) == 1
    assert "Traceback" not in done.stdout and "Listening" not in done.stdout
    assert found_in(done.stdout) == []


# ---- stopping

SESSIONS = 1000
SILENT = 20
DEAF = 5
AT_ONCE = 100
"""Handshakes under way at one time."""


def crowd(port: int, size: int) -> Iterator[Wire]:
    """So many sessions of both dialects in a crowd of documents, welcomed."""
    paths = itertools.cycle(f"{path}{n}" for n in range(25) for path in ("/yjs/crowd-", "/ws/document/crowd-"))
    for start in range(0, size, AT_ONCE):
        wires = [Wire(port) for _ in range(min(AT_ONCE, size - start))]
        for wire in wires:
            wire.send(request(next(paths)))
        for wire in wires:
            assert wire.read_answer().status == 101
            wire.read_until(is_step1)
        yield from wires


def deafen(port: int) -> Wire:
    """A session that has asked for more than its socket holds, and reads none of it."""
    wire = connect(port, "/yjs/large")
    wire.read_until(is_step1)
    wire.say(step1())
    wire.say(step1())
    return wire


def test_at_sigterm_a_thousand_sessions_are_sent_away_in_time(serve: Serve) -> None:
    running = serve()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(connect(running.port, "/yjs/large"))
        writer.say(update(Editor().type("x" * 8_000_000)))
        writer.read_until(lambda message: message[:2] == b"\0\2")
        for _ in range(DEAF):
            stack.enter_context(deafen(running.port))
        wires = [stack.enter_context(wire) for wire in crowd(running.port, SESSIONS)]
        told_at = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        codes = []
        for number, wire in enumerate([*wires, writer]):
            codes.append(wire.read_closed().code)
            if number >= SILENT:
                wire.goodbye(1012)
        assert codes == [1012] * (SESSIONS + 1)
        for wire in [*wires, writer]:
            wire.read_end()
        assert running.wait_end() == 0
        assert time.monotonic() - told_at < STOP_WITHIN
    assert "Ended what did not end by itself" not in running.output
    assert "Traceback" not in running.output


def test_while_it_stops_nobody_else_is_let_in_nor_waited_for(serve: Serve) -> None:
    running = serve()
    with contextlib.ExitStack() as stack:
        silent, polite = (stack.enter_context(connect(running.port, "/yjs/doc")) for _ in range(2))
        _idle, slow, kept = (stack.enter_context(Wire(running.port)) for _ in range(3))
        slow.send(request("/yjs/doc")[:50])
        kept.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.read_answer().status == 200
        running.process.send_signal(signal.SIGTERM)
        silent.read_closed()
        polite.read_closed()
        polite.goodbye(1012)
        polite.read_end()
        # It may listen no more; but while it does, this is what it says.
        with contextlib.suppress(OSError, Ended):
            answer = ask(running.port, request("/yjs/doc"))
            assert (answer.status, answer.error["code"]) == (503, "stopping")
            assert int(answer.headers["retry-after"]) > 0
        silent.read_end()
        assert running.wait_end() == 0
    assert "Worker graceful timeout" not in running.output
    assert "Ended what did not end by itself" not in running.output


def test_ctrl_c_sends_everybody_away_too(serve: Serve) -> None:
    running = serve()
    with connect(running.port, "/ws/document/doc") as native, connect(running.port, "/yjs/doc") as yjs:
        native.read_until(is_event("join"))
        running.process.send_signal(signal.SIGINT)
        for wire in (native, yjs):
            assert wire.read_closed().code == 1012
            wire.goodbye(1012)
            wire.read_end()
    assert running.wait_end() == 0
    assert "Traceback" not in running.output
