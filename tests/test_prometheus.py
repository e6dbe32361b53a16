"""`/metrics` of real servers after real traffic: what it tells, exactly, in which format, and whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from exposition import OPENMETRICS, Page, Scrape, ask_metrics, scrape
from flask import Flask
from processes import SERVE, Serve, Server
from wire import Wire, ask, connect, is_event, is_step1, request
from ydocs import Editor, step2, update, yjs_awareness

from collab import Collab, gauges
from collab.app import create_app
from collab.clock import now
from collab.errors import InvalidMessage
from collab.metrics import COUNTER, GAUGE, GAUGE_HISTOGRAM, HISTOGRAM, MAX_LABELS, METRICS, Histogram, Traffic
from collab.protocol.lib0 import var_string
from collab.protocol.messages import ClientMessage, ServerMessage
from collab.testing import mask_frame, settle, stage
from collab.web import process
from collab.web.process import open_files
from collab.web.prometheus import HOW

TOKEN = "a-token-of-the-tests"
TYPES = {COUNTER: "counter", GAUGE: "gauge", HISTOGRAM: "histogram", GAUGE_HISTOGRAM: "gaugehistogram"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own, so that nobody else's traffic is counted."""
    database = tmp_path_factory.mktemp("metrics") / "collab.db"
    running = Server(SERVE, {"COLLAB_STORE": f"sqlite:///{database}", "COLLAB_ADMIN_TOKEN": TOKEN}).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output


def editor(server: Server, document: str, user: str = "alice") -> Wire:
    """A y-websocket client that is in the document and has heard all of its welcome."""
    wire = connect(server.port, f"/yjs/{document}?user_id={user}&user_name={user}")
    wire.read_until(is_step1)
    wire.say(step2(b"\0\0"))
    hear_all(wire)
    return wire


def hear_all(wire: Wire) -> None:
    """Return when the server has taken, and told everybody, all that was said up to here."""
    wire.send(mask_frame(9, b"?"))
    wire.read_until(lambda message: getattr(message, "payload", None) == b"?")


# ---- what it tells


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["prometheus", "openmetrics"])
def test_every_metric_is_told_with_its_help_and_nothing_else_is(server: Server, accept: str) -> None:
    page = scrape(server.port, accept=accept)
    told = {family.name.removeprefix("collab_"): family for family in page.families if "collab_" in family.name}
    extra = {f"{name}_{end}" for name in METRICS for end in ("gcount", "gsum")} if not accept else set()
    assert told.keys() - extra == METRICS.keys()
    for name, metric in METRICS.items():
        assert told[name].documentation == metric.text
        kind = "histogram" if metric.kind == GAUGE_HISTOGRAM and not accept else TYPES[metric.kind]
        assert told[name].type == kind, name
        for sample in told[name].samples:
            assert set(sample.labels) - {"le"} == ({metric.label} if metric.label else set())
    assert all(family.documentation for family in page.families)
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= {f.name for f in page.families}


