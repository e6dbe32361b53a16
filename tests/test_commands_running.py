"""Commands that look at and steer a running server, by its socket and over HTTP."""

from __future__ import annotations

import html
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import pytest
from adminapi import TOKEN, call
from click.testing import CliRunner
from commandline import run
from processes import ROOT, SERVE, Serve, Server, free_port, missing
from readme import blocks
from terminal import Terminal
from wire import connect, is_step1
from ydocs import Editor, update

from collab.cli import main
from collab.commands import live
from collab.commands.interval import Interval, quantile
from collab.commands.look import _user_lines
from collab.commands.screen import HEADING, Line, Picture, cells, draw, fit

COLLAB = [sys.executable, "-m", "collab"]
BIN = Path(sys.executable).parent


class Running(NamedTuple):
    """A server, and what commands need to reach it."""

    server: Server
    socket: dict[str, str]
    http: dict[str, str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that all tests share which do not stop it."""
    path = str(tmp_path_factory.mktemp("running") / "admin.sock")
    server = Server(SERVE, {"COLLAB_ADMIN_SOCKET": path, "COLLAB_ADMIN_TOKEN": TOKEN, "COLLAB_RESUME_GRACE": "0"})
    server.wait_ready()
    server.wait_output(f"reach this server by {path}")
    url = f"http://127.0.0.1:{server.port}"
    yield Running(
        server,
        {"COLLAB_ADMIN_SOCKET": path},
        {"COLLAB_ADMIN_SOCKET": "/nonexistent", "COLLAB_ADMIN_URL": url, "COLLAB_ADMIN_TOKEN": TOKEN},
    )
    assert server.stop() == 0
    assert "Traceback" not in server.output


def collab(environment: dict[str, str], *args: str, code: int = 0) -> str:
    """Run a command; what it says."""
    done = CliRunner(env=environment).invoke(main, args)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


def asked(environment: dict[str, str], *args: str, code: int = 0) -> Any:
    """What a command answers with `--json`."""
    return json.loads(collab(environment, *args, "--json", code=code))


def problem(environment: dict[str, str], *args: str, code: int) -> tuple[str, str]:
    """The error that a command ends with: its code, and the words for people."""
    error = asked(environment, *args, code=code)["error"]
    return error["code"], error["message"]


# ---- looking and steering


@pytest.mark.parametrize("way", ["socket", "http"])
def test_rooms_and_users_are_listed_told_and_kicked_by_both_ways(running: Running, way: str) -> None:
    environment: dict[str, str] = getattr(running, way)
    room = f"team/{way} \x1b[31m"
    port = running.server.port
    with (
        connect(port, f"/ws/document/team%2F{way}?user_id=alice&user_name=Alice") as alice,
        connect(port, f"/yjs/team%2F{way}?user_id=bob") as bob,
    ):
        alice.read_until(is_step1)
        bob.read_until(is_step1)
        room = f"team/{way}"
        (told,) = asked(environment, "rooms", "team/")["rooms"]
        assert (told["id"], told["sessions"]) == (room, 2)
        lines = collab(environment, "users", room).splitlines()
        assert lines[0].split() == ["RIGHTS", "DIALECT", "ADDRESS", "SINCE", "UPDATES", "QUEUED", "USER", "NAME"]
        assert "native" in lines[1] and lines[1].endswith("alice  Alice")
        assert "2 sessions" in collab(environment, "recheck", room)
        said = collab(environment, "say", room, "Back soon")
        assert "1 session of" in said and "cannot be told" in said
        assert alice.read_until(lambda message: isinstance(message, dict) and message["type"] == "say")
        assert "1 session" in collab(environment, "kick", room, "bob", "--reason", "be nice")
        assert bob.read_closed() == (4403, "be nice")
    stats = asked(environment, "stats")
    assert stats["ready"] and stats["totals"]["closed"]["4403"] >= 1
    assert "ready" in collab(environment, "stats").splitlines()[0]
    assert problem(environment, "users", "nowhere", code=3)[0] == "not_open"
    assert "No such room" in collab(environment, "rooms", "nowhere")


def test_a_link_to_the_dashboard_is_printed_and_signs_in(running: Running) -> None:
    for environment in (running.socket, running.http):
        link = collab(environment, "dashboard").strip()
        base, ticket = link.split("#ticket=")
        assert base == f"http://127.0.0.1:{running.server.port}/admin/"
        assert call(running.server, "POST", "session", {"ticket": ticket}, token=None).status == 200


@pytest.mark.parametrize("what", [["stats"], ["rooms"], ["users", "watched"]])
def test_what_is_watched_is_one_document_a_line(running: Running, what: list[str]) -> None:
    with connect(running.server.port, "/yjs/watched") as wire:
        wire.read_until(is_step1)
        command = [*COLLAB, *what, "--json", "--watch", "0.1"]
        with subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **running.socket}, stdout=subprocess.PIPE, text=True
        ) as watch:
            assert watch.stdout is not None
            documents = [json.loads(watch.stdout.readline()) for _ in range(3)]
            watch.send_signal(signal.SIGINT)
            assert watch.wait(20) == 0
        assert all(document.keys() == documents[0].keys() for document in documents)


def test_statistics_that_are_watched_are_a_table_that_grows(running: Running) -> None:
    command = [*COLLAB, "stats", "--watch=0.1"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **running.socket}, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline().split() for _ in range(3)]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 0
    assert lines[0][:3] == ["TIME", "CONNECTIONS", "USERS"]
    assert lines[1][-1] == lines[2][-1] == "ready"


# ---- what goes wrong


def test_errors_say_what_to_do(running: Running, serve: Serve, tmp_path: Path) -> None:
    url, port = running.http["COLLAB_ADMIN_URL"], free_port()
    away: dict[str, str] = {"COLLAB_ADMIN_SOCKET": str(tmp_path / "none.sock")}
    for environment, code, name, words in (
        (away, 4, "no_server", "COLLAB_ADMIN_URL"),
        ({"COLLAB_ADMIN_URL": url}, 4, "no_token", "COLLAB_ADMIN_TOKEN is not set"),
        ({"COLLAB_ADMIN_URL": url, "COLLAB_ADMIN_TOKEN": "x" * 16}, 4, "unauthenticated", "the server's own"),
        (
            {"COLLAB_ADMIN_URL": f"http://127.0.0.1:{port}", "COLLAB_ADMIN_TOKEN": TOKEN},
            4,
            "no_server",
            "Is it running",
        ),
        ({"COLLAB_ADMIN_URL": f"https://127.0.0.1:{port}", "COLLAB_ADMIN_TOKEN": TOKEN}, 4, "no_server", "https://127"),
        ({"COLLAB_ADMIN_URL": "http://192.0.2.1", "COLLAB_ADMIN_TOKEN": TOKEN}, 5, "insecure", "use https://"),
        ({"COLLAB_ADMIN_URL": "docs.example.org", "COLLAB_ADMIN_TOKEN": TOKEN}, 2, "usage", "https://docs.example.org"),
        ({"COLLAB_ADMIN_URL": f"{url}/elsewhere", "COLLAB_ADMIN_TOKEN": TOKEN}, 4, "no_admin", "/elsewhere"),
        (running.socket, 2, "bad_request", "reason"),
    ):
        told = problem(environment, "kick", "doc", f"--reason={'x' * 121 if name == 'bad_request' else ''}", code=code)
        assert told[0] == name and words in told[1], told


def test_what_is_no_collab_server_is_told_apart(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    server = serve(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            os.devnull,
            "--chdir",
            str(tmp_path),
            "--bind",
            "127.0.0.1:{port}",
            "plain:app",
        ]
    )
    told = problem({"COLLAB_ADMIN_TOKEN": TOKEN}, "stats", "--url", f"http://localhost:{server.port}", code=4)
    assert told[0] == "no_admin" and "COLLAB_ADMIN_TOKEN" in told[1]


# ---- in an application


def test_an_application_has_the_commands_with_its_own_settings(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "their_app.py").write_text(
        "from flask import Flask\nfrom collab import Collab\n\napp = Flask(__name__)\n"
        f"app.config.update(COLLAB_ADMIN_SOCKET={str(tmp_path / 'their.sock')!r},"
        f" COLLAB_STORE={f'sqlite:///{tmp_path}/their.db'!r})\nCollab(app)\n"
    )
    gunicorn = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-c", "python:collab.server"]
    server = serve([*gunicorn, "--chdir", str(tmp_path), "--bind", "127.0.0.1:{port}", "their_app:app"])
    server.wait_output("reach this server by")

    def flask(*args: str) -> Any:
        command = [str(BIN / "flask"), "--app", "their_app", "collab", *args, "--json"]
        env = {**os.environ, "COLLAB_STORE": "memory:", "COLLAB_ADMIN_SOCKET": "/nonexistent"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    with connect(server.port, "/ws/document/theirs?user_id=alice") as wire:
        wire.read_until(is_step1)
        wire.say(update(Editor(native=True).type("hello")))
        wire.read_until(lambda message: isinstance(message, bytes) and message[:1] == b"\x04")
        assert [room["id"] for room in flask("rooms")["rooms"]] == ["theirs"]
        assert flask("docs", "show", "theirs", "--format", "text")["content"] == "hello"


# ---- completion


def bash(script: str, environment: dict[str, str]) -> list[str]:
    """What a script prints in a shell where `collab` is found."""
    program = shutil.which("bash")
    if program is None:
        missing("bash is not installed")
    env = {**os.environ, **environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run([program, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_shell_completes_commands_options_and_the_rooms_that_are_open(running: Running, tmp_path: Path) -> None:
    script = """
eval "$(_COLLAB_COMPLETE=bash_source collab)"
complete -p collab > /dev/null
for words in "collab us" "collab stats --wa" "collab users comp"; do
  COMPREPLY=() COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _collab_completion collab
  echo "${COMPREPLY[@]}"
done
"""
    with connect(running.server.port, "/yjs/completed") as wire:
        wire.read_until(is_step1)
        assert bash(script, running.socket) == ["users", "--watch", "completed"]
    assert bash(script, {"COLLAB_ADMIN_SOCKET": str(tmp_path / "none")}) == ["users", "--watch"], "and nothing is said"


def test_the_commands_in_the_documentation_work(tmp_path: Path) -> None:
    scripts = sorted(blocks("docs/commands.md", "sh"), key=lambda script: "drain" in script)  # the last thing of all
    lines = "from flask import Flask\nfrom collab import Collab\n\napp = Flask(__name__)\nCollab(app)\n"
    (tmp_path / "their_app.py").write_text(lines)
    settings = {"COLLAB_ADMIN_SOCKET": str(tmp_path / "admin.sock"), "COLLAB_STORE": f"sqlite:///{tmp_path}/collab.db"}
    server = Server(SERVE, {**settings, "COLLAB_ADMIN_TOKEN": TOKEN}).wait_ready()
    try:
        server.wait_output("reach this server by")
        with (
            connect(server.port, "/ws/document/my-document?user_id=alice") as alice,
            connect(server.port, "/yjs/elsewhere") as bob,
        ):
            alice.read_until(is_step1)
            bob.read_until(is_step1)
            alice.say(update(Editor(native=True).type("hello")))
            alice.read_until(lambda message: isinstance(message, bytes) and message[:1] == b"\x04")
            environment = {**settings, "SERVER": f"http://127.0.0.1:{server.port}", "TOKEN": TOKEN}
            script = "\n".join([f"cd '{tmp_path}'", "set -e -o pipefail", *scripts])
            said = bash(script, environment)
            assert (alice.read_closed().code, bob.read_closed().code) == (4403, 1012), "kicked, and sent away"
        assert "not ready: the server is draining" in collab(settings, "stats")
    finally:
        assert server.stop() == 0
    assert "draining:" in said and "my-document" in said


class Impostor(BaseHTTPRequestHandler):
    """Answers like a server that wants to steer the terminal of whoever asks."""

    answer = b""

    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Location", "/\x9b2J\x1b[2J")
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    "error",
    [{"code": "x\x1b[2J", "message": "y\x9b2J"}, {"code": 5, "message": ["no text"]}, {"code": "not_found"}, None],
)
def test_what_answers_in_place_of_a_server_does_not_steer_the_terminal(error: object) -> None:
    answer = type("Answer", (Impostor,), {"answer": json.dumps({"error": error}).encode()})
    with HTTPServer(("127.0.0.1", 0), answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environment = {"COLLAB_ADMIN_URL": f"http://127.0.0.1:{server.server_port}", "COLLAB_ADMIN_TOKEN": TOKEN}
        done = CliRunner(env=environment).invoke(main, ["stats"])
        server.shutdown()
        thread.join()
    assert isinstance(done.exception, SystemExit) and done.exit_code in (1, 4)
    assert not set("\x1b\x9b") & set(done.output) and done.output.strip()


def test_an_address_is_shown_as_text() -> None:
    session = {"dialect": "yjs", "address": "\x1b[2J", "since": "2026-01-01T00:00:00Z", "updates": 0, "queued": 0}
    lines = _user_lines({"users": [{"id": "a", "name": "A", "rights": "read", "sessions": [session]}]})
    assert "\x1b" not in "".join(lines)


def test_a_browser_gets_the_link_in_a_file_that_nobody_else_can_read(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int, str]] = []

    def launch(url: str) -> int:
        path = Path(urlsplit(url).path)
        opened.append((url, path.stat().st_mode & 0o777, path.read_text()))
        return 0

    monkeypatch.setattr(click, "launch", launch)
    monkeypatch.setattr(live, "OPENING", 0.0)
    link = json.loads(collab(running.socket, "dashboard", "--open", "--json"))["url"]
    [(url, mode, content)] = opened
    assert "ticket" not in url and mode == 0o600 and html.escape(link) in content
    assert not Path(urlsplit(url).path).exists()


# ---- the live screen


@pytest.mark.parametrize(("term", "way"), [("xterm-256color", "q"), ("screen", "\x03"), ("linux", "SIGTERM")])
def test_the_live_screen_shows_the_busiest_rooms_first_and_leaves_the_terminal_as_it_was(
    running: Running, term: str, way: str
) -> None:
    with (
        connect(running.server.port, "/yjs/a-quiet-one") as quiet,
        connect(running.server.port, "/yjs/%E6%97%A5%E8%A8%98") as busy,
        Terminal("top", "--interval", "0.2", environment={**running.socket, "TERM": term}) as terminal,
    ):
        quiet.read_until(is_step1)
        busy.read_until(is_step1)
        editor = Editor()

        def seen(lines: list[str]) -> bool:
            busy.say(update(editor.type("x")))
            rows = [line.split()[-1] for line in lines if line.endswith(("quiet-one", "日 記", "日記"))]
            return len(rows) == 2 and rows[-1] == "a-quiet-one"

        lines = terminal.read_until(seen)
        assert lines[0].startswith("collab ") and any("p99" in line for line in lines)
        terminal.resize(60, 14)
        lines = terminal.read_until(lambda lines: len(lines) == 14 and lines[-1].endswith("q quits"))
        if way == "SIGTERM":
            terminal.process.send_signal(signal.SIGTERM)
        else:
            terminal.press(way.encode())
        assert terminal.wait_end() == 0
        assert terminal.as_it_was
        assert b"Traceback" not in terminal.raw


def test_the_live_screen_waits_for_a_server_that_is_started_anew(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    environment = {"COLLAB_ADMIN_SOCKET": path}
    server = serve(COLLAB_ADMIN_SOCKET=path)
    server.wait_output("reach this server by")
    with Terminal("top", "--interval", "0.2", environment={**environment, "TERM": "screen"}) as terminal:
        terminal.read_until(lambda lines: "No room is open." in lines)
        server.stop()
        terminal.read_until(lambda lines: any("No server answers" in line for line in lines))
        serve(COLLAB_ADMIN_SOCKET=path)
        terminal.read_until(lambda lines: not any("No server answers" in line for line in lines))
        terminal.press(b"q")
        assert terminal.wait_end() == 0


def test_the_live_screen_wants_a_terminal_and_a_server(tmp_path: Path) -> None:
    assert "collab stats --watch" in run("memory:", "top", code=2).output
    environment = {"COLLAB_ADMIN_SOCKET": str(tmp_path / "none"), "TERM": "screen"}
    with Terminal("top", environment=environment, columns=200) as terminal:
        assert terminal.wait_end() == 4
        assert any("No server answers" in line for line in terminal.lines) and terminal.as_it_was


def stats(uptime: float, **totals: int) -> dict[str, Any]:
    """A server's answer."""
    histogram = {"bounds": [0.001, 0.01], "counts": [90, 9, 1], "sum": 0.2}
    return {
        "node": "n",
        "version": "1",
        "started": "2026-01-01T00:00:00Z",
        "uptime": uptime,
        "ready": True,
        "reasons": [],
        "users": 1,
        "rooms": 1,
        "connections": 1,
        "sessions": {"yjs": 1},
        "totals": {"updates": 0, "received_messages": 0, "commits": 0, "received_bytes": 0, "sent_bytes": 0, **totals},
        "latency": {"queued": histogram, "written": histogram},
        "queues": {"messages": 0, "bytes": 0, "slow": 0},
        "store": {"kind": "sqlite", "ready": True, "trouble": None, "unstored_bytes": 0, "unstored_age": 0.0},
        "process": {"pid": 1, "rss": None, "cpu_seconds": uptime / 2, "greenlets": 3, "loop_lag": 0.0},
    }


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (10, 3), (40, 12), (80, 24), (300, 100)])
def test_the_live_screen_fits_into_every_terminal(columns: int, rows: int) -> None:
    rooms = [
        {"id": f"部屋 {n} \x1b[2J", "sessions": 1, "users": 1, "updates": n, "bytes": 1, "unstored": 0, "queued": 0}
        for n in range(50)
    ]
    picture = Picture(Interval(stats(10.0), stats(12.0, updates=20)), rooms, {}, "no answer", "12:00:00")
    lines = draw(picture, columns, rows)
    assert len(lines) == rows and all(cells(line.text) == columns for line in lines)
    assert not any("\x1b" in line.text for line in lines)
    if rows == 24:
        assert sum(line.look == HEADING for line in lines) == 2
        assert any(line.text.startswith("and 39 rooms more") for line in lines), lines
        busiest = next(line for line in lines if "部屋 49" in line.text)
        assert lines.index(busiest) == next(n for n, line in enumerate(lines) if "UPDATES/S" in line.text) + 1


