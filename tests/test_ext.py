"""Two lines give an existing Flask application the endpoints, and leave the rest of it as it was."""

from __future__ import annotations

import dataclasses
import gc
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from processes import Serve, Server
from wire import BINARY, CLOSE, PING, TEXT, TIMEOUT, Frame, ask, client_frame, connect, is_event, is_step1, request
from ydocs import Editor, update

from collab import Collab
from collab.errors import ConfigError
from collab.hub import Hub

# An application with WebSockets of its own, and words of its own for what is not found.
APPLICATION = """
from flask import Flask, abort
from flask_sock import Sock
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from collab import Collab

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mounted": app.wsgi_app})
app.config.update(COLLAB_MAX_MESSAGE_SIZE=1000, SOCK_SERVER_OPTIONS={"subprotocols": ["parrot"], "ping_interval": 0.2})
sock = Sock(app)
%s

@app.get("/")
def index():
    return "welcome"

@app.get("/gone")
def gone():
    abort(410)

@app.errorhandler(404)
def lost(error):
    return "are you lost?", 404

@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())
"""
# The hooks must find the application inside.
MIDDLEWARE = """
from werkzeug.middleware.proxy_fix import ProxyFix

app = ProxyFix(DispatcherMiddleware(app, {}))
"""
APPLICATIONS = {
    "at once": APPLICATION % "Collab(app)",
    "later, and in middleware": APPLICATION % "collab = Collab()\ncollab.init_app(app)" + MIDDLEWARE,
}
UNDER_GUNICORN = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-c", "python:collab.server"]


