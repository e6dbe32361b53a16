"""Spans on their way to a collector, by OTLP over HTTP.

Invariants borne here:

* Nobody waits for the collector: spans wait in a queue with a bound, and are encoded and sent in a thread. What does
  not fit, or cannot be sent, is dropped and counted, and told of once.
* At the end there is a time within which the rest is exported, or dropped.

OpenTelemetry's own batch processor is not used: where gevent has patched threads its thread is a greenlet, and it would
encode whole batches on the loop.
"""

from __future__ import annotations

import logging
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gevent import wait
from gevent.event import Event
from gevent.threadpool import ThreadPool

from collab.clock import now
from collab.config import Settings
from collab.logs import logger, tell
from collab.metrics import Metrics

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan

MAX_WAITING: Final = 4096
"""Spans that wait to be exported."""

BATCH: Final = 64
"""Spans that are exported at once; few, since encoding them takes time from everybody."""

INTERVAL: Final = 1.0
"""Seconds that a span waits for others at most."""

GOODBYE: Final = 0.8
"""Seconds in which the rest is exported at the end."""

_EXPORTERS_LOG: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_PATH: Final = "/v1/traces"

log = logger(__name__)


class Exporting:
    """Exports spans.

    Args:
        settings: where to.
        metrics: where to count.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        url = settings.traces
        self._url = url if urlsplit(url).path.strip("/") else url.rstrip("/") + _PATH
        self._metrics = metrics
        self._waiting: deque[ReadableSpan] = deque()
        self._more = Event()
        self._closing = Event()
        self._until = float("inf")
        self._failing = False
        self._pool = ThreadPool(1)
        self._exporter: OTLPSpanExporter | None = None
        self._complaint = _Complaint()

    def put(self, span: ReadableSpan) -> None:
        """Export a span that has ended, some time soon. Does not switch greenlets."""
        if len(self._waiting) >= MAX_WAITING:
            self._metrics.count("spans_dropped")
            return
        self._waiting.append(span)
        if len(self._waiting) == BATCH:
            self._more.set()

    def close(self) -> None:
        """Let `run` export the rest and end, within `GOODBYE`. Does not switch greenlets."""
        self._until = now() + GOODBYE
        self._closing.set()
        self._more.set()

    def run(self) -> None:
        """The greenlet that exports. Switches greenlets."""
        idle = True
        while not (idle and self._closing.is_set()):
            self._more.wait(INTERVAL)
            self._more.clear()
            while self._waiting and now() < self._until and (idle := self._export()):
                pass
            if not idle:
                break
        self._metrics.count("spans_dropped", by=len(self._waiting))
        if idle:
            self._pool.spawn(self._end).get()
            self._pool.kill()
        self._complaint.end()

    def _export(self) -> bool:
        """Export some; whether the thread is free again."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        sent = self._pool.spawn(self._send, batch)
        wait([sent, self._closing], count=1)
        wait([sent], timeout=max(0.0, self._until - now()) if self._closing.is_set() else None)
        trouble = sent.get() if sent.ready() else "it does not answer, and is not waited for"
        self._metrics.count("spans_dropped" if trouble else "spans_exported", by=len(batch))
        if trouble and not self._failing:
            text = "Spans cannot be exported (COLLAB_TRACES) and are lost until they can: %(error)s"
            tell(log, logging.WARNING, text, error=trouble)
        elif self._failing and not trouble:
            log.info("Spans can be exported again")
        self._failing = bool(trouble)
        return bool(sent.ready())

    def _send(self, batch: list[ReadableSpan]) -> str:
        """Why `batch` cannot be exported, nothing if it is. In the thread."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            if self._exporter is None:
                self._complaint.hear()
                self._exporter = OTLPSpanExporter(self._url)
            if self._exporter.export(batch) is SpanExportResult.SUCCESS:
                return ""
            return self._complaint.text
        except Exception as error:  # gevent would print it, and the greenlet that waits would end
            return f"{type(error).__name__}: {error}"

    def _end(self) -> None:
        if self._exporter is not None:
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _Complaint(logging.Filter):
    """Takes what the exporter logs of our batches, each time, so that it can be told once."""

    def __init__(self) -> None:
        super().__init__()
        self.text = "the collector does not take them"
        self._thread = 0

    def hear(self) -> None:
        """Take what is logged in this thread from here on."""
        self._thread = get_ident()
        logging.getLogger(_EXPORTERS_LOG).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is of somebody else."""
        if get_ident() != self._thread:
            return True
        self.text = record.getMessage()
        return False

    def end(self) -> None:
        """Take no more."""
        logging.getLogger(_EXPORTERS_LOG).removeFilter(self)
