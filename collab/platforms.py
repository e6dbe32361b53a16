"""What is particular about where this runs: whether files outlive a restart there, and how settings are set.

Platforms in Heroku's style give each start of a program a fresh disk, and so do containers without volumes: a store in
a file works there, and is gone with the next deployment. That is worth a warning; but not a refusal, since trying it
out is just what such a place is for.

Bound here: nothing is written, and what cannot be found out is no reason to warn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

MOUNTS: Final = Path("/proc/self/mountinfo")
"""What is mounted where, on Linux."""


class Platform(NamedTuple):
    """Somewhere that runs programs for people."""

    name: str
    variable: str
    """That it sets in the environment of each program."""
    volumes: bool
    """Whether there are disks that outlive the program."""
    setter: str
    """The command that sets settings there, if it is as short as that."""


PLATFORMS: Final = (
    Platform("Heroku", "DYNO", False, "heroku config:set"),
    Platform("Fly", "FLY_APP_NAME", True, "fly secrets set"),
    Platform("Render", "RENDER", True, ""),
    Platform("Cloud Run", "K_SERVICE", True, ""),
)

_FILE: Final = "sqlite:///"
_CONTAINER: Final = {"overlay", "aufs", "fuse-overlayfs"}
_MEMORY: Final = {"tmpfs", "ramfs"}


class _Mount(NamedTuple):
    point: Path
    kind: str


def platform(environ: Mapping[str, str]) -> Platform | None:
    """The one that this runs on, if it says so."""
    return next((found for found in PLATFORMS if found.variable in environ), None)


def setting(environ: Mapping[str, str], assignments: str) -> str:
    """How `assignments` (`NAME=value NAME=value`) are made here, in words for an error's end: empty if as usual."""
    here = platform(environ)
    return f" Here that is: {here.setter} {assignments}" if here is not None and here.setter else ""


def loss(store: str, environ: Mapping[str, str], mounts: Path = MOUNTS) -> str:
    """When and why all documents in the store at the URL `store` will be lost here, and what to do; empty if not."""
    if not store.startswith(_FILE):
        return ""
    file = Path(store.removeprefix(_FILE).partition("?")[0]).resolve()
    here, mount = platform(environ), _mount_of(file, mounts)
    kind, own = (mount.kind, mount.point != Path("/")) if mount is not None else ("", False)
    if here is not None and not here.volumes:
        when, where = "at the next restart", f"on a disk that {here.name} gives each process anew"
    elif kind in _CONTAINER:
        when, where = "with this container", "in the container itself and not on a volume"
    elif kind in _MEMORY:
        when, where = "at the next restart", f"in memory ({kind})"
    elif here is not None and not own:
        when, where = "at the next restart", f"on a disk that {here.name} gives each instance anew"
    else:
        return ""
    volume = "" if here is not None and not here.volumes else ", or to a file on a volume"
    return (
        f"All documents will be lost {when}: they are kept in {file}, which is {where}. "
        f"Set DATABASE_URL or COLLAB_STORE to a PostgreSQL database{volume}."
    )


def _mount_of(file: Path, mounts: Path) -> _Mount | None:
    """What a file is on, as proc(5) describes the table; None if there is no table."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        there, _, what = line.partition(" - ")
        # Spaces and the like are in octal.
        point = Path(there.split()[4].encode().decode("unicode_escape"))
        # Of two that are mounted at one point the later one is seen.
        if file.is_relative_to(point) and (found is None or point.is_relative_to(found.point)):
            found = _Mount(point, what.split()[0])
    return found
