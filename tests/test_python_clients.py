"""Python clients of others' making: pycrdt's own provider, and plain y-websocket messages over `websockets`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pycrdt
from processes import Server
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect as connect_sync
from wire import TIMEOUT
from ydocs import Editor, step1, step2, update, yjs_awareness

SYNC = 0
# With a bounded queue this library does not see the answer to its close behind messages that nobody has read.
OPTIONS: dict[str, Any] = {"proxy": None, "max_queue": None}


class WebSocketChannel(pycrdt.Channel):
    """What pycrdt's provider sends and receives through."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    @property
    def path(self) -> str:
        assert self._websocket.request is not None
        return self._websocket.request.path

    async def __anext__(self) -> bytes:
        return await self.recv()

    async def send(self, message: bytes) -> None:
        await self._websocket.send(message)

    async def recv(self) -> bytes:
        message = await self._websocket.recv(decode=False)
        assert isinstance(message, bytes)
        return message


class Writer:
    """A document that a provider keeps in step with the server's."""

    def __init__(self) -> None:
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("text", type=pycrdt.Text)
        self._changed = asyncio.Event()
        self.text.observe(lambda event: self._changed.set())

    async def connect(self, stack: AsyncExitStack, url: str) -> None:
        """Connect until `stack` is closed; returns when the document is synced."""
        websocket = await stack.enter_async_context(connect_async(url, **OPTIONS))
        stack.push_async_callback(end, websocket)
        provider = await stack.enter_async_context(pycrdt.Provider(self.doc, WebSocketChannel(websocket)))
        await provider.synced.wait()

    async def read_until(self, wanted: Callable[[str], bool]) -> None:
        """Wait until the text is as `wanted`."""
        while not wanted(str(self.text)):
            self._changed.clear()
            await self._changed.wait()


async def end(websocket: ClientConnection) -> None:
    """Close, which the server must answer."""
    await websocket.close()
    assert websocket.close_code == 1000


def run(play: Coroutine[Any, Any, None]) -> None:
    """Run a test that waits."""
    asyncio.run(asyncio.wait_for(play, TIMEOUT))


def test_pycrdts_providers_converge_and_a_late_one_catches_up(server: Server) -> None:
    async def play() -> None:
        url = server.url("/yjs/pycrdt%20provider/1")
        async with AsyncExitStack() as stack:
            alice, bob, late = Writer(), Writer(), Writer()
            alice.text += "written before there was a connection; "
            await alice.connect(stack, url)
            await bob.connect(stack, url)
            await bob.read_until(lambda text: text == "written before there was a connection; ")
            alice.text += "naïve 🦀; "
            bob.text += "👩‍👩‍👧; "
            for writer in (alice, bob):
                await writer.read_until(lambda text: "🦀" in text and "👩‍👩‍👧" in text)
            await late.connect(stack, url)
            assert str(late.text) == str(alice.text) == str(bob.text)
            del late.text[0 : len("written before there was a connection; ")]
            for writer in (alice, bob):
                await writer.read_until(lambda text: "written" not in text)
            assert str(alice.text) == str(bob.text) == str(late.text)

    run(play())


def test_what_a_provider_wrote_while_it_was_away_reaches_the_others(server: Server) -> None:
    async def play() -> None:
        url = server.url("/yjs/away")
        async with AsyncExitStack() as stack:
            alice, bob = Writer(), Writer()
            await bob.connect(stack, url)
            async with AsyncExitStack() as first:
                await alice.connect(first, url)
                alice.text += "a"
                await bob.read_until(lambda text: text == "a")
            alice.text += "b"
            bob.text += "B"
            await alice.connect(stack, url)
            for writer in (alice, bob):
                await writer.read_until(lambda text: sorted(text) == ["B", "a", "b"])
            assert str(alice.text) == str(bob.text)

    run(play())


class PlainClient:
    """A y-websocket client by hand."""

    def __init__(self, stack: ExitStack, url: str) -> None:
        self.editor = Editor()
        self.states: list[bytes] = []
        self.websocket = stack.enter_context(connect_sync(url, **OPTIONS))
        stack.callback(self.end)
        self.websocket.send(step1())

    def end(self) -> None:
        """Close, which the server must answer."""
        self.websocket.close()
        assert self.websocket.close_code == 1000

    def type(self, text: str) -> None:
        """Append `text`."""
        self.websocket.send(update(self.editor.type(text)))

    def type_often(self, word: str, times: int) -> None:
        """Type a word again and again."""
        for _ in range(times):
            self.type(word + " ")

    def read_until(self, wanted: Callable[[PlainClient], bool]) -> None:
        """Read messages until this client is as `wanted`, answering the server's questions."""
        while not wanted(self):
            message = self.websocket.recv(TIMEOUT, decode=False)
            if message[:2] == bytes((SYNC, 0)):
                self.websocket.send(step2(self.editor.doc.get_update()))
            elif message[0] == SYNC:
                self.editor.read(message)
            else:
                self.states.append(message)


def test_plain_websockets_clients_converge_and_a_late_one_catches_up(server: Server) -> None:
    url = server.url("/yjs/plain")
    with ExitStack() as stack:
        alice, bob = PlainClient(stack, url), PlainClient(stack, url)
        alice.type("alice ")
        bob.type("bob ")
        for client in (alice, bob):
            client.read_until(lambda client: sorted(str(client.editor).split()) == ["alice", "bob"])
        assert str(alice.editor) == str(bob.editor)
        late = PlainClient(stack, url)
        late.read_until(lambda client: str(client.editor) == str(alice.editor))
        late.type("late")
        for client in (alice, bob):
            client.read_until(lambda client: "late" in str(client.editor))
        assert str(alice.editor) == str(bob.editor) == str(late.editor)


def test_presence_reaches_plain_clients_and_goes_with_them(server: Server) -> None:
    url = server.url("/yjs/presence-of-plain-clients")
    here, gone = yjs_awareness(7, 1, '{"name":"alice"}'), yjs_awareness(7, 1, "null")
    with ExitStack() as stack:
        bob = PlainClient(stack, url)
        with ExitStack() as inner:
            alice = PlainClient(inner, url)
            alice.websocket.send(here)
            bob.read_until(lambda client: here in client.states)
            late = PlainClient(stack, url)
            late.read_until(lambda client: here in client.states)
        for client in (bob, late):
            client.read_until(lambda client: gone in client.states)


def test_what_many_threads_write_at_once_is_all_kept(server: Server) -> None:
    url = server.url("/yjs/many")
    words = [f"w{number}" for number in range(8)]
    with ExitStack() as stack:
        clients = [PlainClient(stack, url) for _ in words]
        with ThreadPoolExecutor(len(words)) as threads:
            list(threads.map(PlainClient.type_often, clients, words, [20] * len(words)))
        for client in clients:
            client.read_until(lambda client: len(str(client.editor).split()) == 20 * len(words))
        assert len({str(client.editor) for client in clients}) == 1
        assert sorted(str(clients[0].editor).split()) == sorted(words * 20)
