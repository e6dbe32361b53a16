"""The Flask extension: two lines give an application the endpoints.

    collab = Collab(app)          # or: collab = Collab(); collab.init_app(app)

The state is in `app.extensions["collab"]` (the `Hub`), so that one `Collab` can serve several applications; the
settings are read from `app.config` and the environment when `init_app` is called, and do not change after that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakSet

from flask import Flask, current_app

from collab import tracing
from collab.archive import Seed
from collab.auth import by_settings, open_by_proxy
from collab.config import Settings
from collab.events import Event, Listener, check_kinds
from collab.hub import Hub
from collab.metrics import Metrics
from collab.platforms import loss
from collab.stores import open_store
from collab.web import admin, api, dashboard, health, prometheus, sockets
from collab.web.login import ApplicationAuthenticator, Decision

D = TypeVar("D", bound=Decision)
L = TypeVar("L", bound=Listener)


OWN: Final = tuple(part.blueprint.name for part in (sockets, api, health, prometheus, admin, dashboard))
"""Blueprints that an application gains."""


class Collab:
    """Real-time collaboration for a Flask application.

    Args:
        app: the application to extend at once.
        seed: what new documents begin with: given the id of a document that does not exist yet, its plain text, or
            None for an empty one. It may wait, as a view may. The text is the Yjs text `text`.
    """

    def __init__(self, app: Flask | None = None, *, seed: Seed | None = None) -> None:
        self._seed = seed
        self._decision: Decision | None = None
        self._listeners: list[tuple[str, Listener]] = []
        self._apps: WeakSet[Flask] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Extend `app` with the endpoints. Set `SOCK_SERVER_OPTIONS` before, if at all.

        Raises:
            ConfigError: a `COLLAB_…` setting cannot work.
        """
        settings = Settings.load(app.config, os.environ)
        tracing.check(settings)
        auth = ApplicationAuthenticator(app, self._decision) if self._decision else by_settings(settings)
        hub = app.extensions["collab"] = Hub(settings, open_store(settings.store), Metrics(), self._seed, auth)
        hub.warnings += filter(None, [loss(settings.store, os.environ)])
        hub.looks.append(lambda: _complain(app))
        self._apps.add(app)
        for kind, listener in self._listeners:
            _listen(app, kind, listener)
        sockets.register(app)
        api.register(app)
        app.register_blueprint(health.blueprint)
        prometheus.register(app)
        if settings.admin_token:
            admin.register(app)

    def authenticator(self, function: D) -> D:
        """Let `function` decide who may come in, in place of `COLLAB_AUTH`; a decorator.

        It is called with the request of the upgrade, the token that was shown or None, and the document's id, and
        returns a `User`, or None for nobody who may come in; it may also raise `Unauthenticated` or `Forbidden` with
        words of its own, or abort with 401 or 403. It may wait, as a view may. Whatever else it raises is logged and
        lets nobody in.

        It runs in a request of the application, so that `flask.session` and what builds on it tell who is asking.
        Where it is asked later (for each document of a Hocuspocus connection, and once more when a decision has
        expired or is to be made anew) that is a request made of the text of the upgrade: `before_request` functions
        have not run in it, and nothing becomes of what is changed in the session.

        To be called before the first request; it counts for all applications of this extension.
        """
        self._decision = function
        for app in self._apps:
            app.extensions["collab"].auth = ApplicationAuthenticator(app, function)
        return function

    def on(self, *kinds: str) -> Callable[[L], L]:
        """Have a function called when something has happened to a document; a decorator.

        It is called with an `Event`, in the application's context but in no request, and may wait, as a view may: the
        events behind that wait as well, and nobody else does. `stored` comes at most every two seconds for a document.
        What it raises is logged. An event is told once or, if the process is killed, not at all.

        Raises:
            ValueError: a kind of event that there is not.
        """

        def listen(function: L) -> L:
            for kind in kinds:
                self._listeners.append((kind, function))
                for app in self._apps:
                    _listen(app, kind, function)
            return function

        check_kinds(kinds)
        return listen

    def read(self, document_id: str, form: str = "text") -> Any:
        """A document's content as it is now, or None if there is no such document. Waits, as a view may.

        Args:
            document_id: which.
            form: `text` (a str), `json` (its shared types by name, as Python has them) or `update` (a Yjs update).

        Raises:
            Quarantined: it cannot be read.
            StoreError: the store cannot be asked now.
            TooLarge: it is larger than 4 MiB, which takes too long to take apart here; `update` takes any size.
        """
        content = _hub().versions.read(document_id, form)
        if content is None or form == "update":
            return content
        return content.decode() if form == "text" else json.loads(content)

    def recheck(self, document_id: str, user_id: str | None = None) -> int:
        """Decide once more what a user, or everybody, may do in a document that is open; how many sessions that is.

        Rights change at once; who may not be there any more is closed with 4403. Call it in the application's context,
        where something has changed that the decision depends on.
        """
        return _hub().recheck(document_id, user_id)

    def kick(self, document_id: str, user_id: str | None = None, *, seconds: float = 0.0, reason: str = "") -> int:
        """Send a user, or everybody, out of a document, and keep them out for a while; how many sessions that ends."""
        return _hub().kick(document_id, user_id, seconds, reason)

    def say(self, document_id: str, text: str) -> tuple[int, int]:
        """Tell everybody in a document something, in the server's name.

        Returns:
            How many sessions are told, and how many cannot be: y-websocket clients get it if they connect with
            `?events=1`.
        """
        return _hub().say(document_id, text)


def _listen(app: Flask, kind: str, listener: Listener) -> None:
    def call(event: Event) -> None:
        with app.app_context():
            listener(event)

    app.extensions["collab"].events.listen(kind, call)


def _complain(app: Flask) -> list[str]:
    """Warnings that cannot be given before an application is complete, whatever serves it."""
    hub: Hub = app.extensions["collab"]
    open_ = hub.auth.believes and hub.settings.proxies
    return [*([open_by_proxy("one of COLLAB_TRUSTED_PROXIES")] if open_ else []), *_shadowed(app)]


def _shadowed(app: Flask) -> list[str]:
    """Warnings about routes of an application that are the same as ours, of which only one is ever reached."""
    rules = list(app.url_map.iter_rules())
    ours = {rule.rule.rstrip("/"): rule for rule in rules if rule.endpoint.partition(".")[0] in OWN}
    others = [rule for rule in rules if rule.endpoint.partition(".")[0] not in OWN]
    return [
        f"{rule.rule} is the application's own (endpoint {rule.endpoint}) and collab's as well (endpoint "
        f"{ours[path].endpoint}), and only one of them is reached: serve the application's somewhere else"
        for rule in others
        if (path := rule.rule.rstrip("/")) in ours
    ]


def _hub() -> Hub:
    hub: Hub = current_app.extensions["collab"]
    return hub
