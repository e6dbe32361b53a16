"""RFC 6455 as a client sees it, rule by rule, with raw bytes against a real server.

Every broken connection is made to the document of a healthy pair, which must go on undisturbed.
"""

from __future__ import annotations

import itertools
import json
import signal
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from processes import SERVE, Server
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Closed,
    Frame,
    Wire,
    ask,
    client_frame,
    connect,
    is_event,
    is_step1,
    read_close,
    request,
)
from ydocs import Editor, update

NATIVE = "/ws/document/rfc6455"
YJS = "/yjs/rfc6455"
PATHS = pytest.mark.parametrize("path", [NATIVE, YJS])
LIMIT = 1000
DEFAULT_LIMIT = 16 * 1024 * 1024

Open = Callable[..., Wire]
_numbers = itertools.count()


class Pair:
    """Two healthy clients of one document."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.alice = connect(port, f"{NATIVE}?user_id=alice")
        self.bob = connect(port, f"{NATIVE}?user_id=bob")
        for wire in (self.alice, self.bob):
            wire.read_until(is_step1)

    def check(self, visitors: list[str]) -> None:
        """They saw the visitors come and go, and still hear each other."""
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            here: list[str] = []
            gone: list[str] = []
            while len(gone) < len(visitors):
                message = one.read_until(lambda message: message["type"] in ("join", "leave"))
                if message["user"]["id"] in visitors:
                    (here if message["type"] == "join" else gone).append(message["user"]["id"])
            assert here == visitors
            assert sorted(gone) == sorted(visitors)
            probe = {"type": "still there?", "number": next(_numbers)}
            other.say(probe)
            one.read_until(probe.__eq__)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that announces at once who is gone, however it went."""
    running = Server(SERVE, {"COLLAB_RESUME_GRACE": "0"}).wait_ready()
    yield running
    running.stop(signal.SIGINT)


@pytest.fixture(scope="module")
def pair(server: Server) -> Iterator[Pair]:
    pair = Pair(server.port)
    with pair.alice, pair.bob:
        yield pair


@pytest.fixture(scope="module")
def small_server() -> Iterator[Server]:
    """A server that takes messages of at most `LIMIT` bytes."""
    running = Server(SERVE, {"COLLAB_MAX_MESSAGE_SIZE": str(LIMIT), "COLLAB_RESUME_GRACE": "0"}).wait_ready()
    yield running
    running.stop(signal.SIGINT)


@pytest.fixture(scope="module")
def small_pair(small_server: Server) -> Iterator[Pair]:
    pair = Pair(small_server.port)
    with pair.alice, pair.bob:
        yield pair


@pytest.fixture
def visit(pair: Pair) -> Iterator[Open]:
    """Connects to the healthy pair's document; at the end the pair must be as healthy as before."""
    yield from _visits(pair)


@pytest.fixture
def visit_small(small_pair: Pair) -> Iterator[Open]:
    """As `visit`, on the server with the low limit."""
    yield from _visits(small_pair)


def _visits(pair: Pair) -> Iterator[Open]:
    open_now: list[Wire] = []
    visitors: list[str] = []

    def visit(path: str = NATIVE, *protocols: str) -> Wire:
        """A connection that has been welcomed."""
        visitors.append(f"visitor-{next(_numbers)}")
        wire = connect(pair.port, f"{path}?user_id={visitors[-1]}", *protocols)
        open_now.append(wire)
        wire.read_until(is_step1)
        return wire

    yield visit
    for wire in open_now:
        wire.sock.close()
    pair.check(visitors)


def is_answered(wire: Wire) -> None:
    """`wire` is at peace with the server."""
    wire.send(client_frame(PING, b"at peace"))
    assert wire.read_frame() == Frame(PONG, b"at peace")


def is_failed(wire: Wire, code: int) -> None:
    """The server has closed with `code`, and says nothing more."""
    assert wire.read_closed().code == code
    wire.read_end()


# ---- §4: the handshake


def test_the_handshake_is_answered_101_with_the_accept_of_the_key(server: Server) -> None:
    answer = ask(server.port, request(NATIVE))
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"


