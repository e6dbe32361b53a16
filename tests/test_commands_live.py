"""Commands beside a running server: what they do reaches who has the document open, and nobody is disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import Serve, Server
from wire import Wire, connect, is_step1
from ydocs import Editor, step1, step2, update

COLLAB = [sys.executable, "-m", "collab"]


class Typist:
    """A native client with `doc` open, whose updates are stored when `type` returns."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.editor = Editor(native=True)
        self.wire: Wire = connect(server.port, "/ws/document/doc?user_id=alice")
        self.wire.read_until(is_step1)

    def type(self, text: str) -> None:
        self.wire.say(update(self.editor.type(text)))
        self.wire.read_until(self._is_receipt)

    def read_until(self, text: str) -> None:
        """Return when the document says `text`."""
        self.wire.read_until(lambda message: self._take(message) and str(self.editor) == text)

    def _is_receipt(self, message: object) -> bool:
        return self._take(message) and isinstance(message, bytes) and message[:1] == b"\x04"

    def _take(self, message: object) -> bool:
        self.editor.read(message)
        return True


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the server and the commands keep documents."""
    return f"sqlite:///{tmp_path / 'collab.db'}"


@pytest.fixture
def typist(serve: Serve, url: str) -> Any:
    """Somebody at work on a server of its own."""
    typist = Typist(serve(COLLAB_STORE=url))
    with typist.wire:
        yield typist


def collab(url: str, *args: str) -> Any:
    """Run a command in a process of its own; its answer."""
    command = [*COLLAB, *args, "--json"]
    done = subprocess.run(
        command, env={**os.environ, "COLLAB_STORE": url}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_restored_version_reaches_who_has_the_document_open(typist: Typist, url: str) -> None:
    typist.type("good text")
    collab(url, "versions", "save", "doc", "--name", "good")
    typist.wire.say(update(typist.editor.delete(0, 5)))
    typist.type(", bad text")
    assert str(typist.editor) == "text, bad text"
    collab(url, "versions", "restore", "doc", "good")
    typist.read_until("good text")
    typist.type("!")
    assert str(typist.editor) == "good text!", "over the same connection"
    assert collab(url, "docs", "show", "doc", "--format", "text")["content"] == "good text!"


def test_a_merged_update_reaches_who_has_the_document_open(typist: Typist, url: str, tmp_path: Path) -> None:
    typist.type("one")
    copy = Editor()
    copy.doc.apply_update(typist.editor.doc.get_update())
    (tmp_path / "more").write_bytes(copy.type(" more"))
    collab(url, "docs", "import", "doc", str(tmp_path / "more"), "--merge")
    typist.read_until("one more")


def test_a_backup_while_somebody_types(typist: Typist, url: str, tmp_path: Path) -> None:
    typist.type("before ")
    file = tmp_path / "b.db"
    command = [*COLLAB, "backup", str(file)]
    with subprocess.Popen(command, env={**os.environ, "COLLAB_STORE": url}) as backup:
        while backup.poll() is None:
            typist.type("x")
    assert backup.returncode == 0
    other = f"sqlite:///{tmp_path / 'other.db'}"
    collab(other, "restore", str(file))
    text = collab(other, "docs", "show", "doc", "--format", "text")["content"]
    assert text.startswith("before ") and str(typist.editor).startswith(text)
    assert len(str(typist.editor)) > len("before ")


def test_a_backup_that_is_restored_stays_whatever_its_clients_have_done_to_the_document(
    typist: Typist, url: str, tmp_path: Path
) -> None:
    typist.type("good text")
    file = str(tmp_path / "b.db")
    collab(url, "backup", file)
    typist.wire.say(update(typist.editor.delete(0, 5)))
    typist.type(", bad text")
    collab(url, "restore", "--overwrite", file)
    assert typist.wire.read_closed().code == 1012
    again = Typist(typist.server)
    with again.wire:
        again.editor.doc.apply_update(typist.editor.doc.get_update())
        again.wire.say(step2(typist.editor.doc.get_update()))
        again.wire.say(step1(again.editor.doc.get_state()))
        again.read_until("good text")
        again.type("!")
        assert str(again.editor) == "good text!"
    assert collab(url, "docs", "show", "doc", "--format", "text")["content"] == "good text!"
