"""The Flask extension: two lines give an application the endpoints.

    collab = Collab(app)          # or: collab = Collab(); collab.init_app(app)

The state is in `app.extensions["collab"]` (the `Hub`), so that one `Collab` can serve several applications; the
settings are read from `app.config` and the environment when `init_app` is called, and do not change after that.
"""

from __future__ import annotations

import os

from flask import Flask

from collab.archive import Seed
from collab.config import Settings
from collab.hub import Hub
from collab.metrics import Metrics
from collab.stores import open_store
from collab.web import health, sockets


class Collab:
    """Real-time collaboration for a Flask application.

    Args:
        app: the application to extend at once.
        seed: what new documents begin with: given the id of a document that does not exist yet, its plain text, or
            None for an empty one. It may wait, as a view may. The text is the Yjs text `text`.
    """

    def __init__(self, app: Flask | None = None, *, seed: Seed | None = None) -> None:
        self._seed = seed
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Extend `app` with the endpoints. Set `SOCK_SERVER_OPTIONS` before, if at all.

        Raises:
            ConfigError: a `COLLAB_…` setting cannot work.
        """
        settings = Settings.load(app.config, os.environ)
        app.extensions["collab"] = Hub(settings, open_store(settings.store), Metrics(), self._seed)
        sockets.register(app)
        app.register_blueprint(health.blueprint)
