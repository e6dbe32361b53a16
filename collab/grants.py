"""Which rights patterns give in a document, such as `{"team/*": "write", "handbook": "read"}`.

In a pattern `*` is any characters, slashes and none at all included; all else is what it is. Of all patterns that a
document's id matches the best right counts.

Bound here: what a pattern costs grows with its length and the id's, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from collab.identity import Rights

MAX_PATTERNS: Final = 1000
MAX_PATTERN: Final = 512
"""Characters in a pattern."""

WORDS: Final[Mapping[str, Rights]] = {rights.word: rights for rights in Rights}


def read_grants(value: Any) -> dict[str, Rights]:
    """Patterns and rights out of JSON.

    Raises:
        ValueError: it is something else, or more or longer than may be; the text says what, and repeats nothing of it.
    """
    if not isinstance(value, dict):
        raise ValueError('is not an object of patterns and rights, such as {"team/*": "write"}')
    if len(value) > MAX_PATTERNS:
        raise ValueError(f"has more than {MAX_PATTERNS} patterns")
    if any(len(pattern) > MAX_PATTERN for pattern in value):
        raise ValueError(f"has a pattern of more than {MAX_PATTERN} characters")
    if any(not isinstance(word, str) or word not in WORDS for word in value.values()):
        raise ValueError(f"gives a right that is none of {', '.join(WORDS)}")
    return {pattern: WORDS[word] for pattern, word in value.items()}


def rights_in(document_id: str, grants: Mapping[str, Rights]) -> Rights | None:
    """The best right that `grants` give in a document; None if they give none."""
    return max((rights for pattern, rights in grants.items() if matches(pattern, document_id)), default=None)


def matches(pattern: str, document_id: str) -> bool:
    """Whether a document's id, as it is, matches a pattern."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == document_id
    *middle, last = rest
    start, end = len(first), len(document_id) - len(last)
    if end < start or not (document_id.startswith(first) and document_id.endswith(last)):
        return False
    for part in middle:
        # The first place that fits leaves the most to the others: there is never a reason to come back.
        found = document_id.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True