def test_three_updates_are_three(server: Server) -> None:
    with editor(server, "three", "alice") as alice, editor(server, "three", "bob") as bob:
        before = scrape(server.port)
        for clock in range(3):
            alice.say(update(Editor(clock + 1).type("x")))
            bob.read_until(lambda message: isinstance(message, bytes) and message[:2] == b"\0\2")
        hear_all(alice)
        after = scrape(server.port)

    def gained(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert gained("updates_total") == gained("commits_total") == 3
    assert gained("received_messages_total", type="update") == 3
    assert gained("received_bytes_total", type="update") == 3 * len(update(Editor(1).type("x")))
    assert gained("sent_messages_total", type="update") == 6, "the author gets them as well"
    assert gained("sent_bytes_total", type="update") == 6 * (2 + len(update(Editor(1).type("x"))))
    assert gained("queued_seconds_count") == gained("written_seconds_count") == 3
    assert gained("commit_updates_sum") == gained("commit_updates_count") == 3
    assert gained("commit_updates_bucket", le="1.0") == 3
    assert 0 < gained("queued_seconds_sum") < 10


def test_who_is_where_is_told_as_it_is_now(serve: Serve) -> None:
    server = serve()
    with (
        editor(server, "who", "alice"),
        editor(server, "who", "bob"),
        editor(server, "other", "bob"),
        connect(server.port, "/ws/document/who?user_id=carol&user_name=Carol") as native,
    ):
        native.read_until(is_event("initial_state"))
        page = scrape(server.port)
        assert page.by("collab_open_connections", "dialect") == {"yjs": 3, "native": 1, "hocuspocus": 0}
        assert page.by("collab_sessions", "dialect") == {"yjs": 3, "native": 1, "hocuspocus": 0}
        assert (page.value("users"), page.value("rooms")) == (3, 2)
        members = page.by("collab_room_members_bucket", "le")
        assert [members[bound] for bound in ("1.0", "2.0", "4.0", "+Inf")] == [1, 1, 2, 2]
        assert (page.value("room_members_gcount"), page.value("room_members_gsum")) == (2, 4)
        assert page.value("connections_total", dialect="native") >= 1
        assert page.value("greenlets") >= 4
        assert page.value("ready") == page.value("store_ready") == 1


def test_what_is_stored_is_measured(server: Server) -> None:
    before = scrape(server.port)
    with connect(server.port, "/ws/document/stored?user_id=a", "collab.binary") as wire:
        wire.read_until(is_step1)
        wire.say(b"\1" + update(Editor(1).type("x"))[2:])
        wire.read_until(lambda message: isinstance(message, bytes) and message[:1] == b"\4")
        page = scrape(server.port)
    for name in ("store_commits_total", "store_write_seconds_count", "store_write_records_count"):
        assert page.value(name) - before.value(name) == 1, name
    assert page.value("store_records_total") - before.value("store_records_total") == 1
    assert page.value("store_load_seconds_count") - before.value("store_load_seconds_count") == 1
    assert (page.value("unstored_bytes"), page.value("unstored_age_seconds")) == (0, 0)


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["prometheus", "openmetrics"])
def test_every_histogram_adds_up(server: Server, accept: str) -> None:
    with editor(server, "adds"):
        page = scrape(server.port, accept=accept)
    for name, metric in METRICS.items():
        if metric.kind in (HISTOGRAM, GAUGE_HISTOGRAM):
            buckets = page.by(f"collab_{name}_bucket", "le")
            bounds = [float(bound) for bound in buckets]
            assert bounds == sorted(bounds) and bounds[-1] == float("inf")
            counts = list(buckets.values())
            assert counts == sorted(counts)
            prefix = "g" if metric.kind == GAUGE_HISTOGRAM else ""
            assert counts[-1] == page.value(f"{name}_{prefix}count"), name
            assert page.value(f"{name}_{prefix}sum") <= sum(counts) * 4096
    assert page.value("queued_seconds_count") > 0


def names_of(messages: object) -> set[str]:
    """What messages are called in labels."""
    traffic = Traffic()
    for kind in get_args(messages):
        traffic.note(kind, 0)
    return set(traffic.by_name(0))


