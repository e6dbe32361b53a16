"""Ten thousand hostile connections: the server serves on, with level memory, and every refusal is counted."""

from __future__ import annotations

import ast
import contextlib
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from processes import Serve, Server
from test_hostile import COUNT_BOMB
from wire import BINARY, CLOSE, PING, TEXT, Ended, Wire, client_frame, connect, is_step1, request
from ydocs import Editor, step1, step2, update, yjs_awareness

from collab.protocol.lib0 import var_bytes, var_string, var_uint

CONNECTIONS = 10_000
WARM = 2_500
LEVEL = 24 * 1024 * 1024
"""Bytes by which the process may grow between the first `WARM` connections and the last."""

SECRET = "not-for-logs"
"""In tokens, queries and documents: nothing of it may be logged."""

NATIVE, YJS, HOCUSPOCUS = "/ws/document/flooded", "/yjs/flooded", "/hocuspocus"
DEEP = b"\x01\x01\x05\x00\x08\x01\x01a\x01" + b"\x75\x01" * 3_000 + b"\x7e\x00"
DOC = var_string("flooded")
EVIL = {"Origin": "https://evil.example", "Authorization": f"Bearer {SECRET}"}
TOKEN = DOC + b"\x02\x00" + var_string(SECRET)

Counts = dict[tuple[str, str], int]


class Attack(NamedTuple):
    """What one connection sends; `counts` is what the server must count for it, by metric and label."""

    counts: Counts
    upgrade: bytes
    frames: bytes = b""
    greeting: bytes = b""
    """A message that is answered before the rest is sent."""
    cut: bool = False
    """It ends in the middle of something, without a word."""


def refused(code: str, upgrade: bytes) -> Attack:
    """An upgrade that must be refused."""
    return Attack({("upgrades_refused", code): 1}, upgrade)


def message(code: str, path: str, *messages: bytes | str, times: int = 1) -> Attack:
    """Messages of which so many must be refused."""
    frames = [client_frame(TEXT, m.encode()) if isinstance(m, str) else client_frame(BINARY, m) for m in messages]
    return Attack({("refused", code): times}, request(path), b"".join(frames))


def broken(close_code: int, *frames: bytes, path: str = YJS) -> Attack:
    """Frames at which the stream is given up."""
    return Attack({("refused", "bad_frame"): 1, ("closed", str(close_code)): 1}, request(path), b"".join(frames))


