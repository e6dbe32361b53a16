"""How errors are answered over HTTP: `{"error": {"code": …, "message": …}}`, for programs and for people."""

from __future__ import annotations

from flask import Response, jsonify
from werkzeug.exceptions import HTTPException

from collab.errors import HandshakeRefused


def code_of(error: HTTPException) -> str:
    """Flask's own error, in a word for programs."""
    return error.name.lower().replace(" ", "_")


def answer(error: HandshakeRefused) -> Response:
    """What a refused request is answered with."""
    response = jsonify(error={"code": error.code, "message": error.message})
    response.status_code = error.status
    response.headers.extend(error.headers)
    return response


def answer_flask(error: HTTPException) -> Response:
    """What Flask's own errors are answered with, such as 404 and 405."""
    response = jsonify(error={"code": code_of(error), "message": error.description})
    response.status_code = error.code or 500
    response.headers.extend(error.get_headers())
    response.headers["Content-Type"] = "application/json"
    return response
