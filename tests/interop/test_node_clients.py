"""Unmodified Yjs clients from npm, in Node, against a running server; what they do is in ``scenario.mjs``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Play = Callable[[str, str], None]

VERSIONS = {
    "1.5.4": "y-websocket-1",
    "2.1.0": "y-websocket-2",
    "3.0.0": "y-websocket-3",
    "3.1.0": "y-websocket-31",
    "4.0.0-3": "@y/websocket",
}
every_version = pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
# 1.x has no option for subprotocols.
every_version_but_1 = pytest.mark.parametrize("version", list(VERSIONS.values())[1:], ids=list(VERSIONS)[1:])


@every_version
def test_three_clients_who_edit_at_once_converge(play: Play, version: str) -> None:
    """Text with formats, maps, arrays, XML, deletes, emoji and CJK: equal content, state vectors and deletions."""
    play("convergence", version)


@every_version
def test_a_late_joiner_gets_everything(play: Play, version: str) -> None:
    """A client that joins finds all that was written, 3 MB too, and also when its author is gone."""
    play("late-joiner", version)


@every_version
def test_offline_edits_arrive_after_the_reconnect(play: Play, version: str) -> None:
    """Both sides' changes meet after an orderly disconnect and after a cut socket."""
    play("offline", version)


@every_version
def test_presence_appears_moves_and_vanishes(play: Play, version: str) -> None:
    """Awareness goes at a disconnect, and within a second of a lost socket or of a process killed by SIGKILL."""
    play("awareness", version)


@every_version
def test_y_websocket_and_native_clients_share_a_room(play: Play, version: str) -> None:
    """Text and presence go both ways; join, leave and relayed messages reach native clients only."""
    play("native", version)


@every_version
def test_a_room_is_the_same_however_its_name_is_written(play: Play, version: str) -> None:
    """Spaces, slashes, emoji, percent signs: raw and percent-encoded, on the y-websocket and on the native path."""
    play("rooms", version)


@every_version_but_1
def test_the_native_path_speaks_y_websocket_when_asked(play: Play, version: str) -> None:
    """A provider with ``protocols: ['yjs']`` on the native path works as on its own."""
    play("subprotocol", version)


def test_sync_status_turns_green_after_local_edits(play: Play) -> None:
    """3.1.0-rc.5 counts a change as saved when it comes back; no other published version has the event."""
    play("sync-status", "y-websocket-3rc")


def test_all_versions_meet_in_one_room(play: Play) -> None:
    """1.x to 4, on yjs 13 and 14, hold the same text, map and array and see each other."""
    play("mixed", "all")


def test_the_lock_names_no_registry_and_one_yjs() -> None:
    """``npm ci`` works with any registry, and the clients of yjs 13 work on one copy of it."""
    lock = json.loads((Path(__file__).parent / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert [name for name in lock["packages"] if name.endswith("node_modules/yjs")] == ["node_modules/yjs"]