def test_no_client_adds_labels_of_its_own(server: Server) -> None:
    def be_hostile(salt: str) -> None:
        with connect(server.port, f"/yjs/hostile?user_id={salt}") as yjs:
            for code in range(120):
                if code not in (0, 1, 3, 102):
                    yjs.say(bytes([code]) + salt.encode())
            yjs.send(mask_frame(1, salt.encode()) + mask_frame(2, b"\0\7" + salt.encode()) * 120)
            yjs.read_closed()
        with connect(server.port, f"/ws/document/hostile?user_id={salt}") as native:
            for n in range(20):
                native.say({"type": f"{salt}{n}", "text": salt})
                native.say(json.dumps([salt, n]))
            hear_all(native)
        with connect(server.port, f"/hocuspocus?user_id={salt}") as shared:
            for code in set(range(20)) - {5}:  # its relays are taken when it was decided who that is
                shared.say(var_string(f"{salt}{code}") + bytes([code, 1, 2]))
            shared.send(mask_frame(1, salt.encode()))
            hear_all(shared)
        for path in (f"/yjs/{'x' * 300}{salt}", f"/ws/document/%00{salt}", f"/yjs/{salt}"):
            ask(server.port, request(path, headers={"Origin": f"https://{salt}.example.org"}))
            ask(server.port, request(path, headers={"Upgrade": salt}))
        ask(server.port, f"GET /api/{salt} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    before = scrape(server.port)
    be_hostile("salty")
    after = scrape(server.port)
    assert not [key for key in after.samples if "salty" in str(key)]
    types = after.by("collab_received_messages_total", "type")
    assert types["invalid"] > before.value("received_messages_total", type="invalid") + 100
    assert types["relay"] == before.value("received_messages_total", type="relay") + 20
    assert types.keys() <= {*names_of(ClientMessage), "pong", "invalid"}
    assert after.by("collab_sent_messages_total", "type").keys() <= names_of(ServerMessage)
    kinds: list[type[InvalidMessage]] = [InvalidMessage, *InvalidMessage.__subclasses__()]
    codes = {kind.code for kind in kinds}
    assert after.by("collab_refused_total", "code").keys() <= codes


def test_an_application_that_refuses_with_words_of_its_own_adds_only_so_many() -> None:
    with stage() as hub:
        for n in range(1000):
            hub.metrics.count("upgrades_refused", f"because {n}")
        assert len(hub.metrics.snapshot()["upgrades_refused"]) == MAX_LABELS + 1  # type: ignore[arg-type]


def test_the_page_is_the_same_while_nothing_happens() -> None:
    client = create_app().test_client()

    def ours() -> list[str]:
        return [line for line in client.get("/metrics").text.splitlines() if "collab_" in line]

    assert ours() == ours()
    assert len(ours()) > 200


def test_every_gauge_is_read() -> None:
    with stage() as hub:
        known = {name for name, metric in METRICS.items() if metric.kind in (GAUGE, GAUGE_HISTOGRAM)}
        assert gauges.read(hub).keys() == known - {"build_info"}


def test_what_waits_for_a_slow_reader_is_told_while_it_waits() -> None:
    with stage(send_queue=1 << 20, send_queue_bytes=1 << 30) as hub:
        slow, author = hub.yjs("doc", "slow"), hub.yjs("doc", "author")
        for n in range(40):
            author.send(yjs_awareness(5, n + 1, json.dumps("x" * 50_000)))
            settle()
            author.frames()
        told = gauges.read(hub)
        waiting = told["queue_messages"]
        assert isinstance(waiting, Histogram) and waiting.count == 1
        assert waiting.sum > 1
        assert isinstance(told["queue_bytes"], int) and told["queue_bytes"] > waiting.sum * 50_000 / 2
        while slow.connection.backlog is not None:
            slow.frames()
            settle()
        told = gauges.read(hub)
        assert isinstance(told["queue_messages"], Histogram) and told["queue_messages"].count == 0
        assert told["queue_bytes"] == 0


# ---- in which format


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=x", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text;version=x", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_the_format_is_what_is_asked_for(server: Server, accept: str, kind: str) -> None:
    page = ask_metrics(server.port, Accept=accept)
    assert (page.status, page.headers["content-type"], page.headers["cache-control"]) == (200, kind, "no-store")
    Scrape(page)


# ---- whom


def refused(page: Page, status: int = 401) -> str:
    """The words by which a scrape was refused."""
    assert page.status == status, page.text
    error = json.loads(page.text)["error"]
    assert error.keys() == {"code", "message"}
    return str(error["message"])


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}),
        ("127.0.0.1", {"X_Real_IP": "127.0.0.1"}),
        ("localhost", {"Forwarded": "for=127.0.0.1"}),
        ("collab.example.org", {}),
        ("127.0.0.1", {"Via": "1.1 proxy"}),
    ],
)
def test_who_comes_from_elsewhere_is_told_what_to_do(server: Server, host: str, headers: dict[str, str]) -> None:
    before = scrape(server.port).value("admin_refused_total", code="unauthenticated")
    page = ask_metrics(server.port, host=host, **headers)
    assert refused(page) == HOW
    assert page.headers["www-authenticate"] == "Bearer"
    assert "COLLAB_METRICS" in HOW and "COLLAB_ADMIN_TOKEN" in HOW
    assert scrape(server.port).value("admin_refused_total", code="unauthenticated") == before + 1


