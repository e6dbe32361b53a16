"""Real clients that type all the time, in a Node process of their own, and what must be true of what they typed.

Each edit of a client puts `<name>:<n>;` into the text, n counting from 1, and into the array `draft` in the place of
the edit before. A copy of a document is whole if of each client it has the edits 1 to some n, each once, and that n as
its draft.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pycrdt
from processes import Server

from collab.stores import open_store
from collab.stores.base import Store
from collab.updates import squash

HERE = Path(__file__).parent
DEADLINE = 30.0
SEED = "seed"
TOKEN = re.compile(r"(\w+):(\d+)")


class Copy(NamedTuple):
    """What somebody holds of a document."""

    text: str
    draft: list[str]

    def seeds(self) -> list[str]:
        """What it has of the texts that documents began with: `seed:<n>;`."""
        return [word for word in self.text.split(";") if word.startswith(SEED)]

    def edits(self) -> dict[str, int]:
        """How many edits of each client it has; it is whole."""
        words = self.text.split(";")
        assert words.pop() == "", f"an edit without its end: {self.text[-40:]!r}"
        found: dict[str, list[int]] = defaultdict(list)
        for word in words:
            token = TOKEN.fullmatch(word)
            assert token is not None, f"{word!r} is no edit"
            if token[1] != SEED:
                found[token[1]].append(int(token[2]))
        for name, numbers in found.items():
            twice = [number for number, count in Counter(numbers).items() if count > 1]
            assert not twice, f"twice: edits {twice} of {name}"
            missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
            assert not missing, f"missing: edits {missing} of {name}, which has {max(numbers)}"
        edits = {name: len(numbers) for name, numbers in found.items()}
        assert sorted(self.draft) == sorted(f"{name}:{edit}" for name, edit in edits.items()), "an edit came in halves"
        return edits


@contextmanager
def at_rest(url: str) -> Iterator[Store]:
    """The store that a server left, to be read.

    Of SQLite it is a copy of the files: whoever opens those themselves takes the server's recovery from it.
    """
    with tempfile.TemporaryDirectory() as folder:
        if url.startswith("sqlite:///"):
            file = Path(url.removeprefix("sqlite:///"))
            for part in file.parent.glob(f"{file.name}*"):
                if not part.name.endswith("-shm"):
                    shutil.copy(part, folder)
            url = f"sqlite:///{folder}/{file.name}"
        store = open_store(url)
        try:
            yield store
        finally:
            store.close()


def read_copy(store: Store, room: str) -> Copy:
    """What a store has of a document."""
    loaded, doc = store.load(room), pycrdt.Doc[Any]()
    text, draft = doc.get("text", type=pycrdt.Text), doc.get("draft", type=pycrdt.Array)
    if loaded is not None:
        doc.apply_update(squash(loaded.updates))
    return Copy(str(text), list(draft))


class Typists:
    """The clients, in `typists.mjs`.

    Args:
        node: where Node is.
        seed: of their random choices.
        calm: whether they type about once a second, and take as long to come back as their providers do by themselves.

    Attributes:
        rooms: the document of each that types.
        kinds: what each of them is.
        acked: up to which of its edits each was told that they are stored.
        up: who is connected.
        synced: who has been brought up to date at least once.
        resumed: how often each has gone on with its session.
        epochs: those that each native client was told of.
        refused: what each was told when something of it was not taken.
        closes: the codes with which connections of each were closed.
    """

    def __init__(self, node: str, seed: int, calm: bool = False) -> None:
        self.seed = seed
        self.calm = calm
        self.rooms: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.acked: Counter[str] = Counter()
        self.up: set[str] = set()
        self.synced: set[str] = set()
        self.resumed: Counter[str] = Counter()
        self.epochs: dict[str, list[str]] = defaultdict(list)
        self.refused: dict[str, list[str]] = defaultdict(list)
        self.closes: dict[str, list[int]] = defaultdict(list)
        self._answers: dict[int, Any] = {}
        self._asked = 0
        self._output = ""
        self._ended = False
        self._more = threading.Condition()
        self._process = subprocess.Popen(
            [node, "typists.mjs", str(seed)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # ---- what they do

    def join(self, server: Server, room: str, mute: bool = False, **kinds: str) -> None:
        """Let clients come to a document; kinds are `native` or a version of y-websocket or Hocuspocus, by name."""
        for name, kind in kinds.items():
            if not mute:
                self.rooms[name], self.kinds[name] = room, kind
            self.ask("join", name=name, kind=kind, room=room, base=server.url("/"), mute=mute, calm=self.calm)

    def type(self) -> None:
        """Let all of them type from here on."""
        self.ask("type", on=True)

    def pause(self) -> dict[str, int]:
        """Stop typing; how many edits each has made."""
        self.ask("type", on=False)
        return self.typed()

    def typed(self) -> dict[str, int]:
        """How many edits each has made."""
        typed: dict[str, int] = self.ask("typed")
        return {name: typed[name] for name in typed.keys() & self.rooms.keys()}

    def cut(self, name: str) -> None:
        """Let a native client lose its connection; return when it has gone on with its session."""
        before = self.resumed[name]
        self.ask("cut", name=name)
        self.wait(f"{name} goes on", lambda: self.resumed[name] > before)

    def hear_more(self) -> None:
        """Return when everybody has heard of edits that everybody else has made after this was called."""
        self.ask("more")

    def finish(self) -> dict[str, Copy]:
        """Stop typing, wait until all is stored and all hold the same; that, by room, which is all that was typed."""
        typed = self.pause()
        self.wait(f"{typed} are stored", lambda: all(self.acked[name] == edits for name, edits in typed.items()))
        held = {room: Copy(copy["text"], copy["draft"]) for room, copy in self.ask("converge").items()}
        for room, copy in held.items():
            assert self.those_of(room, copy.edits()) == self.those_of(room, typed)
        return held

    def those_of(self, room: str, edits: Mapping[str, int]) -> dict[str, int]:
        """Of edits by client, those in one document."""
        return {name: edits[name] for name in sorted(edits) if self.rooms.get(name) == room and edits[name]}

    def check_store(self, url: str, least: Mapping[str, int]) -> dict[str, Copy]:
        """What the store has of each document, which is whole, and nothing less than `least`."""
        with at_rest(url) as store:
            kept = {room: read_copy(store, room) for room in sorted(set(self.rooms.values()))}
        for room, copy in kept.items():
            edits = copy.edits()
            for name, edit in self.those_of(room, least).items():
                assert edits.get(name, 0) >= edit, (
                    f"lost: of edits 1 to {edit} of {name}, those after {edits.get(name)}"
                )
        return kept

    # ---- talking to them

    def ask(self, command: str, **words: object) -> Any:
        """What they answer to a command."""
        assert self._process.stdin is not None
        self._asked += 1
        number = self._asked
        with suppress(BrokenPipeError):  # they have ended, and why is said below
            self._process.stdin.write(json.dumps({"id": number, "command": command, **words}) + "\n")
            self._process.stdin.flush()
        self.wait(f"they answer {command}", lambda: number in self._answers)
        return self._answers.pop(number)

    def wait(self, what: str, holds: Callable[[], object], timeout: float = DEADLINE) -> None:
        """Return when `holds`, which is looked at whenever they say something."""
        with self._more:
            found = self._more.wait_for(lambda: self._ended or holds(), timeout)
            assert found and not self._ended, f"in vain until {what}: {self.describe()}"

    def let_pass(self, seconds: float) -> None:
        """Return after so many seconds, unless they end, which they must not."""
        with self._more:
            self._more.wait_for(lambda: self._ended, seconds)
            assert not self._ended, self.describe()

    def wait_up(self, *names: str) -> None:
        """Return when they are connected."""
        self.wait(f"{names} are connected", lambda: self.up.issuperset(names))

    def wait_synced(self, name: str) -> None:
        """Return when a client has been brought up to date."""
        self.wait(f"{name} is synced", lambda: name in self.synced)

    def wait_closed(self, name: str, code: int) -> None:
        """Return when a connection of a client has been closed with this code."""
        self.wait(f"{name} is closed with {code}", lambda: code in self.closes[name])

    def wait_stored(self, edits: int) -> None:
        """Return when they were told that so many edits are stored, of all together."""
        self.wait(f"{edits} edits are stored", lambda: self.stored >= edits)

    def wait_away(self) -> None:
        """Return when nobody is connected, and so all is known that anybody was told."""
        self.wait("nobody is connected", lambda: not self.up)

    @property
    def stored(self) -> int:
        """How many edits they were told are stored, of all together."""
        return self.acked.total()

    def describe(self) -> str:
        return f"seed {self.seed}, connected {sorted(self.up)}, told of as stored {dict(self.acked)}\n{self._output}"

    def end(self) -> None:
        """End the process, by pid."""
        self._process.kill()
        self._process.wait()
        self._reader.join(DEADLINE)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                try:
                    self._take(json.loads(line))
                except ValueError:  # what Node says of an error
                    self._output += line
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _take(self, event: dict[str, Any]) -> None:
        match event:
            case {"id": number, "answer": answer}:
                self._answers[number] = answer
            case {"acked": name, "edit": edit}:
                self.acked[name] = edit
            case {"up": name, "resumed": resumed, "epoch": epoch}:
                self.up.add(name)
                self.resumed[name] += resumed
                self.epochs[name].append(epoch)
            case {"up": name}:
                self.up.add(name)
            case {"down": name}:
                self.up.discard(name)
                if event.get("code") is not None:
                    self.closes[name].append(event["code"])
            case {"synced": name}:
                self.synced.add(name)
            case {"refused": name, "why": why}:
                self.refused[name].append(why)
