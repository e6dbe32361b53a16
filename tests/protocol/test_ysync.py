"""The sync messages that every dialect carries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_refused, generated

from collab.errors import InvalidMessage
from collab.protocol.messages import SyncStep1, SyncStep2, Update
from collab.protocol.ysync import decode_sync, encode_sync

Sync = SyncStep1 | SyncStep2 | Update

CASES: list[tuple[str, Sync]] = [
    ("00 01 00", SyncStep1(b"\x00")),
    ("00 04 01 05 ac 02", SyncStep1(b"\x01\x05\xac\x02")),
    ("01 02 00 00", SyncStep2(b"\x00\x00")),
    ("02 02 00 00", Update(b"\x00\x00")),
    ("02 00", Update(b"")),
    ("02 ac 02" + "2a" * 300, Update(b"*" * 300)),
]


@pytest.mark.parametrize(("data", "message"), CASES)
def test_a_sync_message_is_read_and_written_byte_by_byte_alike(data: str, message: Sync) -> None:
    assert encode_sync(message) == bytes.fromhex(data)
    assert decode_sync(bytes.fromhex(data), 0) == message
    assert type(decode_sync(bytes.fromhex(data), 0)) is type(message)
    assert decode_sync(b"\xff\xff" + bytes.fromhex(data), 2) == message


@pytest.mark.parametrize(
    "data",
    ["", "00", "00 02 00", "01 80", "02 ff ff ff ff ff ff ff ff ff 01", "03 01 00", "80 01 00 00", "00 01 00 00"],
)
def test_a_sync_message_cut_short_unknown_or_too_long_is_refused(data: str) -> None:
    assert_refused("invalid_message", lambda: decode_sync(bytes.fromhex(data), 0))


@generated
@given(st.binary())
def test_arbitrary_bytes_are_a_sync_message_or_refused(data: bytes) -> None:
    try:
        message = decode_sync(data, 0)
    except InvalidMessage:
        return
    assert decode_sync(encode_sync(message), 0) == message
