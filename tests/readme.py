"""The README's sections and the code in them, for tests that run it."""

from __future__ import annotations

import re

from processes import ROOT

README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading of the second level."""
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match, f"the README has no section {title!r}"
    return match[1]


def snippet(title: str, language: str, mark: str) -> str:
    """The one block of code under a heading that has `mark` in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if mark in block]
    return str(found)
