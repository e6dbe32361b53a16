"""The test kit: a hub in this process, clients on real sockets, and a loop that can be waited for.

    with stage(max_message_size=1024) as hub:
        alice = hub.native("doc", user="alice")
        bob = hub.yjs("doc")
        alice.send(update_frame)
        settle()
        assert bob.received() == [...]

Nothing here sleeps: `settle` returns when no greenlet can run and no byte is under way. Time is passed by calling
`hub.tick(at)` and `hub.clean_up(at)` with any `at`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import gevent
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from collab.archive import Seed
from collab.auth import NOTHING
from collab.config import Settings
from collab.connection import Connection
from collab.hub import Hub
from collab.identity import Credentials, User
from collab.metrics import Metrics
from collab.protocol.dialect import Dialect
from collab.protocol.frames import BINARY, CLOSE, PING, PONG, TEXT
from collab.protocol.lib0 import read_var_string, var_bytes, var_string
from collab.protocol.native import NATIVE
from collab.protocol.ywebsocket import YWEBSOCKET
from collab.shared import Shared
from collab.solo import Arrival, Solo
from collab.stores.base import Store
from collab.stores.memory import MemoryStore


def settle() -> None:
    """Return when nothing in this process can go on by itself: no greenlet can run, no byte is under way."""
    for _ in range(3):
        gevent.idle()


def mask_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """One client frame, masked, as an independent implementation writes it."""
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True)


class Closed(NamedTuple):
    """A close frame that was received."""

    code: int
    reason: str


class Client:
    """The client's end of a connection, past the handshake: raw frames out, messages in.

    Args:
        sock: connected and non-blocking.
        connection: the server's end, where that is in this process.
    """

    def __init__(self, sock: socket.socket, connection: Connection | None = None) -> None:
        self.sock = sock
        self._connection = connection
        self.ended = False
        self._reader = StreamReader()
        self._parser: Generator[None, None, Frame] | None = None  # of the frame that is coming in

    @property
    def connection(self) -> Solo:
        """The server's end, where that is in this process."""
        assert isinstance(self._connection, Solo)
        return self._connection

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            BlockingIOError: the server does not read them.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                settle()
                rest = rest[self.sock.send(rest) :]

    def send(self, message: bytes | str | dict[str, Any]) -> None:
        """Send one message: bytes as binary, text as text, a dict as JSON."""
        if isinstance(message, dict):
            message = json.dumps(message)
        if isinstance(message, str):
            self.send_raw(mask_frame(TEXT, message.encode()))
        else:
            self.send_raw(mask_frame(BINARY, message))

    def close(self) -> None:
        """Say goodbye and go."""
        with contextlib.suppress(OSError):  # the server was faster, or does not read
            self.sock.send(mask_frame(CLOSE, b""))
        self.sock.close()

    def vanish(self) -> None:
        """Go without a word, as who loses the network."""
        self.sock.close()

    def received(self) -> list[Any]:
        """All that has come since the last call: bytes, JSON values, `Closed`; pings and pongs left out."""
        return [message for opcode, message in self.frames() if opcode not in (PING, PONG)]

    def frames(self, most: int = 1 << 30) -> list[tuple[int, Any]]:
        """As `received`, with opcodes, pings and pongs. At most about `most` bytes are read from the socket."""
        out = []
        while most > 0 and not self.ended:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            most -= len(data)
            self.ended = not data
            self._reader.feed_data(data)
        while frame := self._frame():
            out.append((int(frame.opcode), _meaning(frame)))
        return out

    def _frame(self) -> Frame | None:
        self._parser = self._parser or Frame.parse(self._reader.read_exact, mask=False)
        try:
            next(self._parser)
        except StopIteration as done:
            self._parser = None
            frame: Frame = done.value
            return frame
        return None


