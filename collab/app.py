"""The application that is served when there is no other: the endpoints, and errors as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from collab.ext import Collab


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the application.

    Args:
        config: `COLLAB_…` settings; they go before the environment's.

    Raises:
        ConfigError: a setting cannot work.
    """
    app = Flask("collab")
    app.config.update(config or {})
    Collab(app)
    app.register_error_handler(HTTPException, _as_json)
    return app


def _as_json(error: HTTPException) -> Response:
    code = "not_found" if error.code == 404 else error.name.lower().replace(" ", "_")
    response = jsonify(error={"code": code, "message": error.description})
    response.status_code = error.code or 500
    return response
