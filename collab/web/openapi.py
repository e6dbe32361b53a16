"""What the admin interface answers, as an OpenAPI 3.1 document: served at `/admin/api/openapi.json`.

Bound here: it is true. The tests ask a server everything that it describes, and hold each answer against it.
"""

from __future__ import annotations

from typing import Any, Final

from collab.names import MAX_NAME
from collab.stats import DIALECTS, MAX_ROOMS
from collab.web.asked import MAX_BAN, MAX_REASON, MAX_TEXT, MAX_TOKEN

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TIME: Final[Schema] = {"type": "number", "minimum": 0, "description": "seconds"}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_NAME: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME,
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f\\ufffd]+$",
}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _object(optional: dict[str, Schema] | None = None, /, **fields: Schema) -> Schema:
    """An object with all of `fields`, perhaps those of `optional`, and no others."""
    properties = {**fields, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


_HISTOGRAM: Final = _object(
    bounds={**_list(_TIME), "description": "upper bounds of the buckets, in seconds"},
    counts={**_list(_COUNT), "description": "by bucket, not cumulative; one more than bounds: what was over the last"},
    sum=_TIME,
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": _object(error=_object(code=_TEXT, message=_TEXT)),
    "Stats": _object(
        node=_TEXT,
        version=_TEXT,
        started=_MOMENT,
        uptime=_TIME,
        draining=_BOOLEAN,
        ready=_BOOLEAN,
        reasons={**_list(_TEXT), "description": "why it is not ready"},
        connections=_COUNT,
        sessions=_object(**dict.fromkeys(DIALECTS, _COUNT)),
        users=_COUNT,
        rooms=_COUNT,
        totals={
            "type": "object",
            "description": "counters since the start, by metric; those with labels as an object by label",
            "additionalProperties": {"oneOf": [_COUNT, {"type": "object", "additionalProperties": _COUNT}]},
        },
        latency=_object(queued=_HISTOGRAM, written=_HISTOGRAM, stored=_HISTOGRAM),
        queues=_object(messages=_COUNT, bytes=_COUNT, slow=_COUNT),
        store=_object(kind=_TEXT, ready=_BOOLEAN, trouble=_or_null(_TEXT), unstored_bytes=_COUNT, unstored_age=_TIME),
        process=_object(pid=_COUNT, rss=_or_null(_COUNT), cpu_seconds=_TIME, greenlets=_COUNT, loop_lag=_TIME),
    ),
    "Rooms": _object(
        node=_TEXT,
        rooms=_list(
            _object(
                id=_NAME,
                sessions=_COUNT,
                users=_COUNT,
                updates=_COUNT,
                bytes=_COUNT,
                unstored=_COUNT,
                queued=_COUNT,
                opened=_MOMENT,
            )
        ),
        next={**_or_null(_TEXT), "description": "what `after` has to be for the next page; null: there is none"},
    ),
    "Users": _object(
        node=_TEXT,
        room=_NAME,
        users=_list(
            _object(
                id=_NAME,
                name=_NAME,
                rights={"enum": ["read", "write", "admin"]},
                sessions=_list(
                    _object(
                        id=_TEXT,
                        dialect={"enum": list(DIALECTS)},
                        address=_TEXT,
                        since=_MOMENT,
                        queued=_COUNT,
                        updates=_COUNT,
                    )
                ),
            )
        ),
    ),
    "Sessions": _object(node=_TEXT, sessions={**_COUNT, "description": "how many sessions it was done to"}),
    "Said": _object(
        node=_TEXT,
        told={**_COUNT, "description": "sessions that are told"},
        untold={**_COUNT, "description": "sessions whose clients have no words for it"},
    ),
    "Draining": _object(node=_TEXT, draining={"const": True}, connections=_COUNT),
    "SignedIn": _object(until=_MOMENT),
    "Ticket": _object(path=_TEXT, url=_or_null(_TEXT), until=_MOMENT),
}

_TARGET: Final[dict[str, Schema]] = {"user": {**_or_null(_NAME), "description": "null or none: everybody"}}
_KICK: Final = _object(
    {
        **_TARGET,
        "seconds": {"type": "number", "minimum": 0, "maximum": MAX_BAN, "description": "for which they are kept out"},
        "reason": {"type": "string", "maxLength": MAX_REASON, "description": "what they are told"},
    },
    room=_NAME,
)
_SIGN_IN: Final[Schema] = {
    "oneOf": [
        _object(token={"type": "string", "minLength": 1, "maxLength": MAX_TOKEN}),
        _object(ticket={"type": "string", "minLength": 1, "maxLength": 100}),
    ]
}


def _parameter(name: str, schema: Schema, text: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": text}


_PART: Final[Schema] = {"type": "string", "maxLength": MAX_NAME}
_ROOM: Final = _parameter("room", _NAME, "a document's id", required=True)
_PAGE: Final = [
    _parameter("prefix", _PART, "what their ids begin with"),
    _parameter("after", _PART, "the id behind which the page begins"),
    _parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_ROOMS, "default": 100}, "rooms on a page"),
]

