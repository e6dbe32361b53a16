"""Real-time collaboration for Python web applications: Yjs documents over WebSocket.

The names below are loaded when they are first used: gunicorn's master imports `collab.server` before gevent has
patched the standard library, and must not load the rest with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collab.app import create_app
    from collab.events import Event
    from collab.ext import Collab
    from collab.identity import Rights, User

__all__ = ["Collab", "Event", "Rights", "User", "__version__", "create_app"]

__version__ = "0.1.0"

_HOMES = {
    "Collab": "collab.ext",
    "Event": "collab.events",
    "Rights": "collab.identity",
    "User": "collab.identity",
    "create_app": "collab.app",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
