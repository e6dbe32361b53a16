"""The Hocuspocus dialect, byte by byte: addresses, what providers 2 to 4 say, what they are told, what is refused."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated, server_frame

from collab.errors import InvalidMessage
from collab.names import is_name
from collab.protocol.frames import BINARY
from collab.protocol.hocuspocus import MAX_ADDRESS, MAX_TOKEN, PING, PONG, Hocuspocus, open_envelope
from collab.protocol.jsontext import MAX_TEXT
from collab.protocol.lib0 import var_bytes, var_string
from collab.protocol.messages import (
    Ack,
    AskToken,
    Auth,
    Awareness,
    ClientMessage,
    Denied,
    Error,
    Farewell,
    Granted,
    Ignored,
    InitialState,
    Join,
    Leave,
    Pong,
    Presence,
    QueryAwareness,
    Quit,
    Relay,
    ServerMessage,
    SyncStatus,
    SyncStep1,
    SyncStep2,
    Taken,
    Update,
)

DOC = "03 64 6f 63 "
"""The address of the document `doc`."""

BOTH_WAYS: list[tuple[str, SyncStep1 | SyncStep2 | Update]] = [
    ("00 00 01 00", SyncStep1(b"\x00")),
    ("00 00 04 01 05 ac 02", SyncStep1(b"\x01\x05\xac\x02")),
    ("00 01 02 00 00", SyncStep2(b"\x00\x00")),
    ("00 02 02 aa bb", Update(b"\xaa\xbb")),
    ("00 02 ac 02" + "2a" * 300, Update(b"*" * 300)),
]

READ: list[tuple[str, ClientMessage]] = [
    *BOTH_WAYS,
    ("01 05 01 05 01 01 31", Awareness(b"\x01\x05\x01\x01\x31")),
    ("02 00 00", Auth("")),
    ("02 00 03 c3 a9 21", Auth("é!")),
    ("02 00 01 74 05 34 2e 38 2e 30", Auth("t", "4.8.0")),
    ("02 00 00 00", Auth("", "")),
    ("03", QueryAwareness()),
    ("04 00 01 00", SyncStep1(b"\x00", reply=True)),
    ("04 01 02 00 00", SyncStep2(b"\x00\x00")),
    ("04 02 02 aa bb", Update(b"\xaa\xbb")),
    ("05 02 68 69", Relay("hi", False)),
    ("05 0c 7b 22 74 79 70 65 22 3a 22 78 22 7d", Relay('{"type":"x"}', True)),
    ("07", Quit()),
]

WRITTEN: list[tuple[str, ServerMessage]] = [
    *BOTH_WAYS,
    ("00 00 01 00", SyncStep1(b"\x00", reply=True)),
    ("01 01 00", Presence({})),
    ("01 0e 02 05 03 02 7b 7d ac 02 01 04 6e 75 6c 6c", Presence({5: (3, "{}"), 300: (1, None)})),
    ("02 00", AskToken()),
    ("02 01 03 6e 6f 21", Denied("no!")),
    ("02 02 08 72 65 61 64 6f 6e 6c 79", Granted("read")),
    ("02 02 0a 72 65 61 64 2d 77 72 69 74 65", Granted("write")),
    ("02 02 0a 72 65 61 64 2d 77 72 69 74 65", Granted("admin")),
    ("05 04 f0 9f 98 80", Relay("😀", False)),
    ("05 0c 7b 22 74 79 70 65 22 3a 22 78 22 7d", Relay('{"type":"x"}')),
    ("07 03 62 79 65", Farewell("bye")),
    ("08 01", Taken(True)),
    ("08 00", Taken(False)),
]

REFUSED = [
    "00 03 01 00",  # no such step
    "00 00 01 00 00",  # bytes behind the end
    "01 01 00 00",
    "02 00 00 00 00",
    "04 00 01 00 00",
    "05 01 68 69",
    "02 01 03 6e 6f 21",  # what only the server says of authentication
    "02 02 08 72 65 61 64 6f 6e 6c 79",
    "02 00 01 ff",  # no UTF-8
    "02 00 00 01 ff",
    "05 01 ff",
    "80",
    "ff ff ff ff ff ff ff ff 7f",
]


def payload(body: str, address: str = DOC) -> bytes:
    return bytes.fromhex(address + body)


def read(message: bytes) -> ClientMessage:
    """A client's message, read as the server does: first the envelope, then what is in it."""
    return Hocuspocus(open_envelope(message).address).decode(message, text=False)


