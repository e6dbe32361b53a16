"""Real clients behind a real nginx: TLS works, and a restart costs nobody an edit."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
from interop.conftest import run_node
from interop.typists import Copy, Typists
from nginx import Nginx, running_nginx
from processes import HOST, SERVE, Server, free_port

CLIENTS = 200
PROCESSES = 3
ROOMS = 7
"""Documents of each process."""

KINDS = ("y-websocket-3", "native", "y-websocket-31", "hocuspocus-4", "y-websocket-1", "hocuspocus-3")
HOCUSPOCUS = KINDS[3], KINDS[5]
BACK_WITHIN = 5.0
AT_ONCE = 0.1
"""Seconds in which only some of them may come back."""

HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""What systemd does to a service that has a socket unit: the socket is number 3, and two variables say so."""


LATE = re.compile(
    r"\[ERROR\] Socket error processing request\.\n(?:(?!\[ERROR\]).)*?listener\.getsockname\(\)\n"
    r"(?:(?!\[ERROR\]).)*?OSError: \[Errno 9\] Bad file descriptor\n",
    re.DOTALL,
)
"""What gunicorn logs of a connection that it takes in the moment in which it closes its listener; the client, who was
told to come back anyway, tries again."""


@pytest.mark.parametrize("script", [("scenario.mjs", "/yjs", "convergence"), ("hocuspocus.mjs", "", "convergence")])
def test_clients_speak_through_tls(
    node: str, node_modules: Path, server: Server, monkeypatch: pytest.MonkeyPatch, script: tuple[str, str, str]
) -> None:
    name, path, scenario = script
    version = "y-websocket-3" if path else "4"
    with running_nginx(server.port) as nginx:
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(nginx.folder / "cert.pem"))
        run_node([node, name, f"wss://localhost:{nginx.tls_port}{path}", scenario, version])


# ---- a restart


class Service:
    """A server that is stopped and started again as a service manager does it.

    Args:
        folder: where its database is.
        keeps_socket: whether the manager holds the listening socket meanwhile, as with `deploy/collab.socket`.
    """

    def __init__(self, folder: Path, keeps_socket: bool) -> None:
        self.port = free_port()
        self.store = f"sqlite:///{folder / 'collab.db'}"
        self._socket = socket.create_server((HOST, self.port), backlog=2048) if keeps_socket else None
        self._running = self._start()

    def _start(self) -> Server:
        settings = {"COLLAB_STORE": self.store, "COLLAB_TRUSTED_PROXIES": HOST}
        if self._socket is None:
            return Server(SERVE, settings, self.port)
        number = self._socket.fileno()
        command = [sys.executable, "-c", HAND_OVER, str(number), *SERVE[1:]]
        return Server(command, settings, self.port, (number,))

    def wait_ready(self) -> None:
        """Return when it answers."""
        self._running.wait_ready()

    def restart(self) -> None:
        """Stop it, and start it again when it has ended; return when it answers."""
        self._running.process.send_signal(signal.SIGTERM)
        self.end()
        self._running = self._start()
        self.wait_ready()

    def end(self) -> None:
        """Stop it, unless that has been asked for, which has to work."""
        assert self._running.stop() == 0
        _, trouble, more = LATE.sub("", self._running.output).partition("Traceback")
        assert not trouble, more

    def close(self) -> None:
        """Leave nothing behind."""
        self._running.stop()
        if self._socket is not None:
            self._socket.close()


@pytest.fixture
def crowd(node: str, node_modules: Path) -> Iterator[list[Typists]]:
    """Processes in which clients type calmly."""
    with contextlib.ExitStack() as stack:
        processes = [Typists(node, seed, calm=True) for seed in range(PROCESSES)]
        for typists in processes:
            stack.callback(typists.end)
        yield processes


def gather(crowd: list[Typists], nginx: Nginx) -> None:
    """Let everybody come and type, and return when something of each is stored."""
    for number in range(CLIENTS):
        typists, kind = crowd[number % PROCESSES], KINDS[number // PROCESSES % len(KINDS)]
        room = f"room-{number % PROCESSES}-{number // PROCESSES % ROOMS}"
        typists.join(nginx, room, False, **{f"c{number}": kind})
    for typists in crowd:
        typists.wait_up(*typists.rooms)
        typists.type()
    for typists in crowd:
        typists.wait("something of each is stored", partial(has_stored, typists))


def has_stored(typists: Typists) -> bool:
    return len(typists.acked) == len(typists.rooms)


def is_back(typists: Typists, names: Iterable[str]) -> bool:
    """Whether those have been sent away, and are back."""
    return all(1012 in typists.closes[name] and name in typists.up for name in names)


def wait_back(crowd: list[Typists], patient: Container[str]) -> None:
    """Return when everybody is back: `patient` kinds in the end, all others in time."""
    deadline = time.monotonic() + BACK_WITHIN
    for typists in crowd:
        soon = [name for name, kind in typists.kinds.items() if kind not in patient]
        typists.wait("all are back in time", partial(is_back, typists, soon), max(0, deadline - time.monotonic()))
    for typists in crowd:
        typists.wait("everybody is back", partial(is_back, typists, typists.rooms))


@pytest.mark.parametrize("keeps_socket", [True, False], ids=["socket kept", "socket gone"])
def test_a_restart_costs_nobody_an_edit_and_all_are_back_soon_but_not_at_once(
    tmp_path: Path, crowd: list[Typists], keeps_socket: bool
) -> None:
    """All 200, from when the server answers again, wherever they were in their attempts.

    Where the socket is gone with the server, attempts fail, and Hocuspocus' provider doubles its pause with each, up to
    30 s: it comes back, but in its own time. Where the socket is kept, attempts wait instead.
    """
    service = Service(tmp_path, keeps_socket)
    with contextlib.closing(service):
        service.wait_ready()
        with running_nginx(service.port) as nginx:
            gather(crowd, nginx)
            told_at = time.time()
            service.restart()
            wait_back(crowd, () if keeps_socket else HOCUSPOCUS)
            for typists in crowd:
                typists.pause()
            held: dict[str, Copy] = {}
            for typists in crowd:
                held |= typists.finish()
            service.end()
            for typists in crowd:
                typists.wait_away()
                typists.end()
            come_back = [at for at in nginx.arrivals() if at > told_at][:CLIENTS]
    kept: dict[str, Copy] = {}
    for typists in crowd:
        kept |= typists.check_store(service.store, typists.acked)
        assert not typists.refused
    assert kept == held
    assert len(come_back) == CLIENTS
    at_once = max(sum(at <= other < at + AT_ONCE for other in come_back) for at in come_back)
    assert at_once < CLIENTS / 2, Counter(round(at - told_at, 1) for at in come_back)
