"""The page at /: how it is served, when it is, and what is said where it is not built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from processes import SERVE, Serve, Server

from collab import Collab, create_app
from collab.web import assets


@pytest.fixture
def app() -> Iterator[Flask]:
    made = create_app({"COLLAB_STORE": "memory:"})
    yield made
    made.extensions["collab"].stop()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def policy(header: str) -> dict[str, list[str]]:
    """A Content-Security-Policy, by directive."""
    return {words[0]: words[1:] for words in (part.split() for part in header.split(";"))}


@pytest.mark.parametrize("path", ["/", "/d/plan", "/d/team/a%20plan/%F0%9F%98%80", "/d//double//slashes", "/d/"])
def test_the_page_is_at_the_root_and_at_the_address_of_every_document(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert "<title>collab</title>" in answer.text
    assert "{{" not in answer.text


def test_the_page_runs_nothing_but_its_own_and_tells_nobody_where_it_was(client: FlaskClient) -> None:
    answer = client.get("/")
    directives = policy(answer.headers["Content-Security-Policy"])
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == directives["connect-src"] == directives["img-src"] == ["'self'"]
    assert directives["frame-ancestors"] == directives["base-uri"] == directives["form-action"] == ["'none'"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    inline = re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", answer.text)
    assert inline == []


def test_each_answer_has_a_nonce_of_its_own_for_the_styles_that_the_editor_makes(client: FlaskClient) -> None:
    nonces = set()
    for _ in range(2):
        answer = client.get("/")
        sources = policy(answer.headers["Content-Security-Policy"])["style-src"]
        (nonce,) = re.findall(r'nonce="([^"]+)"', answer.text)
        assert sources == ["'self'", f"'nonce-{nonce}'"]
        nonces.add(nonce)
    assert len(nonces) == 2


def test_a_page_that_has_not_changed_is_not_sent_again_and_keeps_the_policy_that_came_with_it(
    client: FlaskClient,
) -> None:
    first = client.get("/")
    assert first.headers["Cache-Control"] == "no-cache, private"
    again = client.get("/d/other", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.text) == (304, "")
    assert "Content-Security-Policy" not in again.headers
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.head("/").headers["Content-Length"] == first.headers["Content-Length"]


def test_what_the_page_loads_is_kept_for_good_under_its_hash(client: FlaskClient) -> None:
    loaded = re.findall(r'(?:src|href)="(/assets/[^"]+)"', client.get("/").text)
    types = {Path(path).suffix: client.get(path).mimetype for path in loaded}
    assert types == {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for path in loaded:
        assert re.fullmatch(r"/assets/\w+-[A-Z0-9]{8}\.\w+", path)
        answer = client.get(path)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
        assert client.head(path).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "missing-AAAAAAAA.js",
        "..%2Fmanifest.json",
        "../manifest.json",
        "%2e%2e/editor.html",
        "",
        f"{'x' * 300}.js",
        "x%00.js",
    ],
)
def test_nothing_else_is_given_out(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.get_json()["error"]["code"] == "not_found"


def test_an_application_that_embeds_the_server_keeps_its_own_root() -> None:
    app = Flask("own")
    app.config["COLLAB_STORE"] = "memory:"
    Collab(app)
    assert app.test_client().get("/").status_code == 404
    app.extensions["collab"].stop()


@pytest.mark.parametrize(
    ("pages", "exposed", "shown"),
    [("auto", False, True), ("auto", True, False), ("on", True, True), ("off", False, False)],
)
def test_the_page_is_shown_on_this_machine_alone_unless_the_setting_says_otherwise(
    pages: str, exposed: bool, shown: bool
) -> None:
    app = create_app({"COLLAB_STORE": "memory:", "COLLAB_PAGES": pages})
    hub = app.extensions["collab"]
    hub.exposed = exposed
    answer = app.test_client().get("/d/plan")
    hub.stop()
    assert answer.status_code == (200 if shown else 404)
    assert shown or "COLLAB_PAGES" in answer.get_json()["error"]["message"]


def test_without_the_built_files_it_says_what_to_do(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    monkeypatch.setattr(assets, "_page", assets._page.__wrapped__)
    answer = client.get("/")
    assert answer.status_code == 503
    assert answer.mimetype == "text/plain"
    assert "pip install" in answer.text


def get(server: Server, path: str) -> tuple[int, str]:
    connection = HTTPConnection(server.host, server.port, timeout=10)
    connection.request("GET", path)
    answer: HTTPResponse = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_whoever_starts_the_server_is_told_where_the_page_is(server: Server) -> None:
    server.wait_output(f"Open http://{server.host}:{server.port}/ to try it")
    assert get(server, "/")[0] == 200


def test_on_an_address_that_others_reach_there_is_none_and_nobody_is_sent_to_it(serve: Serve) -> None:
    command = [*SERVE, "--host", "0.0.0.0"]
    running = serve(command, COLLAB_AUTH="jwt", COLLAB_JWT_SECRET="s" * 32, COLLAB_STORE="memory:")
    status, body = get(running, "/")
    assert status == 404
    assert "COLLAB_PAGES" in body
    assert "to try it" not in running.output
