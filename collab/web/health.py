"""Whether the server should be sent visitors, for load balancers and for people."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from collab.hub import Hub

blueprint = Blueprint("collab_health", __name__)


@blueprint.get("/healthz")
def alive() -> Response:
    """200 while it answers at all: whoever watches over the process may start it anew when it does not."""
    return jsonify(alive=True)


@blueprint.get("/readyz")
def ready() -> Response:
    """200 while new sessions are taken and changes are stored, else 503; why not, as JSON.

    Warnings are what its operator has to know though it works.
    """
    hub: Hub = current_app.extensions["collab"]
    reasons = hub.unready()
    response = jsonify(ready=not reasons, reasons=reasons, warnings=hub.warnings)
    response.status_code = 503 if reasons else 200
    return response
