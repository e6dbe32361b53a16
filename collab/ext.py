"""The Flask extension: two lines give an application the endpoints.

    collab = Collab(app)          # or: collab = Collab(); collab.init_app(app)

The state is in `app.extensions["collab"]` (the `Hub`), so that one `Collab` can serve several applications; the
settings are read from `app.config` and the environment when `init_app` is called, and do not change after that.
"""

from __future__ import annotations

import os

from flask import Flask

from collab.config import Settings
from collab.hub import Hub
from collab.metrics import Metrics
from collab.stores.memory import MemoryStore
from collab.web import sockets


class Collab:
    """Real-time collaboration for a Flask application.

    Args:
        app: the application to extend at once.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Extend `app` with the endpoints. Set `SOCK_SERVER_OPTIONS` before, if at all.

        Raises:
            ConfigError: a `COLLAB_…` setting cannot work.
        """
        app.extensions["collab"] = Hub(Settings.load(app.config, os.environ), MemoryStore(), Metrics())
        sockets.register(app)