@pytest.fixture(scope="module", params=APPLICATIONS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application under gunicorn, which stops it cleanly at the end."""
    folder = tmp_path_factory.mktemp("application")
    (folder / "their_app.py").write_text(APPLICATIONS[request.param])
    running = Server([*UNDER_GUNICORN, "--chdir", str(folder), "--bind", "127.0.0.1:{port}", "their_app:app"], {})
    running.wait_ready()
    yield running
    with connect(running.port, "/yjs/doc") as wire:
        running.process.send_signal(signal.SIGINT)
        assert wire.read_closed().code == 1012
        wire.goodbye(1012)
        wire.read_end()
    assert running.wait_end() == 0
    assert "Traceback" not in running.output


def test_an_application_gains_the_endpoints(host: Server) -> None:
    with connect(host.port, "/ws/document/doc?user_id=alice") as native, connect(host.port, "/yjs/doc") as yjs:
        native.read_until(is_event("join"))
        yjs.say(update(Editor().type("hello")))
        editor = Editor(native=True)
        editor.read(native.read_until(lambda message: isinstance(message, bytes) and message[0] == 1))
        assert str(editor) == "hello"


def test_a_mounted_application_has_its_endpoints_where_it_is_mounted(host: Server) -> None:
    with connect(host.port, "/mounted/ws/document/a/b?user_id=alice") as wire:
        assert wire.read_message()["session"]["document_id"] == "a/b"


def test_its_own_websockets_keep_their_options_beside_ours(host: Server) -> None:
    with connect(host.port, "/ws/document/beside", "collab.binary") as ours, connect(host.port, "/echo") as theirs:
        ours.read_until(is_step1)
        theirs.send(client_frame(TEXT, b"x" * 1500))
        assert theirs.read_frame() == Frame(TEXT, b"x" * 1500)
        ours.send(client_frame(BINARY, b"x" * 1001))
        assert ours.read_closed().code == 1009
        assert theirs.read_frame() == Frame(PING, b"")
        theirs.send(client_frame(TEXT, b"still here"))
        assert theirs.read_frame() == Frame(TEXT, b"still here")
        theirs.goodbye()
        assert theirs.read_frame().opcode == CLOSE


@pytest.mark.parametrize(
    ("path", "offered", "chosen"),
    [("/echo", "parrot", "parrot"), ("/echo", "yjs", None), ("/yjs/doc", "parrot", None), ("/yjs/doc", "yjs", "yjs")],
)
def test_subprotocols_are_each_routes_own(host: Server, path: str, offered: str, chosen: str | None) -> None:
    answer = ask(host.port, request(path, offered))
    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == chosen


def test_extensions_are_still_agreed_on_by_its_own_websockets(host: Server) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    assert "sec-websocket-extensions" in ask(host.port, request("/echo", headers=offer)).headers
    assert "sec-websocket-extensions" not in ask(host.port, request("/yjs/doc", headers=offer)).headers


def test_its_own_pages_and_errors_stay_as_they_were(host: Server) -> None:
    plain: dict[str, str | None] = {"Upgrade": None, "Connection": None}
    assert ask(host.port, request("/", headers=plain)).body == b"welcome"
    assert ask(host.port, request("/nowhere", headers=plain))[::2] == (404, b"are you lost?")
    gone = ask(host.port, request("/gone", headers=plain))
    assert (gone.status, gone.headers["content-type"]) == (410, "text/html; charset=utf-8")
    assert ask(host.port, request("/yjs/doc", headers=plain)).error["code"] == "upgrade_required"
    assert ask(host.port, request("/ws/document/%00")).error["code"] == "bad_document_id"


# ---- the extension itself, in this process


def hub_of(app: Flask) -> Hub:
    """The state that the extension keeps for an application."""
    hub = app.extensions["collab"]
    assert isinstance(hub, Hub)
    return hub


def test_the_state_is_in_the_application_and_nothing_is_on_the_extension() -> None:
    app = Flask(__name__)
    collab = Collab(app)
    assert hub_of(app).rooms == {}
    assert not hasattr(collab, "app")
    alive = weakref.ref(app)
    del app
    gc.collect()
    assert alive() is None, "the extension keeps an application alive"


def test_one_extension_serves_several_applications_apart_from_each_other() -> None:
    collab, one, other = Collab(), Flask("one"), Flask("other")
    one.config["COLLAB_SEND_QUEUE"] = 7
    collab.init_app(one)
    collab.init_app(other)
    assert hub_of(one) is not hub_of(other)
    assert hub_of(one).settings.send_queue == 7
    assert hub_of(other).settings.send_queue == 512
    hub_of(one).stopping = True
    headers = {name: value for name, value in HANDSHAKE.items() if name != "Sec-WebSocket-Key"}
    assert one.test_client().get("/yjs/doc", headers=HANDSHAKE).status_code == 503
    assert other.test_client().get("/yjs/doc", headers=headers).status_code == 400


def test_a_setting_of_the_application_goes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_SEND_QUEUE", "3")
    monkeypatch.setenv("COLLAB_PING_INTERVAL", "4.5")
    app = Flask(__name__)
    app.config["COLLAB_SEND_QUEUE"] = 7
    Collab(app)
    settings = hub_of(app).settings
    assert (settings.send_queue, settings.ping_interval, settings.idle_timeout) == (7, 4.5, 300.0)


def test_settings_are_frozen_when_the_application_is_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask(__name__)
    Collab(app)
    app.config["COLLAB_SEND_QUEUE"] = 7
    monkeypatch.setenv("COLLAB_SEND_QUEUE", "8")
    settings = hub_of(app).settings
    assert settings.send_queue == 512
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.send_queue = 9  # type: ignore[misc]


def test_a_setting_that_cannot_work_is_named_when_the_application_is_extended() -> None:
    app = Flask(__name__)
    app.config["COLLAB_SEND_QUEUE"] = "many"
    with pytest.raises(ConfigError, match="COLLAB_SEND_QUEUE"):
        Collab(app)


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def upgrade(app: Flask) -> None:
    """An upgrade on a socket in this process, as if werkzeug's server had brought it."""
    app.testing = True
    ours, theirs = socket.socketpair()
    others = set(threading.enumerate())
    try:
        app.test_client().get("/yjs/doc", headers=HANDSHAKE, environ_overrides={"werkzeug.socket": ours})
    finally:
        theirs.close()
        for thread in set(threading.enumerate()) - others:  # a reader of simple-websocket's, should it have got so far
            thread.join(TIMEOUT)
        ours.close()


@pytest.mark.parametrize("options", [{}, {"ping_interval": 25}])
def test_options_that_are_replaced_afterwards_are_an_error_that_says_so(options: dict[str, Any]) -> None:
    app = Flask(__name__)
    Collab(app)
    app.config["SOCK_SERVER_OPTIONS"] = options
    with pytest.raises(RuntimeError, match="SOCK_SERVER_OPTIONS"):
        upgrade(app)
    assert not hub_of(app).connections


def test_options_may_be_changed_afterwards_as_long_as_they_are_not_replaced() -> None:
    app = Flask(__name__)
    own = {"ping_interval": 25}
    app.config["SOCK_SERVER_OPTIONS"] = own
    Collab(app)
    options = app.config["SOCK_SERVER_OPTIONS"]
    options["max_message_size"] = 5
    del options["ping_interval"]
    assert dict(options) == own == {"max_message_size": 5}
    with app.test_request_context("/"):
        assert dict(options) == {"max_message_size": 5}


# As the README has it, but for the signal by which tests stop a server.
PYWSGI = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from gevent.pywsgi import WSGIServer
sys.path.insert(0, sys.argv[1])
from their_app import app

server = WSGIServer(("127.0.0.1", int(sys.argv[2])), app)

def stop():
    app.extensions["collab"].stop()
    server.stop(timeout=1)

gevent.signal_handler(2, stop)
server.serve_forever()
"""


@pytest.mark.parametrize("host", ["gunicorn with the hooks", "pywsgi"])
def test_whatever_serves_it_an_application_is_warned_of_what_cannot_be_meant(
    tmp_path: Path, serve: Serve, host: str
) -> None:
    own = """
from flask import Flask
from collab import Collab

app = Flask(__name__)
app.config.update(COLLAB_ADMIN_TOKEN="a-token-of-the-tests")

@app.get("/metrics")
def numbers():
    return "mine"

Collab(app)

@app.get("/admin")
def office():
    return "mine"

@app.get("/elsewhere")
def elsewhere():
    return "mine"
"""
    (tmp_path / "their_app.py").write_text(own)
    command = [*UNDER_GUNICORN, "--chdir", str(tmp_path), "--bind", "127.0.0.1:{port}", "their_app:app"]
    if host == "pywsgi":
        command = [sys.executable, "-c", PYWSGI, str(tmp_path), "{port}"]
    server = serve(command, COLLAB_TRUSTED_PROXIES="127.0.0.1")
    brought = request("/yjs/doc", headers={"Host": "docs.example.org", "X-Forwarded-For": "192.0.2.1"})
    assert ask(server.port, brought).status == 101
    output = server.wait_output("/admin is the application's own (endpoint office) and collab's as well")
    assert "/metrics is the application's own (endpoint numbers) and collab's as well" in output
    assert output.count("is the application's own") == 2
    assert output.count("one of COLLAB_TRUSTED_PROXIES, can come in as anybody") == 1


def test_whatever_serves_it_nobody_on_another_machine_is_believed() -> None:
    app = Flask(__name__)
    Collab(app)
    for path, headers in (("/yjs/doc", HANDSHAKE), ("/hocuspocus", HANDSHAKE), ("/api/document?id=doc", {})):
        answer = app.test_client().get(path, headers=headers, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
        assert answer.status_code == 403
        assert answer.json and "COLLAB_AUTH=jwt" in answer.json["error"]["message"]
    assert not hub_of(app).connections
