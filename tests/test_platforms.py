"""Where files do not outlive a restart, that is said before the documents are lost, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import Serve
from wire import ask

from collab.platforms import PLATFORMS, loss, setting

ROOT_DISK = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"
CONTAINER = "620 580 0:61 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/l,upperdir=/u"
VOLUME = "640 620 254:1 /v /data rw,relatime - ext4 /dev/vdb rw"
SPACES = "641 620 254:1 /v /my\\040data rw,relatime - ext4 /dev/vdb rw"
MEMORY = "642 620 0:66 / /dev/shm rw - tmpfs shm rw"
ABOVE = "643 640 0:61 / /data rw - overlay overlay rw"

HEROKU, FLY = {"DYNO": "web.1"}, {"FLY_APP_NAME": "docs"}


def told(store: str, environ: dict[str, str], folder: Path, *mounts: str) -> str:
    """What is said of a store where these are mounted."""
    (folder / "mountinfo").write_text("\n".join(mounts) + "\n")
    return loss(store, environ, folder / "mountinfo")


@pytest.mark.parametrize(
    ("store", "environ", "mounts", "words"),
    [
        ("sqlite:////app/collab.db", HEROKU, [ROOT_DISK], "Heroku"),
        ("sqlite:////data/collab.db", HEROKU, [ROOT_DISK, VOLUME], "Heroku"),
        ("sqlite:////app/collab.db", FLY, [ROOT_DISK, VOLUME], "Fly"),
        ("sqlite:////app/collab.db", {"RENDER": "true"}, [ROOT_DISK], "Render"),
        ("sqlite:////app/collab.db", {"K_SERVICE": "docs"}, [MEMORY, "1 0 0:1 / / rw - tmpfs none rw"], "memory"),
        ("sqlite:////app/collab.db", {}, [CONTAINER, VOLUME], "container"),
        ("sqlite:////data/collab.db", {}, [CONTAINER, VOLUME, ABOVE], "container"),
        ("sqlite:////database/collab.db", {}, [CONTAINER, VOLUME], "container"),
        ("sqlite:////dev/shm/collab.db", {}, [ROOT_DISK, MEMORY], "memory"),
    ],
)
def test_a_file_that_will_be_lost_is_warned_of(
    tmp_path: Path, store: str, environ: dict[str, str], mounts: list[str], words: str
) -> None:
    warning = told(store, environ, tmp_path, *mounts)
    assert words in warning
    assert store.removeprefix("sqlite:///") in warning
    assert "DATABASE_URL" in warning
    assert ("volume." in warning) == (environ != HEROKU)


@pytest.mark.parametrize(
    ("store", "environ", "mounts"),
    [
        ("sqlite:////app/collab.db", {}, [ROOT_DISK]),
        ("sqlite:////data/collab.db", FLY, [ROOT_DISK, VOLUME]),
        ("sqlite:////data/collab.db", {}, [CONTAINER, VOLUME]),
        ("sqlite:////my data/collab.db", {}, [CONTAINER, SPACES]),
        ("postgresql://user@host/name", HEROKU, [CONTAINER]),
        ("memory:", HEROKU, [CONTAINER]),
    ],
)
def test_what_stays_is_not_warned_of(tmp_path: Path, store: str, environ: dict[str, str], mounts: list[str]) -> None:
    assert told(store, environ, tmp_path, *mounts) == ""


def test_where_it_cannot_be_told_what_is_mounted_only_the_platform_counts(tmp_path: Path) -> None:
    assert loss("sqlite:////app/collab.db", {}, tmp_path / "none") == ""
    assert "Heroku" in loss("sqlite:////app/collab.db", HEROKU, tmp_path / "none")


def test_a_file_named_from_the_folder_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "collab.db") in loss("sqlite:///collab.db", HEROKU)


def test_how_to_set_something_is_said_in_the_platforms_own_words() -> None:
    assert setting(HEROKU, "A=1") == " Here that is: heroku config:set A=1"
    assert setting(FLY, "A=1") == " Here that is: fly secrets set A=1"
    assert setting({"RENDER": "true"}, "A=1") == setting({}, "A=1") == ""
    assert len({platform.variable for platform in PLATFORMS}) == len(PLATFORMS)


def test_a_server_says_so_when_it_starts_and_is_ready_all_the_same(tmp_path: Path, serve: Serve) -> None:
    running = serve(DYNO="web.1", COLLAB_STORE=f"sqlite:///{tmp_path / 'collab.db'}")
    warning = f"All documents will be lost at the next restart: they are kept in {tmp_path / 'collab.db'}"
    assert running.wait_output(warning).count(warning) == 1
    answer = ask(running.port, b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer.status == 200
    (told,) = json.loads(answer.body)["warnings"]
    assert told.startswith(warning)


def test_a_server_with_a_database_says_nothing_of_the_kind(serve: Serve) -> None:
    running = serve(DYNO="web.1", COLLAB_STORE="memory:")
    assert json.loads(ask(running.port, b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").body)["warnings"] == []
