"""The frame layer: one list of byte streams, each read whole, byte by byte, and with more behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import generated, server_frame

from collab.errors import FrameError
from collab.protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameParser,
    encode_close,
    encode_frame,
    parse_close,
)
from collab.testing import mask_frame

PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009
LIMIT = 66_000
NO_MASK = bytes(4)
"""The mask that changes nothing, for frames written by hand."""

Message = tuple[int, bytes]


class Case(NamedTuple):
    """A client's stream, the messages in it, and the close code it ends with, 0 while nothing is wrong."""

    name: str
    stream: bytes
    messages: list[Message]
    failure: int = 0


def start(opcode: int, payload: bytes) -> bytes:
    """A frame that begins a fragmented message and does not end it."""
    return mask_frame(opcode, payload, fin=False)


def fragments(opcode: int, *payloads: bytes) -> list[bytes]:
    """The frames of one fragmented message."""
    opcodes = [opcode] + [CONTINUATION] * (len(payloads) - 1)
    *parts, last = zip(opcodes, payloads, strict=True)
    return [*(start(*part) for part in parts), mask_frame(*last)]


def by_hand(*head: int, payload: bytes = b"") -> bytes:
    """A frame whose header is written by hand, mask and payload behind it."""
    return bytes(head) + NO_MASK + payload


def valid(name: str, stream: bytes | Iterable[bytes], *messages: Message) -> Case:
    return Case(name, stream if isinstance(stream, bytes) else b"".join(stream), list(messages))


def broken(name: str, failure: int, stream: bytes | Iterable[bytes]) -> Case:
    return valid(name, stream)._replace(failure=failure)


KEY = "ключ".encode()
FIRST, *INNER, LAST = fragments(TEXT, b"Hel", b"", b"lo")

VALID = [
    valid("the RFC's masked Hello", bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58"), (TEXT, b"Hello")),
    *[
        valid(f"{size} bytes", mask_frame(BINARY, b"\xa5" * size), (BINARY, b"\xa5" * size))
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, LIMIT)
    ],
    valid("text in several scripts", mask_frame(TEXT, "aé漢😀".encode()), (TEXT, "aé漢😀".encode())),
    valid("binary that is no UTF-8", mask_frame(BINARY, b"\xff\xfe"), (BINARY, b"\xff\xfe")),
    valid("two messages", mask_frame(BINARY, b"1") + mask_frame(TEXT, b"2"), (BINARY, b"1"), (TEXT, b"2")),
    valid("a ping", mask_frame(PING, b"hey"), (PING, b"hey")),
    valid("an empty pong", mask_frame(PONG, b""), (PONG, b"")),
    valid("a ping of 125 bytes", mask_frame(PING, b"p" * 125), (PING, b"p" * 125)),
    valid("a close without a code", mask_frame(CLOSE, b""), (CLOSE, b"")),
    valid("a close with a reason", mask_frame(CLOSE, b"\x03\xe8bye"), (CLOSE, b"\x03\xe8bye")),
    valid("fragments, one of them empty", [FIRST, *INNER, LAST], (TEXT, b"Hello")),
    valid("nothing but empty fragments", fragments(BINARY, b"", b""), (BINARY, b"")),
    valid("a character in two fragments", fragments(TEXT, KEY[:3], KEY[3:]), (TEXT, KEY)),
    valid("a character byte by byte", fragments(TEXT, *(bytes((b,)) for b in "😀".encode())), (TEXT, "😀".encode())),
    valid(
        "a ping inside a message",
        [FIRST, mask_frame(PING, b"?"), *INNER, LAST],
        (PING, b"?"),
        (TEXT, b"Hello"),
    ),
    valid(
        "a whole message behind a fragmented one",
        [FIRST, LAST, mask_frame(BINARY, b"x")],
        (TEXT, b"Hello"),
        (BINARY, b"x"),
    ),
    valid("fragments up to the limit", fragments(BINARY, b"x" * (LIMIT - 1), b"x"), (BINARY, b"x" * LIMIT)),
    valid(
        "a ping while the limit is reached",
        [start(BINARY, b"x" * LIMIT), mask_frame(PING, b"?"), mask_frame(CONTINUATION, b"")],
        (PING, b"?"),
        (BINARY, b"x" * LIMIT),
    ),
]

