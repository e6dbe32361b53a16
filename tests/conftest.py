"""Fixtures for tests against real server processes, and the leak check that every test gets."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
from collections.abc import Iterator

import pytest
from issuer import found_in
from postgres import PostgreSQL, running_postgres
from processes import SERVE, Serve, Server

from collab.logs import LIMITER

# No test leaves a file where it was run.
os.environ["COLLAB_STORE"] = "memory:"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests that kill servers go on for longer."""
    parser.addoption("--crash-rounds", type=int, default=20, metavar="N", help="times that servers are killed (20)")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes share the whole suite, in which most tests wait for somebody; a part of it is run in this one."""
    return 0 if config.args_source is config.ArgsSource.ARGS else 2


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`collab serve` with its defaults, shared by all tests that do not stop it; its database is where it may be."""
    database = tmp_path_factory.mktemp("server") / "collab.db"
    running = Server(SERVE, {"COLLAB_STORE": f"sqlite:///{database}"}).wait_ready()
    yield running
    code = running.stop()
    assert code == 0
    assert "Traceback" not in running.output


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts `collab serve` (or another command) with settings: `serve(COLLAB_IDLE_TIMEOUT=1)`."""
    started: list[Server] = []

    def start(command: list[str] | None = None, *, port: int | None = None, **environment: object) -> Server:
        started.append(Server(command or SERVE, {key: str(value) for key, value in environment.items()}, port))
        return started[-1].wait_ready()

    yield start
    for running in started:
        running.stop(signal.SIGINT)  # at which gunicorn does not finish the second that it sleeps


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, shared by all tests that do not stop it; each takes a database of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for one test, which may stop it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """Every test gives back the descriptors that it opened."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    if len(os.listdir("/proc/self/fd")) > before + 8:
        gc.collect()
        left = len(os.listdir("/proc/self/fd")) - before
        assert left <= 8, f"{left} descriptors are left open"


@pytest.fixture(autouse=True)
def every_test_has_a_log_of_its_own() -> Iterator[None]:
    """What one test logs is not left out because another one has logged much the same."""
    yield
    LIMITER.finish()


@pytest.fixture
def nothing_secret_is_logged() -> Iterator[None]:
    """No token and no key of `issuer` is in anything that this process logs."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(handler)
    assert found_in(text.getvalue()) == []
