"""The document API: what a page asks about a document beside its WebSocket, as JSON over HTTP.

Invariants borne here:

* Whoever asks is let in as at an upgrade: the same checks, by the same means, in the same order; a page of another
  site can neither ask nor read an answer.
* What is asked is bounded before anything is done: bodies, how often, how much at once, and for how long.
* Content never reaches a browser as something that it would run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from gevent import Timeout

from collab.clock import now, stamp
from collab.errors import Damaged, Forbidden, HandshakeRefused, InvalidMessage, InvalidUpdate, Quarantined, StoreError
from collab.hub import Hub
from collab.identity import Credentials, Rights, User
from collab.limits import Turns
from collab.logs import logger
from collab.names import is_name
from collab.networks import network_of
from collab.protocol.jsontext import parse_json
from collab.stores.base import Version
from collab.web.addresses import client_address
from collab.web.answers import answer
from collab.web.handshake import read_token
from collab.web.sockets import check_serving, check_source

MAX_BODY: Final = 4096
"""Bytes of a request's body."""
RATE: Final = 10.0
"""Requests a second of one user, after a burst of four times as many; of who has no name, those of their network."""
AT_ONCE: Final = 4
"""Requests of one user that are answered at the same time."""
IN_ALL: Final = 64
"""Requests that are."""
PATIENCE: Final = 20.0
"""Seconds in which a request is answered."""

_RETRY: Final = {"Retry-After": "1"}
_MAY: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
_TYPES: Final = {"text": "text/plain", "json": "application/json", "update": "application/octet-stream"}

log = logger(__name__)

blueprint = Blueprint("collab_api", __name__, url_prefix="/api")


def register(app: Flask) -> None:
    """Give `app` the document API."""
    app.extensions["collab_turns"] = Turns(RATE, AT_ONCE, IN_ALL)
    app.register_blueprint(blueprint)


class Asker(NamedTuple):
    """Who asks, and about what."""

    hub: Hub
    document_id: str
    user: User

    def check_may_write(self) -> None:
        """Raise `Forbidden` if this is somebody who may only read."""
        if self.user.rights < Rights.WRITE:
            raise Forbidden("You may read this document, not change it", "read_only")


@blueprint.before_request
def check_page() -> Response | None:
    """Let no page of another site ask; tell a browser that inquires before what a page may send."""
    hub: Hub = current_app.extensions["collab"]
    environ = request.environ
    check_serving(hub, environ)
    check_source(hub, environ)
    if "HTTP_ORIGIN" not in environ and environ.get("HTTP_SEC_FETCH_SITE") == "cross-site":
        raise Forbidden("Pages of other sites may not ask that: see COLLAB_ALLOWED_ORIGINS", "bad_origin")
    g.collab_origin = environ.get("HTTP_ORIGIN")
    return Response(status=204, headers=_MAY) if request.method == "OPTIONS" else None


@contextmanager
def _asker(field: str = "document") -> Iterator[Asker]:
    """Let somebody in who asks about the document that `field` of the query names."""
    hub: Hub = current_app.extensions["collab"]
    environ, settings = request.environ, hub.settings
    address = client_address(environ, settings.proxies)
    hub.admission.check_room(address)
    document_id = request.args.get(field, "")
    if not is_name(document_id):
        text = f"{field} is a document's id: 1 to 255 characters of valid UTF-8 without control characters"
        raise HandshakeRefused(400, "bad_document_id", text)
    user = hub.admission.decide(document_id, Credentials(read_token(environ, (), request.args), environ))
    turns: Turns = current_app.extensions["collab_turns"]
    key = f"network {network_of(address)}" if user.anonymous else f"user {user.id}"
    if not turns.begin(key, now()):
        if turns.full:
            raise HandshakeRefused(503, "busy", "The server has much to do: ask again in a moment", _RETRY)
        raise HandshakeRefused(429, "too_many_requests", "You ask more than may be: ask again in a moment", _RETRY)
    try:
        hub.start()
        with Timeout(PATIENCE, StoreError(f"the store (COLLAB_STORE) has not answered for {PATIENCE:.0f} s")):
            yield Asker(hub, document_id, user)
    finally:
        turns.end(key)


@blueprint.get("/document")
def document() -> Response:
    """Who somebody is in a document, what they may do in it, and whether there is one."""
    with _asker("id") as (hub, document_id, user):
        exists, epoch = hub.versions.describe(document_id)
    who = {"id": user.id, "name": user.name}
    return jsonify(id=document_id, user=who, rights=user.rights.word, exists=exists, epoch=epoch)


@blueprint.get("/versions")
def versions() -> Response:
    """A document's versions, the latest first."""
    with _asker() as asker:
        found = asker.hub.versions.list(asker.document_id)
    return jsonify(document=asker.document_id, versions=[_facts(version) for version in found])


