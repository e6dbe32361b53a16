"""Server processes of their own, for tests that need a real one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_TIMEOUT = 20.0
SERVE = [sys.executable, "-m", "collab", "serve", "--port", "{port}"]


def missing(reason: str) -> NoReturn:
    """Skip on a laptop, fail in CI, where a skip would hide that nothing was tested."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _own_ports() -> Iterator[int]:
    """The ports of this one of the processes that run tests, each once, in any order.

    The system gives them to nobody by itself: those that it does could go to somebody's connection before a server
    that was told to has bound its own, or while it is away.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(10_100 + worker, 32_768, count)  # browsers refuse 10080
    yield from random.SystemRandom().sample(ports, len(ports))


_PORTS = _own_ports()


def free_port() -> int:
    """A port that is free now, and stays so for who was told it."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Of the processes that run tests, one at a time does something with a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Server:
    """A server process of its own.

    Args:
        command: its arguments, with {port} for the port.
        environment: added to this process's.
        port: where it listens; on a free port by default.
        files: descriptors that it gets of this process.

    Attributes:
        admin_socket: where commands reach it, unless its environment says something else.
    """

    host = HOST

    def __init__(
        self, command: list[str], environment: dict[str, str], port: int | None = None, files: tuple[int, ...] = ()
    ) -> None:
        self.port = port or free_port()
        self.admin_socket = f"{tempfile.gettempdir()}/collab-{self.port}.sock"
        self.output = ""
        self.code: int | None = None
        self._more = threading.Condition()
        self.process = subprocess.Popen(
            [part.replace("{port}", str(self.port)) for part in command],
            cwd=ROOT,
            env={
                "COLLAB_ADMIN_SOCKET": self.admin_socket,
                **os.environ,
                **environment,
                "PORT": str(self.port),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=files,
        )
        # Read all along: a server must not stop because nobody reads its log.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.output += line
                self._more.notify_all()

    def wait_ready(self) -> Server:
        """Return when it answers: a listening socket alone may be that of a master whose worker cannot start."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 5) as probe:
                probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if probe.recv(1):
                    return self
            threading.Event().wait(0.02)
        self.stop()
        raise AssertionError(f"the server does not answer:\n{self.output}")

    def wait_output(self, text: str) -> str:
        """Return when `text` has been printed: all of the output up to then."""
        with self._more:
            found = self._more.wait_for(lambda: text in self.output, START_TIMEOUT)
        assert found, f"{text!r} was not printed:\n{self.output}"
        return self.output

    def url(self, path: str) -> str:
        """The WebSocket URL of a path."""
        return f"ws://{self.host}:{self.port}{path}"

    def worker_pids(self) -> list[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 15.0) -> int:
        """End it, by pid; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.wait_end(timeout)

    def kill(self) -> None:
        """End it as a crash of the machine does, the master and its workers, by pid; return when all are gone."""
        workers = self.worker_pids()
        self.process.kill()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # The workers are nobody's to wait for now, but their output ends with the last of them.
        self._reader.join(START_TIMEOUT)
        assert not self._reader.is_alive(), f"there is a process left that writes:\n{self.output}"
        self.wait_end()

    def wait_end(self, timeout: float = 15.0) -> int:
        """Wait until it has ended and all of its output is read; its exit code."""
        try:
            self.code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end in {timeout} s:\n{self.output}") from None
        finally:
            self._reader.join(5)
            if self.process.stdout is not None:
                self.process.stdout.close()
        return self.code


class Serve(Protocol):
    """Starts `collab serve`, or another command, with settings."""

    def __call__(
        self, command: list[str] | None = None, *, port: int | None = None, **environment: object
    ) -> Server: ...
