"""gunicorn's settings and hooks: what `collab serve` and this project's `gunicorn.conf.py` run with.

An application with a gunicorn configuration of its own takes over the three hooks: without them gunicorn tells
nobody that it is stopping, and each stop takes its whole `graceful_timeout`.

This module is imported by gunicorn's master, before gevent has patched anything: it imports nothing that knows gevent.
"""

from __future__ import annotations

import ipaddress
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collab import tracing
from collab.auth import TOKENS, check, open_by_proxy
from collab.config import Settings
from collab.errors import ConfigError
from collab.platforms import setting
from collab.serverlog import dress, join

if TYPE_CHECKING:
    from flask import Flask

    from collab.hub import Hub
    from collab.web.admin import Admin

worker_class = "gevent"
# A platform that sets PORT expects the process on all of the machine's addresses.
bind = f"0.0.0.0:{os.environ['PORT']}" if "PORT" in os.environ else "127.0.0.1:8080"
graceful_timeout = 10
# A document's name takes up to 3 kB of a path, beside which there may be a token; gunicorn's default is half of this.
limit_request_line = 8190
# All servers of one user would share it, and it can start workers, of which there must be one.
control_socket_disable = True
logger_class = "collab.serverlog.ServerLog"
# The default but for the query, in which there may be a token.
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s "%(f)s" "%(a)s"'
LOW_DESCRIPTORS = 4096
WATCH = 0.2
"""Seconds between looks whether gunicorn has told the worker to end; each wakes a processor that may have no work."""

OWN = "collab.app:create_app()"
"""The application of `collab serve`."""

# What gunicorn's master does not try again when a worker ends with it.
_APP_LOAD_ERROR = 4
_OPEN_TO_ALL = (
    "Whoever reaches %s could come in as anybody they like, since COLLAB_AUTH is dev, which is for this machine alone. "
    "Set COLLAB_AUTH=jwt and what tokens are checked with (COLLAB_JWT_SECRET, COLLAB_JWT_PUBLIC_KEY or "
    "COLLAB_JWT_JWKS_URL), give your application an authenticator, or listen on 127.0.0.1.%s"
)


def on_starting(server: Any) -> None:
    """Refuse, before anything is bound, what would split documents between processes."""
    join(server.log)
    workers = server.cfg.workers
    if workers > 1:
        server.log.error(
            "%d workers are asked for (WEB_CONCURRENCY or --workers), but several processes need a bus between them, "
            "or the users of one document would not see each other; this version has none: set it to 1.%s",
            workers,
            setting(os.environ, "WEB_CONCURRENCY=1"),
        )
        sys.exit(1)
    try:
        settings = Settings.load(os.environ)
        # An application around ours may have settings of its own, and an authenticator: `post_worker_init` looks then.
        own = getattr(server.app, "app_uri", None) == OWN
        if own:
            check(settings)
        tracing.check(settings)
    except ConfigError as error:
        server.log.error("%s", error)
        sys.exit(1)
    open_to_all = own and settings.auth == "dev" and _exposed(server.cfg.address)
    if open_to_all:
        server.log.error(_OPEN_TO_ALL, open_to_all, setting(os.environ, TOKENS))
        sys.exit(1)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < LOW_DESCRIPTORS:
        server.log.warning("Only %d files may be open, and each session is one: raise it with `ulimit -n`.", limit)


def when_ready(server: Any) -> None:
    """Say where to connect."""
    # This signal adds a worker.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    for listener in server.LISTENERS:
        address = str(listener).partition("://")[2]
        server.log.info("Connect y-websocket to ws://%s/yjs, others to ws://%s/ws/document/<id>", address, address)


def post_worker_init(worker: Any) -> None:
    """Log where gunicorn does, and let the hub know when it wants the worker to stop.

    Ends the server if others could reach it and nobody is asked who they are.
    """
    app = _application(worker)
    hub: Hub = app.extensions["collab"]
    exposed = _exposed(listener.getsockname() for listener in worker.sockets)
    if exposed and hub.auth.believes:
        worker.log.error(_OPEN_TO_ALL, exposed, setting(os.environ, TOKENS))
        sys.exit(_APP_LOAD_ERROR)
    paths = [name for name in (listener.getsockname() for listener in worker.sockets) if not isinstance(name, tuple)]
    if paths and hub.auth.believes and not hub.settings.proxies:
        hub.warnings.append(open_by_proxy(f"one that connects to {', '.join(map(str, paths))}"))
    hub.exposed = hub.exposed or bool(exposed or paths)
    dress(worker.log, hub.settings.log_format)  # an application may have a setting of its own
    join(worker.log)
    hub.urls = [url for url in (_url(listener.getsockname()) for listener in worker.sockets) if url]
    _invite(worker, app)
    hub.start()
    hub.crew.spawn("gunicorn watch", _watch, worker, hub)
    hub.crew.spawn("control", _control, hub, app.extensions.get("collab_admin"))


def worker_exit(server: Any, worker: Any) -> None:
    """Keep the worker alive until the hub has stopped."""
    # A worker that failed to start has no application, and so nothing to stop.
    if getattr(worker, "wsgi", None) is not None:
        _application(worker).extensions["collab"].stop()


def _exposed(addresses: Iterable[Any]) -> str:
    """Those of some addresses that other machines can reach; a path or a name that is not looked up is none."""
    found = []
    for address in addresses:
        host, port = address[:2] if isinstance(address, tuple) else ("", 0)
        try:
            if not ipaddress.ip_address(host).is_loopback:
                found.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except ValueError:
            continue
    return ", ".join(found)


def _invite(worker: Any, app: Flask) -> None:
    """Say where the page is, if it is shown."""
    from collab.web import pages

    hub: Hub = app.extensions["collab"]
    if pages.blueprint.name in app.blueprints and pages.are_shown(hub):
        for url in hub.urls:
            worker.log.info("Open %s/ to try it", url)


def _watch(worker: Any, hub: Hub) -> None:
    import gevent

    while worker.alive:
        gevent.sleep(WATCH)
    gevent.spawn(hub.stop)


def _url(address: Any) -> str:
    """Where somebody on this machine reaches a listener; none for a path."""
    if not isinstance(address, tuple):
        return ""
    bound, port = str(address[0]), address[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _control(hub: Hub, public: Admin | None) -> None:
    from collab.control import Control

    Control(hub, Path(hub.settings.admin_socket), public).run()


def _application(worker: Any) -> Flask:
    """The Flask application, inside whatever middleware there is around it."""
    app = worker.wsgi
    while not hasattr(app, "extensions"):
        app = app.wsgi_app if hasattr(app, "wsgi_app") else app.app
    found: Flask = app
    return found