# ---- messages


@pytest.mark.parametrize(("body", "message"), READ)
def test_a_message_is_read(body: str, message: ClientMessage) -> None:
    got = read(payload(body))
    assert (type(got), got) == (type(message), message)


@pytest.mark.parametrize(("body", "message"), WRITTEN)
def test_a_message_is_written_as_one_binary_frame_behind_the_address(body: str, message: ServerMessage) -> None:
    assert Hocuspocus(bytes.fromhex(DOC)).encode(message) == server_frame(BINARY, payload(body))


@pytest.mark.parametrize(("body", "message"), READ)
def test_a_message_cut_short_anywhere_is_refused_and_nothing_else(body: str, message: ClientMessage) -> None:
    whole = payload(body)
    for size in range(len(whole)):
        try:
            shorter = read(whole[:size])
        except InvalidMessage as error:
            assert error.code == "invalid_message"
        else:
            # What a provider before 4 would have said: the same without a version.
            assert isinstance(message, Auth) and message.version is not None
            assert shorter == Auth(message.token)


@pytest.mark.parametrize("body", REFUSED)
def test_a_malformed_message_is_refused(body: str) -> None:
    assert_refused("invalid_message", lambda: read(payload(body)))


@pytest.mark.parametrize("kind", ["06 01 61", "08 01", "09", "0a", "0b", "63", "7f", "80 01", "ff ff ff ff 0f"])
def test_types_that_only_the_server_sends_and_those_that_there_are_not_are_unknown(kind: str) -> None:
    assert_refused("unknown_type", lambda: read(payload(kind)))


@pytest.mark.parametrize("text", [b"", b"\x03doc\x03", b'{"type":"ping"}'])
def test_text_is_overlooked(text: bytes) -> None:
    assert Hocuspocus(bytes.fromhex(DOC)).decode(text, text=True) == Ignored("text")


