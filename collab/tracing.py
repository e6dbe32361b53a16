"""Spans of what the server does: the edge to OpenTelemetry, which is loaded only where it is used.

One decision is made for each connection, at its upgrade: that of the page's trace (`traceparent`), if it has one, or
else by `COLLAB_TRACES_SAMPLE`. What is not sampled has no `Span` at all, so that it costs nothing further.

Bound here: however many clients claim that their pages are traced, no more than `MOST` spans a second are made of what
they do; what is over that is counted as dropped.

gunicorn's master imports this for `check`: it imports nothing that knows gevent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version as installed
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from collab.clock import now
from collab.config import Settings
from collab.errors import ConfigError
from collab.limits import Bucket
from collab.metrics import Metrics

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span as OtelSpan

MOST: Final = 1000.0
"""Spans a second that are made for clients, after a burst of four times as many."""

MAX_HEADER: Final = 512
"""Characters of `traceparent` and `tracestate` that are looked at."""

NEEDED: Final = "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"

Value = str | int | float | bool


def check(settings: Settings) -> None:
    """Make sure that what `COLLAB_TRACES` asks for can be done; loads nothing that gevent has yet to patch.

    Raises:
        ConfigError: it cannot.
    """
    if not settings.traces:
        return
    url = urlsplit(settings.traces)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError("COLLAB_TRACES is not the address of a collector, such as http://localhost:4318")
    if settings.traces_sample > 1:
        raise ConfigError("COLLAB_TRACES_SAMPLE is a share of all connections, from 0 to 1")
    try:
        there = all(map(find_spec, NEEDED))
    except ModuleNotFoundError:
        there = False
    if not there:
        raise ConfigError("COLLAB_TRACES needs OpenTelemetry: run `pip install 'collab[otel]'`, or unset it")


class Span:
    """Something that is being done and is sampled; it began when this was made, where nothing else is said.

    Times are seconds since 1970.
    """

    __slots__ = ("_span", "_tracing")

    def __init__(self, tracing: Tracing, span: OtelSpan) -> None:
        self._tracing = tracing
        self._span = span

    def child(
        self, name: str, attributes: Mapping[str, Value], links: Iterable[Span] = (), begun: float | None = None
    ) -> Span:
        """A part of this, or what follows from it; `links` are what it follows from beside."""
        return self._tracing.begin(name, attributes, self._span, [link._span for link in links], begun)

    def offshoot(self, name: str) -> Span | None:
        """As `child`, for what a client does as often as it likes; None when that is too often to be traced."""
        return self._tracing.begin(name, {}, self._span) if self._tracing.may_go_on() else None

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Say more of it."""
        self._span.set_attributes(attributes)

    def end(self, error: str = "", at: float | None = None) -> None:
        """It is done, or has failed with `error`."""
        if error:
            self._tracing.mark_failed(self._span, error)
        self._span.end(_nanoseconds(at))

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        # The error's text may have something in it that is nobody's business.
        self.end("" if kind is None else kind.__name__)


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)


def within(span: Span | None, name: str, work: Callable[..., object], document_id: str) -> Callable[..., object]:
    """`work`, as a part of `span` if that is sampled."""
    if span is None:
        return work

    def traced(*args: Any) -> None:
        with span.child(name, {"document.id": document_id}):
            work(*args)

    return traced


class Tracing:
    """Makes spans. To be made in the process that serves.

    Args:
        settings: how many.
        metrics: where to count.
        put: called with each span that has ended.
    """

    def __init__(self, settings: Settings, metrics: Metrics, put: Callable[[ReadableSpan], None]) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        version = installed("collab")

        class Processor(SpanProcessor):
            def on_end(self, span: ReadableSpan) -> None:
                put(span)

        resource = Resource.create({"service.version": version})
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "collab"}))
        sampler = ParentBased(TraceIdRatioBased(settings.traces_sample))
        provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        provider.add_span_processor(Processor())
        self._tracer = provider.get_tracer("collab", version)
        self._trace = trace
        self._nowhere = Context()
        self._propagator = TraceContextTextMapPropagator()
        self._bucket = Bucket(MOST)
        self._metrics = metrics

    def connect(self, environ: Mapping[str, Any]) -> Span | None:
        """A connection is being asked for, by an upgrade with this environment; None if it is not sampled."""
        names = ("traceparent", "tracestate")
        carrier = {name: str(environ.get(f"HTTP_{name.upper()}", ""))[:MAX_HEADER] for name in names}
        context = self._propagator.extract(carrier, self._nowhere)
        span = self._tracer.start_span("connect", context, self._trace.SpanKind.SERVER)
        if not span.is_recording() or not self.may_go_on():
            return None
        return Span(self, span)

    def begin(
        self,
        name: str,
        attributes: Mapping[str, Value],
        parent: OtelSpan,
        links: Iterable[OtelSpan] = (),
        begun: float | None = None,
    ) -> Span:
        """A span below another one."""
        context = self._trace.set_span_in_context(parent, self._nowhere)
        linked = [self._trace.Link(link.get_span_context()) for link in links]
        at = _nanoseconds(begun)
        return Span(self, self._tracer.start_span(name, context, attributes=attributes, links=linked, start_time=at))

    def mark_failed(self, span: OtelSpan, error: str) -> None:
        """What `span` is of has failed."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, error))

    def may_go_on(self) -> bool:
        """Whether one more span may be made for a client."""
        allowed = self._bucket.take(now())
        if not allowed:
            self._metrics.count("spans_dropped")
        return allowed
