"""What the server can be asked to do by whoever runs it, as JSON over HTTP."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from collab.errors import HandshakeRefused
from collab.hub import Hub
from collab.names import is_name

API: Final = "/admin/api"
MAX_BAN: Final = 366 * 86400.0
"""Seconds for which somebody can be kept out at most."""

blueprint = Blueprint("collab_admin", __name__, url_prefix=API)


def create_admin(hub: Hub) -> Flask:
    """The application behind the local admin socket."""
    app = Flask("collab.admin")
    app.config["MAX_CONTENT_LENGTH"] = 65536
    app.extensions["collab"] = hub
    app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _as_json)
    return app


def _as_json(error: HTTPException) -> Response:
    response = jsonify(error={"code": error.name.lower().replace(" ", "_"), "message": error.description})
    response.status_code = error.code or 500
    return response


@blueprint.errorhandler(HandshakeRefused)
def refuse(error: HandshakeRefused) -> Response:
    """Answer what cannot be done."""
    response = jsonify(error={"code": error.code, "message": error.message})
    response.status_code = error.status
    return response


@blueprint.post("/kick")
def kick() -> Response:
    """Send a user, or everybody, out of a document: `document`, `user`, `seconds` to be kept out, `reason`."""
    asked = _asked()
    seconds = asked.get("seconds", 0)
    reason = asked.get("reason", "")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= MAX_BAN:
        raise HandshakeRefused(400, "bad_request", f"seconds is a number from 0 to {MAX_BAN:.0f}")
    if not isinstance(reason, str) or len(reason.encode(errors="replace")) > 120:
        raise HandshakeRefused(400, "bad_request", "reason is a text of at most 120 bytes")
    hub: Hub = current_app.extensions["collab"]
    return jsonify(sessions=hub.kick(asked["document"], asked["user"], float(seconds), reason))


@blueprint.post("/recheck")
def recheck() -> Response:
    """Make the decision on a user's sessions in a document, or on all there, once more: `document`, `user`."""
    asked = _asked()
    hub: Hub = current_app.extensions["collab"]
    return jsonify(sessions=hub.recheck(asked["document"], asked["user"]))


def _asked() -> dict[str, Any]:
    """The request's body, with a document and perhaps a user in it."""
    asked = request.get_json()
    if not isinstance(asked, dict):
        raise HandshakeRefused(400, "bad_request", "The body is a JSON object")
    document, user = asked.get("document"), asked.get("user")
    if not isinstance(document, str) or not is_name(document):
        raise HandshakeRefused(400, "bad_request", "document is a document's id")
    if user is not None and not (isinstance(user, str) and is_name(user)):
        raise HandshakeRefused(400, "bad_request", "user is a user's id")
    return {**asked, "document": document, "user": user}
