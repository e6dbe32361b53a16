"""Documents that cannot be read: looked at, released, and what can be saved of them saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import ask, damage, opened, refusal, run, write

from collab.stores.base import Record


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a document of three updates, of which the last is damaged, in quarantine."""
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    with opened(url) as store:
        write(store, "doc", "one ", "two ", "three")
        loaded = store.load("doc")
        assert loaded is not None
        store.save_version("doc", loaded.epoch, loaded.updates[0], "first")
        write(store, "sound", "x")
        store.quarantine("doc", "an update is damaged\x1b[2J")
    damage(tmp_path / "collab.db", which="min(id) + 2")
    return url


def test_it_is_listed_and_explained(url: str) -> None:
    [entry] = ask(url, "quarantine", "list")["documents"]
    assert (entry["id"], entry["quarantine"]) == ("doc", "an update is damaged\x1b[2J")
    printed = run(url, "quarantine", "list").stdout
    assert printed == "doc: an update is damaged\\x1b[2J\n"
    told = ask(url, "quarantine", "show", "doc")
    assert (told["readable_updates"], told["damaged_updates"], told["opens"]) == (2, [3], False)
    printed = run(url, "quarantine", "show", "doc").stdout
    assert "2 of 3 updates" in printed and "collab quarantine release --salvage FILE doc" in printed
    assert run(url, "quarantine", "show", "doc", "--format", "text").stdout == "one two "
    assert json.loads(run(url, "quarantine", "show", "doc", "--format", "json").stdout) == {"text": "one two "}
    assert ask(url, "quarantine", "show", "doc", "--format", "text")["content"] == "one two "
    assert refusal(url, "quarantine", "show", "sound", code=3) == "not_quarantined"
    assert refusal(url, "quarantine", "release", "sound", code=3) == "not_quarantined"


def test_what_can_be_read_now_is_released(url: str, tmp_path: Path) -> None:
    with opened(url) as store:
        store.quarantine("sound", "by mistake")
    assert "It can be opened now" in run(url, "quarantine", "show", "sound").stdout
    file = tmp_path / "before.db"
    answer = ask(url, "quarantine", "release", "sound", "--salvage", str(file))
    assert answer == {"id": "sound", "salvaged": False, "dropped_updates": [], "file": None}
    assert not file.exists()
    assert run(url, "docs", "show", "sound", "--format", "text").stdout == "x"
    with opened(url) as store:
        assert store.notices()[-1][1] == "sound"


def test_what_cannot_be_read_stays(url: str) -> None:
    answer = ask(url, "quarantine", "release", "doc", code=1)["error"]
    assert answer["code"] == "damaged"
    assert "collab restore --overwrite FILE doc" in answer["message"] and "--salvage FILE" in answer["message"]
    assert ask(url, "docs", "show", "doc")["quarantine"]


def test_what_can_be_read_is_salvaged(url: str, tmp_path: Path) -> None:
    before = ask(url, "docs", "show", "doc")
    file = tmp_path / "before.db"
    file.touch()
    assert refusal(url, "quarantine", "release", "doc", "--salvage", str(file), code=5) == "exists"
    assert ask(url, "docs", "show", "doc") == before
    file.unlink()
    answer = ask(url, "quarantine", "release", "doc", "--salvage", str(file))
    assert answer == {"id": "doc", "salvaged": True, "dropped_updates": [3], "file": str(file)}
    after = ask(url, "docs", "show", "doc")
    assert run(url, "docs", "show", "doc", "--format", "text").stdout == "one two "
    assert (after["quarantine"], after["updates"], after["versions"], after["members"]) == (
        None,
        2,
        1,
        before["members"],
    )
    assert after["epoch"] != before["epoch"], "nobody goes on with what was lost as if it were there"
    run(url, "docs", "verify", "--all")
    run(url, "restore", str(file), "doc", "--overwrite")
    assert ask(url, "docs", "show", "doc")["quarantine"] == before["quarantine"]


@pytest.mark.parametrize("junk", [b"\xff\xff", b"", b"\x01\x01\x05"])
def test_intact_bytes_that_are_no_update(tmp_path: Path, junk: bytes) -> None:
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    with opened(url) as store:
        editor = write(store, "doc", "one ", "two ")
        store.append([Record("doc", "e1", junk, False), Record("doc", "e1", editor.type("three"), False)])
        store.quarantine("doc", "why")
    assert ask(url, "quarantine", "show", "doc")["damaged_updates"] == [3]
    assert "3 of 4 updates" in run(url, "quarantine", "release", "doc", "--salvage", str(tmp_path / "b.db")).stdout
    assert run(url, "docs", "show", "doc", "--format", "text").stdout == "one two three"


def test_what_builds_on_what_is_lost_is_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    with opened(url) as store:
        write(store, "doc", "one ", "two ", "three")
        store.quarantine("doc", "why")
    damage(tmp_path / "collab.db", which="min(id) + 1")
    run(url, "quarantine", "release", "doc", "--salvage", str(tmp_path / "b.db"))
    assert ask(url, "docs", "show", "doc")["updates"] == 2
    assert run(url, "docs", "show", "doc", "--format", "text").stdout == "one "


def test_a_document_of_which_nothing_is_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    with opened(url) as store:
        write(store, "doc", "one")
        run(url, "versions", "save", "doc", "--name", "good")
        store.quarantine("doc", "why")
    damage(tmp_path / "collab.db")
    run(url, "quarantine", "release", "doc", "--salvage", str(tmp_path / "b.db"))
    assert run(url, "docs", "show", "doc", "--format", "text").stdout == ""
    run(url, "versions", "restore", "doc", "good")
    assert run(url, "docs", "show", "doc", "--format", "text").stdout == "one"