ATTACKS = [
    refused("upgrade_required", b"GET /yjs/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("upgrade_required", request(YJS, headers={"Sec-WebSocket-Version": "12"})),
    refused("bad_handshake", request(YJS, headers={"Sec-WebSocket-Key": "short"})),
    refused("bad_document_id", request("/yjs/%00")),
    refused("bad_document_id", request("/yjs/" + "x" * 256)),
    refused("bad_document_id", request("/ws/document/%ff")),
    refused("bad_user", request(f"{YJS}?token={SECRET}&user_id=" + "x" * 256)),
    refused("bad_user", request(NATIVE + "?user_id=a&user_name=%01")),
    refused("bad_origin", request(YJS, headers=EVIL)),
    refused("bad_origin", request(HOCUSPOCUS, headers={"Origin": "null"})),
    message("invalid_update", YJS, update(COUNT_BOMB)),
    message("invalid_update", YJS, step2(DEEP)),
    message("invalid_update", NATIVE, update(DEEP), update(b""), times=2),
    message("invalid_update", YJS, step1(var_uint(2**53 - 1))),
    message("invalid_update", YJS, b"\x01" + var_bytes(var_uint(2**53 - 1))),
    message("invalid_message", YJS, b"\x00\x02" + b"\xff" * 9),
    message("invalid_message", YJS, b"", b"\x00", times=2),
    message("invalid_message", NATIVE, f'{{"type": "{SECRET}', "[]", '{"type":"join"}', '{"type":1}', times=4),
    message("invalid_message", NATIVE, "[" * 100_000),
    message("unknown_type", NATIVE, b"\x32"),
    message("invalid_message", NATIVE, b"\x63\x01"),
    message("too_large", NATIVE, '{"type":"x","t":"' + "x" * 1_100_000 + '"}'),
    message("too_large", YJS, yjs_awareness(5, 1, '"' + "x" * 100_000 + '"')),
    message("invalid_message", HOCUSPOCUS, b"", b"\x05", b"\xff" * 12, times=3),
    message("invalid_message", HOCUSPOCUS, var_bytes(b"\xff") + b"\x02\x00" + var_string("t")),
    message("invalid_message", HOCUSPOCUS, DOC + b"\x02\x01" + var_string("t")),
    message("unknown_type", HOCUSPOCUS, DOC + b"\x08\x01")._replace(greeting=TOKEN),
    message("invalid_update", HOCUSPOCUS, DOC + update(COUNT_BOMB))._replace(greeting=TOKEN),
    broken(1002, client_frame(BINARY, b"x", mask=None)),
    broken(1002, client_frame(BINARY, b"x", rsv=4)),
    broken(1002, client_frame(11)),
    broken(1002, client_frame(0, b"x"), path=HOCUSPOCUS),
    broken(1002, client_frame(PING, b"x" * 126), path=NATIVE),
    broken(1002, client_frame(CLOSE, b"x")),
    broken(1007, client_frame(TEXT, b"\xff"), path=NATIVE),
    broken(1009, b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask"),
    Attack({}, request(YJS), client_frame(PING) * 200),
    Attack({}, request(YJS), client_frame(BINARY, b"x" * 50)[:20], cut=True),
    Attack({}, b"GET /yjs/x HTTP/1.1\r\nHost: h\r\nUpgr", cut=True),
    Attack({}, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", cut=True),
    Attack({}, b"", cut=True),
]


class Talk:
    """Two people who go on working."""

    def __init__(self, server: Server) -> None:
        self._alice, self._bob = (connect(server.port, "/yjs/quiet") for _ in range(2))
        for wire in (self._alice, self._bob):
            wire.read_until(is_step1)
        self._mine, self._theirs = Editor(), Editor()

    def go_on(self) -> None:
        """One more word."""
        self._alice.say(update(self._mine.type(SECRET)))
        self._bob.read_until(lambda message: isinstance(message, bytes) and message[:2] == b"\x00\x02")

    def end(self) -> None:
        self._alice.sock.close()
        self._bob.sock.close()


def attack(server: Server, one: Attack) -> None:
    """Send it, and read on until the server has dealt with all of it."""
    with Wire(server.port) as wire, contextlib.suppress(Ended, ConnectionError):
        wire.send(one.upgrade)
        if one.cut:
            wire.send(one.frames)
        elif wire.read_answer().status == 101:
            if one.greeting:
                wire.say(one.greeting)
                wire.read_message()
            wire.send(one.frames + client_frame(CLOSE, b"\x03\xe8"))
            wire.read_closed()


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_flood_of_hostile_connections_leaves_the_server_serving(serve: Serve) -> None:
    rng = random.Random(7)
    server = serve(COLLAB_STORE="memory:", COLLAB_RESUME_GRACE=0)
    [worker] = server.worker_pids()
    talk, expected, warm = Talk(server), Counter[tuple[str, str]](), 0
    for number in range(CONNECTIONS):
        if number == WARM:
            warm = resident(worker)
        if number % 500 == 0:
            talk.go_on()
        one = rng.choice(ATTACKS)
        expected.update(one.counts)
        attack(server, one)
    talk.go_on()
    grown = resident(worker) - warm
    talk.end()
    assert server.stop() == 0
    assert grown < LEVEL, f"{grown} bytes more"
    assert "Traceback" not in server.output and SECRET not in server.output
    counted = ast.literal_eval(server.output.partition("counted since the start: ")[2].splitlines()[0])
    for metric in ("upgrades_refused", "refused"):
        told = {label: times for (name, label), times in expected.items() if name == metric}
        assert counted[metric] == told
    for (name, label), times in expected.items():
        if name == "closed":
            assert counted["closed"][label] == times
    for fault in ("greenlet_deaths", "hub_faults", "room_faults"):
        assert counted[fault] == 0