def test_who_shows_the_admin_token_may_read_them_from_anywhere(server: Server) -> None:
    assert ask_metrics(server.port, X_Forwarded_For="192.0.2.7", Authorization=f"Bearer {TOKEN}").status == 200
    wrong = ask_metrics(server.port, X_Forwarded_For="192.0.2.7", Authorization="Bearer wrong")
    assert "not COLLAB_ADMIN_TOKEN" in refused(wrong)


def test_an_application_without_an_admin_token_lets_nobody_in_from_elsewhere() -> None:
    app = Flask(__name__)
    Collab(app)
    client = app.test_client()
    assert client.get("/metrics").status_code == 200
    far = {"X-Forwarded-For": "192.0.2.7", "Authorization": "Bearer "}
    assert client.get("/metrics", headers=far).status_code == 401


def test_everybody_may_read_them_where_that_is_set() -> None:
    client = create_app({"COLLAB_METRICS": "open"}).test_client()
    answer = client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7", "Host": "collab.example.org"})
    assert answer.status_code == 200


# ---- health


def test_a_server_that_lives_and_is_ready_says_so(server: Server) -> None:
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = ask(server.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        told = json.loads(answer.body)
        assert (answer.status, told[word], told["reasons"]) == (200, True, [])


def test_a_hub_that_does_nothing_any_more_is_neither_alive_nor_ready() -> None:
    app = create_app()
    hub, client = app.extensions["collab"], app.test_client()
    hub.pulse.sign(now() - 60)
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.json is not None and answer.json[word] is False
        [reason] = answer.json["reasons"]
        assert "the hub has done nothing for 60 s" in reason and "start the server anew" in reason
    hub.pulse.sign(now())
    assert client.get("/healthz").status_code == 200


def test_the_hub_gives_signs_while_it_is_at_work() -> None:
    with stage() as hub:
        assert hub.pulse.complaint(now() + 6) is None, "it has not begun yet"
        hub.native("doc")
        assert hub.pulse.complaint(now()) is None
        assert hub.pulse.complaint(now() + 6) is not None
    assert hub.pulse.complaint(now() + 6) is None, "it was stopped"


def test_a_server_that_cannot_store_or_is_draining_lives_but_is_not_ready() -> None:
    app = create_app()
    hub, client = app.extensions["collab"], app.test_client()
    hub.draining = True
    hub.caretaker.saver.trouble = "the disk is full"
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json is not None
    assert len(answer.json["reasons"]) == 2 and "the disk is full" in answer.json["reasons"][1]
    assert client.get("/healthz").status_code == 200
    assert gauges.read(hub)["ready"] == gauges.read(hub)["store_ready"] == 0


def test_strangers_are_told_whether_it_is_ready_but_not_what_only_its_operator_needs() -> None:
    app = create_app({"COLLAB_ADMIN_TOKEN": TOKEN})
    hub, client = app.extensions["collab"], app.test_client()
    hub.warnings.append("documents are in /home/alice/collab.db")
    hub.caretaker.saver.trouble = "no route to db.internal: password authentication failed"
    far = {"Host": "docs.example.org", "X-Forwarded-For": "192.0.2.7"}
    for headers in (far, far | {"Authorization": "Bearer wrong"}):
        answer = client.get("/readyz", headers=headers)
        assert (answer.status_code, answer.json) == (503, {"ready": False, "reasons": ["changes cannot be stored"]})
    for headers in ({}, far | {"Authorization": f"Bearer {TOKEN}"}):
        answer = client.get("/readyz", headers=headers)
        assert "db.internal" in answer.text and "/home/alice" in answer.text
    hub.stop()


def test_the_files_that_are_open_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = open_files()
    assert before is not None
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert open_files() == before + 2
    monkeypatch.setattr(process, "FILES", str(tmp_path / "none"))
    assert open_files() is None
