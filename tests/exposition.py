"""What a server tells Prometheus, read with prometheus-client's own parsers."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import parser
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser

OPENMETRICS = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"
Labels = frozenset[tuple[str, str]]


class Page(NamedTuple):
    """An answer of `/metrics`."""

    status: int
    headers: dict[str, str]
    text: str


class Scrape:
    """All samples of one page."""

    def __init__(self, page: Page) -> None:
        assert page.status == 200, page.text
        self.text = page.text
        parse: Callable[[str], Iterable[Family]] = (
            openmetrics_parser.text_string_to_metric_families
            if "openmetrics" in page.headers["content-type"]
            else parser.text_string_to_metric_families
        )
        self.families = list(parse(page.text))
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} is told twice"
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """One sample; 0 if it is not told, as one that never was counted."""
        return self.samples.get((f"collab_{name}", frozenset(labels.items())), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """All samples of that name by their only label."""
        return {dict(labels)[label]: value for (known, labels), value in self.samples.items() if known == name}

    def names(self) -> dict[str, set[str]]:
        """The names of all samples, and the labels that they have."""
        names: dict[str, set[str]] = {}
        for name, labels in self.samples:
            names.setdefault(name, set()).update(label for label, _ in labels)
        return names


def ask_metrics(port: int, *, host: str = "127.0.0.1", **headers: str) -> Page:
    """What `/metrics` answers; header names have underscores."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        sent = {"Host": f"{host}:{port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request("GET", "/metrics", headers=sent)
        answer = connection.getresponse()
        return Page(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    finally:
        connection.close()


def scrape(port: int, *, accept: str = "") -> Scrape:
    """All that it tells, in the format that is asked for."""
    return Scrape(ask_metrics(port, **({"Accept": accept} if accept else {})))
