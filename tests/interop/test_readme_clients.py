"""The README's clients of a server that wants tokens, run in Node as they stand."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from issuer import token
from processes import Server
from readme import snippet

HERE = Path(__file__).parent
TIMEOUT = 60
ADDRESS = "ws://127.0.0.1:8080"
PACKAGES = {"'y-websocket'": "'y-websocket-3'", "'@hocuspocus/provider'": "'hocuspocus-3'"}
"""What the README's packages are called here, where there are several versions of each."""

CLIENTS = {
    "y-websocket": ("WebsocketProvider(", "provider.on('sync', done)"),
    "hocuspocus": ("HocuspocusProvider(", "provider.on('synced', done)"),
    "subprotocol": ("new WebSocket(", "socket.addEventListener('message', done)"),
}
"""What marks each snippet, and how it is known that its client has come in."""


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_comes_in_with_its_token(node: str, node_modules: Path, guarded: Server, client: str) -> None:
    """The server lets nobody in without a token, so that who is in has sent it."""
    mark, arrival = CLIENTS[client]
    code = snippet("Who may come in", "js", mark)
    assert code.count(ADDRESS) == 1
    code = code.replace(ADDRESS, guarded.url(""))
    for name, here in PACKAGES.items():
        code = code.replace(name, here)
    script = "\n".join(
        (
            "const token = process.env.TOKEN",
            "const done = () => { console.log('it is in'); process.exit(0) }",
            code,
            arrival,
        )
    )
    command = [node, "--input-type=module", "--eval", script]
    env = {**os.environ, "TOKEN": token()}
    run = subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (0, ["it is in"]), run.stderr
    if client == "subprotocol":
        assert "initial_state" in run.stdout
