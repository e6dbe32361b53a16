"""Upgrades: which are refused, with which words, and that a name is one document on every path."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from processes import Server
from wire import Answer, Wire, ask, connect, is_event, is_step1, request
from ydocs import Editor, step1, update

from collab import create_app
from collab.hub import Hub

NATIVE = "/ws/document/"
YJS = "/yjs/"
PATHS = pytest.mark.parametrize("path", [NATIVE, YJS])
MARKER = "gr8-m4rk3r"
LONGEST = 255


def is_refused(answer: Answer, status: int, code: str) -> None:
    """The answer is this refusal, in words of ours alone."""
    assert answer.status == status
    assert answer.error["code"] == code
    assert answer.error["message"]
    assert MARKER not in str(answer)


@PATHS
@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * (LONGEST + 1),
        quote("🦀" * (LONGEST + 1)),
        f"{MARKER}%00",
        f"{MARKER}%0A",
        f"%0D{MARKER}",
        f"{MARKER}%0Aand%20more",
        f"{MARKER}%1F",
        f"{MARKER}%7F",
        f"{MARKER}%C2%85",
        f"{MARKER}%FF",
        f"{MARKER}%C3",
        f"{MARKER}%ED%A0%80",
        f"{MARKER}%C0%AF",
    ],
)
def test_a_name_that_cannot_be_a_document_is_refused(server: Server, path: str, name: str) -> None:
    is_refused(ask(server.port, request(path + name)), 400, "bad_document_id")


@PATHS
@pytest.mark.parametrize(
    "key", [None, "", MARKER, "c2hvcnQ=", "dGhlIHNhbXBsZSBub25jZSE1Nzk=", "dGhlIHNhbXBsZSBub25jZQ=", "é"]
)
def test_a_key_that_is_not_16_bytes_in_base_64_is_refused(server: Server, path: str, key: str | None) -> None:
    is_refused(ask(server.port, request(path + "doc", headers={"Sec-WebSocket-Key": key})), 400, "bad_handshake")


@PATHS
@pytest.mark.parametrize("field", ["user_id", "user_name"])
@pytest.mark.parametrize("value", ["u" * (LONGEST + 1), f"{MARKER}%00", f"{MARKER}%0A", f"{MARKER}%C2%9F", "%EF%BF%BD"])
def test_a_user_that_cannot_be_named_is_refused(server: Server, path: str, field: str, value: str) -> None:
    is_refused(ask(server.port, request(f"{path}doc?{field}={value}")), 400, "bad_user")


@pytest.mark.parametrize("path", ["/", f"/{MARKER}", "/ws", "/ws/document", "/yjs", f"/YJS/{MARKER}", f"/ws/{MARKER}"])
def test_a_path_that_leads_nowhere_is_not_found(server: Server, path: str) -> None:
    is_refused(ask(server.port, request(path)), 404, "not_found")


@PATHS
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": "14"},
        {"Sec-WebSocket-Version": "8, 13"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Version": MARKER},
        {"Upgrade": None, "Connection": None},
        {"Upgrade": None},
        {"Upgrade": MARKER},
        {"Connection": None},
        {"Connection": "keep-alive"},
    ],
)
def test_what_is_no_upgrade_to_version_13_is_told_to_upgrade(
    server: Server, path: str, headers: dict[str, str | None]
) -> None:
    answer = ask(server.port, request(path + "doc", headers=headers))
    is_refused(answer, 426, "upgrade_required")
    assert answer.headers["sec-websocket-version"] == "13"
    assert answer.headers["upgrade"] == "websocket"


def test_a_plain_request_is_told_to_upgrade(server: Server) -> None:
    answer = ask(server.port, b"GET /yjs/doc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    is_refused(answer, 426, "upgrade_required")
    assert answer.headers["sec-websocket-version"] == "13"


@PATHS
def test_an_upgrade_by_another_method_is_refused(server: Server, path: str) -> None:
    for method in (b"POST", b"HEAD", b"PUT", b"DELETE"):
        with Wire(server.port) as wire:
            wire.send(request(path + "doc").replace(b"GET", method, 1))
            head = wire.read(12)
        assert head in (b"HTTP/1.1 405", b"HTTP/1.1 426"), method


def test_an_upgrade_of_http_1_0_is_refused(server: Server) -> None:
    answer = ask(server.port, request("/yjs/doc").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.status in (400, 426)


def test_an_upgrade_without_a_host_is_refused(server: Server) -> None:
    assert ask(server.port, request("/yjs/doc", headers={"Host": None})).status == 400


@PATHS
def test_a_subprotocol_that_is_not_ascii_is_no_fault_of_the_server(server: Server, path: str) -> None:
    answer = ask(server.port, request(path + "doc", "é"))
    assert answer.status in (101, 400)
    assert "sec-websocket-protocol" not in answer.headers


@PATHS
def test_a_header_that_nobody_asked_for_is_no_fault_of_the_server(server: Server, path: str) -> None:
    headers = {"Cookie": "é=ÿ", "X-Long": "x" * 4000, "Authorization": "Bearer é", "Origin": "http://127.0.0.1"}
    assert ask(server.port, request(path + "doc", headers=headers)).status == 101


def test_after_a_refusal_the_connection_may_be_used_for_an_upgrade(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(request("/yjs/"))
        assert wire.read_answer().status == 400
        wire.send(request("/yjs/doc"))
        assert wire.read_answer().status == 101
        assert wire.read_until(is_step1)


# ---- one name, one document


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "a//b",
        "/a",
        "//a",
        "a/",
        "/",
        "a b",
        " ",
        "naïve",
        "🦀/👩‍👩‍👧",
        "cafe\u0301",
        "100%",
        "a%2Fb",
        "a+b",
        "a?b=c&d",
        "a#b",
        "a;b",
        "..",
        "../../etc/passwd",
        "\u00a0",
        "x" * LONGEST,
        "🦀" * LONGEST,
    ],
)
def test_a_name_is_the_same_document_on_every_path_however_it_is_escaped(server: Server, name: str) -> None:
    editor = Editor()
    with connect(server.port, NATIVE + quote(name, safe="") + "?user_id=alice") as native:
        state = native.read_message()
        assert state["session"]["document_id"] == name
        assert state["users"] == []
        with connect(server.port, YJS + quote(name, safe="/:;+.") + "?user_id=bob") as yjs:
            assert native.read_until(is_event("join"))["user"]["id"] == "bob"
            change = update(editor.type(name))
            yjs.say(change)
            assert native.read_until(lambda message: isinstance(message, bytes))[0] == 1
            yjs.say(step1())
            reader = Editor()
            reader.read(yjs.read_until(lambda message: message[:2] == b"\0\1"))
            assert str(reader) == name


def test_names_that_differ_are_different_documents(server: Server) -> None:
    names = ["differ", "differ/", "/differ", "Differ", "differ%20", "differ%2520", "di%CC%88ffer", "d%C3%AFffer"]
    wires = [connect(server.port, f"{NATIVE}{name}?user_id=user-{n}") for n, name in enumerate(names)]
    try:
        assert [wire.read_message()["users"] for wire in wires] == [[]] * len(names)
    finally:
        for wire in wires:
            wire.sock.close()


@PATHS
def test_users_need_not_say_who_they_are(server: Server, path: str) -> None:
    with connect(server.port, NATIVE + "anonymous") as watcher:
        watcher.read_until(is_step1)
        with connect(server.port, path + "anonymous"), connect(server.port, path + "anonymous?user_id=&user_name="):
            joined = [watcher.read_until(is_event("join"))["user"] for _ in range(2)]
    assert [user["name"] for user in joined] == ["Anonymous", "Anonymous"]
    assert joined[0]["id"] != joined[1]["id"]


def test_a_user_is_known_by_the_name_it_gives_else_by_its_id(server: Server) -> None:
    users = {"user_id=%C3%A9&user_name=%F0%9F%A6%80+x": ("é", "🦀 x"), "user_id=" + "u" * LONGEST: ("u" * LONGEST,) * 2}
    for query, (user_id, user_name) in users.items():
        with connect(server.port, f"{NATIVE}who?{query}") as wire:
            session = wire.read_message()["session"]
        assert (session["user_id"], session["user_name"]) == (user_id, user_name)


# ---- a server that takes no one in

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture
def browser() -> Iterator[FlaskClient]:
    with create_app().test_client() as client:
        yield client


@PATHS
def test_a_server_that_is_stopping_lets_nobody_in_and_says_when_to_come_back(browser: FlaskClient, path: str) -> None:
    hub: Hub = browser.application.extensions["collab"]
    hub.stopping = True
    answer = browser.get(path + MARKER, headers=HANDSHAKE)
    assert answer.status_code == 503
    assert answer.json is not None and answer.json["error"]["code"] == "stopping"
    assert int(answer.headers["Retry-After"]) > 0
    assert MARKER not in answer.text
    assert not hub.connections


@PATHS
def test_one_of_several_worker_processes_lets_nobody_in(browser: FlaskClient, path: str) -> None:
    answer = browser.get(path + MARKER, headers=HANDSHAKE, environ_overrides={"wsgi.multiprocess": True})
    assert answer.status_code == 503
    assert answer.json is not None and answer.json["error"]["code"] == "no_bus"
    assert int(answer.headers["Retry-After"]) > 0
    assert MARKER not in answer.text


def test_refusals_are_counted_by_their_codes(browser: FlaskClient) -> None:
    browser.get("/yjs/", headers=HANDSHAKE)
    browser.get("/yjs/doc")
    browser.get("/yjs/doc")
    hub: Hub = browser.application.extensions["collab"]
    assert hub.metrics.snapshot()["upgrades_refused"] == {"bad_document_id": 1, "upgrade_required": 2}
