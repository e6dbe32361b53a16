"""What the tests of the protocol modules share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from websockets.frames import Frame, Opcode

from collab.errors import InvalidMessage

generated = settings(deadline=None, database=None, derandomize=True)
"""For tests with generated examples: the same ones in each run, and no verdict that hangs on time."""


def server_frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked frame, as an independent implementation writes it."""
    return Frame(Opcode(opcode), payload).serialize(mask=False)


def assert_refused(code: str, decode: Callable[[], object]) -> None:
    """`decode()` raises an error that the session survives and whose wire code is `code`."""
    with pytest.raises(InvalidMessage) as caught:
        decode()
    assert caught.value.code == code
