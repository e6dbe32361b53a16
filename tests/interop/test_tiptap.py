"""Tiptap's editor in a real browser, against a running server; see ``tiptap.mjs``."""

from __future__ import annotations

from collections.abc import Callable


def test_people_who_write_with_tiptap_end_with_one_document_and_see_each_other(play_tiptap: Callable[[], None]) -> None:
    """Three pages, each with another version of the provider, and clients of y-websocket and the native protocol."""
    play_tiptap()