def test_the_headers_of_a_handshake_are_read_without_regard_to_case(server: Server) -> None:
    headers = {"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"}
    assert ask(server.port, request(NATIVE, headers=headers)).status == 101


@PATHS
def test_no_extension_is_agreed_on(server: Server, path: str) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"}
    answer = ask(server.port, request(path, headers=offer))
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


@pytest.mark.parametrize(
    ("path", "offered", "chosen"),
    [
        (NATIVE, ["yjs"], "yjs"),
        (NATIVE, ["collab.binary"], "collab.binary"),
        (NATIVE, ["graphql-ws", "collab.binary"], "collab.binary"),
        (NATIVE, ["graphql-ws"], None),
        (NATIVE, ["YJS"], None),
        (NATIVE, [], None),
        (YJS, ["yjs"], "yjs"),
        (YJS, ["collab.binary"], None),
        (YJS, [], None),
    ],
)
def test_a_subprotocol_is_chosen_only_when_it_was_offered_and_is_known(
    server: Server, path: str, offered: list[str], chosen: str | None
) -> None:
    answer = ask(server.port, request(path, *offered))
    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == chosen


def test_subprotocols_may_be_offered_in_several_header_lines(server: Server) -> None:
    handshake = request(NATIVE, "graphql-ws")[:-2] + b"Sec-WebSocket-Protocol: collab.binary\r\n\r\n"
    assert ask(server.port, handshake).headers["sec-websocket-protocol"] == "collab.binary"


def test_the_subprotocol_yjs_makes_the_native_path_speak_y_websocket(visit: Open) -> None:
    wire = visit(NATIVE, "yjs")
    wire.say(b"\x03")  # y-websocket's query for awareness
    assert wire.read_message() == b"\x01\x01\x00"


def test_the_subprotocol_collab_binary_gets_no_text_frame(server: Server) -> None:
    with connect(server.port, "/ws/document/binary", "collab.binary") as wire:
        opcode, payload = wire.read_frame()
    assert opcode == BINARY
    assert payload[0] == 12
    assert json.loads(payload[payload.index(b"{") :])["type"] == "initial_state"


# ---- §5.1 and §5.2: what every frame must be


@PATHS
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_a_frame_without_a_mask_is_a_protocol_error(visit: Open, path: str, opcode: int) -> None:
    wire = visit(path)
    wire.send(client_frame(opcode, b"{}", mask=None))
    is_failed(wire, 1002)


