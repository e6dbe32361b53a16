"""Fixtures of the tests with the pages in a real browser: one browser for all, and a profile of its own for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from browsers import PATIENCE, launched, playing
from frontend import tools
from playwright.sync_api import Browser, BrowserContext, Playwright
from processes import SERVE, Server, missing

from browser.visitors import Visitor

ADMIN = "the-operators-own-token"


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, to be run in a page."""
    return (tools() / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Not for longer than these tests."""
    with playing() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser, for all of these tests."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("there is no chromium (apt-get install chromium): no tests with the pages in a browser")
    with launched(playwright, found) as started:
        yield started


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all of these tests that do not stop it, with an operator."""
    store = f"sqlite:///{tmp_path_factory.mktemp('site') / 'collab.db'}"
    running = Server(SERVE, {"COLLAB_STORE": store, "COLLAB_ADMIN_TOKEN": ADMIN}).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output


class Visit(Protocol):
    """Opens the page for somebody with a browser of their own, or in another tab of the same `context`."""

    def __call__(
        self, server: Server, path: str | None = "/", *, expected: str = ..., context: BrowserContext | None = None
    ) -> Visitor: ...


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Makes a profile, as of a person with a browser of their own."""
    made: list[BrowserContext] = []

    def make() -> BrowserContext:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
        context.set_default_timeout(PATIENCE)
        made.append(context)
        return context

    yield make
    for context in made:
        context.close()


@pytest.fixture
def visit(new_context: Callable[[], BrowserContext]) -> Iterator[Visit]:
    """Opens the page: `visit(site)` for a new document, `visit(site, other.path)` for that of somebody else.

    With a path of None the tab is left empty. In the end nobody's browser may have complained of anything.
    """
    visitors: list[Visitor] = []

    def open_page(
        server: Server,
        path: str | None = "/",
        *,
        expected: str = "(?!)",
        context: BrowserContext | None = None,
    ) -> Visitor:
        visitor = Visitor(context or new_context(), f"http://{server.host}:{server.port}", expected)
        visitors.append(visitor)
        return visitor if path is None else visitor.open(path)

    yield open_page
    for visitor in visitors:
        visitor.leave()
