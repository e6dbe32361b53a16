"""Time as the rest of the package sees it, and identifiers that sort by it.

Durations and deadlines are seconds on the monotonic clock (`now`); only what a person or another machine reads is
wall-clock time (`utc`, `unix`, `ksuid`). Whatever depends on time takes `now` as an argument, so that tests own the
clock.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

now = time.monotonic
unix = time.time

KSUID_EPOCH = 1_400_000_000
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def utc(seconds: float | None = None) -> str:
    """Unix time, by default the present, as RFC 3339 in UTC, to the second: ``2025-11-23T19:00:00Z``."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(seconds: float) -> str:
    """A Unix time as RFC 3339 in UTC, to the millisecond: ``2025-11-23T19:00:00.123Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ksuid(seconds: float | None = None, payload: bytes | None = None) -> str:
    """A KSUID: 27 base-62 characters, 32 bits of time then 128 random bits, sorting by second.

    Args:
        seconds: Unix time; the present by default.
        payload: 16 bytes; random by default.
    """
    stamp = int(time.time() if seconds is None else seconds) - KSUID_EPOCH
    number = int.from_bytes(stamp.to_bytes(4, "big") + (os.urandom(16) if payload is None else payload), "big")
    digits = []
    for _ in range(27):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