@blueprint.post("/versions")
def save() -> tuple[Response, int]:
    """Save a document as it is now; `name` in the body is what that is called."""
    with _asker() as asker:
        asker.check_may_write()
        name = _name_of(_body(), f"Saved by {asker.user.name}")
        return jsonify(_facts(asker.hub.versions.save(asker.document_id, name))), 201


@blueprint.get("/versions/<int(max=2147483647):number>")
def version(number: int) -> Response:
    """The facts about a version, or its content in the `format` of the query."""
    form = request.args.get("format")
    if form is not None and form not in _TYPES:
        raise HandshakeRefused(400, "bad_request", f"format is one of {', '.join(_TYPES)}")
    with _asker() as asker:
        if form is None:
            return jsonify(_facts(asker.hub.versions.find(asker.document_id, number)))
        try:
            return Response(asker.hub.versions.show(asker.document_id, number, form), mimetype=_TYPES[form])
        except InvalidUpdate as error:
            text = f"It cannot be shown as {form}: {error}. The Yjs update can be had with format=update."
            raise HandshakeRefused(422, "unreadable", text) from error


@blueprint.post("/versions/<int(max=2147483647):number>/restore")
def restore(number: int) -> Response:
    """Bring a document back to a version, by an edit that whoever has it open follows."""
    with _asker() as asker:
        asker.check_may_write()
        called = _cut(f"Before version {number} was restored by {asker.user.name}")
        try:
            version, before = asker.hub.versions.restore(asker.document_id, number, called)
        except InvalidUpdate as error:
            text = f"The document cannot be brought back to this version: {error}"
            raise HandshakeRefused(422, "unreadable", text) from error
    return jsonify(version=_facts(version), changed=before is not None, before=before and _facts(before))


def _facts(version: Version) -> dict[str, Any]:
    return {"version": version.id, "name": version.name, "saved": stamp(version.saved), "bytes": version.size}


def _body() -> Mapping[str, Any]:
    """The JSON object in the request's body, if there is one."""
    data = request.stream.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise HandshakeRefused(413, "too_large", f"The body has more than {MAX_BODY} bytes")
    try:
        body = parse_json(data.decode()) if data else {}
    except (UnicodeDecodeError, InvalidMessage):
        body = None
    if not isinstance(body, dict):
        raise HandshakeRefused(400, "bad_request", "The body is a JSON object, or empty")
    return body


def _name_of(body: Mapping[str, Any], otherwise: str) -> str:
    name = body.get("name")
    if name is None:
        return _cut(otherwise)
    if not isinstance(name, str) or not is_name(name) or not name.strip() or name.isdecimal():
        text = "name is 1 to 255 characters without control characters, and not just a number"
        raise HandshakeRefused(400, "bad_request", text)
    return name


def _cut(name: str) -> str:
    return name if is_name(name) else f"{name[:254]}…"


@blueprint.errorhandler(Quarantined)
def quarantined(error: Quarantined) -> Response:
    """Say that nobody gets at a document before its operator has looked."""
    text = "The document is in quarantine: it cannot be read, and its operator has to look at it"
    return refuse(HandshakeRefused(423, "quarantined", text))


@blueprint.errorhandler(Damaged)
def damaged(error: Damaged) -> Response:
    """Say that there is no use in asking again."""
    log.error("What the store has of a version is damaged: %s", error)
    return refuse(HandshakeRefused(500, "damaged", "What is stored of it is damaged: its operator has to look at it"))


@blueprint.errorhandler(StoreError)
def unavailable(error: StoreError) -> Response:
    """Say that the store does not do what is needed; why is in the server's log."""
    hub: Hub = current_app.extensions["collab"]
    hub.caretaker.saver.doubt()
    hub.metrics.count("store_failures")
    log.warning("The document API could not use the store: %s", error)
    text = "The server cannot get at its documents now: ask again in a moment"
    return refuse(HandshakeRefused(503, "store_unavailable", text, {"Retry-After": "5"}))


@blueprint.errorhandler(HandshakeRefused)
def refuse(error: HandshakeRefused) -> Response:
    """Answer what is not done, with words for people and a code for programs."""
    hub: Hub = current_app.extensions["collab"]
    hub.metrics.count("requests_refused", error.code)
    return answer(error)


@blueprint.after_request
def guard(response: Response) -> Response:
    """Keep answers out of caches, and let the page read them that was let in."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Vary"] = "Origin"
    origin = g.get("collab_origin")
    if origin is not None:
        hub: Hub = current_app.extensions["collab"]
        response.headers["Access-Control-Allow-Origin"] = origin
        if "*" not in hub.settings.origins:
            response.headers["Access-Control-Allow-Credentials"] = "true"
    return response
