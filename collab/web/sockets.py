"""The WebSocket endpoints: Flask-Sock's handshake, after which the socket is taken over and the request let go.

Under gunicorn the request ends with the handshake, and with it all that an application holds for a request. The other
hosts close or read the socket when a request ends, so there its greenlet waits until the session is over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final, NamedTuple

from flask import Blueprint, Flask, Response, current_app, g, has_request_context, request
from flask_sock import Sock
from werkzeug.routing import BaseConverter
from wsproto.utilities import RemoteProtocolError

from collab import comings
from collab.connection import Connection
from collab.errors import HandshakeRefused
from collab.hub import Hub
from collab.identity import Credentials
from collab.protocol.frames import CloseCode
from collab.solo import Arrival
from collab.tracing import Span
from collab.web.addresses import check_host, check_origin, check_peer, client_address
from collab.web.answers import answer
from collab.web.handshake import check_upgrade, choose, read_document_id, read_token, split_header

NATIVE_PATH: Final = "/ws/document/"
YJS_PATH: Final = "/yjs/"
HOCUSPOCUS_PATH: Final = "/hocuspocus"
OPTIONS: Final = "SOCK_SERVER_OPTIONS"

blueprint = Blueprint("collab", __name__)
sock = Sock()


class DocumentConverter(BaseConverter):
    """The whole rest of a path: slashes are part of a document's name, and what else is allowed is checked later."""

    regex = r"[\s\S]*"
    part_isolating = False


class NoThread:
    """Takes the place of simple-websocket's reader thread: from the handshake on, the socket is ours."""

    name = ""

    def __init__(self, target: object) -> None:
        pass

    def start(self) -> None:
        """Do nothing."""


