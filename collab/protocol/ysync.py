"""The sync messages of y-protocols, which every dialect carries inside frames of its own.

varUint(0) varBytes(state vector) is Step1, varUint(1) varBytes(update) Step2, varUint(2) varBytes(update) Update.
"""

from __future__ import annotations

from collab.errors import InvalidMessage
from collab.protocol.lib0 import read_var_bytes, read_var_uint, var_bytes
from collab.protocol.messages import SyncStep1, SyncStep2, Update

_KINDS: tuple[type[SyncStep1] | type[SyncStep2] | type[Update], ...] = (SyncStep1, SyncStep2, Update)


def decode_sync(data: bytes, at: int) -> SyncStep1 | SyncStep2 | Update:
    """Read the sync message that fills `data` from position `at` to its end.

    Raises:
        InvalidMessage: truncated, of an unknown step, or with bytes behind its end.
    """
    step, at = read_var_uint(data, at)
    body, at = read_var_bytes(data, at)
    if step > 2:
        raise InvalidMessage("unknown sync step")
    if at != len(data):
        raise InvalidMessage("bytes behind the end of a message")
    return _KINDS[step](body)


def encode_sync(message: SyncStep1 | SyncStep2 | Update) -> bytes:
    """Write a sync message."""
    return bytes((_KINDS.index(type(message)),)) + var_bytes(message[0])
