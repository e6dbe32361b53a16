"""What the server can be asked by whoever runs it, as JSON over HTTP: `/admin/api`, described in `web/openapi.py`.

The same routes are served at two doors: on the local socket, where the file's permissions say who may (`create_admin`),
and beside the documents, where everybody has to show who they are (`register`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

from collab import __version__
from collab.clock import unix, utc
from collab.errors import HandshakeRefused
from collab.hub import Hub
from collab.steering import OneServer, Steering
from collab.web import dashboard
from collab.web.answers import answer, answer_flask, code_of
from collab.web.asked import bad, query_id, query_limit, query_text, read_body
from collab.web.openapi import document
from collab.web.signin import TICKET_TIME, Pass, SignIn

API: Final = "/admin/api"
PAGE: Final = "/admin/"
MAX_BODY: Final = 65536

blueprint = Blueprint("collab_admin", __name__, url_prefix=API)

_OPEN: Final = (f"{blueprint.name}.sign_in", f"{blueprint.name}.sign_out")


class Admin(NamedTuple):
    """What one of the two doors leads to."""

    hub: Hub
    steering: Steering
    signin: SignIn | None
    """Who may, over HTTP; None: there is no such door."""
    local: bool
    """Whether this is the local one."""


def register(app: Flask) -> None:
    """Give an application that has the hub the interface over HTTP, and the dashboard. Idempotent."""
    if blueprint.name not in app.blueprints:
        hub: Hub = app.extensions["collab"]
        app.extensions["collab_admin"] = Admin(hub, OneServer(hub, __version__), SignIn(hub), local=False)
        app.register_blueprint(blueprint)
        app.register_blueprint(dashboard.blueprint)


def create_admin(hub: Hub, public: Admin | None = None) -> Flask:
    """The application behind the local admin socket; `public` is the door over HTTP, if there is one."""
    app = Flask("collab.admin")
    signin = public.signin if public is not None else None
    app.extensions["collab_admin"] = Admin(hub, OneServer(hub, __version__), signin, local=True)
    app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, answer_flask)
    return app


def _admin() -> Admin:
    admin: Admin = current_app.extensions["collab_admin"]
    return admin


@blueprint.before_request
def authenticate() -> None:
    """Let nobody in who may not; signing in is what one does before, and out what one may do when it is over."""
    request.max_content_length = MAX_BODY
    admin = _admin()
    if not admin.local and admin.signin is not None and request.endpoint not in _OPEN:
        g.collab_admin = admin.signin.check(request)


@blueprint.after_request
def keep_nowhere(response: Response) -> Response:
    """Answers are of one moment, and for one person."""
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.errorhandler(HandshakeRefused)
def refuse(error: HandshakeRefused) -> Response:
    """Answer what may not, or cannot, be done."""
    _admin().hub.metrics.count("admin_refused", error.code)
    return answer(error)


@blueprint.errorhandler(HTTPException)
def refuse_body(error: HTTPException) -> Response:
    """Answer a body that is no JSON, or too large."""
    _admin().hub.metrics.count("admin_refused", code_of(error))
    return answer_flask(error)


# ---- looking


@blueprint.get("/openapi.json", provide_automatic_options=False)
def openapi() -> Response:
    """All of this, for programs."""
    return jsonify(document(__version__))


@blueprint.get("/stats", provide_automatic_options=False)
def stats() -> Response:
    """Totals and the present state."""
    return jsonify(_admin().steering.stats())


@blueprint.get("/rooms", provide_automatic_options=False)
def rooms() -> Response:
    """The rooms that are open, in pages."""
    return jsonify(_admin().steering.rooms(query_text("prefix"), query_text("after"), query_limit()))


@blueprint.get("/users", provide_automatic_options=False)
def users() -> Response:
    """Who is in a room."""
    room = query_id("room")
    found = _admin().steering.users(room)
    if found is None:
        raise HandshakeRefused(404, "not_open", "Nobody has that document open, or had it a moment ago")
    return jsonify(found)


# ---- steering


@blueprint.post("/kick", provide_automatic_options=False)
def kick() -> Response:
    """Send a user, or everybody, out of a room."""
    asked = read_body(["room"], ["user", "seconds", "reason"])
    seconds, reason = float(asked.get("seconds", 0)), asked.get("reason", "")
    return jsonify(_admin().steering.kick(asked["room"], asked.get("user"), seconds, reason))


@blueprint.post("/recheck", provide_automatic_options=False)
def recheck() -> Response:
    """Decide once more what a user, or everybody in a room, may do."""
    asked = read_body(["room"], ["user"])
    return jsonify(_admin().steering.recheck(asked["room"], asked.get("user")))


@blueprint.post("/say", provide_automatic_options=False)
def say() -> Response:
    """Tell everybody in a room something."""
    asked = read_body(["room", "text"])
    return jsonify(_admin().steering.say(asked["room"], asked["text"]))


@blueprint.post("/drain", provide_automatic_options=False)
def drain() -> Response:
    """Take no new sessions, and send away those that there are."""
    read_body()
    return jsonify(_admin().steering.drain())


# ---- pages that sign in


@blueprint.post("/session", provide_automatic_options=False)
def sign_in() -> Response:
    """Sign a page in, with a token or with a ticket."""
    asked = read_body((), ["token", "ticket"])
    if len(asked) != 1:
        raise bad("The body has a token or a ticket")
    return _session(asked)


@blueprint.delete("/session", provide_automatic_options=False)
def sign_out() -> Response:
    """Sign a page out."""
    return _session(None)


def _session(asked: dict[str, Any] | None) -> Response:
    signin = _admin().signin
    if signin is None:
        raise _no_page()
    response = Response(status=204)
    if asked is None:
        signin.leave(request, response)
    else:
        until = signin.enter(request, asked, response)
        response.status_code = 200
        response.data = jsonify(until=until).data
        response.mimetype = "application/json"
    return response


@blueprint.post("/ticket", provide_automatic_options=False)
def make_ticket() -> Response:
    """A link to the dashboard by which a page can sign in, once."""
    read_body()
    admin = _admin()
    if admin.signin is None:
        raise _no_page()
    ticket = admin.signin.ticket(g.get("collab_admin", Pass(None, None)))
    path = f"{PAGE}#ticket={ticket}"
    base = admin.hub.urls[0] if admin.hub.urls else None
    return jsonify(path=path, url=base and f"{base}{path}", until=utc(unix() + TICKET_TIME))


def _no_page() -> HandshakeRefused:
    text = "This server has no admin interface over HTTP: set COLLAB_ADMIN_TOKEN in the application, and start it anew"
    return HandshakeRefused(404, "no_page", text)
