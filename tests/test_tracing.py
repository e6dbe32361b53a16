"""Spans as a collector gets them, from a real server with real clients: which there are, and what follows from what."""

from __future__ import annotations

import ast
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from collector import Collector, Told, collecting
from gevent import Timeout, sleep
from processes import ROOT, SERVE, Server, free_port
from readme import block
from wire import ask, connect, is_step1, request
from ydocs import Editor, update

from collab import tracing
from collab.config import Settings
from collab.errors import ConfigError
from collab.exporting import BATCH, MAX_WAITING, Exporting
from collab.metrics import Metrics
from collab.protocol.frames import BINARY
from collab.protocol.lib0 import var_string
from collab.room import Room
from collab.testing import mask_frame, stage
from collab.traced import PROCESS_MESSAGE
from collab.tracing import MOST, Span, Tracing

PAGE = "00f067aa0ba902b7"
HIDDEN = "hidden"
"""In users, tokens and documents: none of it is in spans."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def named(spans: list[Told], name: str) -> list[Told]:
    return [span for span in spans if span.name == name]


class Page(NamedTuple):
    """A page that has a trace, and a span in it."""

    trace: str
    sampled: bool = True

    @property
    def parent(self) -> str:
        """What its browser sends."""
        return f"00-{self.trace}-{PAGE}-{self.sampled:02x}"

    def spans(self, collector: Collector, enough: Callable[[list[Told]], object]) -> list[Told]:
        """All that a collector has of its trace, once that is `enough`."""
        return self._mine(collector.wait_for(lambda spans: enough(self._mine(spans))))

    def _mine(self, spans: list[Told]) -> list[Told]:
        return [span for span in spans if span.trace == self.trace]


def page(*, sampled: bool = True) -> Page:
    """One more page."""
    return Page(os.urandom(16).hex(), sampled)


def write(port: int, page: Page | None = None) -> None:
    """Come, write once, see it stored, and go."""
    with connect(
        port,
        f"/ws/document/team%2Fplan?user_id={HIDDEN}&token={HIDDEN}",
        headers={"traceparent": page.parent} if page else {},
    ) as wire:
        wire.read_until(is_step1)
        wire.say(update(Editor(native=True).type(HIDDEN)))
        wire.read_until(lambda message: message == b"\x04\x01")


def counted(server: Server) -> dict[str, Any]:
    """What a server that has stopped had counted."""
    text = server.output.partition("counted since the start: ")[2].splitlines()[0]
    counters: dict[str, Any] = ast.literal_eval(text)
    return counters


def tracing_server(url: str, sample: float, folder: Path, **environment: object) -> Server:
    """A server that traces so many connections."""
    settings = {"COLLAB_TRACES": url, "COLLAB_TRACES_SAMPLE": sample, "COLLAB_STORE": f"sqlite:///{folder}/collab.db"}
    return Server(SERVE, {key: str(value) for key, value in {**settings, **environment}.items()}).wait_ready()


# ---- what a collector gets


class Traced(NamedTuple):
    """A server that traces what pages say is sampled, and nothing else; and where its spans go."""

    port: int
    collector: Collector


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with collecting() as collector:
        environment = {"OTEL_SERVICE_NAME": "ours", "OTEL_EXPORTER_OTLP_HEADERS": "key=abc"}
        server = tracing_server(collector.url, 0, tmp_path_factory.mktemp("traced"), **environment)
        yield Traced(server.port, collector)
        assert server.stop() == 0
        assert counted(server)["spans_exported"] == len(collector.spans)


def test_an_edit_is_one_trace_from_the_page_to_the_store(traced: Traced) -> None:
    mine, collector = page(), traced.collector
    write(traced.port, mine)
    spans = mine.spans(collector, lambda spans: named(spans, "store"))
    assert HIDDEN not in repr(spans)
    [up], [load], [commit], [store] = (named(spans, name) for name in ("connect", "load", "commit", "store"))
    [message] = [span for span in named(spans, PROCESS_MESSAGE) if span.facts["message.type"] == "update"]
    assert up.parent == PAGE and load.parent == up.id and message.parent == up.id
    assert commit.parent == message.id and store.parent == commit.id
    assert up.begin <= load.begin <= load.end <= up.end <= message.begin <= message.end <= commit.begin <= commit.end
    assert commit.end <= store.begin < store.end
    assert not any(span.error for span in spans)
    session = up.facts["session.id"]
    assert up.facts == {
        "dialect": "native",
        "client.address": "127.0.0.1",
        "document.id": "team/plan",
        "session.id": session,
    }
    assert load.facts == {"document.id": "team/plan"}
    assert 20 < message.facts.pop("message.bytes") < 40
    assert message.facts == {
        "document.id": "team/plan",
        "session.id": session,
        "dialect": "native",
        "message.type": "update",
        "room.size": 1,
    }
    assert commit.facts == {"document.id": "team/plan", "room.size": 1, "messages": 1, "updates": 1}
    assert store.facts == {"rooms": 1}
    assert collector.resource["service.name"] == "ours" and collector.resource["service.version"]
    assert collector.headers["key"] == "abc" and collector.paths == {"/v1/traces"}


def test_what_several_bring_in_one_pass_is_one_commit_with_links_to_all_of_them(traced: Traced) -> None:
    mine = page()
    with connect(traced.port, "/yjs/doc", headers={"traceparent": mine.parent}) as wire:
        wire.read_until(is_step1)
        wire.send(b"".join(mask_frame(BINARY, update(Editor(number).type("x"))) for number in range(1, 4)))
        spans = mine.spans(traced.collector, lambda spans: named(spans, "store"))
    messages = [span.id for span in named(spans, PROCESS_MESSAGE) if span.facts["message.type"] == "update"]
    [commit] = [span for span in named(spans, "commit") if span.facts["updates"]]
    assert len(messages) == 3
    assert [commit.parent, *commit.links] == messages
    assert (commit.facts["messages"], commit.facts["updates"]) == (3, 3)


def test_a_hocuspocus_connection_is_traced_document_by_document(traced: Traced) -> None:
    mine = page()
    with connect(traced.port, "/hocuspocus", headers={"traceparent": mine.parent}) as wire:
        for name in ("one", "two"):
            address = var_string(name)
            wire.say(address + b"\x02\x00" + var_string(""))
            wire.read_until(is_beginning(address + b"\x02\x02"))
            wire.say(address + update(Editor().type("x")))
        spans = mine.spans(traced.collector, lambda spans: len([s for s in spans if s.facts.get("updates")]) == 2)
    [up] = named(spans, "connect")
    assert up.parent == PAGE and up.facts["dialect"] == "hocuspocus"
    admissions = named(spans, "admission")
    assert {(span.facts["document.id"], span.parent) for span in admissions} == {("one", up.id), ("two", up.id)}
    assert {span.facts["document.id"] for span in named(spans, "load")} == {"one", "two"}
    messages = [span for span in spans if span.facts.get("message.type") == "update"]
    assert sorted(span.facts["document.id"] for span in messages) == ["one", "two"]


def is_beginning(start: bytes) -> Callable[[Any], bool]:
    """Whether a message begins so."""
    return lambda message: isinstance(message, bytes) and message.startswith(start)


def test_an_upgrade_that_is_refused_is_a_span_that_failed(traced: Traced) -> None:
    mine = page()
    headers = {"traceparent": mine.parent, "Origin": "https://evil.example"}
    assert ask(traced.port, request("/yjs/doc", headers=headers)).status == 403
    [span] = mine.spans(traced.collector, bool)
    assert (span.name, span.error, span.facts) == ("connect", "bad_origin", {"http.response.status_code": 403})


def test_of_a_page_that_is_not_sampled_and_of_no_page_nothing_is_told(traced: Traced) -> None:
    # Some of an earlier test's may still be on their way, of traces that had begun to come.
    before, other, mine = {span.trace for span in traced.collector.spans}, page(sampled=False), page()
    write(traced.port, other)
    write(traced.port)
    write(traced.port, mine)
    mine.spans(traced.collector, lambda spans: named(spans, "store"))
    assert {span.trace for span in traced.collector.spans} - before == {mine.trace}


@pytest.mark.parametrize(
    ("sample", "traceparent", "told"),
    [
        (1, None, True),
        (1, page(sampled=False).parent, False),
        (0, None, False),
        (0, page().parent, True),
        (1, "00-nonsense", True),
        (0, "00-nonsense", False),
        (0, page().parent + "\x1b" * 5000, False),
    ],
    ids=["all", "a page that is not", "none", "a page that is", "all, nonsense", "none, nonsense", "none, too long"],
)
def test_what_the_page_says_goes_before_the_share_that_is_set(
    collector: Collector, sample: float, traceparent: str | None, told: bool
) -> None:
    spans: list[Any] = []
    tracing = Tracing(Settings(traces=collector.url, traces_sample=sample), Metrics(), spans.append)
    environ = {} if traceparent is None else {"HTTP_TRACEPARENT": traceparent}
    span = tracing.connect(environ)
    assert isinstance(span, Span) == told
    if span is not None:
        span.end()
    assert len(spans) == told


# ---- what it costs


def test_who_is_not_sampled_runs_the_same_code_as_without_tracing(collector: Collector) -> None:
    for traces in ("", collector.url):
        with stage(traces=traces, traces_sample=0.0) as hub:
            alice = hub.native("doc").connection
            assert alice.trace is None
            assert alice.on_message == alice.session.on_message
            assert (hub.documents._pass.flush is Room.flush) == (not traces)


def test_a_server_without_tracing_loads_nothing_of_it() -> None:
    code = (
        "import collab.app, sys; collab.app.create_app(); print(sum('opentelemetry' in name for name in sys.modules))"
    )
    with_nothing = Server([sys.executable, "-c", code], {"COLLAB_STORE": "memory:"})
    assert with_nothing.wait_end() == 0
    assert with_nothing.output.strip() == "0"


def test_clients_that_claim_to_be_traced_get_no_more_spans_than_there_may_be(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "now", lambda: 7.0)
    metrics, spans = Metrics(), list[Any]()
    tracer = Tracing(Settings(traces=collector.url, traces_sample=0.0), metrics, spans.append)
    up = tracer.connect({"HTTP_TRACEPARENT": page().parent})
    assert up is not None
    made = [up.offshoot("message") for _ in range(int(4 * MOST) + 10)]
    assert made.count(None) == 11
    assert metrics.snapshot()["spans_dropped"] == 11
    assert tracer.connect({"HTTP_TRACEPARENT": page().parent}) is None


def test_spans_that_wait_have_a_bound(collector: Collector) -> None:
    metrics = Metrics()
    exporting = Exporting(Settings(traces=collector.url), metrics)
    tracer = Tracing(Settings(traces=collector.url, traces_sample=1.0), metrics, exporting.put)
    up = tracer.connect({})
    assert up is not None
    for _ in range(MAX_WAITING + 3):
        up.child("part", {}).end()
    assert metrics.snapshot()["spans_dropped"] == 3


# ---- a collector that is not there


def test_a_collector_that_is_away_does_no_harm_and_is_told_of_once(tmp_path: Path) -> None:
    server = tracing_server(f"http://127.0.0.1:{free_port()}", 1, tmp_path, OTEL_EXPORTER_OTLP_TIMEOUT=1)
    try:
        write(server.port)
        server.wait_output("Spans cannot be exported (COLLAB_TRACES)")
        for _ in range(3):
            write(server.port)
    finally:
        assert server.stop() == 0
    assert server.output.count("Spans cannot be exported") == 1
    for word in ("Traceback", "Transient error", "Ended what did not end by itself"):
        assert word not in server.output
    told = counted(server)
    assert told["spans_dropped"] > 10 and told["spans_exported"] == 0


def test_a_collector_that_never_answers_does_not_hold_up_a_stop(collector: Collector, tmp_path: Path) -> None:
    server = tracing_server(collector.url, 1, tmp_path)
    try:
        collector.open.clear()
        write(server.port)
        assert collector.asked.wait(10)
        write(server.port)
    finally:
        assert server.stop() == 0
    assert "Ended what did not end by itself" not in server.output
    assert "it does not answer" in server.output
    assert counted(server)["spans_dropped"] > 5


def test_what_waits_at_a_stop_is_exported_before(collector: Collector, tmp_path: Path) -> None:
    server = tracing_server(collector.url, 1, tmp_path)
    write(server.port)
    assert server.stop() == 0
    assert {"connect", "load", "commit", "store"} <= {span.name for span in collector.spans}
    assert counted(server)["spans_exported"] == len(collector.spans)


def test_spans_are_exported_again_when_the_collector_takes_them(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "collab.exporting")
    with stage(traces=collector.url, traces_sample=1.0) as hub:
        for collector.status, metric in ((403, "spans_dropped"), (403, "spans_dropped"), (200, "spans_exported")):
            before = count(hub.metrics, metric)
            for _ in range(BATCH):
                assert hub.traces is not None
                span = hub.traces.connect({})
                assert span is not None
                span.end()
            with Timeout(10):
                while count(hub.metrics, metric) != before + BATCH:
                    sleep(0.01)
    told = [record.getMessage() for record in caplog.records if record.name == "collab.exporting"]
    assert len(told) == 2 and "403" in told[0] and "again" in told[1]
    assert len(collector.spans) == BATCH


def count(metrics: Metrics, name: str) -> int:
    """One counter."""
    value = metrics.snapshot()[name]
    assert isinstance(value, int)
    return value


# ---- settings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"COLLAB_TRACES": "localhost:4318"}, "COLLAB_TRACES is not"),
        ({"COLLAB_TRACES": "http://"}, "COLLAB_TRACES is not"),
        ({"COLLAB_TRACES": "http://h:4318", "COLLAB_TRACES_SAMPLE": "1.5"}, "COLLAB_TRACES_SAMPLE"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        tracing.check(Settings.load(values))


def test_without_the_extra_a_server_that_is_to_trace_does_not_start_and_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('opentelemetry'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    environment = {"PYTHONPATH": str(tmp_path), "COLLAB_TRACES": "http://localhost:4318"}
    server = Server([*SERVE[:-1], "0"], environment)
    assert server.wait_end() != 0
    assert "pip install 'collab[otel]'" in server.output
    assert "Traceback" not in server.output and "Listening" not in server.output


def test_the_page_names_the_spans_and_their_attributes() -> None:
    page = (ROOT / "docs" / "logs-and-traces.md").read_text().partition("## Traces")[2]
    source = (ROOT / "collab" / "traced.py").read_text() + (ROOT / "collab" / "tracing.py").read_text()
    told = set(re.findall(r"`([a-z]+\.[a-z_.]+)`", page))
    assert told == set(re.findall(r'"((?:document|session|message|room|client)\.[a-z_.]+)"', source)) | {
        "http.response.status_code"
    }
    for name in ("connect", "admission", "load", "WebSocket.ProcessMessage", "commit", "store"):
        assert f"`{name}`" in page


def test_the_pages_command_is_one_that_can_be_given() -> None:
    install, serve = map(shlex.split, block("docs/logs-and-traces.md", "sh", "COLLAB_TRACES").splitlines())
    extra = re.fullmatch(r"collab\[(\w+)\]", install[-1])
    assert extra and extra[1] in (metadata("collab").get_all("Provides-Extra") or [])
    assert serve[-2:] == ["collab", "serve"]
    settings = Settings.load(dict(word.split("=", 1) for word in serve[:-2]))
    tracing.check(settings)
    assert settings.traces and settings.traces_sample != Settings().traces_sample
