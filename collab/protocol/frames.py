"""The WebSocket frame layer (RFC 6455) without I/O: bytes in, whole messages out; payload in, one frame's bytes out.

Bound here: nothing is buffered for a message that is over the limit (its header is enough to refuse it), every rule
of the RFC that a client can break ends the stream with the close code that names it, and a server frame is the same
bytes for every receiver.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from collab.errors import FrameError

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without that compiled module: the same result, more slowly
    from websockets.utils import apply_mask

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


class CloseCode(IntEnum):
    """The close codes that this server sends, besides a client's own code coming back to it."""

    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    ABUSE = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    TRY_AGAIN_LATER = 1013
    RESET = 4205
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    TIMEOUT = 4408
    IDLE = 4508
    QUARANTINED = 4510


DELIBERATE: Final = frozenset((1000, 1005))
"""The close codes by which a client says that it means to go: normal, and none at all, which is what `close()` says in
a browser. A page that is left or reloaded says 1001, and who loses the network nothing: these may come back."""


_FIN: Final = 0x80
_MAX_CONTROL: Final = 125
_HEADER16 = struct.Struct("!BBH").pack
_HEADER64 = struct.Struct("!BBQ").pack


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One unfragmented, unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 65536:
        return _HEADER16(_FIN | opcode, 126, size) + payload
    return _HEADER64(_FIN | opcode, 127, size) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to the 123 bytes that fit."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return encode_frame(CLOSE, code.to_bytes(2, "big") + text)


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a close frame; 1005 where it has none (RFC 6455 §7.1.5).

    Raises:
        FrameError: a payload of one byte, a code that must not be sent, or a reason that is not UTF-8.
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "close frame with half a status code")
    code = int.from_bytes(payload[:2], "big")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "close frame with an invalid status code")
    return code, _utf8(payload[2:])


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.INVALID_DATA, "text that is not valid UTF-8") from None


class FrameParser:
    """Turns the byte stream of one client into messages.

    Args:
        max_size: largest message in bytes, over all its fragments.
    """

    __slots__ = ("_buffer", "_fragments", "_need", "_opcode", "failure", "max_size")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.failure: FrameError | None = None  # why the stream ended; what was complete before it was returned
        self._buffer: bytearray | None = None  # an incomplete frame
        self._need = 0  # until the buffer holds so many bytes, looking at it again is no use
        self._fragments: bytearray | None = None
        self._opcode = 0

    def lone(self, data: bytes) -> bytes | None:
        """The payload of `data` if that is one small, whole, binary message; None: it is something for `feed`."""
        size = len(data) - 6
        if not 0 < size < 126 or data[0] != 0x82 or data[1] != size + 0x80 or size > self.max_size:
            return None
        if self._buffer is not None or self._fragments is not None or self.failure is not None:
            return None
        return apply_mask(data[6:], data[2:6])

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what the socket gave; return the messages completed by it, in order. Never raises.

        Returns:
            (opcode, payload) pairs: TEXT (checked UTF-8, still bytes), BINARY, CLOSE, PING or PONG; fragments come
            joined. When `failure` is set afterwards, the client broke the protocol behind the last of them; whatever
            it sends from then on is ignored.
        """
        if self.failure is not None:
            return []
        buffer = self._buffer
        if buffer is not None:
            buffer += data
            if len(buffer) < self._need:
                return []
            data = bytes(buffer)
            self._buffer = None
        out: list[tuple[int, bytes]] = []
        try:
            at = self._parse(data, out)
        except FrameError as error:
            self.failure = error
            self._fragments = None
            return out
        if at < len(data):
            self._buffer = bytearray(data[at:] if at else data)
        return out

    def _parse(self, data: bytes, out: list[tuple[int, bytes]]) -> int:
        """Parse all whole frames; the position of what is left, with `_need` set to the bytes that it lacks."""
        at, end = 0, len(data)
        self._need = 2
        while end - at >= 2:
            size = data[at + 1] - 0x80
            if data[at] == 0x82 and 0 < size < 126 and self._fragments is None and size <= self.max_size:
                # nearly all traffic: one small, whole, binary frame
                head = at + 6
                after = head + size
                if after > end:
                    self._need = after - at
                    break
                out.append((BINARY, apply_mask(data[head:after], data[head - 4 : head])))
                at = after
            else:
                after = self._frame(data, at, end, out)
                if not after:
                    break
                at = after
        return at

    def _frame(self, data: bytes, at: int, end: int, out: list[tuple[int, bytes]]) -> int:
        """Parse one frame at `at`; the position after it, or 0 when it is not all there yet."""
        opcode, size, head = self._header(data, at, end)
        after = head + 4 + size
        if not head or after > end:
            self._need = after - at if head else end - at + 1
            return 0
        payload = apply_mask(data[head + 4 : after], data[head : head + 4]) if size else b""
        fin = data[at] & _FIN
        if opcode >= CLOSE:
            out.append((opcode, payload))
        elif opcode and fin:
            out.append((opcode, self._whole(opcode, payload)))
        elif opcode:
            self._opcode, self._fragments = opcode, bytearray(payload)
        else:
            assert self._fragments is not None
            self._fragments += payload
            if fin:
                whole, self._fragments = bytes(self._fragments), None
                out.append((self._opcode, self._whole(self._opcode, whole)))
        return after

    @staticmethod
    def _whole(opcode: int, payload: bytes) -> bytes:
        if opcode == TEXT:
            _utf8(payload)
        return payload

    def _header(self, data: bytes, at: int, end: int) -> tuple[int, int, int]:
        """(opcode, payload size, position of the mask) of the frame at `at`; position 0: not all there yet."""
        first, second = data[at], data[at + 1]
        opcode = first & 0x0F
        self._check_start(first, second, opcode)
        size, head = second & 0x7F, at + 2
        if size == 126:
            if end < head + 2:
                return 0, 0, 0
            size, least, head = int.from_bytes(data[head : head + 2], "big"), 126, head + 2
        elif size == 127:
            if end < head + 8:
                return 0, 0, 0
            size, least, head = int.from_bytes(data[head : head + 8], "big"), 65536, head + 8
        else:
            least = 0
        if size < least or size >= 1 << 63:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "frame length not in its shortest form")
        held = len(self._fragments) if self._fragments is not None and opcode < CLOSE else 0
        if held + size > self.max_size and opcode < CLOSE:
            raise FrameError(CloseCode.TOO_BIG, f"message over the limit of {self.max_size} bytes")
        return opcode, size, head

    def _check_start(self, first: int, second: int, opcode: int) -> None:
        """The rules that the first two bytes of a frame can break (RFC 6455 §5.2 to §5.5)."""
        if first & 0x70:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bits set, but no extension was agreed on")
        if not second & 0x80:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "frame from a client without a mask")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
            if not first & _FIN or second & 0x7F > _MAX_CONTROL:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame that is fragmented or longer than 125 bytes")
        elif opcode > BINARY:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        elif opcode and self._fragments is not None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a new message inside a fragmented one")
        elif not opcode and self._fragments is None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "continuation without a message to continue")
