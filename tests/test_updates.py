"""Updates joined into documents: the same whatever their order, and without more memory than they are worth."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from ydocs import Editor

from collab.updates import PART, merge, settle, squash

LONG = """
import resource, sys
from collab.protocol.lib0 import var_uint
from collab.updates import merge, settle

def typed(client, clock):
    head = b"\\x01\\x01" + var_uint(client) + var_uint(clock)
    beside = b"\\x84" + var_uint(client) + var_uint(clock - 1) if clock else b"\\x04\\x01\\x04text"
    return head + beside + b"\\x01x\\x00"

clients = [2**31 + n for n in range(5)]
records = [merge([typed(client, clock) for client in clients]) for clock in range(60_000)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
content, rest = settle(records)
assert rest is None and len(content) > 300_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_log_of_single_letters_takes_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) * 1024 < 100 * 1024 * 1024, "in one go yrs takes a gigabyte"


@pytest.mark.parametrize("seed", range(20))
def test_a_document_is_the_same_in_whatever_order_its_updates_are(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr("collab.updates.PART", rng.choice([1, 50, 200, PART]))
    editors, updates = [Editor(10 + n) for n in range(3)], []
    for _ in range(60):
        editor = rng.choice(editors)
        length = len(editor.text)
        if length and rng.random() < 0.2:
            at = rng.randrange(length)
            updates.append(editor.delete(at, at + 1))
        else:
            updates.append(editor.insert(rng.randint(0, length), rng.choice("abc")))
        for other in editors:
            if rng.random() < 0.5:
                other.doc.apply_update(merge(updates))
    expected = Editor()
    expected.doc.apply_update(merge(updates))
    for order in (updates, rng.sample(updates, len(updates))):
        reader = Editor()
        content, rest = settle(order)
        assert rest is None
        reader.doc.apply_update(content)
        assert (str(reader), reader.clocks) == (str(expected), expected.clocks)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_where_something_is_missing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr("collab.updates.PART", rng.choice([1, 50, PART]))
    editor = Editor(7)
    updates = [editor.insert(rng.randint(0, n), "x") for n in range(30)]
    missing = updates.pop(rng.randrange(29))
    assert settle(updates).rest is not None
    reader = Editor()
    reader.doc.apply_update(merge([squash(updates), missing]))
    assert (str(reader), reader.clocks) == (str(editor), editor.clocks)