def test_a_text_is_cut_where_its_cells_end() -> None:
    assert [fit("日本語", width) for width in (0, 1, 2, 3, 4, 5, 6, 7)] == [
        "",
        "…",
        "… ",
        "日…",
        "日… ",
        "日本…",
        "日本語",
        "日本語 ",
    ]
    assert cells("e\u0301") == 1 and Line("x").text == "x"


def test_rates_are_the_difference_of_two_answers_of_one_server() -> None:
    interval = Interval(stats(10.0, updates=100), stats(12.0, updates=120))
    assert (interval.rate("updates"), interval.cpu()) == (10.0, 0.5)
    assert interval.latency("queued", 0.5) is None, "nothing has come since"
    before = stats(10.0, updates=100)
    for other in ({"node": "before"}, {"started": "2025-12-31T00:00:00Z", "uptime": 1.0}, {}):
        anew = Interval({**before, **other}, stats(2.0, updates=20))
        assert anew.rate("updates") == 10.0, "since it was started anew"
        assert anew.latency("queued", 0.99) is not None


def test_quantiles_are_found_between_the_bounds_of_their_class() -> None:
    bounds, counts = (1.0, 2.0, 4.0), [0, 10, 10, 0]
    assert quantile(bounds, counts, 0.25) == 1.5
    assert quantile(bounds, counts, 0.75) == 3.0
    assert quantile(bounds, [0, 0, 0, 5], 0.5) == 4.0, "there is no telling how much more"
    assert quantile(bounds, [0, 0, 0, 0], 0.5) is None
