"""The same round trip on every host that can serve the application, each in a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from processes import SERVE, Server
from wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, Wire, ask, client_frame, connect, is_event, is_step1, request
from ydocs import Editor, step1, update, yjs_awareness

# What the README tells the users of these hosts to run.
PYWSGI = """
from gevent import monkey; monkey.patch_all()
import signal, sys, gevent
from gevent.pywsgi import WSGIServer
from collab import create_app

app = create_app()
server = WSGIServer(("127.0.0.1", int(sys.argv[1])), app)

def stop():
    app.extensions["collab"].stop()
    server.stop(timeout=1)

gevent.signal_handler(signal.SIGTERM, stop)
server.serve_forever()
"""
GEVENT_WEBSOCKET = PYWSGI.replace(", app)\n", ", app, handler_class=WebSocketHandler)\n").replace(
    "from collab", "from geventwebsocket.handler import WebSocketHandler\nfrom collab"
)
# gevent-websocket answers the handshake before it asks the application, which can neither refuse it nor choose a
# subprotocol any more.
ANSWERS_FIRST = "gevent-websocket"
HOSTS = {
    "gunicorn": SERVE,
    "pywsgi": [sys.executable, "-c", PYWSGI, "{port}"],
    ANSWERS_FIRST: [sys.executable, "-c", GEVENT_WEBSOCKET, "{port}"],
}


class Host(Server):
    """A server process on one of the hosts."""

    def __init__(self, name: str) -> None:
        super().__init__(HOSTS[name], {})
        self.answers_first = name == ANSWERS_FIRST


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    running = Host(request.param)
    running.wait_ready()
    yield running
    if running.process.poll() is None:
        running.stop()


def test_a_native_and_a_yjs_client_share_a_document(host: Host) -> None:
    alice, bob = Editor(native=True), Editor()
    with (
        connect(host.port, "/ws/document/shared?user_id=alice") as native,
        connect(host.port, "/yjs/shared?user_id=bob") as yjs,
    ):
        assert native.read_until(is_event("join"))["user"]["id"] == "bob"
        native.say(update(alice.type("hello ")))
        bob.read(yjs.read_until(lambda message: message[:2] == b"\0\2"))
        yjs.say(update(bob.type("world")))
        alice.read(native.read_until(lambda message: isinstance(message, bytes) and message[0] == 1))
        while str(alice) != "hello world":
            alice.read(native.read_until(lambda message: isinstance(message, bytes) and message[0] == 1))
        assert str(bob) == "hello world"


def test_presence_goes_both_ways(host: Host) -> None:
    with (
        connect(host.port, "/ws/document/presence?user_id=alice&awareness=json") as native,
        connect(host.port, "/yjs/presence?user_id=bob") as yjs,
    ):
        yjs.say(yjs_awareness(7, 1, '{"name":"bob"}'))
        assert native.read_until(is_event("awareness"))["awareness"] == {"7": {"name": "bob"}}
        native.say({"type": "awareness", "cursor": {"line": 42, "column": 15}})
        yjs.read_until(lambda message: message[:1] == b"\1" and b'"line":42' in message)
    with connect(host.port, "/ws/document/presence") as late:
        assert late.read_message()["awareness"] == {}


def test_a_large_document_arrives_whole(host: Host) -> None:
    text = "x" * 3_000_000
    with connect(host.port, "/yjs/large") as writer, connect(host.port, "/yjs/large") as reader:
        writer.say(update(Editor().type(text)))
        other = Editor()
        other.read(reader.read_until(lambda message: message[:2] == b"\0\2"))
        assert str(other) == text
        late = Editor()
        reader.say(step1())
        late.read(reader.read_until(lambda message: message[:2] == b"\0\1"))
        assert str(late) == text


def test_pings_are_answered_and_a_close_is_followed_by_the_end(host: Host) -> None:
    with connect(host.port, "/ws/document/end?user_id=alice") as watcher:
        watcher.read_until(is_step1)
        for path in ("/ws/document/end?user_id=bob", "/yjs/end?user_id=bob"):
            with connect(host.port, path) as wire:
                wire.read_until(is_step1)
                wire.send(client_frame(PING, b"hello"))
                assert wire.read_frame() == Frame(PONG, b"hello")
                wire.goodbye(1000)
                assert wire.read_frame() == Frame(CLOSE, b"\x03\xe8")
                wire.read_end()
            assert watcher.read_until(is_event("leave"))["user"]["id"] == "bob"


def test_a_client_that_breaks_the_protocol_is_told_so_and_let_go(host: Host) -> None:
    with connect(host.port, "/yjs/broken") as wire:
        wire.send(client_frame(PING, mask=None))
        assert wire.read_closed().code == 1002
        wire.read_end()


def test_a_handshake_may_be_refused(host: Host) -> None:
    plain = request("/yjs/doc", headers={"Upgrade": None, "Connection": None})
    answer = ask(host.port, plain)
    assert (answer.status, answer.error["code"]) == (426, "upgrade_required")
    nowhere = request("/nowhere", headers={"Upgrade": None, "Connection": None})
    assert ask(host.port, nowhere).error["code"] == "not_found"


def test_an_upgrade_that_is_refused_lets_nobody_in(host: Host) -> None:
    with Wire(host.port) as wire:
        wire.send(request("/yjs/doc%00"))
        answer = wire.read_answer()
        if host.answers_first:
            assert answer.status == 101
            assert wire.read_closed()
            wire.read_end()
        else:
            assert (answer.status, answer.error["code"]) == (400, "bad_document_id")


def test_the_dialect_of_a_subprotocol_is_spoken_and_the_subprotocol_echoed(host: Host) -> None:
    for protocol, opcode, first in (("yjs", BINARY, 0), ("collab.binary", BINARY, 12), ("other", TEXT, ord("{"))):
        with Wire(host.port) as wire:
            wire.send(request("/ws/document/doc", protocol))
            echoed = wire.read_answer().headers.get("sec-websocket-protocol")
            assert echoed == (None if host.answers_first or protocol == "other" else protocol)
            frame = wire.read_frame()
            assert (frame.opcode, frame.payload[0]) == (opcode, first)


def test_no_extension_is_agreed_on_whatever_the_host_does_with_it(host: Host) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    assert "sec-websocket-extensions" not in ask(host.port, request("/yjs/doc", headers=offer)).headers


def test_at_sigterm_everybody_is_sent_away_and_the_process_ends_cleanly(host: Host) -> None:
    paths = ("/ws/document/stop", "/yjs/stop", "/yjs/stop")
    wires = [connect(host.port, path) for path in paths]
    try:
        for wire in wires:
            wire.read_until(is_step1)
        host.process.send_signal(signal.SIGTERM)
        for wire in wires:
            assert wire.read_closed().code == 1012
            wire.goodbye(1012)
            wire.read_end()
    finally:
        for wire in wires:
            wire.sock.close()
    assert host.wait_end() == 0
    assert "Traceback" not in host.output
