"""The README's editors, in a real browser as they stand, beside a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Protocol

import pytest
from browsers import PATIENCE, launched, playing
from frontend import tools
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect
from processes import Server, free_port
from readme import block

HERE = Path(__file__).parent
ADDRESS = "ws://127.0.0.1:8080"
HTML = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="editor"></div>'

WRITE = """
doc.getText('text').insert(0, 'hello')
// What is asked of the database now is answered when it has taken what was written.
const count = kept.db.transaction(['updates']).objectStore('updates').count()
count.onsuccess = () => { document.title = 'kept' }
"""


class Show(Protocol):
    """Shows a page that has a script, in a profile of its own if there is no context."""

    def __call__(self, script: str, context: BrowserContext | None = None) -> Page: ...


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Not for longer than these tests."""
    with playing() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    with launched(playwright, chromium) as started:
        yield started


def bundle(node: str, code: str, folder: Path | None = None) -> str:
    """A script of code that imports packages: those of which the server's own page is made, or those in a folder."""
    program = tools() / "esbuild" / "bin" / "esbuild"
    command = [node, str(program), "--bundle", "--format=esm", "--alias:@hocuspocus/provider=hocuspocus-3"]
    env = {key: value for key, value in os.environ.items() if key != "NODE_OPTIONS"}
    done = subprocess.run(
        command, cwd=folder or tools().parent, env=env, input=code, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Site:
    """Pages on this machine, of which each has one script."""

    def __init__(self) -> None:
        self.scripts: dict[str, str] = {}
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name, _, ending = self.path[1:].partition(".")
                html = f'{HTML}<script type="module" src="{name}.js"></script>'
                kind, body = ("javascript", pages.scripts[name]) if ending else ("html", html)
                self.send_response(200)
                self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, script: str) -> str:
        """Where there is a page with this script."""
        name = f"page-{len(self.scripts)}"
        self.scripts[name] = script
        return f"http://127.0.0.1:{self.server.server_port}/{name}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def show(browser: Browser, site: Site) -> Iterator[Show]:
    """Shows a page that has a script, to somebody with a browser of their own; nobody's may complain of an error."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def open_page(script: str, context: BrowserContext | None = None) -> Page:
        if context is None:
            # Tabs of one profile would tell each other, without the server.
            context = browser.new_context()
            context.set_default_timeout(PATIENCE)
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url(script))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def here(code: str, server: Server, document: str) -> str:
    """The same for this server, and a document of its own."""
    assert code.count(ADDRESS) == 1 and "my-document" in code
    return code.replace(ADDRESS, server.url("")).replace("my-document", document)


def test_two_write_with_codemirror_and_see_each_others_cursors(node: str, server: Server, show: Show) -> None:
    code = here(block("README.md", "js", "yCollab(text"), server, "readme-codemirror")
    script = bundle(node, code)
    pages = [show(script) for _ in range(2)]
    first, second = (page.locator(".cm-content") for page in pages)
    first.click()
    first.press_sequentially("one")
    expect(second).to_contain_text("one")
    expect(pages[1].locator(".cm-ySelectionInfo")).to_have_text("Alice")
    second.click()
    second.press("Control+End")
    second.press_sequentially(" two")
    second.press("Control+z")
    expect(second).not_to_contain_text("two")
    expect(first).to_contain_text("one")


def test_two_write_with_tiptap(node: str, node_modules: Path, server: Server, show: Show) -> None:
    code = here(block("README.md", "js", "new Editor({"), server, "readme-tiptap")
    script = bundle(node, code, HERE)
    first, second = (show(script).locator(".tiptap") for _ in range(2))
    first.click()
    first.press_sequentially("one")
    expect(second).to_have_text("one")
    second.click()
    second.press("Control+End")
    second.press_sequentially(" two")
    expect(first).to_have_text("one two")


def test_a_browser_keeps_what_was_written_and_has_it_without_the_server(node: str, server: Server, show: Show) -> None:
    code = block("README.md", "js", "IndexeddbPersistence")
    script = bundle(node, here(code, server, "readme-offline") + WRITE)
    page = show(script)
    page.wait_for_function("document.title === 'kept'")
    page.close()
    nobody = here(code, server, "readme-offline").replace(f":{server.port}", f":{free_port()}")
    away = "\ndocument.title = doc.getText('text').toString()"
    page = show(bundle(node, nobody + away), page.context)
    page.wait_for_function("document.title === 'hello'")
