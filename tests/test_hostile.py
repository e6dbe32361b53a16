"""Hostile clients: whatever they send, the others in their room and elsewhere notice nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ydocs import Editor, clocks, step1, step2, update, yjs_awareness

from collab.protocol.lib0 import var_bytes, var_uint
from collab.testing import Client, Stage, mask_frame, settle, stage

DEEP_ARRAYS = b"\x01\x01\x05\x00\x08\x01\x01a\x01" + b"\x75\x01" * 200_000 + b"\x7e\x00"
DEEP_OBJECTS = b"\x01\x01\x05\x00\x08\x01\x01a\x01" + b"\x76\x01\x00" * 100_000 + b"\x7e\x00"
COUNT_BOMB = bytes.fromhex("d38682b70101010101010101")
BIG = 2**53 - 1

UPDATES = {
    "nothing": b"",
    "count bomb": COUNT_BOMB,
    "struct count bomb": b"\x01" + var_uint(BIG) + b"\x05\x00",
    "delete set bomb": b"\x00" + var_uint(BIG),
    "deep arrays": DEEP_ARRAYS,
    "deep objects": DEEP_OBJECTS,
    "no struct": b"\x01\x01\x05\x00\x1f",
    "noise": random.Random(1).randbytes(1000),
}

MESSAGES: dict[str, bytes | str] = {
    **{f"update: {name}": update(body) for name, body in UPDATES.items()},
    **{f"step 2: {name}": step2(body) for name, body in UPDATES.items()},
    "state vector bomb": step1(var_uint(BIG)),
    "state vector cut short": step1(b"\x05\x01"),
    "length bomb": b"\x00\x02" + var_uint(BIG) + b"\x01",
    "nine-byte number": b"\x00\x02" + b"\xff" * 9,
    "awareness bomb": b"\x01" + var_bytes(var_uint(BIG)),
    "native awareness bomb": b"\x02" + var_bytes(var_uint(BIG)),
    "awareness that is no JSON": yjs_awareness(5, 1, "{"),
    "awareness that browsers cannot read": yjs_awareness(5, 1, '{"x":NaN}'),
    "deep awareness": yjs_awareness(5, 1, "[" * 10_000 + "]" * 10_000),
    "awareness with a huge clock": yjs_awareness(5, BIG, "{}"),
    "awareness too large": yjs_awareness(5, 1, '"' + "x" * 100_000 + '"'),
    "nothing": b"",
    "deep JSON": "[" * 100_000,
    "JSON with a number too long to read": '{"type":"x","n":' + "1" * 100_000 + "}",
    "lone surrogate": '{"type":"awareness","user":{"name":"\\ud800"}}',
}


def talk(hub: Stage, pairs: list[tuple[Client, Client, Editor, Editor]]) -> None:
    """Each pair exchanges one more letter, and must be equal afterwards."""
    for one, other, mine, theirs in pairs:
        one.send(update(mine.type("x")))
        settle()
        for client, editor in ((one, mine), (other, theirs)):
            for message in client.received():
                editor.read(message)
        assert str(theirs) == str(mine)
        assert theirs.clocks == mine.clocks


@contextmanager
def healthy(max_invalid: int = 100) -> Iterator[tuple[Stage, Callable[[], None]]]:
    """A hub with a healthy pair in the document "doc" and one in another, and a call that proves both."""
    with stage(max_invalid=max_invalid) as hub:
        pairs = []
        for number, name in enumerate(("doc", "other")):
            pairs.append((hub.yjs(name), hub.yjs(name), Editor(1000 + number), Editor()))
        settle()
        yield hub, lambda: talk(hub, pairs)
        talk(hub, pairs)


@pytest.mark.parametrize("dialect", ["yjs", "native"])
@pytest.mark.parametrize("name", MESSAGES)
def test_a_hostile_message_harms_nobody(name: str, dialect: str) -> None:
    with healthy() as (hub, prove):
        hostile: Client = getattr(hub, dialect)("doc")
        hostile.received()
        prove()
        hostile.received()
        before = hub.rooms["doc"].document.state_vector()
        message = MESSAGES[name]
        hostile.send(message)
        settle()
        if name.startswith(("update", "step 2")) and name != "update: noise":
            assert hub.metrics.snapshot()["refused"] == {"invalid_update": 1}
        assert hub.rooms["doc"].document.state_vector() == before
        prove()


@pytest.mark.parametrize("seed", range(4))
def test_random_messages_of_every_kind_harm_nobody(seed: int) -> None:
    rng = random.Random(seed)
    editor = Editor(77)
    real = [editor.type("hello"), editor.delete(1, 3), editor.type("wörld 🌍")]
    seeds = [step1(editor.doc.get_state()), yjs_awareness(5, 3, '{"a":[1,2]}'), b"\x03", b"\x66\x01\x00"]
    seeds += [kind(body) for body in real for kind in (update, step2)]
    with healthy(max_invalid=10**9) as (hub, prove):
        for round_ in range(15):
            hostile: Client = (hub.yjs if round_ % 2 else hub.native)("doc")
            for _ in range(40):
                message = bytearray(rng.choice(seeds))
                for _ in range(rng.randint(1, 3)):
                    message[rng.randrange(len(message))] = rng.randrange(256)
                hostile.send(bytes(message[: rng.randint(0, len(message))] if rng.random() < 0.3 else message))
                settle()
                hostile.frames()
            hostile.close()
            settle()
            prove()
        late = hub.yjs("doc")
        late.send(step1())
        settle()
        fresh = Editor()
        for message in late.received():
            fresh.read(message)
        assert fresh.clocks == clocks(hub.rooms["doc"].document.state_vector())


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_on_the_wire_harm_nobody(seed: int) -> None:
    rng = random.Random(seed)
    with healthy() as (hub, _):
        for _ in range(30):
            hostile = hub.yjs("doc")
            frame = bytearray(mask_frame(2, update(Editor(5).type("x"))))
            for _ in range(rng.randint(0, 4)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            hostile.send_raw(bytes(frame) + rng.randbytes(rng.randint(0, 200)))
            settle()
            hostile.close()
            settle()
        assert {client.connection for client in hub.clients[:4]} == hub.connections


def test_one_deep_update_over_a_socket_leaves_the_process_alive() -> None:
    with healthy() as (hub, _):
        hostile = hub.native("doc")
        hostile.received()
        for body in (DEEP_ARRAYS, DEEP_OBJECTS):
            hostile.send(update(body))
        settle()
        errors = [message for message in hostile.received() if isinstance(message, dict)]
        assert [error["code"] for error in errors if error["type"] == "error"] == ["invalid_update"] * 2
