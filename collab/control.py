"""The server's own door: a local socket by which whoever may open it steers the server.

Invariants borne here:

* Who may is what the file's permissions say: it is made for this user alone.
* A socket that another server answers on is never taken away from it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from gevent import socket as gevent_socket
from gevent.pywsgi import WSGIServer

from collab.hub import Hub
from collab.logs import logger
from collab.web.admin import Admin, create_admin

MAX_PATH: Final = 100
"""Bytes of a Unix socket's path that every system takes."""

RETRY: Final = 5.0
"""Seconds between tries: the server before this one may still be about to end."""

CANNOT: Final = (
    "No local admin socket at %s (COLLAB_ADMIN_SOCKET) for now: %s. Without it `collab kick` and the like do not reach "
    "this server; give it a path of its own."
)

log = logger(__name__)


class Control:
    """Serves the admin interface on a local socket.

    Args:
        hub: what is steered.
        path: of the socket (`COLLAB_ADMIN_SOCKET`).
        public: the same interface over HTTP, if it is served there.
    """

    def __init__(self, hub: Hub, path: Path, public: Admin | None = None) -> None:
        self._hub = hub
        self._path = path.absolute()
        self._app = create_admin(hub, public)

    def run(self) -> None:
        """Serve until the hub stops; where the socket cannot be had now, try again. Switches greenlets."""
        told = False
        while not self._hub.stopping:
            try:
                server = WSGIServer(self._listen(), self._app, log=None, error_log=log)
            except OSError as error:
                if not told:
                    told = True
                    log.warning(CANNOT, self._path, error.strerror or error)
                self._hub.ended.wait(RETRY)
                continue
            server.start()
            log.info("`collab kick` and the like reach this server by %s", self._path)
            self._hub.ended.wait()
            # While it still answers: what is there afterwards may be the next server's.
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            server.stop(timeout=0.5)

    def _listen(self) -> gevent_socket.socket:
        path = str(self._path)
        if len(path.encode()) > MAX_PATH:
            raise OSError(f"a path of more than {MAX_PATH} bytes")
        if self._path.is_socket():
            if _answers(path):
                raise OSError("another server has it")
            self._path.unlink()
        listener = gevent_socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                listener.bind(path)
            finally:
                os.umask(before)
            listener.listen(16)
        except OSError:
            listener.close()
            raise
        return listener


def _answers(path: str) -> bool:
    with gevent_socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
