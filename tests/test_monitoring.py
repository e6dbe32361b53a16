"""The dashboard and the alerts in `deploy/` ask for what a real server tells, and `docs/monitoring.md` names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from exposition import OPENMETRICS, Scrape, scrape
from processes import SERVE, Server
from wire import Wire, ask, connect, is_step1, request
from ydocs import Editor, update

from collab.metrics import COUNTER, METRICS

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus-alerts.yml").read_text())
DOCS = (ROOT / "docs" / "monitoring.md").read_text()

PROMETHEUS_LABELS = {"job", "instance"}
"""What Prometheus adds to all that it scrapes."""

ITS_OWN = {"up"}
"""What Prometheus itself tells of each server."""

INTERVAL = "$__rate_interval"


class Query:
    """A PromQL expression: the metrics that it asks for, with the labels that it wants of each.

    Raises:
        ValueError: Prometheus would not understand it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[tuple[str, set[str]]] = []
        self._walk(promql_parser.parse(text.replace(INTERVAL, "1m")), set())

    def _walk(self, node: Any, wanted: set[str]) -> None:
        """Take a node; `wanted` are the labels that what is around it groups by."""
        if isinstance(node, promql_parser.VectorSelector):
            matched = {matcher.name for matcher in node.matchers.matchers}
            self.asked.append((str(node.name), matched | wanted))
        elif isinstance(node, promql_parser.MatrixSelector):
            self._walk(node.vector_selector, wanted)
        elif isinstance(node, promql_parser.AggregateExpr):
            self._walk(node.expr, wanted | (set(node.modifier.labels) if node.modifier else set()))
        elif isinstance(node, promql_parser.Call):
            for part in node.args:
                self._walk(part, wanted)
        elif isinstance(node, promql_parser.BinaryExpr):
            self._walk(node.lhs, wanted)
            self._walk(node.rhs, wanted)
        elif isinstance(node, promql_parser.ParenExpr | promql_parser.UnaryExpr | promql_parser.SubqueryExpr):
            self._walk(node.expr, wanted)
        else:
            assert isinstance(node, promql_parser.NumberLiteral | promql_parser.StringLiteral), node


def panels(within: dict[str, Any] = DASHBOARD) -> Iterator[dict[str, Any]]:
    """All panels, those in rows that are closed included."""
    for panel in within.get("panels", []):
        yield panel
        yield from panels(panel)


TARGETS = [(panel["title"], target) for panel in panels() for target in panel.get("targets", [])]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = [
    *((title, target["expr"]) for title, target in TARGETS),
    *((note["name"], note["expr"]) for note in DASHBOARD["annotations"]["list"]),
    *((rule["alert"], rule["expr"]) for rule in RULES),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """What a server tells that has seen some of everything."""

    database = tmp_path_factory.mktemp("monitored") / "collab.db"
    server = Server(SERVE, {"COLLAB_STORE": f"sqlite:///{database}", "COLLAB_MAX_INVALID": "1"}).wait_ready()
    try:
        with connect(server.port, "/yjs/doc?user_id=a") as alice, connect(server.port, "/yjs/doc?user_id=b") as bob:
            for wire in (alice, bob):
                wire.read_until(is_step1)
            alice.say(update(Editor(1).type("x")))
            bob.read_until(lambda message: isinstance(message, bytes) and message[:2] == b"\0\2")
            bob.say(b"\x09")
            bob.say(b"\0\x09")
            bob.read_closed()
            ask(server.port, request("/yjs/" + "x" * 300))
            with Wire(server.port) as far:
                far.send(b"GET /metrics HTTP/1.1\r\nHost: far.example.org\r\nConnection: close\r\n\r\n")
                assert far.read_answer().status == 401
            ask(server.port, b"GET /api/document HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            yield scrape(server.port, accept=OPENMETRICS)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def names(told: Scrape) -> dict[str, set[str]]:
    """The samples of a real server, with their labels."""
    return told.names()


@pytest.mark.parametrize(("where", "text"), QUERIES, ids=[f"{where}-{n}" for n, (where, _) in enumerate(QUERIES)])
def test_a_query_asks_for_what_a_server_tells(names: dict[str, set[str]], where: str, text: str) -> None:
    query = Query(text)
    assert query.asked
    for name, labels in query.asked:
        if name in ITS_OWN:
            assert labels <= PROMETHEUS_LABELS
        else:
            assert name in names, f"{where}: no server tells {name}"
            assert labels <= names[name] | PROMETHEUS_LABELS, f"{where}: {name} has only {names[name]}"


@pytest.mark.parametrize(
    "text",
    ["sum(rate(collab_updates_total[5m])", "rate(collab_updates_total)", "histogram_quantile(0.9)", "no_such()"],
)
def test_what_prometheus_would_not_understand_is_found(text: str) -> None:
    with pytest.raises(ValueError):
        Query(text)


def test_the_reader_of_queries_finds_metrics_and_labels() -> None:
    query = Query(
        'histogram_quantile(0.9, sum by (le) (rate(a_bucket{x="1"}[$__rate_interval]))) / max(b) > (c offset 1m)'
    )
    assert query.asked == [("a_bucket", {"x", "le"}), ("b", set()), ("c", set())]


def test_the_dashboard_shows_all_that_is_measured() -> None:
    shown = " ".join(target["expr"] for _, target in TARGETS)
    measured = {name for name, metric in METRICS.items() if metric.kind != COUNTER}
    assert {name for name in measured if not re.search(rf"\bcollab_{name}(_|\b)", shown)} == set()


def test_every_curve_is_called_by_labels_that_its_query_keeps() -> None:
    for title, target in TARGETS:
        called = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
        kept = {label for _, labels in Query(target["expr"]).asked for label in labels}
        assert called <= kept, title


def test_the_dashboard_asks_the_source_that_is_chosen() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    for name in ("job", "instance"):
        assert variables[name]["datasource"] == source
        assert re.match(r"label_values\(collab_build_info\b", variables[name]["query"]["query"])
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"] == source
            assert all(target["datasource"] == source for target in panel["targets"])
    for _, target in TARGETS:
        assert target["expr"].count('{job=~"$job",instance=~"$instance"') == target["expr"].count("{"), target["expr"]


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_it_is_and_is_explained(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert f"`{rule['alert']}`" in DOCS


def test_the_page_on_monitoring_names_metrics_that_there_are(names: dict[str, set[str]]) -> None:
    named = set(re.findall(r"`((?:collab|process)_[a-z_]+)`", DOCS))
    assert len(named) > 10
    assert named <= names.keys() | {f"collab_{name}" for name in METRICS} | {
        f"collab_{name}_total" for name, metric in METRICS.items() if metric.kind == COUNTER
    }


def test_the_alerts_on_limits_name_codes_that_there_are() -> None:
    sources = " ".join(path.read_text() for path in (ROOT / "collab").rglob("*.py"))
    (codes,) = re.findall(r'code=~"([^"]+)"', " ".join(rule["expr"] for rule in RULES))
    assert [code for code in codes.split("|") if f'"{code}"' not in sources] == []


def test_the_configuration_in_the_page_loads_the_alerts_and_names_their_job() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    configuration = yaml.safe_load(block)
    assert all((ROOT / "deploy" / name).exists() for name in configuration["rule_files"])
    (job,) = configuration["scrape_configs"]
    named = set(re.findall(r'job="(\w+)"', " ".join(rule["expr"] for rule in RULES)))
    assert named == {job["job_name"]}
    ((target,),) = [static["targets"] for static in job["static_configs"]]
    assert f"`{target.partition(':')[0]}`" in DOCS
