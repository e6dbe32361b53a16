"""Readers that stop for a while: bounded while they do, and equal to the others when they are back."""

from __future__ import annotations

import gc
import socket
from pathlib import Path
from typing import Any

import pytest
from ydocs import Editor, step1, update, yjs_awareness

from collab.clock import now
from collab.solo import Solo
from collab.testing import Client, Closed, Stage, settle, stage

BATCH = 50


def narrow(client: Client) -> None:
    """Let the server's socket hold next to nothing, so that a client that does not read is felt at once."""
    client.connection._socket._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def catch_up(client: Client, editor: Editor) -> None:
    """Read until nothing more comes."""
    while True:
        settle()
        messages = client.received()
        for message in messages:
            editor.read(message)
        if not messages and client.connection.backlog is None:
            return


def drain(client: Client) -> list[Any]:
    """All that a client has missed, once nothing waits for it any more."""
    messages = []
    while client.connection.backlog is not None:
        messages += client.received()
        settle()
    return messages + client.received()


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def type_much(hub: Stage, writer: Client, editor: Editor, count: int) -> None:
    """Type `count` letters, one update each, many to a loop pass; the writer reads all along."""
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            writer.send(update(editor.type("x")))
        settle()
        writer.received()


def test_a_reader_that_stops_during_50_000_updates_ends_equal_to_the_others() -> None:
    with stage() as hub:
        writer, reader, slow = hub.yjs("doc"), hub.yjs("doc"), hub.yjs("doc")
        narrow(slow)
        mine, theirs, its = Editor(9), Editor(), Editor()
        type_much(hub, writer, mine, 1000)
        for _ in range(49):
            type_much(hub, writer, mine, 1000)
            for message in reader.received():
                theirs.read(message)
            assert slow.connection.backlog is not None
            assert len(slow.connection.backlog) <= hub.settings.send_queue + 1
        catch_up(slow, its)
        assert hub.metrics.snapshot()["repairs"]
        texts = {str(mine), str(theirs), str(its)}
        assert texts == {"x" * 50_000}
        assert its.clocks == mine.clocks


def test_memory_does_not_grow_with_what_a_slow_reader_misses() -> None:
    # Inserting and deleting keeps the document small; what is missed would be 24 MB.
    with stage(send_queue_bytes=65536) as hub:
        writer, slow = hub.yjs("doc"), hub.yjs("doc")
        narrow(slow)
        editor = Editor(9)

        def churn(times: int) -> None:
            for _ in range(times):
                writer.send(update(editor.type("x" * 30_000)))
                writer.send(update(editor.delete(0, 30_000)))
                settle()
                hub.tick(now())  # at which the document is compacted when it has grown enough
                writer.received()

        churn(100)
        before = resident()
        churn(800)
        assert resident() - before < 6_000_000
        its = Editor()
        catch_up(slow, its)
        assert str(its) == ""
        assert its.clocks == editor.clocks


def test_presence_collapses_to_the_latest_state() -> None:
    with stage(send_queue=4) as hub:
        writer, slow = hub.yjs("doc"), hub.yjs("doc")
        narrow(slow)
        padding = "x" * 1000
        for clock in range(1, 101):
            writer.send(yjs_awareness(5, clock, f'{{"n":{clock},"p":"{padding}"}}'))
            settle()
            writer.received()
        messages = drain(slow)
        assert messages[-1] == yjs_awareness(5, 100, f'{{"n":100,"p":"{padding}"}}')
        assert len(messages) < 50


def test_a_native_reader_that_missed_relays_is_told_so_and_gets_the_present_users() -> None:
    with stage(send_queue=4) as hub:
        writer, slow = hub.native("doc", "alice"), hub.native("doc", "bob")
        slow.received()
        narrow(slow)
        for number in range(100):
            writer.send({"type": "note", "number": number, "padding": "x" * 1000})
            settle()
        messages = drain(slow)
        numbers = [message["number"] for message in messages if message["type"] == "note"]
        assert numbers == list(range(len(numbers)))
        error = next(message for message in messages if message["type"] == "error")
        assert error["code"] == "too_slow"
        dropped = hub.metrics.snapshot()["relays_dropped"]
        assert dropped == 100 - len(numbers)
        assert str(dropped) in error["message"]


def test_acks_and_answers_are_kept_while_updates_are_forgotten() -> None:
    with stage(send_queue=4) as hub:
        alice, bob = hub.native("doc", "alice"), hub.native("doc", "bob")
        alice.received()
        narrow(alice)
        editor, its = Editor(9), Editor(native=True)
        for _ in range(50):
            bob.send(update(editor.type("x" * 1000)))
            settle()
            bob.received()
        alice.send(update(Editor(10).type("y")))
        alice.send({"type": "ping"})
        settle()
        messages = drain(alice)
        for message in messages:
            its.read(message)
        assert {"type": "pong"} in messages
        assert b"\x04\x01" in messages
        assert len(str(its)) == 50_001


