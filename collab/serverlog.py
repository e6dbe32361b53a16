"""gunicorn's own log in this package's formats, so that all that a server says reads alike.

Bound here: only what gunicorn has set up by itself is touched, never what an operator has configured with its
`logconfig` options or an application by `logging`.

Like `collab.server`, this is imported by gunicorn's master: it imports nothing that knows gevent.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd

from collab.logs import LIMITER, JsonFormatter, TextFormatter

FORMAT: Final = "COLLAB_LOG_FORMAT"
JSON: Final = "json"

_ACCESS: Final = {"h": "address", "m": "method", "U": "path", "s": "status", "B": "bytes", "D": "microseconds"}


class AccessFormatter(JsonFormatter):
    """As `JsonFormatter`, with the parts of a line of the access log as fields."""

    def facts(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the access log knows of a request."""
        atoms: Any = record.args if isinstance(record.args, Mapping) else {}
        return {name: atoms[atom] for atom, name in _ACCESS.items() if atom in atoms}


class ServerLog(Statsd):  # type: ignore[misc]
    """gunicorn's log; with `--statsd-host` it counts as well, as gunicorn's default does."""

    def setup(self, cfg: Any) -> None:
        """Set the handlers up as gunicorn does, in our format."""
        super().setup(cfg)
        dress(self, os.environ.get(FORMAT, ""))


def dress(log: Logger, log_format: str) -> None:
    """Let the handlers that gunicorn has made write in `log_format`: `json`, or else text."""
    as_json = log_format == JSON
    own = Logger.error_fmt, Logger.datefmt
    for logger, formatter in (
        (log.error_log, JsonFormatter() if as_json else TextFormatter(*own)),
        (log.access_log, AccessFormatter() if as_json else TextFormatter(Logger.access_fmt)),
    ):
        for handler in logger.handlers:
            # Those for syslog are made by gunicorn too, and are about a format of syslog's.
            if getattr(handler, "_gunicorn", False) and isinstance(handler, logging.StreamHandler):
                handler.setFormatter(formatter)
    log.error_log.addFilter(LIMITER)


def join(log: Logger) -> None:
    """Let this package log where gunicorn does, unless the application has settled where that is."""
    ours, collab = list(log.error_log.handlers), logging.getLogger("collab")
    theirs = [handler for handler in collab.handlers if handler not in ours]
    if theirs or logging.getLogger().handlers:
        collab.handlers = theirs
        return
    collab.handlers = ours
    if collab.level == logging.NOTSET:
        collab.setLevel(log.error_log.level)
