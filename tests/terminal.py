"""A terminal that tests own: a program runs in it, keys are pressed, and what its screen shows can be read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Any, Self

import pyte
from processes import ROOT

TIMEOUT = 20.0
# The terminal becomes that of the program, so that Ctrl-C reaches it.
_START = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'collab', *sys.argv[1:]])"
)


class Terminal:
    """`collab` with some arguments in a terminal.

    Args:
        args: of the command.
        environment: added to this process's.
        columns, rows: of the screen.

    Attributes:
        raw: all that it has written.
    """

    def __init__(self, *args: str, environment: dict[str, str], columns: int = 100, rows: int = 24) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._master, self._slave = pty.openpty()
        self._resize(columns, rows)
        self._before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *args],
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def _resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Make it another size; the program is told by the system."""
        self._screen.resize(rows, columns)
        self._resize(columns, rows)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    @property
    def lines(self) -> list[str]:
        """What the screen shows."""
        return [line.rstrip() for line in self._screen.display]

    def read_until(self, seen: Callable[[list[str]], Any]) -> list[str]:
        """Read until the screen shows what is looked for; all of it then."""
        deadline = time.monotonic() + TIMEOUT
        while not seen(self.lines):
            self._read(deadline)
        return self.lines

    def _read(self, deadline: float) -> None:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, "it does not come:\n" + "\n".join(self.lines)
        data = os.read(self._master, 65536)
        self.raw += data
        self._stream.feed(data)

    def wait_end(self) -> int:
        """Wait until the program has ended, reading what it writes; its exit code."""
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end:\n" + "\n".join(self.lines)
            with contextlib.suppress(AssertionError):
                self._read(time.monotonic() + 0.05)
        with contextlib.suppress(AssertionError):
            while True:
                self._read(time.monotonic())
        return self.process.returncode

    @property
    def as_it_was(self) -> bool:
        """Whether the terminal is set as it was before the program."""
        return termios.tcgetattr(self._slave) == self._before
