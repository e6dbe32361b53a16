"""Unmodified providers of Hocuspocus from npm, in Node, against a running server; see ``hocuspocus.mjs``."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import SERVE, Server

Play = Callable[[str, str], None]

TIMEOUT = 60

VERSIONS = {"2.15.3": "2", "3.4.4": "3", "4.8.0": "4"}
every_version = pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
# That of version 2 shows its token once, and cannot be asked for another one.
every_version_but_2 = pytest.mark.parametrize("version", list(VERSIONS.values())[1:], ids=list(VERSIONS)[1:])


@every_version
def test_providers_y_websocket_and_native_clients_who_edit_at_once_converge(
    play_hocuspocus: Play, version: str
) -> None:
    """Text with formats, maps, arrays, XML, deletes, emoji and CJK: equal content, state vectors and deletions."""
    play_hocuspocus("convergence", version)


@every_version
def test_nothing_is_unsynced_once_all_is_stored(play_hocuspocus: Play, version: str) -> None:
    """After edits, after edits without a connection, after a forced sync, and after one amid edits."""
    play_hocuspocus("unsynced", version)


@every_version
def test_documents_come_and_go_on_one_connection_while_others_go_on(play_hocuspocus: Play, version: str) -> None:
    """Who leaves one is announced as gone there, once, and may come back."""
    play_hocuspocus("documents", version)


@every_version
def test_a_name_is_one_document_in_all_dialects(play_hocuspocus: Play, version: str) -> None:
    """Spaces, slashes, emoji, percent signs."""
    play_hocuspocus("names", version)


@every_version
def test_presence_goes_between_versions_and_dialects(play_hocuspocus: Play, version: str) -> None:
    """It appears, moves and vanishes."""
    play_hocuspocus("presence", version)


@every_version
def test_stateless_messages_go_both_ways_between_versions_and_native_clients(
    play_hocuspocus: Play, version: str
) -> None:
    """Never back to the sender, and never in the server's name."""
    play_hocuspocus("stateless", version)


def test_two_providers_of_one_document_share_a_connection(play_hocuspocus: Play) -> None:
    """Version 4 with session awareness."""
    play_hocuspocus("sessions", "4")


@every_version
def test_a_wrong_token_is_denied_and_the_right_one_granted_on_the_same_connection(
    play_guarded: Play, version: str
) -> None:
    """Another document goes on all the while."""
    play_guarded("token", version)


@every_version
def test_who_may_only_read_sees_all_and_changes_nothing(play_guarded: Play, version: str) -> None:
    """Presence works; edits are refused, stay unsynced and reach nobody."""
    play_guarded("read-only", version)


@every_version_but_2
def test_another_token_changes_what_a_provider_may_do(play_guarded: Play, version: str) -> None:
    """From reading to writing and back, and out, on one connection."""
    play_guarded("rights", version)


@every_version_but_2
def test_a_provider_whose_token_is_nearly_over_is_asked_for_another_one(play_guarded: Play, version: str) -> None:
    """And goes on with it."""
    play_guarded("renewal", version)


def test_all_versions_come_back_to_a_server_that_was_stopped_or_killed(
    node: str, node_modules: Path, tmp_path: Path
) -> None:
    """What they write meanwhile arrives, and what was there is there again."""
    settings = {"COLLAB_STORE": f"sqlite:///{tmp_path}/collab.db"}
    server = Server(SERVE, settings).wait_ready()
    command = [node, "hocuspocus.mjs", server.url(""), "restart", "all"]
    output = ""
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = threading.Timer(TIMEOUT, process.kill)
        deadline.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                output += line
                if line.strip() in ("SIGTERM", "SIGKILL"):
                    end = server.kill if line.strip() == "SIGKILL" else server.stop
                    end()
                    server = Server(SERVE, settings, server.port).wait_ready()
        finally:
            deadline.cancel()
            process.kill()
            server.stop(signal.SIGINT)
    assert "ok restart" in output, output