def test_who_asks_without_reading_is_not_read_any_more() -> None:
    with stage(send_queue=8) as hub:
        flooder, other = hub.native("doc", "alice"), hub.native("doc", "bob")
        narrow(flooder)
        sent = 0
        try:
            while sent < 200_000:
                flooder.send({"type": "ping"})
                sent += 1
                if not sent % 100:
                    settle()
        except BlockingIOError:
            # TCP says no: that is the point.
            settle()
        assert hub.metrics.received.messages < sent < 200_000
        other.send({"type": "ping"})
        settle()
        assert {"type": "pong"} in other.received()


def test_a_20_mib_document_reaches_a_client_that_reads_slowly_whole() -> None:
    with stage(max_message_size=32 * 1024 * 1024) as hub:
        writer = hub.yjs("doc")
        mine, its = Editor(9), Editor()
        for _ in range(20):
            writer.send(update(mine.type("0123456789abcdef" * 65536)))
            settle()
            writer.received()
        slow = hub.yjs("doc")
        slow.received()
        narrow(slow)
        slow.send(step1())
        settle()
        assert slow.connection.backlog is not None
        messages = []
        while slow.connection.backlog is not None:
            messages += [message for _, message in slow.frames(16384)]
            settle()
        messages += slow.received()
        [reply] = [message for message in messages if message[:2] == b"\x00\x01"]
        its.read(reply)
        assert len(str(its)) == 20 * 1024 * 1024


def test_a_step1_behind_a_backlog_is_answered_when_it_is_drained() -> None:
    with stage(send_queue=4) as hub:
        writer, slow = hub.yjs("doc"), hub.yjs("doc")
        narrow(slow)
        editor, its = Editor(9), Editor()
        for _ in range(50):
            writer.send(update(editor.type("x" * 1000)))
            settle()
            writer.received()
        slow.send(step1())
        settle()
        messages = drain(slow)
        assert sum(message[:2] == b"\x00\x01" for message in messages) == 1
        for message in messages:
            its.read(message)
        assert len(str(its)) == 50_000


def test_who_takes_nothing_at_all_for_the_slow_timeout_is_closed_and_who_takes_a_little_is_not() -> None:
    with stage(slow_timeout=60, ping_interval=1000, idle_timeout=0) as hub:
        writer, stuck, trickle = hub.yjs("doc"), hub.yjs("doc"), hub.yjs("doc")
        for client in (stuck, trickle):
            narrow(client)
        editor = Editor(9)
        for _ in range(200):
            writer.send(update(editor.type("x" * 1000)))
            settle()
            writer.received()
        assert stuck.connection.backlog is not None and trickle.connection.backlog is not None
        trickle.connection.backlog.progress = now() + 50
        hub.clean_up(now() + 59)
        assert stuck.connection.session.room is not None
        hub.clean_up(now() + 61)
        settle()
        assert stuck.connection.session.room is None
        assert trickle.connection.session.room is not None
        messages = []
        while not stuck.ended and Closed(1013, "too slow for too long") not in messages:
            messages += stuck.received()
            settle()
        assert messages[-1] == Closed(1013, "too slow for too long")
        assert hub.metrics.snapshot()["slow_closed"] == 1


def test_who_asks_for_all_presence_again_and_again_without_reading_gets_it_once() -> None:
    with stage() as hub:
        talker, asker = hub.yjs("doc"), hub.native("doc")
        for client in range(1, 33):
            talker.send(yjs_awareness(client, 1, '"' + "x" * 30_000 + '"'))
        settle()
        drain(asker)
        narrow(asker)
        for _ in range(1000):
            asker.send(b"\x03")
        settle()
        assert asker.connection.backlog is not None
        assert len(asker.connection.backlog) < 5
        assert sum(len(message) for message in drain(asker)) < 4_000_000


def test_a_repair_that_fails_ends_the_session_rather_than_leave_it_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(send_queue=4) as hub:
        writer, slow = hub.yjs("doc"), hub.yjs("doc")
        narrow(slow)
        editor = Editor(9)
        for _ in range(50):
            writer.send(update(editor.type("x" * 1000)))
            settle()
            writer.received()
        monkeypatch.setattr(Solo, "on_caught_up", lambda *_: 1 / 0)
        while not slow.ended:
            slow.received()
            settle()
        assert slow.connection not in hub.connections
        assert hub.metrics.labelled.pop(("greenlet_deaths", "")) == 1
