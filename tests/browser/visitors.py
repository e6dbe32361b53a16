"""Somebody with the editor's page open in a real browser, and everything that their browser complains of."""

from __future__ import annotations

import re
from typing import Any, Literal

from playwright.sync_api import BrowserContext, ConsoleMessage, Keyboard, Locator, Page, Request, WebSocket, expect

# Sums up what axe found: for each rule that is broken, what breaks it and why.
_RUN_AXE = """async rules => (await axe.run(document, {resultTypes: ['violations'], ...rules})).violations.flatMap(
  ({id, nodes}) => nodes.map(({target, failureSummary}) => `${id} at ${target}: ${failureSummary}`))"""


class Visitor:
    """A tab with the page; give it back with `leave`, which fails if there was trouble.

    Args:
        context: the browser's profile, whose storage several tabs may share.
        site: the server's address.
        expected: pattern of the complaints, `kind: text (address)`, that the test provokes on purpose.
    """

    def __init__(self, context: BrowserContext, site: str, expected: str = "(?!)") -> None:
        self.page: Page = context.new_page()
        self.site = site
        self.trouble: list[str] = []
        self.sockets: list[WebSocket] = []
        self.expected = re.compile(expected)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.page.on("request", self._watch)
        self.page.on("websocket", lambda socket: self.sockets.append(socket))

    def _hear(self, message: ConsoleMessage) -> None:
        text = f"{message.type}: {message.text} ({message.location['url']})"
        if message.type in ("error", "warning") and not self.expected.search(text):
            self.trouble.append(text)

    def _watch(self, request: Request) -> None:
        if not request.url.startswith((f"{self.site}/", "data:")):
            self.trouble.append(f"it asked for {request.url}")

    def open(self, path: str = "/") -> Visitor:
        """Open the page, and return when its editor is there."""
        self.page.goto(self.site + path)
        self.text.wait_for()
        return self

    @property
    def text(self) -> Locator:
        """What is written in."""
        return self.page.locator(".cm-content")

    @property
    def status(self) -> Locator:
        """The line that tells whether the work is stored."""
        return self.page.locator("#status")

    @property
    def path(self) -> str:
        """The page's address, behind the server's."""
        return self.page.url.removeprefix(self.site)

    def button(self, name: str) -> Locator:
        """A button by the name that a screen reader reads out."""
        return self.page.get_by_role("button", name=name, exact=True)

    def dialog(self, name: str) -> Locator:
        """A dialog by its heading."""
        return self.page.get_by_role("dialog", name=name)

    def type(self, text: str) -> Visitor:
        """Write at the end of the text, key by key."""
        self._go_to_end().type(text)
        return self

    def insert(self, text: str) -> Visitor:
        """Put something at the end of the text, at once."""
        self._go_to_end().insert_text(text)
        return self

    def _go_to_end(self) -> Keyboard:
        self.text.focus()
        self.page.keyboard.press("Control+End")
        return self.page.keyboard

    def sees(self, *lines: str) -> Visitor:
        """Wait until these lines are the text."""
        expect(self.text.locator(".cm-line")).to_have_text(lines)
        return self

    def has(self, status: str) -> Visitor:
        """Wait until the status is this."""
        expect(self.status).to_have_text(status)
        return self

    def check_access(self, axe: str) -> Visitor:
        """Have axe look at the page as it is, in light and in dark; and see `check_width`."""
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(axe)
        # What differs between them is the colours.
        rules: dict[Literal["light", "dark"], Any] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
        for scheme, run in rules.items():
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found: list[str] = self.page.evaluate(_RUN_AXE, run)
            assert not found, "\n".join([f"in {scheme}:", *found])
        return self.check_width()

    def check_width(self) -> Visitor:
        """Make sure that nothing is cut off at the side."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"it is {wide} pixels too wide"
        return self

    def leave(self) -> None:
        """Close the tab. Fails if its browser complained of something."""
        self.page.close()
        assert not self.trouble, "\n".join(self.trouble)
