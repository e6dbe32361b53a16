"""The document API: who may ask, what is answered, and versions brought back under the hands of those at work."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import gevent
import issuer
import pytest
from commandline import damage, opened, write
from flask import Flask
from issuer import SECRET, SECRETS, token
from processes import ROOT, Serve, Server
from readme import block, page
from wire import TIMEOUT, Answer, Wire, connect, is_step1
from ydocs import Editor, update

from collab import create_app
from collab.clock import now
from collab.errors import TooLarge
from collab.hub import Hub
from collab.limits import Turns
from collab.stores.base import Record
from collab.testing import settle, stage
from collab.versions import MAX_CONTENT, MAX_NAMED

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")

DOCS = page("docs/api.md")


def call(
    port: int, path: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None, **query: Any
) -> Answer:
    """What the API answers."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(data)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    with Wire(port) as wire:
        wire.send(f"{method} /api/{path}?{urlencode(query)} HTTP/1.1\r\n{lines}\r\n".encode() + data)
        return wire.read_answer()


def told(answer: Answer, status: int = 200) -> Any:
    """The JSON of an answer with this status."""
    assert answer.status == status, answer
    assert answer.headers["cache-control"] == "no-store"
    return json.loads(answer.body)


def is_refused(answer: Answer, status: int, code: str) -> None:
    """The answer is this refusal."""
    assert (answer.status, answer.error["code"]) == (status, code), answer
    assert answer.headers["cache-control"] == "no-store"


@contextmanager
def application(**config: Any) -> Iterator[Flask]:
    """The server's own application in this process."""
    app = create_app(config)
    hub_of(app).start()
    yield app
    hub_of(app).stop()


def hub_of(app: Flask) -> Hub:
    """The hub of an application."""
    hub = app.extensions["collab"]
    assert isinstance(hub, Hub)
    return hub


class Typist:
    """A native client with a document open."""

    def __init__(
        self, port: int, document_id: str, query: str = "user_id=alice&user_name=Alice", **headers: str
    ) -> None:
        self.editor = Editor(native=True)
        self.wire = connect(port, f"/ws/document/{quote(document_id, safe='')}?{query}", headers=headers)
        self.wire.read_until(is_step1)

    def type(self, text: str) -> None:
        """Write, and return when that is stored."""
        self.change(self.editor.type(text))

    def delete(self, start: int, stop: int) -> None:
        """Delete, and return when that is stored."""
        self.change(self.editor.delete(start, stop))

    def change(self, edit: bytes) -> None:
        self.wire.say(update(edit))
        self.wire.read_until(lambda message: self._take(message) and message[:1] == b"\x04")

    def read_until(self, text: str) -> None:
        """Return when the document says `text`."""
        self.wire.read_until(lambda message: self._take(message) and str(self.editor) == text)

    def _take(self, message: Any) -> bool:
        self.editor.read(message)
        return isinstance(message, bytes)


# ---- what there is to know, and versions


def test_a_page_learns_who_it_is_and_whether_there_is_such_a_document(server: Server) -> None:
    name = "api/né w"
    asked: dict[str, Any] = {"id": name, "user_id": "bob", "user_name": "Bob"}
    first = told(call(server.port, "document", **asked))
    assert first == {
        "id": name,
        "user": {"id": "bob", "name": "Bob"},
        "rights": "write",
        "exists": False,
        "epoch": None,
    }
    typist = Typist(server.port, name)
    with typist.wire:
        typist.type("hello")
        while_open = told(call(server.port, "document", **asked))
    assert while_open["exists"] is True and len(while_open["epoch"]) == 27


