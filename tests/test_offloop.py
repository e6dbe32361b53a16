"""A store's calls in a thread of their own: what they raise comes back, and documents as deep as they may be fit."""

from __future__ import annotations

import resource
import subprocess
import sys
from threading import get_native_id

import gevent
import pytest

from collab.errors import StoreError
from collab.offloop import OffLoop
from collab.stores.memory import MemoryStore


class Blocking(MemoryStore):
    blocking = True


def test_what_a_call_raises_is_raised_where_it_was_asked_and_printed_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(text: str) -> None:
        raise StoreError(text)

    off = OffLoop(Blocking())
    try:
        for _ in range(3):
            with pytest.raises(StoreError, match="no room"):
                off.call(fail, "no room")
        assert off.call(len, b"abc") == 3
    finally:
        off.close(1)
    gevent.idle()
    assert capfd.readouterr().err == ""


def test_all_who_ask_at_once_are_served_by_one_thread() -> None:
    off, threads = OffLoop(Blocking()), set()

    def ask() -> None:
        threads.add(off.call(get_native_id))

    try:
        gevent.joinall([gevent.spawn(ask) for _ in range(5)], raise_error=True)
    finally:
        off.close(1)
    assert len(threads) == 1 and get_native_id() not in threads


def test_what_is_asked_of_a_closed_store_is_refused_at_once() -> None:
    off = OffLoop(Blocking())
    waiting = [gevent.spawn(off.call, len, b"abc") for _ in range(3)]
    gevent.idle()
    off.close(1)
    assert [asked.get(timeout=1) for asked in waiting] == [3, 3, 3]
    with pytest.raises(StoreError, match="stopping"):
        off.call(len, b"abc")


DEEP = """
import gevent
from collab.commit import MAX_NESTING, NESTING_SLACK
from collab.archive import read_document
from collab.offloop import OffLoop
from collab.stores.memory import MemoryStore

class Blocking(MemoryStore):
    blocking = True

def deep(levels):
    client, clock, structs = 5, 0, []
    for level in range(levels):
        parent = b"\\x01\\x01a" if not level else b"\\x00\\x05" + number(level - 1)
        structs.append(b"\\x07" + parent + b"\\x00")
    return b"\\x01" + number(levels) + b"\\x05\\x00" + b"".join(structs) + b"\\x01\\x05\\x01\\x00\\x01"

def number(n):
    out = b""
    while n > 127:
        out += bytes((n & 127 | 128,))
        n >>= 7
    return out + bytes((n,))

off = OffLoop(Blocking())
document = off.call(read_document, [deep(NESTING_SLACK - 100)])
print("whole")
"""


def test_a_document_as_deep_as_they_may_be_is_opened_whatever_stack_the_system_gives_threads() -> None:
    def no_limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("this process may not have a stack without limit, where threads get the smallest")
    done = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=60, preexec_fn=no_limit, check=False
    )
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
