"""`/metrics`: everything in `collab.metrics`, and what the process itself has, in Prometheus' and OpenMetrics' formats.

Who may read it: programs on this machine that come directly, and whoever shows the admin token; with
`COLLAB_METRICS=open` everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from collab import __version__, gauges
from collab.errors import HandshakeRefused, Unauthenticated
from collab.hub import Hub
from collab.metrics import COUNTER, HISTOGRAM, METRICS, Histogram, Metric
from collab.web.addresses import is_near
from collab.web.admin import Admin
from collab.web.answers import answer
from collab.web.process import ProcessCollector

NAMESPACE: Final = "collab"

OPENMETRICS: Final = "application/openmetrics-text"

HOW: Final = (
    "Metrics are for programs on the server's own machine that come without a proxy. From elsewhere show the server's "
    "COLLAB_ADMIN_TOKEN as `Authorization: Bearer <token>`, or set COLLAB_METRICS=open to let everybody read them"
)

blueprint = Blueprint("collab_prometheus", __name__)


def register(app: Flask) -> None:
    """Give an application that has the hub the endpoint."""
    hub: Hub = app.extensions["collab"]
    registry = app.extensions["collab_prometheus"] = CollectorRegistry()
    registry.register(HubCollector(hub))
    registry.register(ProcessCollector())
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    app.register_blueprint(blueprint)


@blueprint.get("/metrics")
def metrics() -> Response:
    """All metrics, in the format that is asked for."""
    hub: Hub = current_app.extensions["collab"]
    if hub.settings.metrics != "open" and not is_near(request.environ):
        admin: Admin | None = current_app.extensions.get("collab_admin")
        if admin is None or admin.signin is None or "Authorization" not in request.headers:
            raise Unauthenticated(HOW)
        admin.signin.check(request)
    registry: CollectorRegistry = current_app.extensions["collab_prometheus"]
    # The word alone: what else the header says may be anything, which the library does not expect.
    encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in request.headers.get("Accept", "") else "")
    return Response(encode(registry), content_type=content_type, headers={"Cache-Control": "no-store"})


@blueprint.errorhandler(HandshakeRefused)
def refuse(error: HandshakeRefused) -> Response:
    """Answer who may not read them."""
    hub: Hub = current_app.extensions["collab"]
    hub.metrics.count("admin_refused", error.code)
    return answer(error)


class HubCollector(Collector):
    """What one server counts and measures, at the moment that it is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def describe(self) -> Iterable[Family]:
        """Nothing: the names are checked by tests, and collecting has its price."""
        return ()

    def collect(self) -> Iterator[Family]:
        """All metrics, in the order in which they are described."""
        metrics = self._hub.metrics
        readings: dict[str, Any] = {"build_info": {__version__: 1}, **gauges.read(self._hub), **metrics.histograms}
        readings |= metrics.snapshot()
        for name, metric in METRICS.items():
            reading = readings[name]
            if isinstance(reading, Histogram):
                yield _distribution(name, metric, reading)
            else:
                yield _numbers(name, metric, reading)


def _numbers(name: str, metric: Metric, reading: float | dict[str, float]) -> Family:
    family = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
    made = family(f"{NAMESPACE}_{name}", metric.text, labels=[metric.label] if metric.label else [])
    values = reading if isinstance(reading, dict) else {"": reading}
    for label, value in sorted(values.items()):
        made.add_metric([label] if metric.label else [], value)
    return made


def _distribution(name: str, metric: Metric, histogram: Histogram) -> Family:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    if metric.kind == HISTOGRAM:
        return HistogramMetricFamily(f"{NAMESPACE}_{name}", metric.text, buckets=buckets, sum_value=histogram.sum)
    return GaugeHistogramMetricFamily(f"{NAMESPACE}_{name}", metric.text, buckets=buckets, gsum_value=histogram.sum)
