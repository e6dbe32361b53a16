"""The README's commands and Python do what they say, run as they stand, and those of `docs/` that nobody else runs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import damage, opened, run, write
from flask import Flask
from interop.typists import read_copy
from issuer import SECRET, token
from processes import ROOT, Serve, Server
from readme import block
from wire import TIMEOUT, Wire, ask, connect, is_event, is_step1, request
from ydocs import Editor, step1, update

from collab import Collab
from collab.commands import outcome
from collab.stores.base import Record
from collab.testing import Closed, settle, stage
from collab.updates import squash

BIN = Path(sys.executable).parent
ADDRESS = "127.0.0.1:8080"
DOCUMENT = "my-document"
PLAIN: dict[str, str | None] = {"Upgrade": None, "Connection": None}
GREETING = {"type": "chat", "text": "hi"}

PROGRAM_TIMEOUT = 30


def at(server: Server, code: str, document: str) -> str:
    """Code that goes to this server, and to a document of its own."""
    assert ADDRESS in code and DOCUMENT in code
    return code.replace(ADDRESS, f"{server.host}:{server.port}").replace(DOCUMENT, document)


def environment(**values: str) -> dict[str, str]:
    """This process's, with what is installed here in the path, and no proxy between programs and loopback."""
    mine = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**mine, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **values}


def sh(script: str, folder: Path, **values: str) -> str:
    """What a script prints, which has to end well."""
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env=environment(**values),
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def started(script: str, folder: Path, **values: str) -> Server:
    """The server that a script starts on the port behind `{port}`."""
    command = ["bash", "-ec", f"cd {shlex.quote(str(folder))}\n{script}"]
    return Server(command, environment(**values)).wait_ready()


def text_of(port: int, document: str) -> str:
    """The text of a document as the server has it."""
    with connect(port, f"/yjs/{document}") as wire:
        return read_text(wire)


def read_text(wire: Wire) -> str:
    """The text that a server has for a y-websocket client."""
    editor = Editor()
    wire.say(step1())
    editor.read(wire.read_until(lambda message: isinstance(message, bytes) and message[:2] == b"\0\1"))
    return str(editor)


@pytest.fixture
def their_app(tmp_path: Path) -> Path:
    """A folder with the application of two lines."""
    (tmp_path / "their_app.py").write_text(block("README.md", "python", "app = Flask(__name__)\nCollab(app)\n"))
    return tmp_path


# ---- a newcomer


def test_one_command_installs_and_serves_and_another_gives_a_link_to_the_dashboard(tmp_path: Path) -> None:
    """Installing itself is what ``.ci/run`` does; here what is installed already takes its place."""
    made = tmp_path / "bin" / "python3"
    made.parent.mkdir()
    installer = "#!/bin/sh\ntest \"$*\" = 'install .'\n"
    made.write_text(
        f"#!/bin/sh\ntest \"$*\" = '-m venv .venv' && mkdir -p .venv/bin && ln -s {BIN}/collab .venv/bin/\n"
        f"printf '%s' {shlex.quote(installer)} > .venv/bin/pip && chmod +x .venv/bin/pip\n"
    )
    made.chmod(0o755)
    own = {"COLLAB_ADMIN_SOCKET": "collab.sock"}
    script = block("README.md", "sh", "pip install .").rstrip()
    running = started(f"PATH={made.parent}:$PATH\n{script} --port {{port}}", tmp_path, **own)
    try:
        running.wait_output("reach this server by")
        page = ask(running.port, request("/", headers=PLAIN))
        assert (page.status, b"<title>" in page.body) == (200, True)
        link = sh(block("README.md", "sh", "collab dashboard"), tmp_path, **own)
        assert f"http://127.0.0.1:{running.port}/admin/#ticket=" in link
    finally:
        running.stop()


# ---- programs and terminals


