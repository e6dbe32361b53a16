"""The socket, once the handshake is done: bytes in, bytes out, and the waiting for both.

The descriptor is taken from the host, or is a duplicate where the host closes its own later; from then on nothing but
this module reads or writes it. `send` never waits and takes what the kernel has room for;
only `receive` and `wait_writable` switch greenlets. A socket that is gone reads as its end and refuses to send.
"""

from __future__ import annotations

import _socket
import contextlib
import socket as constants
import sys
from collections.abc import Callable
from typing import Any, Final

from gevent import get_hub, getcurrent

CHUNK: Final = 65536
"""Bytes read at once, and so the most that one session brings into one pass of the loop."""

# One buffer serves all readers: none of them switches greenlets between filling it and copying out what it holds.
_buffer = memoryview(bytearray(CHUNK))


class Socket:
    """A connected, non-blocking stream socket.

    Args:
        fileno: descriptor to own.
    """

    __slots__ = ("_read", "_sock", "_write", "send")

    send: Callable[[bytes | memoryview], int]
    """Send what fits at once; the number of bytes taken. BlockingIOError when none fit, OSError when it is gone."""

    def __init__(self, fileno: int) -> None:
        self._sock = _socket.socket(fileno=fileno)
        self._sock.setblocking(False)
        with contextlib.suppress(OSError):  # a Unix socket has no Nagle to switch off
            self._sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
        self.send = self._sock.send
        self._read: Any = None
        self._write: Any = None

    def receive(self, take: Callable[[bytes], bool], most: int = CHUNK) -> bytes:
        """Wait for what `take` leaves to the caller; what the peer sent, at most so many bytes, empty at its end.

        `take` is called with what comes in, in the loop's own greenlet, so that this one need not be woken; it tells
        whether that is dealt with. It must not switch greenlets, and what it raises is raised here.
        """
        if self._sock.fileno() < 0:
            return b""
        if self._read is None:
            self._read = get_hub().loop.io(self._sock.fileno(), 1)
        self._read.start(self._arrived, take, most, getcurrent())
        try:
            while not isinstance(data := get_hub().switch(), bytes):
                pass  # somebody else has woken this greenlet
        finally:
            self._read.stop()
        return data

    def _arrived(self, take: Callable[[bytes], bool], most: int, reader: Any) -> None:
        try:
            try:
                size = self._sock.recv_into(_buffer, most)
            except BlockingIOError:
                return
            except OSError:
                size = 0
            data = _buffer[:size].tobytes()
            if size and take(data):
                return
        except BaseException:  # whatever it is, the reader must not wait for ever
            reader.throw(*sys.exc_info())
        else:
            reader.switch(data)

    def wait_writable(self) -> None:
        """Wait until the kernel has room again, or the socket is gone."""
        if self._sock.fileno() < 0:
            return
        if self._write is None:
            self._write = get_hub().loop.io(self._sock.fileno(), 2)
        self._write.start(getcurrent().switch)  # gevent's own wait makes an object each time
        try:
            get_hub().switch()
        finally:
            self._write.stop()

    def shut(self) -> None:
        """End both directions: who waits on the socket sees its end. Idempotent; the descriptor stays open."""
        with contextlib.suppress(OSError):  # the peer was faster
            self._sock.shutdown(constants.SHUT_RDWR)

    def half_close(self) -> None:
        """Tell the peer that nothing more will come, and go on reading. Idempotent."""
        with contextlib.suppress(OSError):  # the peer was faster
            self._sock.shutdown(constants.SHUT_WR)

    def close(self) -> None:
        """Give the descriptor back. Idempotent; nobody may be waiting on the socket any more."""
        for watcher in (self._read, self._write):
            if watcher is not None:
                watcher.close()
        self._read = self._write = None
        self._sock.close()
