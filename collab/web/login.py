"""The application's own word on who may come in: the function that `Collab.authenticator` is given.

Invariants borne here:

* The function runs in a request of the application: in the upgrade itself while that lasts, and afterwards in one that
  is made of what was kept of it, so that `request`, `session` and what builds on them are those of whoever asks.
* A fault of the function lets nobody in, and its token is not logged.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

from flask import Flask, Request, has_request_context, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_cookie

from collab.auth import Authenticator
from collab.errors import Forbidden, HandshakeRefused, Unauthenticated
from collab.identity import Credentials, User
from collab.logs import logger, tell_fault
from collab.names import is_name

Decision = Callable[[Request, str | None, str], User | None]
"""Given the request, the token if there is one, and the document's id: who it is, or None if they may not come in."""

MAX_REQUEST: Final = 64 * 1024
"""Characters in a request and its token together: they are kept as long as the connection lasts."""

log = logger(__name__)


class ApplicationAuthenticator(Authenticator):
    """Asks a function of the application.

    Args:
        app: the application.
        function: see `Collab.authenticator`.
    """

    needs_token = False

    def __init__(self, app: Flask, function: Decision) -> None:
        self._app = app
        self._function = function

    def decide(self, document_id: str, credentials: Credentials) -> User:
        """As the base class says; also `HandshakeRefused` with 500, if the function fails, and with 431."""
        if len(credentials.token or "") + sum(len(text) for _, text in _texts(credentials)) > MAX_REQUEST:
            text = f"The request, or its token, has more than {MAX_REQUEST} characters"
            raise HandshakeRefused(431, "request_too_large", text)
        try:
            user = self._ask(document_id, credentials)
        except HandshakeRefused:
            raise
        except HTTPException as error:
            if error.code == 401:
                raise Unauthenticated("The application does not know who you are") from None
            if error.code == 403:
                raise Forbidden("The application does not let you in") from None
            raise self._fault(credentials) from None
        except Exception:
            raise self._fault(credentials) from None
        if user is None:
            raise Forbidden("You may not be in this document")
        return user

    def kept(self, credentials: Credentials) -> Credentials:
        """The token, and what is text of the request."""
        # The names are alike in all requests, and so the same objects.
        return Credentials(credentials.token, {sys.intern(name): text for name, text in _texts(credentials)})

    def _ask(self, document_id: str, credentials: Credentials) -> User | None:
        token = credentials.token
        if has_request_context() and request.environ is credentials.environ:
            user = self._function(request, token, document_id)
        else:
            with self._app.request_context(_alive(credentials)):
                user = self._function(request, token, document_id)
        if user is not None and not _is_user(user):
            raise TypeError("an authenticator returns None or a collab.User, whose id and name are 1 to 255 characters")
        return user

    def _fault(self, credentials: Credentials) -> HandshakeRefused:
        """The function has failed: log it, and what to raise instead."""
        trace = traceback.format_exc()
        for secret in _secrets(credentials):
            trace = trace.replace(secret, "…")
        tell_fault(log, "The application's authenticator failed, and nobody is let in by it", trace)
        return HandshakeRefused(500, "authenticator_failed", "It could not be decided who you are")


def _texts(credentials: Credentials) -> Iterator[tuple[str, str]]:
    """What is text of the request: all but what lives no longer than the request itself."""
    return ((name, value) for name, value in credentials.environ.items() if isinstance(value, str))


def _secrets(credentials: Credentials) -> Iterator[str]:
    """What a fault must not tell: the token, and what the cookies say."""
    cookies = parse_cookie(str(credentials.environ.get("HTTP_COOKIE", ""))).values()
    return filter(None, (credentials.token, *cookies))


def _alive(credentials: Credentials) -> dict[str, Any]:
    """The environment of a request made of what was kept of one."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **dict(_texts(credentials)),
    }


def _is_user(user: object) -> bool:
    return isinstance(user, User) and all(isinstance(text, str) and is_name(text) for text in (user.id, user.name))
