"""A real browser for tests with pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright, expect, sync_playwright

PATIENCE = 20_000
"""Milliseconds that something may take to be seen."""

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextmanager
def playing() -> Iterator[Playwright]:
    """Playwright. Not for longer than its tests take: while it is there, its event loop is this thread's."""
    with sync_playwright() as started:
        expect.set_options(timeout=PATIENCE)
        yield started


@contextmanager
def launched(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """The browser at this path."""
    started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    yield started
    started.close()
