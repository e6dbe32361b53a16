"""The dashboard at /admin/: where it is, what it loads, and that it tells nothing by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from collab import Collab, create_app

TOKEN = "t0k3n-of-the-operator"


def embedding(**config: Any) -> Flask:
    """An application with a root of its own."""
    app = Flask("own")
    app.config.update(COLLAB_STORE="memory:", **config)
    Collab(app)
    return app


@pytest.fixture(params=["own server", "application"])
def app(request: pytest.FixtureRequest) -> Iterator[Flask]:
    """Where there is a dashboard: always in the server's own application, in others where there is an admin token."""
    own = request.param == "own server"
    made = create_app({"COLLAB_STORE": "memory:"}) if own else embedding(COLLAB_ADMIN_TOKEN=TOKEN)
    yield made
    made.extensions["collab"].stop()


def test_it_is_there_with_all_that_it_loads_also_where_the_application_is_mounted(app: Flask) -> None:
    client = Client(DispatcherMiddleware(Flask("outer"), {"/some/where": app}))
    for root in ("/some/where/admin", "/some/where/admin/"):
        answer = client.get(root, follow_redirects=True)
        assert (answer.status_code, answer.mimetype, answer.request.path) == (200, "text/html", "/some/where/admin/")
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
    assert {name.rpartition(".")[2] for name in loaded} == {"js", "css", "svg"}
    for name in loaded:
        assert re.fullmatch(r"assets/\w+-[A-Z0-9]{8}\.\w+", name), "relative to the page"
        asset = client.get(f"/some/where/admin/{name}")
        assert asset.status_code == 200
        assert "immutable" in asset.headers["Cache-Control"]


def test_it_tells_nothing_before_somebody_has_signed_in_and_runs_nothing_but_its_own(app: Flask) -> None:
    answer = app.test_client().get("/admin/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", answer.text) == []
    assert TOKEN not in answer.text
    assert app.test_client().get("/admin/api/stats").status_code == 401


def test_of_pages_that_have_signed_out_those_are_forgotten_whose_time_ends_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = [1000.0]
    monkeypatch.setattr("collab.web.signin.unix", lambda: at[0])
    monkeypatch.setattr("collab.web.signin.MAX_SIGNED_OUT", 2)
    app = embedding(COLLAB_ADMIN_TOKEN=TOKEN)
    pages = [app.test_client() for _ in range(3)]
    cookies = []
    for page in pages:
        page.post("/admin/api/session", json={"token": TOKEN})
        cookies.append(page.get_cookie("collab_admin", path="/admin"))
        at[0] += 10

    def are_in() -> list[bool]:
        for page, cookie in zip(pages, cookies, strict=True):
            assert cookie is not None
            page.set_cookie("collab_admin", cookie.value, path="/admin")
        return [page.get("/admin/api/stats").status_code == 200 for page in pages]

    for page, expected in zip(reversed(pages), ([True, True, False], [True, False, False]), strict=False):
        page.delete("/admin/api/session")
        assert are_in() == expected
    pages[0].delete("/admin/api/session")
    assert are_in() == [True, False, False], "with more than there is room for"
    app.extensions["collab"].stop()


def test_an_application_without_an_admin_token_has_none() -> None:
    app = embedding()
    assert app.test_client().get("/admin/").status_code == 404
    assert app.test_client().get("/admin/assets/x.js").status_code == 404
    app.extensions["collab"].stop()


@pytest.mark.parametrize("name", ["missing-AAAAAAAA.js", "..%2Fmanifest.json", "../editor.html", "", f"{'x' * 300}.js"])
def test_nothing_else_is_given_out(app: Flask, name: str) -> None:
    assert app.test_client().get(f"/admin/assets/{name}").status_code == 404