@contextlib.contextmanager
def program(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python program that runs."""
    (folder / "program.py").write_text(code)
    command = [sys.executable, "-W", "error", "program.py"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_python_program_talks_to_everybody(server: Server, tmp_path: Path) -> None:
    code = at(server, block("README.md", "python", "Hello from Python"), "readme-program")
    with connect(server.port, "/ws/document/readme-program?user_id=alice") as wire:
        wire.read_until(is_step1)
        with program(code, tmp_path) as process:
            assert process.stdout is not None
            said = wire.read_until(is_event("chat"))
            assert said == {"type": "chat", "text": "Hello from Python"}
            wire.say(GREETING)
            for line in process.stdout:
                if line == f"{GREETING}\n":
                    return
    pytest.fail("the program has not heard what was said")


def test_a_python_program_writes_in_a_document_that_others_have_written_in(server: Server, tmp_path: Path) -> None:
    code = at(server, block("README.md", "python", "create_update_message"), "readme-writer")
    with connect(server.port, "/yjs/readme-writer") as wire:
        wire.read_until(is_step1)
        wire.say(update(Editor().type("A line of Alice's\n")))
        assert read_text(wire) == "A line of Alice's\n"
        with program(code, tmp_path) as process:
            assert process.wait(PROGRAM_TIMEOUT) == 0
        assert read_text(wire) == "A line of Alice's\nA line from Python\n"


def test_a_native_client_hears_that_its_change_is_stored(server: Server) -> None:
    names: dict[str, Any] = {}
    exec(block("docs/native-protocol.md", "python"), names)
    url = server.url("/ws/document/readme-native?user_id=robot")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        assert names["write"](url, "a line") == "stored"
    assert text_of(server.port, "readme-native") == "a line"


def test_a_terminal_is_a_client(server: Server, tmp_path: Path) -> None:
    script = at(server, block("README.md", "sh", "bin/websockets"), "readme-terminal").replace(".venv/bin", str(BIN))
    master, slave = pty.openpty()
    with connect(server.port, "/ws/document/readme-terminal?user_id=alice") as wire:
        wire.read_until(is_step1)
        process = subprocess.Popen(["sh", "-c", f"exec {script}"], env=environment(), stdin=slave, stdout=slave)
        try:
            seen(master, b"initial_state")
            os.write(master, json.dumps(GREETING).encode() + b"\n")
            assert wire.read_until(is_event("chat")) == GREETING
            wire.say({"type": "chat", "text": "welcome"})
            seen(master, b"welcome")
            os.write(master, b"\x04")
            seen(master, b"1000")
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
            process.wait()
            os.close(master)
            os.close(slave)


def seen(master: int, text: bytes) -> None:
    """Return when a text is on a terminal's screen."""
    shown = b""
    while text not in shown:
        assert select.select([master], [], [], TIMEOUT)[0], f"{text!r} is not in {shown!r}"
        shown += os.read(master, 4096)


# ---- Flask


def write_and_read(port: int) -> None:
    """Write in a document, and read it."""
    with connect(port, "/yjs/plan") as wire:
        wire.read_until(is_step1)
        wire.say(update(Editor().type("hello")))
        assert read_text(wire) == "hello"


def test_an_application_of_two_lines_is_served_by_gunicorn(their_app: Path) -> None:
    script = block("README.md", "sh", "gunicorn --config")
    assert script.count("8080") == 1
    running = started("exec " + script.replace("8080", "{port}"), their_app)
    write_and_read(running.port)
    for path in ("/healthz", "/readyz", "/metrics", "/api/document?id=plan"):
        assert ask(running.port, request(path, headers=PLAIN)).status == 200, path
    assert ask(running.port, request("/admin/", headers=PLAIN)).status == 404
    assert running.stop() == 0
    assert "Traceback" not in running.output


def test_an_application_of_two_lines_is_served_by_pywsgi(their_app: Path) -> None:
    code = block("README.md", "python", "WSGIServer")
    assert code.count("8080") == 1 and f"signal_handler({signal.SIGTERM:d}, " in code
    (their_app / "serving.py").write_text(code)
    own = f"sed s/8080/{{port}}/ serving.py > own.py\nexec {shlex.quote(sys.executable)} own.py"
    running = started(own, their_app)
    write_and_read(running.port)
    assert running.stop() == 0
    assert "Traceback" not in running.output


def test_an_application_forgets_a_member() -> None:
    names: dict[str, Any] = {}
    exec(block("README.md", "python", "def forget_member"), names)
    app = Flask("theirs")
    with stage() as hub, app.app_context():
        app.extensions["collab"] = hub
        alice, bob = hub.native("team/plan", "alice"), hub.native("team/plan", "bob")
        bob.received()
        names["forget_member"](Collab(), "alice")
        settle()
        assert [message.code for message in alice.received() if isinstance(message, Closed)] == [4403]
        assert {"type": "say", "text": "alice has left the team."} in bob.received()


def test_an_application_begins_documents_with_a_text_and_tests_it(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = types.ModuleType("their_app")
    exec(block("README.md", "python", "seed=headline"), theirs.__dict__)
    theirs.app.extensions["collab"].stop()
    monkeypatch.setitem(sys.modules, "their_app", theirs)
    names: dict[str, Any] = {}
    exec(block("README.md", "python", "from collab.testing import"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    test()


# ---- operators


def test_a_server_for_others_starts_without_a_warning_and_wants_tokens(tmp_path: Path) -> None:
    script = block("README.md", "sh", "COLLAB_TRUSTED_PROXIES").replace("/var/lib/collab", str(tmp_path))
    assert script.count("9000") == 1
    script = script.replace("9000", "{port}").replace("collab serve", "exec collab serve")
    running = started(script, tmp_path, SECRET=SECRET, ADMIN_TOKEN="the operator's own".replace(" ", "-"))
    try:
        assert ask(running.port, request("/yjs/plan")).status == 401
        page = {"Origin": "https://app.example.org", "X-Forwarded-For": "203.0.113.7"}
        with connect(running.port, f"/yjs/plan?token={token()}", headers=page) as wire:
            wire.read_until(is_step1)
            running.wait_output("came from 203.0.113.7")
        assert json.loads(ask(running.port, request("/readyz", headers=PLAIN)).body)["warnings"] == []
    finally:
        assert running.stop() == 0
    # Where few files may be open, which is this machine's matter, there is one; and one for who had no token.
    warned = [line for line in running.output.splitlines() if "[WARNING]" in line]
    assert [line for line in warned if "ulimit" not in line and "401 unauthenticated" not in line] == []
    assert (tmp_path / "collab.db").exists()


def ours(line: str, url: str, code: int = 0) -> str:
    """What a line says that is a command of ours, run on the store at `url`."""
    words = shlex.split(line, comments=True)
    assert words.pop(0) == "collab"
    return run(url, *words, code=code).output


def test_a_backup_is_made_and_all_of_it_or_one_document_is_put_back(tmp_path: Path) -> None:
    script = block("README.md", "sh", "collab backup").replace("/backups", str(tmp_path))
    backup, everything, one = script.splitlines()
    old, new = (f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new"))
    with opened(old) as store:
        write(store, DOCUMENT, "first")
    for _ in range(2):
        ours(backup, old)
    ours(everything, new)
    with opened(new) as store:
        assert read_copy(store, DOCUMENT).text == "first"
    run(old, "docs", "delete", "--yes", DOCUMENT)
    with opened(old) as store:
        write(store, DOCUMENT, "second", epoch="e2")
    ours(everything, old, outcome.REFUSED)
    ours(one, old)
    with opened(old) as store:
        assert read_copy(store, DOCUMENT).text == "first"


def test_a_version_is_found_shown_and_brought_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/collab.db"
    with opened(url) as store:
        editor = write(store, DOCUMENT, "all of the text")
        whole = store.load(DOCUMENT)
        assert whole is not None
        saved = [store.save_version(DOCUMENT, whole.epoch, squash(whole.updates)) for _ in range(12)]
        assert saved[-1] is not None and saved[-1].id == 12
        store.append([Record(DOCUMENT, "e1", editor.delete(0, 7), False)])
        assert read_copy(store, DOCUMENT).text == "the text"
    found, shown, restored = (ours(line, url) for line in block("README.md", "sh", "collab versions list").splitlines())
    assert "12" in found and "all of the text" in shown and "12" in restored
    with opened(url) as store:
        assert read_copy(store, DOCUMENT).text == "all of the text"


def test_a_document_in_quarantine_is_looked_at_and_goes_on_without_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show, release, salvage = block("docs/documents.md", "sh", "collab quarantine").splitlines()
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/collab.db"
    with opened(url) as store:
        write(store, DOCUMENT, "what can be read", " and what cannot")
        store.quarantine(DOCUMENT, "its bytes are damaged")
    damage(tmp_path / "collab.db")
    assert "its bytes are damaged" in ours(show, url)
    ours(release, url, outcome.DAMAGED)
    ours(salvage, url)
    assert (tmp_path / "before.db").exists()
    with opened(url) as store:
        assert read_copy(store, DOCUMENT).text == "what can be read"


def test_prometheus_finds_its_rules_and_the_server(server: Server) -> None:
    settings = yaml.safe_load(block("docs/monitoring.md", "yaml"))
    assert all((ROOT / "deploy" / name).exists() for name in settings["rule_files"])
    (job,) = settings["scrape_configs"]
    assert job["static_configs"] == [{"targets": [ADDRESS]}]
    assert b"collab_updates_total" in ask(server.port, request("/metrics", headers=PLAIN)).body


# ---- docs/logs-and-traces.md


def alike(line: str) -> str:
    """A line without its numbers and times, and without the ids of sessions."""
    return re.sub(r"\d+(\.\d+)?", "0", re.sub(r"\b\w{27}\b", "SESSION", line))


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_looks_as_the_page_shows(serve: Serve, form: str) -> None:
    running = serve(COLLAB_LOG_FORMAT=form, COLLAB_RESUME_GRACE=0)
    with connect(running.port, "/yjs/team/plan?user_id=alice") as wire:
        wire.read_until(is_step1)
        wire.goodbye(1001)
        wire.read_closed()
    written = running.wait_output("went after").splitlines()
    told = {alike(line) for line in written}
    if form == "text":
        shown = block("docs/logs-and-traces.md", "text", "came from").splitlines()
        assert len(shown) == 2 and {alike(line) for line in shown} <= told
    else:
        assert alike(block("docs/logs-and-traces.md", "json", "came from").rstrip()) in told


def test_an_application_logs_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("collab")
    before, level = list(logger.handlers), logger.level
    try:
        exec(block("docs/logs-and-traces.md", "python", "JsonFormatter"), {})
        logging.getLogger("collab.comings").info("hello", extra={"document": "plan"})
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)
    told = json.loads(capsys.readouterr().err)
    assert (told["event"], told["document"]) == ("hello", "plan")