@pytest.mark.parametrize(
    "message",
    [
        Join("a", "A"),
        Leave("a", "A"),
        InitialState({}, [], {}, "e"),
        Pong(),
        Ack(1),
        SyncStatus(b"\x01"),
        Error("read_only", "é"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_only_the_other_dialects_can_say_is_not_said(message: ServerMessage) -> None:
    assert Hocuspocus(bytes.fromhex(DOC)).encode(message) == b""


@pytest.mark.parametrize(
    ("said", "json"),
    [
        ('{"type":"note","n":1}', True),
        ('{"type":""}', True),
        (' {"n": 1, "type": "note"} ', True),
        ("", False),
        ("hello", False),
        ("[]", False),
        ('"type"', False),
        ("{}", False),
        ('{"type":1}', False),
        ('{"type":"note"', False),
        ('{"type":"note","n":NaN}', False),
        ('{"type":"note","n":' + "[" * 65 + "]" * 65 + "}", False),
        *[
            (f'{{"type":"{kind}","token":"t","user":{{"id":"mallory","name":"Mallory"}}}}', False)
            for kind in ("join", "leave", "initial_state", "error", "pong", "ack", "ping", "awareness")
        ],
        ('{"type":"query_awareness"}', False),
        ('{"type":"auth","token":"t"}', False),
        ('{"type":"note","type":"join"}', False),
        ('{"\\u0074ype":"join"}', False),
    ],
)
def test_a_stateless_message_is_for_native_clients_only_if_one_of_them_could_have_sent_it(
    said: str, json: bool
) -> None:
    """They could not tell what a client says in the server's words from what the server says."""
    assert read(bytes.fromhex(DOC) + b"\x05" + var_string(said)) == Relay(said, json)


def test_a_stateless_message_or_a_token_over_its_bound_is_too_large_and_one_at_it_is_not() -> None:
    start = bytes.fromhex(DOC)
    assert read(start + b"\x05" + var_string("é" * MAX_TEXT)) == Relay("é" * MAX_TEXT, False)
    assert_refused("too_large", lambda: read(start + b"\x05" + var_string("x" * (MAX_TEXT + 1))))
    assert read(start + b"\x02\x00" + var_string("t" * MAX_TOKEN)) == Auth("t" * MAX_TOKEN)
    assert_refused("too_large", lambda: read(start + b"\x02\x00" + var_string("t" * (MAX_TOKEN + 1))))


def test_pings_and_pongs_are_one_byte_without_an_address() -> None:
    assert (PING, PONG) == (b"\x09", b"\x0a")
    for bare in (PING, PONG):
        assert_refused("invalid_message", partial(open_envelope, bare))


# ---- addresses


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("doc", "doc"),
        ("", ""),
        ("a/b//c/", "a/b//c/"),
        ("two words", "two words"),
        ("100%20%", "100%20%"),
        ("你好/😀 é", "你好/😀 é"),
        ("doc\0k3x9q2", "doc"),
        ("doc\0", "doc"),
        ("😀\0😀\0b", "😀"),
        ("\0k3x9q2", ""),
        ("x" * 255, "x" * 255),
        ("😀" * 255, "😀" * 255),
        ("😀" * 255 + "\0" + "s" * 1027, "😀" * 255),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_an_address_is_a_documents_name_and_perhaps_a_sessions_id(address: str, name: str) -> None:
    message = var_string(address) + b"\x03"
    assert open_envelope(message) == (var_string(address), 3)
    dialect = Hocuspocus(var_string(address))
    assert dialect.document_name == name
    assert dialect.decode(message, text=False) == QueryAwareness()
    assert dialect.encode(Taken(True)) == server_frame(BINARY, var_string(address) + b"\x08\x01")


def test_an_address_is_repeated_as_it_came_even_with_a_length_in_a_longer_form_or_no_utf8() -> None:
    for raw in (b"\x83\x00doc", b"\x02\xff\xfe", b"\x03a\xc3\x00"):
        assert open_envelope(raw + b"\x07").address == raw
        assert Hocuspocus(raw).encode(Taken(False)) == server_frame(BINARY, raw + b"\x08\x00")


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"do\xff\x00s"])
def test_an_address_that_is_not_utf8_names_no_document(raw: bytes) -> None:
    assert not is_name(Hocuspocus(var_bytes(raw)).document_name)


def test_an_address_over_its_bound_is_refused_by_its_length_alone_and_one_at_it_is_not() -> None:
    assert MAX_ADDRESS == 2048
    assert len(open_envelope(b"\x80\x10" + b"x" * 2048 + b"\x07").address) == 2050
    for message in (b"\x81\x10" + b"x" * 2049 + b"\x07", b"\x81\x10", b"\xff\xff\xff\xff\xff\xff\xff\x0f\x07"):
        assert_refused("too_large", partial(open_envelope, message))


def test_sessions_with_one_address_are_told_things_in_the_same_frames() -> None:
    """A room encodes once for all whose dialects are equal."""
    one, same, other = (Hocuspocus(var_string(name)) for name in ("doc", "doc", "doc\0s"))
    assert one == same and hash(one) == hash(same)
    assert one != other and one != bytes.fromhex(DOC)
    assert len({one, same, other}) == 2


def test_its_clients_hear_of_themselves_and_of_each_of_their_changes() -> None:
    assert Hocuspocus.hears_itself and Hocuspocus.told_of_each and not Hocuspocus.numbers_updates
    dialect = Hocuspocus(bytes.fromhex(DOC))
    assert dialect.with_json_presence() is dialect


@generated
@given(
    st.binary()
    | st.tuples(st.binary(max_size=5), st.integers(0, 11), st.integers(0, 3), st.binary()).map(
        lambda m: var_bytes(m[0]) + bytes(m[1:3]) + m[3]
    )
    | st.tuples(st.integers(0, 5), st.binary()).map(lambda m: bytes.fromhex(DOC) + bytes((m[0], 0)) + var_bytes(m[1]))
)
def test_arbitrary_bytes_are_a_message_or_refused(message: bytes) -> None:
    try:
        envelope = open_envelope(message)
    except InvalidMessage:
        return
    assert message.startswith(envelope.address)
    try:
        got = read(message)
    except InvalidMessage:
        return
    kinds = (SyncStep1, SyncStep2, Update, Awareness, Auth, QueryAwareness, Relay, Quit)
    assert isinstance(got, kinds)
