"""How much one client may send: token buckets, as functions of the time that they are given.

Nothing here reads a clock or waits: `now` is in seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

BURST: Final = 4.0
"""Seconds' worth of its rate that a bucket holds: what may come at once after a pause."""

MAX_KEYS: Final = 10_000
"""Of how many it is remembered when they last had a turn."""


class Bucket:
    """Something that may happen so many times a second.

    Args:
        rate: times, or bytes, a second.
    """

    __slots__ = ("_at", "_level", "_most", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = self._level = rate * BURST
        self._at = float("-inf")

    def spend(self, count: float, now: float) -> float:
        """It has happened `count` times; the seconds until it may happen again, 0 for at once."""
        level = min(self._most, self._level + (now - self._at) * self._rate) - count
        self._at, self._level = now, level
        return 0.0 if level >= 0 else -level / self._rate

    def take(self, now: float) -> bool:
        """Whether it may happen once more, which then has been counted; if not, nothing is."""
        level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level = level - 1 if level >= 1 else level
        return level >= 1


class Meter:
    """What one user sends, over all of their connections.

    Args:
        messages: a second.
        size: bytes a second.

    Attributes:
        flooding_since: since when more has come without a pause than may; None: it does not.
    """

    __slots__ = ("__weakref__", "_messages", "_size", "flooding_since")

    def __init__(self, messages: float, size: float) -> None:
        self._messages = Bucket(messages)
        self._size = Bucket(size)
        self.flooding_since: float | None = None

    def spend(self, messages: int, size: int, now: float) -> float:
        """So many messages and bytes have come; the seconds for which no more is to be read."""
        wait = max(self._messages.spend(messages, now), self._size.spend(size, now))
        if not wait:
            self.flooding_since = None
        elif self.flooding_since is None:
            self.flooding_since = now
        return wait


class Turns:
    """How often, and how often at once, each of many may have something done that takes a while.

    Args:
        rate: times a second, for each.
        at_once: times for each.
        in_all: times for all together.
    """

    def __init__(self, rate: float, at_once: int, in_all: int) -> None:
        self._rate = rate
        self._at_once = at_once
        self._in_all = in_all
        self._buckets: dict[str, Bucket] = {}
        self._under_way: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether as much is under way as may be."""
        return self._under_way.total() >= self._in_all

    def begin(self, key: str, now: float) -> bool:
        """Whether `key` may begin one more, which then is under way until `end`."""
        bucket = self._buckets.pop(key, None) or Bucket(self._rate)
        while len(self._buckets) >= MAX_KEYS:
            del self._buckets[next(iter(self._buckets))]  # whoever has asked for nothing for the longest time
        self._buckets[key] = bucket
        if self.full or self._under_way[key] >= self._at_once or not bucket.take(now):
            return False
        self._under_way[key] += 1
        return True

    def end(self, key: str) -> None:
        """One of those of `key` is over."""
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