BROKEN = [
    *[broken(f"RSV{n}", PROTOCOL_ERROR, by_hand(0x82 | 0x80 >> n, 0x80)) for n in (1, 2, 3)],
    broken("RSV1 on a ping", PROTOCOL_ERROR, by_hand(0xC9, 0x80)),
    *[
        broken(f"opcode {opcode}", PROTOCOL_ERROR, by_hand(0x80 | opcode, 0x80))
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ],
    broken("binary without a mask", PROTOCOL_ERROR, server_frame(BINARY, b"x")),
    broken("text without a mask", PROTOCOL_ERROR, server_frame(TEXT, b"x" * 200)),
    broken("a ping without a mask", PROTOCOL_ERROR, server_frame(PING, b"")),
    *[broken(f"opcode {opcode} in fragments", PROTOCOL_ERROR, by_hand(opcode, 0x80)) for opcode in (CLOSE, PING, PONG)],
    broken("a ping of 126 bytes", PROTOCOL_ERROR, by_hand(0x89, 0xFE, 0, 126, payload=bytes(126))),
    broken("a close with a 64-bit length", PROTOCOL_ERROR, by_hand(0x88, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0)),
    broken("a continuation of nothing", PROTOCOL_ERROR, mask_frame(CONTINUATION, b"x")),
    broken("an unfinished continuation of nothing", PROTOCOL_ERROR, start(CONTINUATION, b"x")),
    broken("binary inside fragments", PROTOCOL_ERROR, [FIRST, mask_frame(BINARY, b"x")]),
    broken("text inside fragments", PROTOCOL_ERROR, [FIRST, *INNER, start(TEXT, b"x")]),
    broken("125 as 16 bits", PROTOCOL_ERROR, by_hand(0x82, 0xFE, 0, 125, payload=bytes(125))),
    broken("0 as 16 bits", PROTOCOL_ERROR, by_hand(0x82, 0xFE, 0, 0)),
    broken("65535 as 64 bits", PROTOCOL_ERROR, by_hand(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF)),
    broken("0 as 64 bits", PROTOCOL_ERROR, by_hand(0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0)),
    broken("a length with its highest bit set", PROTOCOL_ERROR, by_hand(0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0)),
    broken("too large, by its header alone", TOO_BIG, b"\x82\xff" + (LIMIT + 1).to_bytes(8, "big")),
    broken("as large as a length can be, by its header alone", TOO_BIG, b"\x82\xff\x7f" + b"\xff" * 7),
    broken("a first fragment too large, by its header alone", TOO_BIG, b"\x01\xff" + (LIMIT + 1).to_bytes(8, "big")),
    broken("fragments too large, by the last one's header", TOO_BIG, [start(BINARY, b"x" * LIMIT), b"\x80\x81"]),
    broken("fragments too large, with more to come", TOO_BIG, [start(TEXT, b"x" * LIMIT), b"\x00\xfe\x00\x7e"]),
    *[
        broken(f"text of {data.hex(' ')}", INVALID_DATA, mask_frame(TEXT, data))
        for data in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82", b"\x80")
    ],
    broken("a bad byte in the last fragment", INVALID_DATA, fragments(TEXT, b"good", b"\xff")),
    broken("a character that the last fragment leaves open", INVALID_DATA, fragments(TEXT, KEY, KEY[:1])),
]

CASES = VALID + BROKEN
WAYS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "whole": lambda stream: [stream],
    "byte by byte": lambda stream: (stream[n : n + 1] for n in range(len(stream))),
}


