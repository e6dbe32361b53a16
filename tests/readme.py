"""The README, the pages in `docs/`, and the code in them, for tests that run it.

A test takes code from a page by `block` or `blocks` with literal arguments, by which `test_docs.py` knows that there
is no block that no test takes.
"""

from __future__ import annotations

import re
from functools import cache

from processes import ROOT

PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


@cache
def page(name: str) -> str:
    """The text of a page: `README.md` or `docs/….md`."""
    return (ROOT / name).read_text()


def section(title: str, name: str = "README.md") -> str:
    """The text under a heading of the second level."""
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert match, f"{name} has no section {title!r}"
    return match[1]


def fenced(name: str) -> list[tuple[str, str]]:
    """All blocks of code on a page: the language of each, and the code.

    Raises:
        AssertionError: there is a fence that is none of a block's two.
    """
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)
    assert page(name).count("```") == 2 * len(found), f"{name} has a block without a language, or set in"
    return found


def blocks(name: str, language: str) -> list[str]:
    """The blocks of code on a page in one language, of which there must be some."""
    found = [code for spoken, code in fenced(name) if spoken == language]
    assert found, f"{name} has no {language}"
    return found


def block(name: str, language: str, mark: str = "") -> str:
    """The one block of code on a page that is in this language and has `mark` in it."""
    found = [code for code in blocks(name, language) if mark in code]
    assert len(found) == 1, f"{name} has {len(found)} blocks of {language} with {mark!r}"
    return found[0]