_ERRORS: Final = {
    "400": "something asked is not as it is described here",
    "401": "nobody knows who that is",
    "403": "they may not, or not from that page",
    "404": "that is not there",
    "405": "not by this method",
    "413": "the body is too large",
    "415": "the body is no JSON",
    "429": "wrong tokens have come too often from that address or network: come back in `Retry-After` seconds",
    "503": "the keys of tokens cannot be fetched now",
}


def _refers(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _answers(name: str | None, *errors: str) -> dict[str, Any]:
    told = {code: {"description": _ERRORS[code], "content": _refers("Error")} for code in (*errors, *_EVERYWHERE)}
    good = {"200": {"description": "done", "content": _refers(name)}} if name else {"204": {"description": "done"}}
    return {**good, **dict(sorted(told.items()))}


_EVERYWHERE: Final = ("401", "403", "405", "429", "503")
_OF_BODIES: Final = ("400", "413", "415")


def _get(name: str, text: str, parameters: list[dict[str, Any]] | None = None, *errors: str) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": name.lower(), "summary": text, "responses": _answers(name, *errors)}
    if parameters:
        # Answered by the web server itself, without words for programs.
        described["responses"]["414"] = {"description": "the query is too long"}
        described["parameters"] = parameters
    return {"get": described}


def _post(operation: str, text: str, body: Schema, answers: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
    wanted = {"required": True, "content": content}
    return {"post": {"operationId": operation, "summary": text, "requestBody": wanted, "responses": answers}}


def _paths() -> dict[str, Any]:
    page = _post("signIn", "Sign a page in: a cookie", _SIGN_IN, _answers("SignedIn", *_OF_BODIES, "404"))
    page["post"]["security"] = []
    signed_out = _answers(None, "404")
    page["delete"] = {"operationId": "signOut", "summary": "Sign a page out", "security": [], "responses": signed_out}
    ticket = _answers("Ticket", *_OF_BODIES, "404")
    return {
        "stats": _get("Stats", "Totals and the present state"),
        "rooms": _get("Rooms", "The rooms that are open", _PAGE, "400"),
        "users": _get("Users", "Who is in a room", [_ROOM], "400", "404"),
        "kick": _post("kick", "Send somebody out of a room", _KICK, _answers("Sessions", *_OF_BODIES)),
        "recheck": _post(
            "recheck", "Decide rights once more", _object(_TARGET, room=_NAME), _answers("Sessions", *_OF_BODIES)
        ),
        "say": _post(
            "say",
            "Tell everybody in a room something",
            _object(room=_NAME, text={"type": "string", "minLength": 1, "maxLength": MAX_TEXT}),
            _answers("Said", *_OF_BODIES),
        ),
        "drain": _post(
            "drain", "Take no new sessions, send away the others", _object(), _answers("Draining", *_OF_BODIES)
        ),
        "session": page,
        "ticket": _post("ticket", "A link by which a page signs in, once", _object(), ticket),
    }


def document(version: str) -> dict[str, Any]:
    """The OpenAPI document of this version."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "collab: the admin interface", "version": version},
        "paths": {f"/admin/api/{name}": operations for name, operations in _paths().items()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "page": {"type": "apiKey", "in": "cookie", "name": "collab_admin"},
            },
        },
        "security": [{"token": []}, {"page": []}],
    }