def read(chunks: Iterable[bytes]) -> tuple[list[Message], int]:
    """Messages and failure of a stream that comes in `chunks`."""
    parser = FrameParser(LIMIT)
    return [message for chunk in chunks for message in parser.feed(chunk)], failure(parser)


def failure(parser: FrameParser) -> int:
    return parser.failure.close_code if parser.failure is not None else 0


def each_case(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.mark.parametrize("way", WAYS)
@each_case(CASES)
def test_a_stream_gives_its_messages_and_its_failure_however_it_comes(case: Case, way: str) -> None:
    assert read(WAYS[way](case.stream)) == (case.messages, case.failure)


@each_case(VALID)
def test_what_comes_behind_a_message_waits_until_it_is_whole(case: Case) -> None:
    parser = FrameParser(LIMIT)
    behind = mask_frame(BINARY, b"behind")
    assert parser.feed(case.stream + behind[:-1]) == case.messages
    assert parser.feed(behind[-1:]) == [(BINARY, b"behind")]


@each_case(BROKEN)
def test_what_is_before_a_broken_frame_is_returned_and_nothing_behind_it(case: Case) -> None:
    parser = FrameParser(LIMIT)
    before, behind = mask_frame(PING, b"before"), mask_frame(BINARY, b"behind")
    assert parser.feed(before + case.stream + behind) == [(PING, b"before")]
    assert parser.feed(behind) == []
    assert failure(parser) == case.failure


@pytest.mark.parametrize("size", [1, 100, 125, 126, 65_536])
def test_the_limit_is_exact_whatever_the_size_of_the_length(size: int) -> None:
    frame = mask_frame(BINARY, bytes(size))
    exact, less = FrameParser(size), FrameParser(size - 1)
    assert (exact.feed(frame), failure(exact)) == ([(BINARY, bytes(size))], 0)
    assert (less.feed(frame[:-size]), failure(less)) == ([], TOO_BIG)


def test_control_frames_are_not_held_against_the_limit() -> None:
    assert FrameParser(1).feed(mask_frame(PING, b"p" * 125)) == [(PING, b"p" * 125)]


def test_a_failure_says_nothing_of_what_the_peer_sent() -> None:
    parser = FrameParser(LIMIT)
    parser.feed(mask_frame(TEXT, b"secret\xff"))
    assert "secret" not in str(parser.failure)


payloads = st.binary(max_size=300) | st.binary(min_size=1, max_size=4).map(lambda data: data * 20_000)
controls = st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125))
data_messages = st.tuples(st.just(BINARY), st.lists(payloads, min_size=1, max_size=3)) | st.tuples(
    st.just(TEXT), st.lists(st.text(max_size=50).map(str.encode), min_size=1, max_size=3)
)


@st.composite
def valid_streams(draw: st.DrawFn) -> tuple[list[bytes], list[Message]]:
    """Frames of messages, some of them fragmented with control frames in between; and what they say."""
    frames: list[bytes] = []
    messages: list[Message] = []
    for opcode, parts in draw(st.lists(data_messages, max_size=4)):
        for frame in fragments(opcode, *parts):
            for control in draw(st.lists(controls, max_size=1)):
                frames.append(mask_frame(*control))
                messages.append(control)
            frames.append(frame)
        messages.append((opcode, b"".join(parts)))
    return frames, messages


