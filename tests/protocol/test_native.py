"""The native dialect, byte by byte: what clients say, what they are told, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated, server_frame

from collab.errors import InvalidMessage
from collab.protocol.frames import BINARY, TEXT
from collab.protocol.jsontext import MAX_DEPTH, MAX_TEXT
from collab.protocol.lib0 import var_string
from collab.protocol.messages import (
    Ack,
    Awareness,
    AwarenessJson,
    ClientMessage,
    Error,
    InitialState,
    Join,
    Leave,
    Ping,
    Pong,
    Presence,
    QueryAwareness,
    Relay,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Update,
)
from collab.protocol.native import NATIVE

PLAIN = NATIVE[False, False]
every_variant = pytest.mark.parametrize("variant", NATIVE, ids=lambda key: f"binary={key[0]} json={key[1]}")

SYNC: list[tuple[str, SyncStep1 | SyncStep2]] = [
    ("00 00 01 00", SyncStep1(b"\x00")),
    ("00 01 02 00 00", SyncStep2(b"\x00\x00")),
]
UPDATE = "01 02 aa bb", Update(b"\xaa\xbb")

BINARY_IN: list[tuple[str, ClientMessage]] = [
    *SYNC,
    UPDATE,
    ("00 02 02 aa bb", Update(b"\xaa\xbb")),
    ("01 ac 02" + "2a" * 300, Update(b"*" * 300)),
    ("02 05 01 05 01 01 31", Awareness(b"\x01\x05\x01\x01\x31")),
    ("03", QueryAwareness()),
]

TEXT_IN: list[tuple[str, ClientMessage]] = [
    ('{"type":"ping"}', Ping()),
    ('{"type":"query_awareness"}', QueryAwareness(json=True)),
    ('{"type":"awareness"}', AwarenessJson({})),
    ('{"type":"awareness","cursor":null}', AwarenessJson({"cursor": None})),
    (
        '{"type":"awareness","user":{"name":"A"},"cursor":{"line":1},"state":[1],"client_id":7,"awareness":{}}',
        AwarenessJson({"user": {"name": "A"}, "cursor": {"line": 1}, "state": [1]}),
    ),
]

RELAYED = [
    '{"type": "test", "content": "hello"}',
    ' {"a" : 1.0e2,"type":"x", "type":"y"}\n',
    '{"type":"","text":"\\u00e9\\ud800 é漢😀"}',
    '{"type":"Ping"}',
    '{"type":"initial state","big":' + "9" * 400 + "}",
]

BINARY_REFUSED = [
    ("", "invalid_message"),
    ("00", "invalid_message"),
    ("00 03 01 00", "invalid_message"),
    ("00 00 02 00", "invalid_message"),
    ("00 00 01 00 00", "invalid_message"),
    ("01", "invalid_message"),
    ("01 05 aa bb", "invalid_message"),
    ("01 01 aa bb", "invalid_message"),
    ("02 ff ff ff ff ff ff ff 0f", "invalid_message"),
    ("02 00 00", "invalid_message"),
    ("03 00", "invalid_message"),
    ("80", "invalid_message"),
    ("ff ff ff ff ff ff ff ff 7f", "invalid_message"),
    *[(f"{kind:02x}", "invalid_message") for kind in (4, 10, 11, 12, 13, 99)],
    *[(f"{kind:02x} 01 aa", "unknown_type") for kind in (5, 9, 14, 98, 100, 102, 127)],
    ("e3 01", "unknown_type"),
]

TEXT_REFUSED = [
    ("", "invalid_message"),
    ("hello", "invalid_message"),
    ("null", "invalid_message"),
    ('"type"', "invalid_message"),
    ('["type"]', "invalid_message"),
    ('[{"type":"ping"}]', "invalid_message"),
    ("{}", "invalid_message"),
    ('{"Type":"ping"}', "invalid_message"),
    ('{"type":null}', "invalid_message"),
    ('{"type":1}', "invalid_message"),
    ('{"type":["ping"]}', "invalid_message"),
    ('{"type":"test","a":NaN}', "invalid_message"),
    ('{"type":"test","a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "invalid_message"),
    *[
        (f'{{"type":"{kind}","user":{{}}}}', "invalid_message")
        for kind in ("join", "leave", "initial_state", "error", "pong")
    ],
    ('{"type":"test","a":"' + "x" * MAX_TEXT + '"}', "too_large"),
]

SESSION: dict[str, str | int] = {
    "id": "2BkY",
    "document_id": "dóc",
    "user_id": "alice",
    "user_name": "Alice",
    "connected_at": "now",
}

EVENTS: list[tuple[int, ServerMessage, str]] = [
    (10, Join("alice", "Alice"), '{"type":"join","user":{"id":"alice","name":"Alice"}}'),
    (11, Leave("bób", '"B"'), '{"type":"leave","user":{"id":"b\\u00f3b","name":"\\"B\\""}}'),
    (
        12,
        InitialState(SESSION, [{"id": "bob", "name": "Bob"}], {5: (3, '{"a": "é"}'), 9: (1, None)}, "2BkX"),
        '{"type":"initial_state","session":{"id":"2BkY","document_id":"d\\u00f3c","user_id":"alice",'
        '"user_name":"Alice","connected_at":"now"},"users":[{"id":"bob","name":"Bob"}],"epoch":"2BkX",'
        '"awareness":{"5":{"a": "é"},"9":null}}',
    ),
    (12, InitialState({}, [], {}, "e"), '{"type":"initial_state","session":{},"users":[],"epoch":"e","awareness":{}}'),
    *[(13, Relay(text), text) for text in RELAYED],
    (99, Error("read_only", "no"), '{"type":"error","code":"read_only","message":"no"}'),
    (99, Error("invalid_update", "é", 3), '{"type":"error","code":"invalid_update","message":"\\u00e9","update":3}'),
    # These have no type of their own; `collab.binary` gets them as a relay rather than as text.
    (13, Pong(), '{"type":"pong"}'),
]

PRESENCE = Presence({5: (3, '{"a": "é"}'), 300: (1, None)})
PRESENCE_TEXT = '{"type":"awareness","awareness":{"5":{"a": "é"},"300":null}}'
PRESENCE_BINARY = "02 17 02 05 03 0b 7b 22 61 22 3a 20 22 c3 a9 22 7d ac 02 01 04 6e 75 6c 6c"

BINARY_OUT: list[tuple[str, ServerMessage]] = [
    *SYNC,
    UPDATE,
    ("01 80 01" + "2a" * 128, Update(b"*" * 128)),
    ("04 01", Ack(1)),
    ("04 ac 02", Ack(300)),
]


@every_variant
@pytest.mark.parametrize(("payload", "message"), BINARY_IN)
def test_a_binary_message_is_read(payload: str, message: ClientMessage, variant: tuple[bool, bool]) -> None:
    read = NATIVE[variant].decode(bytes.fromhex(payload), text=False)
    assert (type(read), read) == (type(message), message)


@every_variant
@pytest.mark.parametrize(("payload", "message"), [*TEXT_IN, *[(text, Relay(text)) for text in RELAYED]])
def test_a_text_message_is_read_and_a_type_that_is_not_known_relayed_as_it_came(
    payload: str, message: ClientMessage, variant: tuple[bool, bool]
) -> None:
    read = NATIVE[variant].decode(payload.encode(), text=True)
    assert (type(read), read) == (type(message), message)


@pytest.mark.parametrize(("payload", "code"), BINARY_REFUSED)
def test_a_binary_message_that_cannot_be_taken_is_refused_with_its_code(payload: str, code: str) -> None:
    assert_refused(code, lambda: PLAIN.decode(bytes.fromhex(payload), text=False))


@pytest.mark.parametrize(("payload", "code"), TEXT_REFUSED, ids=lambda value: value[:40])
def test_a_text_message_that_cannot_be_taken_is_refused_with_its_code(payload: str, code: str) -> None:
    assert_refused(code, lambda: PLAIN.decode(payload.encode(), text=True))


@every_variant
@pytest.mark.parametrize(("payload", "message"), BINARY_OUT)
def test_what_is_binary_in_every_variant(payload: str, message: ServerMessage, variant: tuple[bool, bool]) -> None:
    assert NATIVE[variant].encode(message) == server_frame(BINARY, bytes.fromhex(payload))


@pytest.mark.parametrize("json_presence", [False, True])
@pytest.mark.parametrize(("kind", "message", "text"), EVENTS)
def test_an_event_is_text_or_for_collab_binary_a_binary_frame_of_its_type(
    kind: int, message: ServerMessage, text: str, json_presence: bool
) -> None:
    assert NATIVE[False, json_presence].encode(message) == server_frame(TEXT, text.encode())
    assert NATIVE[True, json_presence].encode(message) == server_frame(BINARY, bytes((kind,)) + var_string(text))


@pytest.mark.parametrize("binary", [False, True])
def test_presence_is_an_awareness_update_unless_json_was_asked_for(binary: bool) -> None:
    assert NATIVE[binary, False].encode(PRESENCE) == server_frame(BINARY, bytes.fromhex(PRESENCE_BINARY))


def test_presence_as_json_holds_the_states_as_they_came() -> None:
    assert NATIVE[False, True].encode(PRESENCE) == server_frame(TEXT, PRESENCE_TEXT.encode())
    assert NATIVE[True, True].encode(PRESENCE) == server_frame(BINARY, b"\x0d" + var_string(PRESENCE_TEXT))


def test_empty_presence_is_an_empty_awareness_update_and_nothing_as_json() -> None:
    assert PLAIN.encode(Presence({})) == server_frame(BINARY, b"\x02\x01\x00")
    assert NATIVE[False, True].encode(Presence({})) == b""


@every_variant
def test_the_dialect_has_no_words_for_sync_status(variant: tuple[bool, bool]) -> None:
    assert NATIVE[variant].encode(SyncStatus(b"\x01")) == b""


@pytest.mark.parametrize("json_presence", [False, True])
@pytest.mark.parametrize(
    "message", [PRESENCE, *[message for _, message in BINARY_OUT], *[message for _, message, _ in EVENTS]]
)
def test_collab_binary_never_gets_a_text_frame(message: ServerMessage, json_presence: bool) -> None:
    assert NATIVE[True, json_presence].encode(message)[0] == 0x80 | BINARY


@every_variant
def test_a_variant_is_one_object_and_knows_its_sibling_with_json_presence(variant: tuple[bool, bool]) -> None:
    """A room encodes once for each dialect object."""
    dialect = NATIVE[variant]
    assert (dialect.binary, dialect.json_presence) == variant
    assert dialect.with_json_presence() is NATIVE[variant[0], True]
    assert dialect.numbers_updates
    assert not dialect.hears_itself


@pytest.mark.parametrize("update", [None, 7])
def test_an_error_tells_the_code_of_what_was_raised(update: int | None) -> None:
    assert Error.of(InvalidMessage("why"), update) == Error("invalid_message", "why", update)


@generated
@given(st.binary() | st.binary().map(lambda data: b"\x00" + data))
def test_arbitrary_bytes_are_a_message_or_refused(payload: bytes) -> None:
    try:
        message = PLAIN.decode(payload, text=False)
    except InvalidMessage:
        return
    assert isinstance(message, (SyncStep1, SyncStep2, Update, Awareness, QueryAwareness))


typed = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.sampled_from(["type", "user", "x"]), inner) | st.lists(inner),
)


@generated
@given(st.text() | st.text(alphabet='{}[]":,type') | typed.map(json.dumps))
def test_arbitrary_text_is_a_message_or_refused(text: str) -> None:
    try:
        message = PLAIN.decode(text.encode(), text=True)
    except InvalidMessage:
        return
    if isinstance(message, Relay):
        assert message.text == text
