"""The README's JavaScript that needs no page, run in Node as it stands, beside a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from issuer import token
from processes import Server
from readme import block
from wire import connect, is_event, is_step1
from ydocs import Editor, step1

HERE = Path(__file__).parent
TIMEOUT = 60
ADDRESS = "ws://127.0.0.1:8080"
PACKAGES = {"'y-websocket'": "'y-websocket-3'", "'@hocuspocus/provider'": "'hocuspocus-3'"}
"""What the README's packages are called here, where there are several versions of each."""

EDITOR = block("README.md", "js", "insert(0, 'Hello')")
WITH_TOKEN = block("README.md", "js", "params: { token }")
CLIENTS = {
    "y-websocket": (WITH_TOKEN, "provider.on('sync', done)"),
    "hocuspocus": (block("README.md", "js", "document, token })"), "provider.on('synced', done)"),
    "subprotocol": (block("docs/authentication.md", "js"), "socket.addEventListener('message', done)"),
}
"""Clients of a server that wants tokens, and how it is known that each has come in."""

WRITE_ONCE_MORE = """
let said = 0
const { log } = console
console.log = text => {
  log(text)
  said++
  if (said === 2) process.exit()
  doc.getText('text').insert(5, ', everybody')
}
"""

GO_ON = """
const freshToken = async () => process.env.FRESH
let welcomes = 0
provider.on('sync', synced => {
  if (synced) console.log(`in ${++welcomes}`)
})
provider.on('connection-close', event => {
  if (event) console.log(event.code, provider.shouldConnect)
  if (event?.code === 4403) process.exit()
})
"""


def here(code: str, server: Server, packages: dict[str, str] = PACKAGES) -> str:
    """The same for this server, with the packages that are here."""
    assert code.count(ADDRESS) == 1
    code = code.replace(ADDRESS, server.url(""))
    for name, known in packages.items():
        code = code.replace(name, known)
    return code


def command(node: str, script: str) -> list[str]:
    return [node, "--input-type=module", "--eval", script]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_comes_in_with_its_token(node: str, node_modules: Path, guarded: Server, client: str) -> None:
    """The server lets nobody in without a token, so that who is in has sent it."""
    code, arrival = CLIENTS[client]
    script = "\n".join(
        (
            "const token = process.env.TOKEN",
            "const done = () => { console.log('it is in'); process.exit(0) }",
            here(code, guarded),
            arrival,
        )
    )
    env = {**os.environ, "TOKEN": token()}
    run = subprocess.run(command(node, script), cwd=HERE, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (0, ["it is in"]), run.stderr
    if client == "subprotocol":
        assert "initial_state" in run.stdout


@pytest.mark.parametrize("version", ["3", "31"])
def test_an_editor_writes_shows_itself_and_knows_that_it_is_stored(
    node: str, node_modules: Path, server: Server, version: str
) -> None:
    room = f"readme-editor-{version}"
    code = here(EDITOR, server, {"'y-websocket'": f"'y-websocket-{version}'"}).replace("my-document", room)
    script = "\n".join((code, block("README.md", "js", "Uint8Array.of(102, 0)"), WRITE_ONCE_MORE))
    with connect(server.port, f"/ws/document/{room}?awareness=json") as wire:
        wire.read_until(is_step1)
        run = subprocess.run(command(node, script), cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT)
        assert (run.returncode, run.stdout) == (0, "all is stored\nall is stored\n"), run.stderr
        assert wire.read_until(is_event("join"))["user"] == {"id": "alice", "name": "Alice"}
        (state,) = wire.read_until(is_event("awareness"))["awareness"].values()
        assert (state["user"]["name"], state["user"]["color"]) == ("Alice", "#ff6b6b")
    editor = Editor()
    with connect(server.port, f"/yjs/{room}") as wire:
        wire.say(step1())
        editor.read(wire.read_until(lambda message: isinstance(message, bytes) and message[:2] == b"\0\1"))
    assert str(editor) == "Hello, everybody"


@pytest.mark.parametrize("version", ["3", "31"])
def test_a_client_comes_back_with_a_fresh_token_and_stays_away_when_it_was_sent_out(
    node: str, node_modules: Path, guarded: Server, version: str
) -> None:
    code = here(WITH_TOKEN, guarded, {"'y-websocket'": f"'y-websocket-{version}'"})
    script = "\n".join(("const { TOKEN: token } = process.env", code, block("README.md", "js", "freshToken()"), GO_ON))
    # It is valid for a second or two more, by the leeway for clocks that differ.
    env = {**os.environ, "TOKEN": token(sub="mallory", exp=time.time() - 8), "FRESH": token(sub="mallory")}
    with subprocess.Popen(command(node, script), cwd=HERE, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "in 1\n"
            closed = process.stdout.readline()
            assert closed.startswith("4401 ")
            assert process.stdout.readline() == "in 2\n"
            kick = [sys.executable, "-m", "collab", "kick", "team/plan", "mallory"]
            socket = {"COLLAB_ADMIN_SOCKET": guarded.admin_socket}
            subprocess.run(kick, env={**os.environ, **socket}, check=True, timeout=TIMEOUT)
            assert process.stdout.readline() == "4403 false\n", "it does not connect again"
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


def test_a_client_without_a_library_shows_its_cursor_and_talks(node: str, node_modules: Path, server: Server) -> None:
    code = here(block("README.md", "js", "Hello, everybody"), server).replace("my-document", "readme-plain")
    with connect(server.port, "/ws/document/readme-plain?user_id=alice&user_name=Alice&awareness=json") as wire:
        wire.read_until(is_step1)
        with subprocess.Popen(command(node, code), cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                # Presence goes out at the end of a loop pass, and so behind what was said after it in the same one.
                heard: dict[str, Any] = {}
                while not heard.keys() >= {"awareness", "chat"}:
                    event = wire.read_until(lambda message: isinstance(message, dict))
                    heard[event["type"]] = event
                (state,) = heard["awareness"]["awareness"].values()
                assert (state["user"]["name"], state["cursor"]) == ("Bob", {"line": 3, "column": 7})
                assert heard["chat"]["text"] == "Hello, everybody"
                wire.say({"type": "chat", "text": "welcome"})
                for line in process.stdout:
                    if "welcome" in line:
                        return
            finally:
                process.kill()
    pytest.fail("it has not heard what was said")