def split(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`stream` in pieces, cut at each of `cuts` modulo its length."""
    at = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(at)]


cuts = st.lists(st.integers(0, 1 << 20), max_size=12)


@generated
@given(valid_streams(), cuts)
def test_any_split_of_any_valid_stream_gives_the_same_messages(
    stream: tuple[list[bytes], list[Message]], cuts: list[int]
) -> None:
    frames, messages = stream
    parser = FrameParser(1 << 20)
    assert [message for chunk in split(b"".join(frames), cuts) for message in parser.feed(chunk)] == messages
    assert parser.failure is None


pieces = st.binary(max_size=20) | st.sampled_from([case.stream for case in CASES if len(case.stream) < 300])


@generated
@given(st.lists(pieces, max_size=8).map(b"".join), cuts)
def test_any_split_of_arbitrary_bytes_never_raises_and_gives_the_same(stream: bytes, cuts: list[int]) -> None:
    assert read(split(stream, cuts)) == read([stream])


WHOLE = mask_frame(BINARY, b"x")
lone_streams = st.binary(max_size=140).map(lambda data: mask_frame(BINARY, data)) | pieces


@generated
@given(lone_streams, st.sampled_from([b"", WHOLE, WHOLE[:3], start(TEXT, b"x")]))
def test_a_lone_message_is_what_would_be_read_and_looking_for_one_changes_nothing(stream: bytes, before: bytes) -> None:
    assume(stream)
    parser, other = FrameParser(100), FrameParser(100)
    assert parser.feed(before) == other.feed(before)
    lone, messages = parser.lone(stream), other.feed(stream)
    assert parser.feed(stream) == messages and failure(parser) == failure(other)
    small = (
        before in (b"", WHOLE)
        and len(messages) == 1
        and messages[0][0] == BINARY
        and len(messages[0][1]) == len(stream) - 6 > 0
    )
    assert lone == (messages[0][1] if small else None)


# ---- frames of the server


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_server_frame_is_what_another_implementation_writes(opcode: int, size: int) -> None:
    assert encode_frame(opcode, b"x" * size) == server_frame(opcode, b"x" * size)


@pytest.mark.parametrize(
    ("opcode", "payload", "head"),
    [
        (TEXT, b"Hello", "81 05"),
        (PING, b"Hello", "89 05"),
        (PONG, b"", "8a 00"),
        (BINARY, bytes(256), "82 7e 01 00"),
        (BINARY, bytes(65_536), "82 7f 00 00 00 00 00 01 00 00"),
    ],
)
def test_a_server_frame_has_the_header_that_the_rfc_shows(opcode: int, payload: bytes, head: str) -> None:
    assert encode_frame(opcode, payload) == bytes.fromhex(head) + payload


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (1000, "", b"\x03\xe8"),
        (1009, "too large", b"\x03\xf1too large"),
        (4508, "é", b"\x11\x9c\xc3\xa9"),
        (1001, "a" * 123, b"\x03\xe9" + b"a" * 123),
        (1001, "a" * 124, b"\x03\xe9" + b"a" * 123),
        (1001, "é" * 62, b"\x03\xe9" + "é".encode() * 61),
        (1001, "a" * 121 + "😀", b"\x03\xe9" + b"a" * 121),
    ],
    ids=["no reason", "reason", "UTF-8", "fits", "too long", "cut between characters", "cut at a long character"],
)
def test_a_close_frame_holds_code_and_reason_cut_to_what_fits(code: int, reason: str, payload: bytes) -> None:
    assert encode_close(code, reason) == server_frame(CLOSE, payload)
    assert parse_close(payload) == (code, payload[2:].decode())


def test_a_close_frame_without_a_code_is_1005() -> None:
    assert parse_close(b"") == (1005, "")


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_a_client_may_close_with_a_code_of_the_registry_or_of_its_own(code: int) -> None:
    assert parse_close(code.to_bytes(2, "big")) == (code, "")


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_a_close_code_that_must_not_be_sent_is_a_protocol_error(code: int) -> None:
    with pytest.raises(FrameError) as caught:
        parse_close(code.to_bytes(2, "big"))
    assert caught.value.close_code == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("payload", "close_code"),
    [(b"\x03", PROTOCOL_ERROR), (b"\x03\xe8\xff", INVALID_DATA), (b"\x03\xe8\xe2\x82", INVALID_DATA)],
    ids=["half a code", "a reason that is no UTF-8", "a reason that ends inside a character"],
)
def test_a_broken_close_payload_is_refused_with_the_code_that_names_it(payload: bytes, close_code: int) -> None:
    with pytest.raises(FrameError) as caught:
        parse_close(payload)
    assert caught.value.close_code == close_code