def test_a_version_is_saved_listed_and_shown(server: Server) -> None:
    asked: dict[str, Any] = {"document": "api/versions", "user_id": "bob", "user_name": "Bob"}
    is_refused(call(server.port, "versions", **asked), 404, "no_document")
    typist = Typist(server.port, "api/versions")
    with typist.wire:
        is_refused(call(server.port, "versions", "POST", **asked), 404, "no_document")
        typist.type("héllo 😀")
        first = told(call(server.port, "versions", "POST", **asked), 201)
        typist.type(" more")
    second = told(call(server.port, "versions", "POST", {"name": "as agreed"}, **asked), 201)
    assert (first["name"], second["name"]) == ("Saved by Bob", "as agreed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["saved"])
    listed = told(call(server.port, "versions", **asked))
    assert listed == {"document": "api/versions", "versions": [second, first]}
    one = f"versions/{first['version']}"
    assert told(call(server.port, one, **asked)) == first
    assert told(call(server.port, one, format="json", **asked)) == {"text": "héllo 😀"}
    text = call(server.port, one, format="text", **asked)
    assert (text.headers["content-type"], text.body.decode()) == ("text/plain; charset=utf-8", "héllo 😀")
    shown, copy = call(server.port, one, format="update", **asked), Editor()
    assert shown.headers["content-type"] == "application/octet-stream" and len(shown.body) == first["bytes"]
    copy.doc.apply_update(shown.body)
    assert str(copy) == "héllo 😀"
    for answer in (text, shown):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_version_of_another_document_is_none_of_this_one(server: Server) -> None:
    for name in ("api/mine", "api/other"):
        typist = Typist(server.port, name)
        with typist.wire:
            typist.type("secret")
    number = told(call(server.port, "versions", "POST", document="api/other"), 201)["version"]
    for path, method in ((f"versions/{number}", "GET"), (f"versions/{number}/restore", "POST")):
        is_refused(call(server.port, path, method, document="api/mine"), 404, "no_version")
        is_refused(call(server.port, path, method, document="api/none"), 404, "no_document")
    is_refused(call(server.port, f"versions/{number}", document="api/mine", format="text"), 404, "no_version")


def test_who_has_the_document_open_sees_it_restored_and_goes_on(server: Server) -> None:
    asked: dict[str, Any] = {"document": "api/open", "user_id": "bob", "user_name": "Bob"}
    typist = Typist(server.port, "api/open")
    with typist.wire:
        typist.type("good text")
        number = told(call(server.port, "versions", "POST", **asked), 201)["version"]
        typist.delete(0, 5)
        typist.type(", bad text")
        restored = told(call(server.port, f"versions/{number}/restore", "POST", **asked))
        typist.read_until("good text")
        typist.type("!")
        assert str(typist.editor) == "good text!", "over the same connection"
        assert (restored["version"]["version"], restored["changed"]) == (number, True)
        assert restored["before"]["name"] == f"Before version {number} was restored by Bob"
        before = call(server.port, f"versions/{restored['before']['version']}", format="text", **asked)
        assert before.body == b"text, bad text"


def test_a_document_that_nobody_has_open_is_restored_once(serve: Serve, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'c.db'}"
    first = serve(COLLAB_STORE=store)
    typist = Typist(first.port, "doc")
    with typist.wire:
        typist.type("good")
        number = told(call(first.port, "versions", "POST", document="doc"), 201)["version"]
        typist.delete(0, 4)
    assert first.stop() == 0
    second = serve(COLLAB_STORE=store)
    asked = f"versions/{number}/restore"
    assert told(call(second.port, asked, "POST", document="doc"))["changed"] is True
    again = told(call(second.port, asked, "POST", document="doc"))
    assert (again["changed"], again["before"]) == (False, None)
    second.kill()
    third = serve(COLLAB_STORE=store)
    reader = Typist(third.port, "doc")
    with reader.wire:
        reader.wire.say(b"\0\0\1\0")
        reader.read_until("good")


def test_two_who_restore_at_the_same_moment_get_it_once() -> None:
    with stage() as hub:
        alice, editor = hub.native("doc", "alice"), Editor(native=True)
        alice.send(update(editor.type("good")))
        settle()
        number = hub.versions.save("doc", "good").id
        alice.send(update(editor.delete(0, 4)))
        settle()
        both = [gevent.spawn(hub.versions.restore, "doc", number, name) for name in ("one", "two")]
        gevent.joinall(both, timeout=TIMEOUT, raise_error=True)
        settle()
        for message in alice.received():
            editor.read(message)
        assert str(editor) == "good"
        assert [version.name for version in hub.versions.list("doc")] == ["one", "good"]


# ---- who may not


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants tokens."""
    command = [sys.executable, "-m", "collab", "serve", "--port", "{port}"]
    store = f"sqlite:///{tmp_path_factory.mktemp('guarded') / 'c.db'}"
    settings = {"COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": SECRET, "COLLAB_STORE": store}
    running = Server(command, settings | {"COLLAB_ALLOWED_ORIGINS": "https://app.example.org"}).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output
    assert issuer.found_in(running.output) == []


def bearer(**claims: Any) -> dict[str, str]:
    """The headers of somebody with a token."""
    return {"Authorization": f"Bearer {token(**claims)}"}


REQUESTS = [("GET", "versions"), ("POST", "versions"), ("GET", "versions/1"), ("POST", "versions/1/restore")]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_nobody_gets_an_answer_without_a_token_for_the_document(guarded: Server, method: str, path: str) -> None:
    nobody = call(guarded.port, path, method, document="doc", user_id="alice")
    is_refused(nobody, 401, "unauthenticated")
    assert nobody.headers["www-authenticate"] == "Bearer"
    is_refused(call(guarded.port, path, method, headers=bearer(exp=1), document="doc"), 401, "unauthenticated")
    elsewhere = bearer(docs={"other": "write"})
    is_refused(call(guarded.port, path, method, headers=elsewhere, document="doc"), 403, "forbidden")


def test_a_token_is_shown_as_at_an_upgrade_and_its_rights_count(guarded: Server) -> None:
    writer, reader = bearer(name="Alice"), bearer(sub="bob", docs={"*": "read"})
    typist = Typist(guarded.port, "doc", f"token={token()}")
    with typist.wire:
        typist.type("hello")
    number = told(call(guarded.port, "versions", "POST", headers=writer, document="doc"), 201)["version"]
    assert told(call(guarded.port, "document", headers=reader, id="doc"))["rights"] == "read"
    assert len(told(call(guarded.port, "versions", document="doc", token=token()))["versions"]) == 1
    assert call(guarded.port, f"versions/{number}", headers=reader, document="doc", format="text").body == b"hello"
    for path in ("versions", f"versions/{number}/restore"):
        is_refused(call(guarded.port, path, "POST", headers=reader, document="doc"), 403, "read_only")


def test_pages_of_other_sites_neither_ask_nor_read(guarded: Server) -> None:
    for method, path in REQUESTS:
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = call(guarded.port, path, method, headers=bearer() | headers, document="doc")
            is_refused(answer, 403, "bad_origin")
            assert "access-control-allow-origin" not in answer.headers
    allowed = {"Origin": "https://app.example.org"}
    asked_first = call(guarded.port, "versions", "OPTIONS", headers=allowed, document="doc")
    assert asked_first.status == 204
    assert "Authorization" in asked_first.headers["access-control-allow-headers"]
    answer = call(guarded.port, "document", headers=bearer() | allowed, id="doc")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    assert answer.headers["vary"] == "Origin"
    nobody = call(guarded.port, "document", headers=allowed, id="doc")
    assert nobody.headers["access-control-allow-origin"], "so that a page can tell its user"


def test_an_application_reads_what_is_too_large_to_be_taken_apart_as_an_update_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collab.versions.MAX_CONTENT", 100)
    with stage() as hub:
        typist = hub.native("doc")
        typist.send(update(Editor().type("x" * 200)))
        settle()
        for form in ("text", "json"):
            with pytest.raises(TooLarge, match="100 bytes: read it as an update"):
                hub.versions.read("doc", form)
        assert len(hub.versions.read("doc", "update") or b"") > 200


def test_where_everybody_is_believed_pages_of_other_sites_are_refused_as_well(server: Server) -> None:
    evil = {"Origin": "https://evil.example"}
    is_refused(call(server.port, "versions", headers=evil, document="doc"), 403, "bad_origin")
    local = call(server.port, "document", headers={"Origin": "http://localhost:5173"}, id="doc")
    assert local.headers["access-control-allow-origin"] == "http://localhost:5173"


def test_who_was_kicked_is_kept_out_here_as_well() -> None:
    with application() as app:
        hub_of(app).kick("doc", "alice", 60)
        refused = app.test_client().get("/api/document?id=doc&user_id=alice")
        assert (refused.status_code, refused.json and refused.json["error"]["code"]) == (403, "kicked")
        assert app.test_client().get("/api/document?id=doc&user_id=bob").status_code == 200


def test_the_login_of_an_application_decides(tmp_path: Path) -> None:
    (tmp_path / "their_app.py").write_text(
        """
from flask import Flask, session
from collab import Collab, Rights, User

app = Flask(__name__)
app.secret_key = "the application's own"
collab = Collab(app)


@collab.authenticator
def who(request, token, document_id):
    name = session.get("name")
    return name and User(name, name.title(), Rights.WRITE if document_id.startswith(name) else Rights.READ)


@app.get("/login/<name>")
def login(name):
    session["name"] = name
    return name
"""
    )
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "python:collab.server", "--chdir", str(tmp_path)]
    host = Server([*gunicorn, "--bind", "127.0.0.1:{port}", "their_app:app"], {}).wait_ready()
    try:
        with Wire(host.port) as wire:
            wire.send(b"GET /login/alice HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            cookie = {"Cookie": wire.read_answer().headers["set-cookie"].partition(";")[0]}
        SECRETS.add(cookie["Cookie"].partition("=")[2])
        is_refused(call(host.port, "document", id="alice/doc"), 403, "forbidden")
        about = told(call(host.port, "document", headers=cookie, id="alice/doc"))
        assert (about["user"], about["rights"]) == ({"id": "alice", "name": "Alice"}, "write")
        typist = Typist(host.port, "alice/doc", "", **cookie)
        with typist.wire:
            typist.type("hello")
            told(call(host.port, "versions", "POST", headers=cookie, document="alice/doc"), 201)
        is_refused(call(host.port, "versions", "POST", headers=cookie, document="bob/doc"), 403, "read_only")
    finally:
        assert host.stop() == 0
    assert "Traceback" not in host.output
    assert issuer.found_in(host.output) == []


# ---- what is not as it should be


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "\x7f"])
def test_a_name_that_cannot_be_a_document_is_refused(server: Server, name: str) -> None:
    is_refused(call(server.port, "document", id=name), 400, "bad_document_id")
    is_refused(call(server.port, "versions", document=name), 400, "bad_document_id")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (b"\xff", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        ({"name": 7}, 400, "bad_request"),
        ({"name": ""}, 400, "bad_request"),
        ({"name": "12"}, 400, "bad_request"),
        ({"name": "two\nlines"}, 400, "bad_request"),
        ({"name": "x" * 256}, 400, "bad_request"),
        (b"[" * 4000, 400, "bad_request"),
        (b" " * 5000, 413, "too_large"),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_refused(server: Server, body: Any, status: int, code: str) -> None:
    is_refused(call(server.port, "versions", "POST", body, document="doc"), status, code)


def test_a_format_that_there_is_not_is_refused(server: Server) -> None:
    is_refused(call(server.port, "versions/1", document="doc", format="html"), 400, "bad_request")


def test_a_document_in_quarantine_is_told_from_one_that_is_not_there(serve: Serve, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.db'}"
    with opened(url) as store:
        editor = write(store, "doc", "hello")
        number = store.save_version("doc", "e1", editor.doc.get_update(), "before")
        write(store, "other", "hello")
        damaged = store.save_version("other", "e1", editor.doc.get_update(), "damaged")
        store.quarantine("doc", "why")
    assert number is not None and damaged is not None
    damage(tmp_path / "c.db", "collab_versions")
    running = serve(COLLAB_STORE=url)
    is_refused(call(running.port, "document", id="doc"), 423, "quarantined")
    is_refused(call(running.port, "versions", "POST", document="doc"), 423, "quarantined")
    is_refused(call(running.port, f"versions/{number.id}/restore", "POST", document="doc"), 423, "quarantined")
    kept = call(running.port, f"versions/{number.id}", document="doc", format="text")
    assert kept.body == b"hello", "what was saved before can still be read"
    is_refused(call(running.port, f"versions/{damaged.id}", document="other", format="text"), 500, "damaged")


def test_a_store_that_is_away_is_told_with_when_to_ask_again(serve: Serve, tmp_path: Path) -> None:
    running = serve(COLLAB_STORE=f"sqlite:///{tmp_path / 'gone' / 'c.db'}")
    for path, method in (("versions", "GET"), ("versions", "POST"), ("versions/1/restore", "POST")):
        answer = call(running.port, path, method, document="doc")
        is_refused(answer, 503, "store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    running.wait_output("The document API could not use the store")
    with connect(running.port, "/yjs/doc") as wire:
        assert wire.read_closed().code == 1013


# ---- how much


def test_who_asks_too_often_is_told_to_wait_and_others_are_answered(server: Server) -> None:
    for _ in range(200):
        answer = call(server.port, "document", id="doc", user_id="greedy")
        if answer.status != 200:
            break
    is_refused(answer, 429, "too_many_requests")
    assert int(answer.headers["retry-after"]) > 0
    assert call(server.port, "document", id="doc", user_id="modest").status == 200


def test_turns_are_bounded_for_each_and_for_all() -> None:
    turns = Turns(10.0, 2, 3)
    assert [turns.begin("a", 0.0) for _ in range(3)] == [True, True, False]
    assert turns.begin("b", 0.0) and turns.full and not turns.begin("c", 0.0)
    turns.end("a")
    assert turns.begin("c", 0.0)
    often = Turns(1.0, 100, 1000)
    assert [often.begin("a", 0.0) for _ in range(5)] == [True] * 4 + [False]
    assert often.begin("a", 1.0) and not often.begin("a", 1.5)


def test_versions_with_names_and_sizes_are_bounded() -> None:
    with application() as app:
        hub, client = hub_of(app), app.test_client()
        store, editor = hub.versions._off.store, Editor()
        assert not store.append([Record("doc", "e1", editor.type("x" * (MAX_CONTENT + 1)), True)])
        saved = client.post("/api/versions?document=doc")
        assert saved.status_code == 201 and saved.json is not None
        for query in ("?document=doc&format=text", "/restore?document=doc"):
            ask = client.post if "restore" in query else client.get
            assert ask(f"/api/versions/{saved.json['version']}{query}").status_code == 413
        for number in range(MAX_NAMED):
            store.save_version("doc", "e1", b"\0\0", f"v {number}")
        refused = client.post("/api/versions?document=doc")
        assert refused.json is not None and refused.json["error"]["code"] == "too_many_versions"
        assert hub.metrics.snapshot()["requests_refused"] == {"too_large": 2, "too_many_versions": 1}
        hub.clean_up(now())


def test_nothing_is_restored_while_the_store_is_away_and_memory_is_full() -> None:
    with application(COLLAB_MAX_UNSTORED=1) as app:
        hub, client, editor = hub_of(app), app.test_client(), Editor()
        store = hub.versions._off.store
        store.append([Record("doc", "e1", editor.type("good"), True)])
        saved = store.save_version("doc", "e1", editor.doc.get_update(), "good")
        assert saved is not None
        store.append([Record("doc", "e1", editor.delete(0, 4), False)])
        hub.caretaker.archive.unstored.free(-1)
        answer = client.post(f"/api/versions/{saved.id}/restore?document=doc")
        hub.caretaker.archive.unstored.free(1)
        assert answer.status_code == 503
        assert answer.json is not None and answer.json["error"]["code"] == "store_unavailable"


# ---- docs/api.md


def test_the_python_of_the_docs(guarded: Server) -> None:
    typist = Typist(guarded.port, "docs/python", f"token={token()}")
    with typist.wire:
        typist.type("hello")
    told(call(guarded.port, "versions", "POST", {"name": "one"}, bearer(), document="docs/python"), 201)
    names: dict[str, Any] = {}
    exec(block("docs/api.md", "python"), names)
    (found,) = names["versions"](f"http://127.0.0.1:{guarded.port}", "docs/python", token())
    assert found["name"] == "one"


def test_every_error_of_the_api_is_in_the_docs() -> None:
    sources = "".join((ROOT / "collab" / name).read_text() for name in ("web/api.py", "versions.py"))
    table = DOCS.partition("## Errors")[2]
    for status, code in re.findall(r"HandshakeRefused\((\d+), \"(\w+)\"", sources):
        assert re.search(rf"^\| [\d, ]*{status}[\d, ]* \| .*`{code}`", table, re.MULTILINE), (status, code)
