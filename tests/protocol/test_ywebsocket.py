"""The y-websocket dialect, byte by byte: what clients say, what they are told, what is overlooked and what refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated, server_frame

from collab.errors import InvalidMessage
from collab.protocol.frames import BINARY
from collab.protocol.messages import (
    Ack,
    Awareness,
    ClientMessage,
    Error,
    Ignored,
    InitialState,
    Join,
    Leave,
    Pong,
    Presence,
    QueryAwareness,
    Relay,
    Say,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Update,
)
from collab.protocol.ywebsocket import YWEBSOCKET, YWEBSOCKET_EVENTS

BOTH_WAYS: list[tuple[str, SyncStep1 | SyncStep2 | Update | SyncStatus]] = [
    ("00 00 01 00", SyncStep1(b"\x00")),
    ("00 00 04 01 05 ac 02", SyncStep1(b"\x01\x05\xac\x02")),
    ("00 01 02 00 00", SyncStep2(b"\x00\x00")),
    ("00 02 02 aa bb", Update(b"\xaa\xbb")),
    ("00 02 ac 02" + "2a" * 300, Update(b"*" * 300)),
    ("66 00", SyncStatus(b"")),
    ("66 02 01 ff", SyncStatus(b"\x01\xff")),
]

READ: list[tuple[str, ClientMessage]] = [
    *BOTH_WAYS,
    ("01 05 01 05 01 01 31", Awareness(b"\x01\x05\x01\x01\x31")),
    ("03", QueryAwareness()),
    *[(f"{code:02x} 00 01 61", Ignored("code")) for code in (2, 4, 5, 7, 10, 99, 101, 103, 127)],
    ("ac 02", Ignored("code")),
]

WRITTEN: list[tuple[str, ServerMessage]] = [
    *BOTH_WAYS,
    ("01 01 00", Presence({})),
    ("01 0e 02 05 03 02 7b 7d ac 02 01 04 6e 75 6c 6c", Presence({5: (3, "{}"), 300: (1, None)})),
    ("02 00 0d 72 65 61 64 5f 6f 6e 6c 79 3a 20 c3 a9", Error("read_only", "é")),
    ("02 00 04 61 3a 20 62", Error("a", "b", 7)),
]

REFUSED = [
    "",
    "00",
    "00 00",
    "00 00 02 00",
    "00 00 01 00 00",
    "00 03 01 00",
    "01",
    "01 02 00",
    "01 01 00 00",
    "66",
    "66 01",
    "66 00 00",
    "80",
    "ff ff ff ff ff ff ff ff 7f",
]


@pytest.mark.parametrize(("payload", "message"), READ)
def test_a_message_is_read(payload: str, message: ClientMessage) -> None:
    read = YWEBSOCKET.decode(bytes.fromhex(payload), text=False)
    assert (type(read), read) == (type(message), message)


@pytest.mark.parametrize(("payload", "message"), WRITTEN)
def test_a_message_is_written_as_one_binary_frame(payload: str, message: ServerMessage) -> None:
    assert YWEBSOCKET.encode(message) == server_frame(BINARY, bytes.fromhex(payload))


@pytest.mark.parametrize("payload", REFUSED)
def test_a_message_cut_short_too_long_or_of_an_unknown_step_is_refused(payload: str) -> None:
    assert_refused("invalid_message", lambda: YWEBSOCKET.decode(bytes.fromhex(payload), text=False))


@pytest.mark.parametrize("payload", [b"", b"\x00\x00\x01\x00", b'{"type":"ping"}'])
def test_text_is_overlooked(payload: bytes) -> None:
    assert YWEBSOCKET.decode(payload, text=True) == Ignored("text")


@pytest.mark.parametrize(
    "message",
    [Join("a", "A"), Leave("a", "A"), InitialState({}, [], {}, "e"), Relay("{}"), Pong(), Ack(1)],
    ids=lambda message: type(message).__name__,
)
def test_what_the_native_dialect_alone_can_say_is_not_said(message: ServerMessage) -> None:
    assert YWEBSOCKET.encode(message) == b""


def test_its_clients_hear_of_themselves_and_of_anything_within_thirty_seconds() -> None:
    """Or they give the connection up."""
    assert YWEBSOCKET.hears_itself
    assert 0 < YWEBSOCKET.keepalive < 30


def test_it_has_no_variant_with_json_presence_and_no_numbered_updates() -> None:
    assert YWEBSOCKET.with_json_presence() is YWEBSOCKET
    assert not YWEBSOCKET.numbers_updates


@generated
@given(st.binary() | st.tuples(st.sampled_from((0, 1, 102)), st.binary()).map(lambda m: bytes((m[0],)) + m[1]))
def test_arbitrary_bytes_are_a_message_or_refused(payload: bytes) -> None:
    try:
        message = YWEBSOCKET.decode(payload, text=False)
    except InvalidMessage:
        return
    assert isinstance(message, (SyncStep1, SyncStep2, Update, SyncStatus, Awareness, QueryAwareness, Ignored))


def test_only_who_asks_for_events_is_told_what_the_server_says() -> None:
    said = YWEBSOCKET_EVENTS.encode(Say("hi"))
    assert said == server_frame(BINARY, b"\x67\x1a" + b'{"type":"say","text":"hi"}')
    assert YWEBSOCKET.encode(Say("hi")) == b""
    assert YWEBSOCKET_EVENTS.encode(Update(b"u")) == YWEBSOCKET.encode(Update(b"u"))
