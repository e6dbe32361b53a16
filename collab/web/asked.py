"""What is asked of the admin interface, checked: bodies that are JSON objects, and parameters of the query.

Bound here: what is not as `web/openapi.py` says is refused with 400 and words that name the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from collab.errors import HandshakeRefused, InvalidMessage
from collab.names import MAX_NAME, is_name
from collab.protocol.jsontext import parse_json
from collab.stats import MAX_ROOMS

MAX_BAN: Final = 366 * 86400
"""Seconds for which somebody can be kept out at most."""
MAX_REASON: Final = 120
"""Characters of the reason for that."""
MAX_TEXT: Final = 2000
"""Characters that can be said to everybody at once."""
MAX_TOKEN: Final = 16 * 1024

Check = Callable[[Any], bool]


def _is_text(least: int, most: int) -> Check:
    def check(value: Any) -> bool:
        return isinstance(value, str) and least <= len(value) <= most and not re.search(r"[\ud800-\udfff]", value)

    return check


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


def _is_user(value: Any) -> bool:
    return value is None or _is_id(value)


def _is_ban(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_BAN


FIELDS: Final[dict[str, tuple[Check, str]]] = {
    "room": (_is_id, f"a document's id: 1 to {MAX_NAME} characters without control characters"),
    "user": (
        _is_user,
        f"a user's id: 1 to {MAX_NAME} characters without control characters; null or none for everybody",
    ),
    "seconds": (_is_ban, f"a number from 0 to {MAX_BAN}"),
    "reason": (_is_text(0, MAX_REASON), f"a text of at most {MAX_REASON} characters"),
    "text": (_is_text(1, MAX_TEXT), f"a text of 1 to {MAX_TEXT} characters"),
    "token": (_is_text(1, MAX_TOKEN), f"a token of 1 to {MAX_TOKEN} characters"),
    "ticket": (_is_text(1, 100), "the one of a link that `collab dashboard` has printed"),
}


def bad(message: str) -> HandshakeRefused:
    """What to raise where something is not as it should be."""
    return HandshakeRefused(400, "bad_request", message)


def read_body(required: Collection[str] = (), optional: Collection[str] = ()) -> dict[str, Any]:
    """The request's body, which has these of `FIELDS` and no others.

    Raises:
        HandshakeRefused: 400, it does not, or is no JSON.
        HTTPException: 413 or 415, it is too large, or said to be something else.
    """
    if not request.is_json:
        raise UnsupportedMediaType("The body is JSON: send it as Content-Type: application/json")
    try:
        body = parse_json(request.get_data().decode())
    except (UnicodeDecodeError, InvalidMessage) as error:
        raise bad("The body is no JSON that can be read") from error
    if not isinstance(body, dict):
        raise bad("The body is a JSON object")
    known = [*required, *optional]
    for name in body:
        if name not in known:
            raise bad(f"The body has a field that there is not; there are: {', '.join(known) or 'none'}")
    for name in known:
        check, what = FIELDS[name]
        if name in body and not check(body[name]):
            raise bad(f"{name} is {what}")
        if name in required and name not in body:
            raise bad(f"{name} is missing: {what}")
    return body


def query_id(name: str) -> str:
    """A document's id in the query."""
    value = request.args.get(name, "")
    if not is_name(value):
        raise bad(f"{name} is {FIELDS['room'][1]}")
    return value


def query_text(name: str) -> str:
    """A part of a document's id in the query, none by default."""
    value = request.args.get(name, "")
    if len(value) > MAX_NAME:
        raise bad(f"{name} is at most {MAX_NAME} characters")
    return value


def query_limit() -> int:
    """How many are wanted."""
    text = request.args.get("limit", "100")
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_ROOMS:
        raise bad(f"limit is a number from 1 to {MAX_ROOMS}")
    return int(text)