class SharedClient(Client):
    """A Hocuspocus client's end: any number of documents, each message behind the address that it is about.

    What is said and heard here are the messages without it. `step1`, updates and presence are those of y-websocket.
    """

    def __init__(self, sock: socket.socket, connection: Shared) -> None:
        super().__init__(sock, connection)
        self.shared = connection
        self._heard: list[tuple[str, bytes]] = []
        self.closed: Closed | None = None

    def say(self, address: str, *messages: bytes) -> None:
        """Send messages about `address`, all in one write."""
        self.send_raw(b"".join(mask_frame(BINARY, var_string(address) + message) for message in messages))

    def ask(
        self, address: str, token: str | None = "", *, version: str | None = None, state_vector: bytes = b"\0"
    ) -> None:
        """Want into a document as the provider does: show a token, unless that is None, and say what there is here."""
        self.say(address, *([] if token is None else [self.auth(token, version)]), b"\0\0" + var_bytes(state_vector))

    def join(self, address: str, token: str | None = "", *, version: str | None = None) -> list[bytes]:
        """`ask`, and what that is answered with once nothing is under way any more."""
        self.ask(address, token, version=version)
        settle()
        return self.heard(address)

    @staticmethod
    def auth(token: str, version: str | None = None) -> bytes:
        """The message that shows a token; from version 4 on the provider adds its own."""
        return b"\2\0" + var_string(token) + (b"" if version is None else var_string(version))

    @staticmethod
    def stateless(text: str) -> bytes:
        """The message, both ways, that is a client's own."""
        return b"\5" + var_string(text)

    def heard(self, address: str) -> list[bytes]:
        """All that has come about `address` since the last call; what is about others stays."""
        self.keep()
        mine = [message for about, message in self._heard if about == address]
        self._heard = [letter for letter in self._heard if letter[0] != address]
        return mine

    def keep(self) -> None:
        """Take what has come, for `heard` and `closed`."""
        for message in self.received():
            if isinstance(message, Closed):
                self.closed = message
            else:
                about, at = read_var_string(message, 0)
                self._heard.append((about, message[at:]))


def _meaning(frame: Frame) -> Any:
    if frame.opcode == TEXT:
        return json.loads(bytes(frame.data))
    if frame.opcode == CLOSE:
        return Closed(int.from_bytes(frame.data[:2], "big"), bytes(frame.data[2:]).decode())
    return bytes(frame.data)


class Stage(Hub):
    """A hub whose clients are in the same process."""

    def __init__(self, settings: Settings, store: Store, seed_text: Seed | None = None) -> None:
        super().__init__(settings, store, Metrics(), seed_text)
        self.clients: list[Client] = []

    def connect(
        self, dialect: Dialect, document_id: str, user: str = "", name: str = "", session_id: str | None = None
    ) -> Client:
        """Open a session; returns when it has been welcomed. Without `user` it is anonymous."""
        who = User(user or f"anonymous-{os.urandom(4).hex()}", name or user or "Anonymous", anonymous=not user)
        return self.admit(Arrival(dialect, document_id, who, NOTHING, session_id))

    def admit(self, arrival: Arrival) -> Client:
        """Open a session for whoever has been let in."""
        ours, theirs = socket.socketpair()
        connection = self.open(ours.detach(), "", arrival)
        theirs.setblocking(False)
        client = Client(theirs, connection)
        self.clients.append(client)
        settle()
        return client

    def native(
        self,
        document_id: str,
        user: str = "",
        *,
        binary: bool = False,
        json_presence: bool = False,
        session_id: str | None = None,
    ) -> Client:
        """A native client; `session_id` is that of a session that it wants to go on with."""
        return self.connect(NATIVE[binary, json_presence], document_id, user, session_id=session_id)

    def yjs(self, document_id: str, user: str = "") -> Client:
        """A y-websocket client."""
        return self.connect(YWEBSOCKET, document_id, user)

    def hocuspocus(self, user: str = "", token: str | None = None) -> SharedClient:
        """A Hocuspocus client in no document yet, with what it had to show at the handshake."""
        ours, theirs = socket.socketpair()
        query = {"QUERY_STRING": urlencode({"user_id": user})}
        connection = self.open_shared(ours.detach(), "", Credentials(token, query))
        theirs.setblocking(False)
        client = SharedClient(theirs, connection)
        self.clients.append(client)
        settle()
        return client


@contextmanager
def stage(store: Store | None = None, *, seed_text: Seed | None = None, **settings: Any) -> Iterator[Stage]:
    """A hub with these settings; at the end it is stopped, and must have let go of everything.

    Args:
        store: where documents are kept; memory by default.
        seed_text: what new documents begin with.
        settings: fields of `Settings`.

    Raises:
        AssertionError: connections or greenlets are left, or a greenlet has died of an error.
    """
    hub = Stage(Settings(**settings), store or MemoryStore(), seed_text)
    hub.start()
    try:
        yield hub
    finally:
        for client in hub.clients:
            client.close()
        settle()
        hub.stop()
        settle()
    assert not len(hub.crew), f"greenlets are left: {hub.crew.names()}"
    assert not hub.connections, f"connections are left: {hub.connections}"
    for fault in ("greenlet_deaths", "hub_faults", "room_faults"):
        assert not hub.metrics.snapshot()[fault], f"{fault}: see the log"
