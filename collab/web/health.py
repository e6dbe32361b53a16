"""Whether the server lives, and whether it should be sent visitors: for load balancers, process managers and people."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, current_app, jsonify, request

from collab.clock import now
from collab.errors import HandshakeRefused
from collab.hub import Hub
from collab.web.addresses import is_near
from collab.web.admin import Admin

NO_STORE: Final = {"Cache-Control": "no-store"}

blueprint = Blueprint("collab_health", __name__)


@blueprint.get("/healthz")
def healthy() -> Response:
    """200 while the event loop and the hub's greenlet are at work, else 503; why it is to be started anew, as JSON."""
    hub: Hub = current_app.extensions["collab"]
    complaint = hub.pulse.complaint(now())
    return _answer("alive", [complaint] if complaint else [])


@blueprint.get("/readyz")
def ready() -> Response:
    """200 while new sessions are taken and changes are stored, else 503; why not, as JSON.

    Warnings are what its operator has to know though it works. They, and a store's own words, are for programs on this
    machine and whoever may steer the server: there are paths and names of hosts in them.
    """
    hub: Hub = current_app.extensions["collab"]
    reasons = hub.unready()
    if is_near(request.environ) or _is_operator():
        return _answer("ready", reasons, warnings=hub.warnings)
    return _answer("ready", [reason.partition(": ")[0] for reason in reasons])


def _is_operator() -> bool:
    admin: Admin | None = current_app.extensions.get("collab_admin")
    if admin is None or admin.signin is None:
        return False
    try:
        admin.signin.check(request)
    except HandshakeRefused:  # whoever may not know why is told whether all the same
        return False
    return True


def _answer(word: str, reasons: list[str], **more: object) -> Response:
    response = jsonify({word: not reasons, "reasons": reasons, **more})
    response.status_code = 503 if reasons else 200
    response.headers.extend(NO_STORE)
    return response
