"""The application that is served when there is no other: the endpoints, the page, and errors as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import WebsocketMismatch

from collab.ext import Collab
from collab.web import admin, pages
from collab.web.answers import answer_flask


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
    admin.register(app)
    app.register_blueprint(pages.blueprint)
    app.register_error_handler(HTTPException, answer_flask)
    app.register_error_handler(WebsocketMismatch, _answer_misplaced)
    return app


def _answer_misplaced(error: WebsocketMismatch) -> Response:
    """A WebSocket is asked for where there is a page, most likely because the path was left out."""
    text = "No WebSocket is here: y-websocket's are below /yjs, Hocuspocus' at /hocuspocus, others at /ws/document/<id>"
    return answer_flask(NotFound(text))
