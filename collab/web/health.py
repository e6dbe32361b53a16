"""Whether the server lives, and whether it should be sent visitors: for load balancers, process managers and people."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, current_app, jsonify

from collab.clock import now
from collab.hub import Hub

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

    Warnings are what its operator has to know though it works.
    """
    hub: Hub = current_app.extensions["collab"]
    return _answer("ready", hub.unready(), warnings=hub.warnings)


def _answer(word: str, reasons: list[str], **more: object) -> Response:
    response = jsonify({word: not reasons, "reasons": reasons, **more})
    response.status_code = 503 if reasons else 200
    response.headers.extend(NO_STORE)
    return response
