"""What is logged and how it looks: one line an event, with the facts of it.

A module logs by the standard library, `log = logger(__name__)`, and says facts by `tell`: the text names them for
people, JSON has them as fields. This package adds handlers to nobody's logging; `collab.serverlog` gives gunicorn's
handlers the formatters from here.

Invariants borne here:

* `tell` and `tell_fault` never switch greenlets and never raise what a handler does, which may wait for its lock or
  for a network: a greenlet of its own hands over what they say, in order. Rooms and the loop's callbacks say it so.

* A line is one line: nothing that came from the network can end it, begin another one, or steer a terminal, and all of
  it is bounded.
* What is much the same is written a few times a minute; how many more there were is told afterwards, and counted.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from collab.clock import now

INTERVAL: Final = 60.0
"""Seconds in which so many lines that are much the same are written."""

MAX_ALIKE: Final = 20
"""Warnings and errors from one text in an interval; none of them is worth a full disk."""

MAX_ALIKE_INFO: Final = 3000
"""The same for news, such as that somebody came or went."""

MAX_WAITING: Final = 10_000
"""Lines that wait to be written; those that come then are left out."""

MAX_TEXTS: Final = 1000
"""Texts that are told apart; over that the count of the earliest begins anew."""

MAX_EVENT: Final = 16_384
MAX_FIELD: Final = 1024
MAX_TRACE_LINES: Final = 200
"""Characters of an event and of a field, and lines of a traceback, that are written."""

MORE: Final = "… and %(count)d more like this in %(seconds)d s: %(like)s"

_NO_FACTS: Final = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "color_message"}


def logger(name: str) -> logging.Logger:
    """The logger of a module of this package, in which the same line is not written without end."""
    log = logging.getLogger(name)
    log.addFilter(LIMITER)
    return log


def tell(log: logging.Logger, level: int, text: str, /, **facts: object) -> None:
    """Log an event; `text` has those of its facts that people need, as `%(document)r`."""
    if log.isEnabledFor(level):
        _soon(log, log.makeRecord(log.name, level, log.name, 0, text, (facts,), None, extra=facts))


def tell_fault(log: logging.Logger, text: str, trace: str | None = None) -> None:
    """Log the error that is being handled; or `trace`, where not all of its traceback may be told."""
    if log.isEnabledFor(logging.ERROR):
        error = sys.exc_info() if trace is None else None
        record = log.makeRecord(log.name, logging.ERROR, log.name, 0, text, (), error)
        record.exc_text = trace
        _soon(log, record)


def _soon(log: logging.Logger, record: logging.LogRecord) -> None:
    if log.disabled or not log.filter(record):
        return
    if len(_waiting) >= MAX_WAITING:
        LIMITER.leave_out()
        return
    _waiting.append((log, record))
    if len(_waiting) == 1:
        from gevent import spawn_raw  # not in gunicorn's master, which loads this module before gevent may be

        spawn_raw(_write)


def _write() -> None:
    while _waiting:
        log, record = _waiting[0]
        try:
            log.callHandlers(record)
        except Exception:  # of a handler that does not print it itself, as those of the library do
            traceback.print_exc()
        _waiting.popleft()


_waiting: Final[deque[tuple[logging.Logger, logging.LogRecord]]] = deque()


def plain(text: str, most: int = MAX_EVENT) -> str:
    """`text` on one line: what cannot be printed is escaped, and what is over `most` characters is left out."""
    if len(text) > most:
        text = f"{text[:most]}… ({len(text) - most} more)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def trace_of(record: logging.LogRecord, formatter: logging.Formatter) -> list[str]:
    """The lines of a record's traceback; those in the middle are left out of one that is very long."""
    text = record.exc_text or (formatter.formatException(record.exc_info) if record.exc_info else "")
    if record.stack_info:
        text += f"\n{record.stack_info}"
    lines = [plain(line, MAX_FIELD) for line in text.splitlines()]
    if len(lines) > MAX_TRACE_LINES:
        half = MAX_TRACE_LINES // 2
        lines[half:-half] = [f"… ({len(lines) - 2 * half} more)"]
    return lines


class TextFormatter(logging.Formatter):
    """Lines for people. A traceback is on lines of its own, set in, so that none of them looks like an event's."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        record.message = plain(record.getMessage())
        record.asctime = self.formatTime(record, self.datefmt)
        return "\n    ".join([self.formatMessage(record), *trace_of(record, self)])


class JsonFormatter(logging.Formatter):
    """Lines for programs: one JSON object each, all ASCII, with `time`, `level`, `logger`, `pid` and `event` first."""

    def facts(self, record: logging.LogRecord) -> dict[str, Any]:
        """What is said of the event beside its text."""
        return {name: value for name, value in vars(record).items() if name not in _NO_FACTS}

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "event": plain(record.getMessage()),
        }
        for name, value in self.facts(record).items():
            known = value is None or isinstance(value, bool | int | float)
            said.setdefault(name, value if known else plain(str(value), MAX_FIELD))
        if trace := trace_of(record, self):
            said["trace"] = "\n".join(trace)
        return json.dumps(said)


class _Window:
    """How often a text was logged since some time."""

    __slots__ = ("count", "most", "since")

    def __init__(self, since: float, most: int) -> None:
        self.since = since
        self.most = most
        self.count = 0


class Limiter(logging.Filter):
    """Lets the first lines from one text through in each interval, and tells afterwards how many more there were.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = now) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, int, str, object], _Window] = {}
        self._dropped = 0
        self._over: deque[tuple[str, int, dict[str, Any]]] = deque()  # what is to be told: not in a thread of the store

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        if record.msg is MORE or record.levelno < logging.INFO:
            return True
        warning = record.levelno >= logging.WARNING
        # gunicorn puts the facts into the text itself, behind `ip=`.
        text = str(record.msg).partition("=")[0]
        # Refusals of different kinds are told apart: those of a flood must not hide the others.
        key = (record.name, record.levelno, text, getattr(record, "code", None) if warning else None)
        at = self._clock()
        window = self._windows.get(key)
        if window is None or at - window.since >= INTERVAL:
            self._close(key, at)
            if len(self._windows) >= MAX_TEXTS:
                self._close(next(iter(self._windows)), at)
            window = self._windows[key] = _Window(at, MAX_ALIKE if warning else MAX_ALIKE_INFO)
        window.count += 1
        return window.count <= window.most

    def leave_out(self) -> None:
        """Count a line that was left out, of whatever text."""
        self._dropped += 1

    def tick(self) -> int:
        """Tell of lines that were left out in intervals that are over; how many were left out since this was asked."""
        at = self._clock()
        for key, window in list(self._windows.items()):
            if at - window.since >= INTERVAL:
                self._close(key, at)
        return self._counted()

    def finish(self) -> int:
        """As `tick`, for all intervals: nothing more is expected."""
        at = self._clock()
        for key in list(self._windows):
            self._close(key, at)
        return self._counted()

    def _counted(self) -> int:
        while self._over:
            name, level, facts = self._over.popleft()
            tell(logging.getLogger(name), level, MORE, **facts)
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _close(self, key: tuple[str, int, str, object], at: float) -> None:
        window = self._windows.pop(key, None)
        if window is None:
            return
        over = window.count - window.most
        if over > 0:
            self._dropped += over
            name, level, text, code = key
            like = text if code is None else f"{text} ({code})"
            self._over.append((name, level, {"count": over, "seconds": round(at - window.since), "like": like}))


LIMITER: Final = Limiter()
"""That of this process."""
