"""The JavaScript of docs/api.md does what it says, in Node beside a real server."""

from __future__ import annotations

import re
import subprocess

import pytest
from issuer import SECRET, token
from processes import Serve
from readme import block
from wire import connect, is_step1
from ydocs import Editor, update

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")


def test_a_page_names_a_version_lists_it_and_brings_it_back(serve: Serve, node: str) -> None:
    server = serve(COLLAB_AUTH="jwt", COLLAB_JWT_SECRET=SECRET)
    shown = token(name="Alice")
    with connect(server.port, f"/ws/document/team%2Fplan?token={shown}") as wire:
        wire.read_until(is_step1)
        wire.say(update(Editor().type("hello")))
        wire.read_until(lambda message: isinstance(message, bytes) and message[:1] == b"\x04")
        head = f"const server = 'http://127.0.0.1:{server.port}', token = '{shown}'\n"
        script = head + block("docs/api.md", "js") + "\nconsole.log(changed)"
        command = [node, "--input-type=module", "--eval", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    about, version, changed = done.stdout.splitlines()
    assert about == "Alice write"
    assert re.fullmatch(r"\d+ as agreed \S+Z", version)
    assert changed == "false"
