"""A WebSocket client made of a socket and bytes: what it sends may break any rule, what it reads must keep them all.

Nothing here waits for a time to pass: what does not come within `TIMEOUT` seconds is a failure.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

HOST = "127.0.0.1"
TIMEOUT = 10.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


class Answer(NamedTuple):
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        """The error of a JSON body, which has nothing else."""
        assert self.headers["content-type"] == "application/json"
        (error,) = json.loads(self.body).items()
        assert error[0] == "error" and error[1].keys() == {"code", "message"}
        return dict(error[1])


class Frame(NamedTuple):
    """One frame of the server."""

    opcode: int
    payload: bytes


class Ended(Exception):
    """The connection has ended where more was to come."""


class Closed(NamedTuple):
    """A close frame's code (1005: it has none) and reason."""

    code: int
    reason: str


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK
) -> bytes:
    """One frame of a client, with its length in the shortest form; `mask` None leaves it unmasked."""
    size = len(payload)
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if size < 126:
        head += bytes((size | (mask is not None) << 7,))
    elif size < 65536:
        head += bytes((126 | (mask is not None) << 7,)) + size.to_bytes(2, "big")
    else:
        head += bytes((127 | (mask is not None) << 7,)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def request(path: str | bytes, *protocols: str, headers: Mapping[str, str | None] | None = None) -> bytes:
    """A WebSocket handshake for `path`, which is sent as it is; a header that is None is left out."""
    fields: dict[str, str | None] = {
        "Host": HOST,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": ", ".join(protocols) or None,
        **(headers or {}),
    }
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    raw = path.encode() if isinstance(path, str) else path
    return b"GET " + raw + b" HTTP/1.1\r\n" + "".join(lines).encode() + b"\r\n"


class Wire:
    """A connection to the server at `port`.

    Args:
        port: where the server listens.
        source: the address of this machine that it comes from.
        trust: for TLS, whose certificates are believed.
    """

    def __init__(self, port: int, source: str = HOST, trust: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection((HOST, port), TIMEOUT, (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trust is not None:
            self.sock = trust.wrap_socket(self.sock, server_hostname=HOST)
        self._buffer = bytearray()
        self.polite = False  # whether it says goodbye when it leaves

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        if self.polite:
            with contextlib.suppress(OSError):  # the server was faster
                self.goodbye()
        self.sock.close()

    # ---- out

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def say(self, message: bytes | str | dict[str, Any]) -> None:
        """Send one message: bytes as binary, text as text, a dict as JSON."""
        if isinstance(message, bytes):
            self.send(client_frame(BINARY, message))
        else:
            text = message if isinstance(message, str) else json.dumps(message)
            self.send(client_frame(TEXT, text.encode()))

    def goodbye(self, code: int = 1000, reason: bytes = b"") -> None:
        """Send a close frame."""
        self.send(client_frame(CLOSE, code.to_bytes(2, "big") + reason))

    # ---- in

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise Ended(f"the server ended the connection behind {bytes(self._buffer[:200])!r}")
        self._buffer += data

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._buffer) < size:
            self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_answer(self) -> Answer:
        """An HTTP answer with its body."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        lines = self.read(self._buffer.index(b"\r\n\r\n") + 4).decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = self.read(int(headers.get("content-length", 0)))
        return Answer(int(lines[0].split()[1]), headers, body)

    def read_frame(self) -> Frame:
        """The next frame, which must be whole, without reserved bits or mask, its length in the shortest form."""
        first, size = self.read(2)
        assert first & 0xF0 == 0x80, f"a frame that begins with {first:#x}"
        if size == 126:
            size = int.from_bytes(self.read(2), "big")
            assert size > 125
        elif size == 127:
            size = int.from_bytes(self.read(8), "big")
            assert size > 65535
        return Frame(first & 0x0F, self.read(size))

    def read_message(self) -> Any:
        """The next frame's meaning: bytes, a JSON value, `Closed`, or for a pong the frame itself."""
        frame = self.read_frame()
        if frame.opcode == TEXT:
            return json.loads(frame.payload)
        if frame.opcode == CLOSE:
            return read_close(frame.payload)
        return frame.payload if frame.opcode == BINARY else frame

    def read_until(self, wanted: Callable[[Any], object]) -> Any:
        """The next message that is `wanted`; those before it are passed over."""
        while True:
            message = self.read_message()
            if wanted(message):
                return message
            assert not isinstance(message, Closed), f"the server closed: {message}"

    def read_closed(self) -> Closed:
        """The server's close frame; what comes before it is passed over."""
        closed: Closed = self.read_until(lambda message: isinstance(message, Closed))
        return closed

    def read_end(self) -> None:
        """The end of the stream, with nothing before it."""
        assert not self._buffer
        assert self.sock.recv(1) == b""


def read_close(payload: bytes) -> Closed:
    """A close frame's payload."""
    return Closed(int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else Closed(1005, "")


def is_event(kind: str) -> Callable[[Any], bool]:
    """Whether a message is a JSON event of this type."""
    return lambda message: isinstance(message, dict) and message.get("type") == kind


def is_step1(message: object) -> bool:
    """Whether a message is a SyncStep1, alike in both dialects: the end of a welcome where nobody has presence."""
    return isinstance(message, bytes) and message[:2] == b"\0\0"


def connect(
    port: int,
    path: str,
    *protocols: str,
    headers: Mapping[str, str] | None = None,
    source: str = HOST,
    trust: ssl.SSLContext | None = None,
) -> Wire:
    """A connection past its handshake; its welcome is not read yet."""
    wire = Wire(port, source, trust)
    wire.send(request(path, *protocols, headers=headers or {}))
    status, _, body = wire.read_answer()
    assert status == 101, body
    wire.polite = True
    return wire


def ask(port: int, data: bytes, source: str = HOST) -> Answer:
    """What the server answers to these bytes."""
    with Wire(port, source) as wire:
        wire.send(data)
        return wire.read_answer()
