"""What may be the name of a document or of a user."""

from __future__ import annotations

from typing import Final

MAX_NAME: Final = 255
"""Characters in a document id, a user id or a user name."""


def is_name(text: str) -> bool:
    """Whether `text` is 1 to 255 characters without control characters, and was UTF-8.

    Control characters are C0, DEL and C1; U+FFFD stands where a decoder found no UTF-8, surrogates where JSON had some.
    """
    return 0 < len(text) <= MAX_NAME and not any(
        c < " " or "\x7f" <= c <= "\x9f" or c == "\ufffd" or "\ud800" <= c <= "\udfff" for c in text
    )