class SocketOptions(MutableMapping[str, Any]):
    """The application's own `SOCK_SERVER_OPTIONS`, but ours in requests to our endpoints.

    Flask-Sock reads the options anew in each request, so that the application's other routes keep theirs.
    """

    def __init__(self, own: MutableMapping[str, Any]) -> None:
        self._own = own

    def _now(self) -> MutableMapping[str, Any]:
        entrance: Entrance | None = g.get("collab_entrance") if has_request_context() else None
        if entrance is None:
            return self._own
        return {"thread_class": NoThread, "subprotocols": [entrance.subprotocol] if entrance.subprotocol else []}

    def __getitem__(self, key: str) -> Any:
        return self._now()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._own[key] = value

    def __delitem__(self, key: str) -> None:
        del self._own[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


def register(app: Flask) -> None:
    """Give `app` the endpoints."""
    app.url_map.converters["collab_document"] = DocumentConverter
    app.config[OPTIONS] = SocketOptions(app.config.get(OPTIONS, {}))
    app.register_blueprint(blueprint)


@blueprint.before_request
def decide() -> Response | None:
    """Settle everything about the upgrade before Flask-Sock answers it."""
    hub: Hub = current_app.extensions["collab"]
    environ = request.environ
    if not isinstance(current_app.config[OPTIONS], SocketOptions):
        raise RuntimeError(f"app.config[{OPTIONS!r}] was replaced after Collab.init_app: set it before")
    check_upgrade(environ)
    check_serving(hub, environ)
    offers = split_header(environ.pop("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))
    trace = g.collab_trace = hub.traces.connect(environ) if hub.traces is not None else None
    entrance = g.collab_entrance = _admit(hub, offers, trace)
    # What is left is what Flask-Sock answers to. Compressing for each client would undo the frame that all share.
    environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    if entrance.subprotocol:
        environ["HTTP_SEC_WEBSOCKET_PROTOCOL"] = entrance.subprotocol
    done = environ.get("wsgi.websocket")
    if done is None:
        return None
    # gevent-websocket has answered the handshake before the application was asked.
    entrance.begin(os.dup(done.stream.handler.socket.fileno())).wait_over()
    return Response()


def check_serving(hub: Hub, environ: Mapping[str, Any]) -> None:
    """Make sure that whoever comes now can be served.

    Raises:
        HandshakeRefused: 503.
    """
    if hub.stopping:
        raise HandshakeRefused(503, "stopping", "The server is stopping: come back in a moment", {"Retry-After": "1"})
    if hub.draining:
        text = "The server is draining, since it is about to be replaced: come back in a moment"
        raise HandshakeRefused(503, "draining", text, {"Retry-After": "5"})
    if environ.get("wsgi.multiprocess"):
        text = "Several worker processes would split a document's users: run one (gunicorn --workers 1)"
        raise HandshakeRefused(503, "no_bus", text, {"Retry-After": "60"})


def check_source(hub: Hub, environ: Mapping[str, Any]) -> None:
    """Make sure that whoever comes is no page that may not, nor from another machine where everybody is believed.

    Raises:
        Forbidden: it is.
    """
    check_origin(environ, hub.settings.origins)
    if hub.auth.believes:
        check_peer(environ, hub.settings.proxies)
        if not hub.exposed:
            check_host(environ, hub.settings.origins)


class Entrance(NamedTuple):
    """What becomes of an upgrade: how to begin, given the descriptor."""

    begin: Callable[[int], Connection]
    subprotocol: str | None


def _admit(hub: Hub, offers: Sequence[str], trace: Span | None) -> Entrance:
    """Decide who it is, if that is told at the handshake; raise `HandshakeRefused` if they may not come in."""
    environ = request.environ
    settings = hub.settings
    check_source(hub, environ)
    address = client_address(environ, settings.proxies)
    hub.admission.check_room(address)
    credentials = Credentials(read_token(environ, offers, request.args), environ)
    if request.path.rstrip("/") == HOCUSPOCUS_PATH:
        # Who decides by a token keeps nothing but that; the others are asked in band with what the request said.
        said = credentials._replace(environ={key: value for key, value in environ.items() if isinstance(value, str)})
        kept = hub.auth.kept(credentials) if hub.auth.needs_token else said
        return Entrance(lambda fileno: hub.open_shared(fileno, address, kept, trace), None)
    native = request.path.startswith(NATIVE_PATH)
    document_id = read_document_id(environ["PATH_INFO"], NATIVE_PATH if native else YJS_PATH)
    upgrade = choose(native, offers, request.args)
    user = hub.admission.decide(document_id, credentials)
    arrival = Arrival(upgrade.dialect, document_id, user, hub.auth.kept(credentials), upgrade.session_id)
    return Entrance(lambda fileno: hub.open(fileno, address, arrival, trace), upgrade.subprotocol)


def take_over(ws: Any, document_id: str = "") -> None:
    """Flask-Sock's handler: the handshake is done, the session goes on without the request."""
    entrance: Entrance = g.collab_entrance
    ws.connected = False  # or Flask-Sock would send a close frame when this returns
    if ws.mode == "gunicorn":
        # Not duplicated: that leaves the old number in epoll, all of which libev rebuilds when it comes up.
        entrance.begin(ws.sock.detach())
    else:
        entrance.begin(os.dup(ws.sock.fileno())).wait_over()


for _path, _rule in (
    (NATIVE_PATH, f"{NATIVE_PATH}<collab_document:document_id>"),
    (YJS_PATH, f"{YJS_PATH}<collab_document:document_id>"),
    (HOCUSPOCUS_PATH, HOCUSPOCUS_PATH),
    (HOCUSPOCUS_PATH + "/", HOCUSPOCUS_PATH + "/"),
):
    sock.route(_rule, bp=blueprint, endpoint=f"socket{_path.replace('/', '_')}", merge_slashes=False)(take_over)
    # Without this one, what is no upgrade would get werkzeug's 400; `decide` answers 426.
    blueprint.add_url_rule(
        _rule, f"plain{_path.replace('/', '_')}", lambda document_id="": Response(), merge_slashes=False
    )


@blueprint.errorhandler(RemoteProtocolError)
def refuse_headers(error: RemoteProtocolError) -> Response:
    """Answer a request with headers that Flask-Sock's own parser does not take."""
    return refuse(HandshakeRefused(400, "bad_handshake", "The request has a header that is malformed"))


@blueprint.errorhandler(HandshakeRefused)
def refuse(error: HandshakeRefused) -> Response:
    """Answer a refused upgrade, with words for people and a code for programs."""
    hub: Hub = current_app.extensions["collab"]
    hub.metrics.count("upgrades_refused", error.code)
    comings.refused_upgrade(request.path, client_address(request.environ, hub.settings.proxies), error)
    trace: Span | None = g.get("collab_trace")
    if trace is not None:
        trace.set({"http.response.status_code": error.status})
        trace.end(error.code)
    done = request.environ.get("wsgi.websocket")
    if done is not None:  # gevent-websocket has let it in already
        done.close(CloseCode.ABUSE, error.message)
    return answer(error)