def test_any_masking_key_will_do(visit: Open) -> None:
    wire = visit()
    for mask in (bytes(4), b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"):
        wire.send(client_frame(PING, mask * 3, mask=mask))
        assert wire.read_frame() == Frame(PONG, mask * 3)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_a_reserved_bit_is_a_protocol_error(visit: Open, opcode: int, rsv: int) -> None:
    wire = visit()
    wire.send(client_frame(opcode, b"{}", rsv=rsv))
    is_failed(wire, 1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_an_opcode_that_is_not_defined_is_a_protocol_error(visit: Open, opcode: int) -> None:
    wire = visit()
    wire.send(client_frame(opcode, b"x"))
    is_failed(wire, 1002)


@pytest.mark.parametrize(
    "length",
    [
        b"\xfe" + (125).to_bytes(2, "big"),
        b"\xfe" + (0).to_bytes(2, "big"),
        b"\xff" + (125).to_bytes(8, "big"),
        b"\xff" + (65535).to_bytes(8, "big"),
    ],
)
def test_a_length_that_is_not_in_its_shortest_form_is_a_protocol_error(visit: Open, length: bytes) -> None:
    wire = visit()
    wire.send(b"\x82" + length)
    is_failed(wire, 1002)


def test_a_length_of_64_bits_is_a_protocol_error(visit: Open) -> None:
    wire = visit()
    wire.send(b"\x82\xff" + (1 << 63).to_bytes(8, "big"))
    is_failed(wire, 1002)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_message_of_any_length_arrives_whole(visit: Open, size: int) -> None:
    wire, peer = visit(), visit()
    wire.read_until(is_event("join"))
    text = json.dumps({"type": "filler", "text": "x" * size})
    wire.say(text)
    assert peer.read_frame() == Frame(TEXT, text.encode())


def test_frames_that_come_one_byte_at_a_time_are_read_alike(visit: Open) -> None:
    wire, peer = visit(), visit()
    wire.read_until(is_event("join"))
    long = json.dumps({"type": "long", "text": "é" * 100}).encode()
    frames = [
        client_frame(TEXT, long[:101], fin=False),  # in the middle of a character
        client_frame(PING, b"between"),
        client_frame(CONTINUATION, long[101:]),
        client_frame(TEXT, b'{"type":"short"}'),
        client_frame(CLOSE, b"\x0b\xb8bye"),
    ]
    for byte in b"".join(frames):
        wire.send(bytes((byte,)))
    assert [peer.read_frame(), peer.read_frame()] == [Frame(TEXT, long), Frame(TEXT, b'{"type":"short"}')]
    assert wire.read_frame() == Frame(PONG, b"between")
    assert wire.read_frame() == Frame(CLOSE, b"\x0b\xb8")
    wire.read_end()


def test_a_handshake_that_comes_one_byte_at_a_time_is_answered_alike(server: Server) -> None:
    with Wire(server.port) as wire:
        for byte in request(NATIVE):
            wire.send(bytes((byte,)))
        assert wire.read_answer().status == 101


def test_what_came_before_a_broken_frame_takes_effect_and_what_comes_behind_it_does_not(visit: Open) -> None:
    wire, peer = visit(), visit()
    wire.read_until(is_event("join"))
    before, behind = client_frame(TEXT, b'{"type":"before"}'), client_frame(TEXT, b'{"type":"behind"}')
    wire.send(client_frame(PING, b"1") + before + b"\x83\x80" + behind)
    assert wire.read_frame() == Frame(PONG, b"1")
    is_failed(wire, 1002)
    assert peer.read_message() == {"type": "before"}
    assert peer.read_message()["type"] == "leave"


# ---- §5.4: fragments


def test_fragments_are_joined_and_control_frames_may_come_between_them(visit: Open) -> None:
    wire, peer = visit(), visit()
    wire.read_until(is_event("join"))
    text = '{"type":"fragments","text":"naïve 🦀"}'.encode()
    wire.send(client_frame(TEXT, text[:30], fin=False))
    wire.send(client_frame(PING, b"one"))
    wire.send(client_frame(CONTINUATION, b"", fin=False))
    wire.send(client_frame(CONTINUATION, text[30:40], fin=False))  # splits the crab
    wire.send(client_frame(PONG, b"nobody asked"))
    wire.send(client_frame(PING, b"two"))
    wire.send(client_frame(CONTINUATION, text[40:]))
    assert peer.read_frame() == Frame(TEXT, text)
    assert [wire.read_frame(), wire.read_frame()] == [Frame(PONG, b"one"), Frame(PONG, b"two")]


def test_fragments_of_a_binary_message_are_joined(server: Server) -> None:
    message = update(Editor(1).type("fragments"))
    with connect(server.port, "/yjs/fragments") as wire, connect(server.port, "/yjs/fragments") as peer:
        peer.read_message()
        wire.send(client_frame(BINARY, message[:1], fin=False))
        for byte in message[1:]:
            wire.send(client_frame(CONTINUATION, bytes((byte,)), fin=False))
        wire.send(client_frame(CONTINUATION))
        assert peer.read_message() == message


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_new_message_inside_a_fragmented_one_is_a_protocol_error(visit: Open, opcode: int) -> None:
    wire = visit()
    wire.send(client_frame(TEXT, b"{", fin=False) + client_frame(opcode, b"}"))
    is_failed(wire, 1002)


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_of_nothing_is_a_protocol_error(visit: Open, fin: bool) -> None:
    wire = visit()
    wire.send(client_frame(CONTINUATION, b"x", fin=fin))
    is_failed(wire, 1002)


def test_a_continuation_behind_the_last_fragment_is_a_protocol_error(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(TEXT, b'{"type":', fin=False) + client_frame(CONTINUATION, b'"ping"}'))
    assert wire.read_message() == {"type": "pong"}
    wire.send(client_frame(CONTINUATION, b"more"))
    is_failed(wire, 1002)


# ---- §5.5: control frames


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_of_more_than_125_bytes_is_a_protocol_error(visit: Open, opcode: int) -> None:
    wire = visit()
    wire.send(client_frame(opcode, b"\x03\xe8" + b"x" * 124))
    is_failed(wire, 1002)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_in_fragments_is_a_protocol_error(visit: Open, opcode: int) -> None:
    wire = visit()
    wire.send(client_frame(opcode, b"\x03\xe8", fin=False))
    is_failed(wire, 1002)


@PATHS
def test_pings_are_answered_in_order_with_their_own_payloads(visit: Open, path: str) -> None:
    wire = visit(path)
    payloads = [b"", b"one", b"\x00\xff" * 62, b"y" * 125]
    wire.send(b"".join(client_frame(PING, payload) for payload in payloads))
    assert [wire.read_frame() for _ in payloads] == [Frame(PONG, payload) for payload in payloads]


def test_a_pong_keeps_its_place_among_the_answers(visit: Open) -> None:
    wire = visit()
    question = client_frame(TEXT, b'{"type":"ping"}')
    wire.send(question + client_frame(PING, b"between") + question)
    assert wire.read_message() == {"type": "pong"}
    assert wire.read_message() == Frame(PONG, b"between")
    assert wire.read_message() == {"type": "pong"}


def test_a_pong_that_nobody_asked_for_is_overlooked(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(PONG) + client_frame(PONG, b"unasked"))
    is_answered(wire)


# ---- §7: closing


@PATHS
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code_and_then_the_server_hangs_up(visit: Open, path: str, code: int) -> None:
    wire = visit(path)
    wire.goodbye(code, "au revoir, à bientôt".encode())
    assert wire.read_frame() == Frame(CLOSE, code.to_bytes(2, "big"))
    wire.read_end()


def test_a_close_without_a_code_is_answered_without_one(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(CLOSE))
    assert wire.read_frame() == Frame(CLOSE, b"")
    wire.read_end()


def test_a_close_in_the_middle_of_a_fragmented_message_is_answered(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(TEXT, b"{", fin=False))
    wire.goodbye()
    assert wire.read_frame() == Frame(CLOSE, b"\x03\xe8")
    wire.read_end()


def test_what_comes_behind_a_close_is_not_read(visit: Open) -> None:
    wire, peer = visit(), visit()
    wire.read_until(is_event("join"))
    wire.send(client_frame(CLOSE, b"\x03\xe8") + client_frame(TEXT, b'{"type":"behind"}') + client_frame(PING))
    assert wire.read_frame() == Frame(CLOSE, b"\x03\xe8")
    wire.read_end()
    assert peer.read_message()["type"] == "leave"


@PATHS
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_a_close_with_a_code_that_must_not_be_sent_is_a_protocol_error(visit: Open, path: str, code: int) -> None:
    wire = visit(path)
    wire.goodbye(code)
    is_failed(wire, 1002)


def test_a_close_with_half_a_code_is_a_protocol_error(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(CLOSE, b"\x03"))
    is_failed(wire, 1002)


def test_a_close_whose_reason_is_not_utf_8_is_invalid_data(visit: Open) -> None:
    wire = visit()
    wire.goodbye(1000, b"\xff\xfe")
    is_failed(wire, 1007)


def test_when_the_server_closes_it_hangs_up_as_soon_as_the_client_has_answered(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(TEXT, b"not JSON") * 100)
    closed = wire.read_until(lambda message: isinstance(message, Closed))
    assert closed.code == 1008
    wire.goodbye(1008)
    wire.read_end()


def test_behind_the_servers_close_a_message_takes_no_effect(visit: Open) -> None:
    wire, peer = visit(), visit()
    wire.send(client_frame(TEXT, b"not JSON") * 100)
    wire.read_until(lambda message: isinstance(message, Closed))
    wire.say({"type": "behind"})
    wire.goodbye(1008)
    wire.read_end()
    assert peer.read_message()["type"] == "leave"


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_vanishes_without_a_close_is_gone_at_once(server: Server, visit: Open, reset: bool) -> None:
    peer = visit()
    with connect(server.port, f"{NATIVE}?user_id=ghost") as wire:
        wire.read_until(is_event("initial_state"))
        assert peer.read_message()["type"] == "join"
        if reset:
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert peer.read_message() == {"type": "leave", "user": {"id": "ghost", "name": "ghost"}}


# ---- §8.1: text is UTF-8

NOT_UTF_8 = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]


@PATHS
@pytest.mark.parametrize("text", NOT_UTF_8)
def test_text_that_is_not_utf_8_is_invalid_data(visit: Open, path: str, text: bytes) -> None:
    wire = visit(path)
    wire.send(client_frame(TEXT, b'{"type":"' + text + b'"}'))
    is_failed(wire, 1007)


def test_text_that_is_not_utf_8_only_when_joined_is_invalid_data(visit: Open) -> None:
    wire = visit()
    wire.send(client_frame(TEXT, b'{"type":"\xe2\x82', fin=False) + client_frame(CONTINUATION, b'"}'))
    is_failed(wire, 1007)


def test_binary_data_need_not_be_utf_8(visit: Open) -> None:
    wire = visit()
    wire.say(b"\x7f\xff\xfe")
    assert wire.read_message()["code"] == "unknown_type"
    is_answered(wire)


# ---- §7.4.1, 1009: messages that are too big


@PATHS
@pytest.mark.parametrize("size", [DEFAULT_LIMIT + 1, (1 << 63) - 1])
def test_a_message_over_the_limit_is_refused_from_its_header_alone(visit: Open, path: str, size: int) -> None:
    wire = visit(path)
    wire.send(b"\x82\xff" + size.to_bytes(8, "big"))
    is_failed(wire, 1009)


def test_a_message_of_the_largest_size_is_taken_and_one_byte_more_is_not(visit_small: Open) -> None:
    wire, peer = visit_small(), visit_small()
    wire.read_until(is_event("join"))
    largest = json.dumps({"type": "largest", "text": ""}).encode()
    largest = largest[:-2] + b"x" * (LIMIT - len(largest)) + largest[-2:]
    wire.send(client_frame(TEXT, largest))
    assert peer.read_frame() == Frame(TEXT, largest)
    wire.send(client_frame(TEXT, largest + b" "))
    is_failed(wire, 1009)


def test_fragments_over_the_limit_are_refused_from_the_header_that_goes_over_it(visit_small: Open) -> None:
    wire = visit_small()
    wire.send(client_frame(BINARY, b"x" * 600, fin=False))
    wire.send(client_frame(CONTINUATION, b"x" * 400, fin=False))
    wire.send(client_frame(PING, b"at the limit"))
    assert wire.read_frame() == Frame(PONG, b"at the limit")
    wire.send(client_frame(CONTINUATION, b"x")[:2])
    is_failed(wire, 1009)


def test_control_frames_do_not_count_against_the_limit(visit_small: Open) -> None:
    wire, peer = visit_small(), visit_small()
    wire.read_until(is_event("join"))
    text = b'{"type":"under the limit","text":"' + b"x" * 900 + b'"}'
    wire.send(client_frame(TEXT, text[:500], fin=False))
    for _ in range(10):
        wire.send(client_frame(PING, b"x" * 125))
        assert wire.read_frame() == Frame(PONG, b"x" * 125)
    wire.send(client_frame(CONTINUATION, text[500:]))
    assert peer.read_frame() == Frame(TEXT, text)


def test_a_client_that_goes_on_sending_into_a_broken_connection_is_told_why_all_the_same(visit: Open) -> None:
    wire = visit()
    wire.send(b"\x82\xff" + (DEFAULT_LIMIT + 1).to_bytes(8, "big") + b"mask")
    for _ in range(64):
        wire.send(b"x" * 65536)
    frame = wire.read_frame()
    assert read_close(frame.payload).code == 1009
    wire.read_end()
