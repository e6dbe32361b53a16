"""A collector of spans: a web server on this machine that takes OTLP over HTTP, as Jaeger and others do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 10.0


class Told(NamedTuple):
    """One span as it was received; ids are in hexadecimal, `parent` is empty for a root."""

    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    facts: dict[str, Any]
    error: str
    begin: int
    end: int


class Collector:
    """Takes spans.

    Attributes:
        spans: all that have come.
        resource: what the latest said of whose they are.
        headers: of the latest request.
        paths: of all requests.
        status: of the answers; with another than 200 nothing is taken.
        open: while it is not set, requests are not answered.
        asked: set when somebody has asked.
    """

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.resource: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.status = 200
        self.paths: set[str] = set()
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self._more = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked.set()
                collector.open.wait(PATIENCE)
                if collector.status == 200:
                    collector._take(body, self.path, dict(self.headers))
                try:
                    self.send_response(collector.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # nobody waits for it any more

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, body: bytes, path: str, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._more:
            self.headers = headers
            self.paths.add(path)
            for about in request.resource_spans:
                self.resource = _values(about.resource.attributes)
                self.spans += [_told(span) for scope in about.scope_spans for span in scope.spans]
            self._more.notify_all()

    def wait_for(self, enough: Callable[[list[Told]], object]) -> list[Told]:
        """Return when what has come is `enough`: all of it."""
        with self._more:
            found = self._more.wait_for(lambda: enough(self.spans), PATIENCE)
        assert found, f"this is all that has come: {self.spans}"
        return list(self.spans)

    def stop(self) -> None:
        """Take no more."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}


def _told(span: Any) -> Told:
    return Told(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.span_id.hex() for link in span.links],
        _values(span.attributes),
        span.status.message if span.status.code == 2 else "",
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that runs."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.stop()
