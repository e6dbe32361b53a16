"""What an application hears of its documents, and what it can read of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from flask import Flask
from processes import ROOT, Serve
from readme import block
from test_ext import UNDER_GUNICORN
from wire import ask, connect, is_step1, request
from ydocs import Editor, step1, update

import collab.events
from collab import Collab, Event
from collab.clock import now
from collab.events import PAUSE, Events
from collab.testing import Stage, settle, stage


def listening(hub: Stage, *kinds: str) -> list[Event]:
    """What `hub` tells of, as it comes."""
    told: list[Event] = []
    for kind in kinds or collab.events.KINDS:
        hub.events.listen(kind, told.append)
    return told


def short(events: list[Event]) -> list[str]:
    return [" ".join(filter(None, event[:3])) for event in events]


def test_the_life_of_a_document_is_told_in_order() -> None:
    with stage(resume_grace=0.0) as hub:
        told = listening(hub)
        alice = hub.native("doc", "alice")
        bob = hub.native("doc", "bob")
        again = hub.native("doc", "bob")
        alice.send(update(Editor().type("x")))
        settle()
        bob.close()
        assert short(told) == ["opened doc", "joined doc alice", "joined doc bob"]
        again.close()
        settle()
        alice.close()
        settle()
        hub.tick(now())
        settle()
        assert short(told) == [
            *("opened doc", "joined doc alice", "joined doc bob", "left doc bob", "left doc alice"),
            *("stored doc", "closed doc"),
        ]
        assert told[1].user_name == "alice"


def test_who_comes_back_in_time_has_not_left() -> None:
    with stage(resume_grace=10.0) as hub:
        told = listening(hub, "joined", "left")
        first = hub.native("doc", "alice")
        session = first.received()[0]["session"]["id"]
        first.vanish()
        hub.native("doc", "alice", session_id=session)
        assert short(told) == ["joined doc alice"]


def test_that_something_was_stored_is_told_once_for_a_while() -> None:
    with stage() as hub:
        told = listening(hub, "stored")
        alice, editor = hub.native("doc", "alice"), Editor()
        for letter in "abc":
            alice.send(update(editor.type(letter)))
            settle()
        assert not told
        hub.events.tick(now() + PAUSE)
        settle()
        assert short(told) == ["stored doc"]
        hub.events.tick(now() + 2 * PAUSE)
        settle()
        assert short(told) == ["stored doc"]
        alice.send(update(editor.type("d")))
        settle()
    assert short(told) == ["stored doc"] * 2, "a stop tells what is left"


@pytest.mark.parametrize(
    ("fault", "words"),
    [(lambda: KeyError("no such index"), "KeyError: "), (lambda: gevent.Timeout(0), "Timeout: 0 seconds")],
    ids=["error", "timeout"],
)
def test_a_function_that_fails_or_waits_keeps_nobody_from_anything(
    caplog: pytest.LogCaptureFixture, fault: Callable[[], BaseException], words: str
) -> None:
    with stage() as hub:

        def fail(event: Event) -> None:
            gevent.sleep(0)
            raise fault()

        hub.events.listen("opened", fail)
        told = listening(hub, "opened")
        hub.native("a", "alice")
        hub.native("b", "alice")
        settle()
        assert short(told) == ["opened a", "opened b"]
        assert hub.metrics.snapshot()["listener_failures"] == 2
    assert caplog.text.count("A function of the application failed") == 2
    assert caplog.text.count(words) == 2


def test_of_a_document_that_was_replaced_everybody_has_left_before_it_is_closed() -> None:
    with stage(resume_grace=10.0) as hub:
        told = listening(hub, "left", "closed")
        hub.native("doc", "alice").vanish()
        bob = hub.native("doc", "bob")
        hub.documents._gone(hub.rooms["doc"])
        settle()
        assert sorted(short(told)[:2]) == ["left doc alice", "left doc bob"]
        assert short(told)[2:] == ["closed doc"]
        bob.close()
    assert short(told)[2:] == ["closed doc"], "it is told once"


def test_a_stop_tells_once_that_a_document_is_closed() -> None:
    with stage() as hub:
        told = listening(hub, "closed")
        hub.native("doc", "alice")
    assert short(told) == ["closed doc"]


def test_what_nobody_can_be_told_in_time_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collab.events, "MAX_QUEUE", 3)
    with stage() as hub:
        told = listening(hub, "opened")
        for number in range(5):
            hub.events.tell("opened", f"doc{number}")
        settle()
        assert len(told) == 3
        assert hub.metrics.snapshot()["events_dropped"] == 2


def test_a_stop_waits_for_no_function_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(collab.events, "FINISH", 0.01)
    ever = gevent.event.Event()
    with stage() as hub:
        hub.events.listen("closed", lambda event: ever.wait())
        hub.native("doc", "alice")
        caplog.set_level(logging.WARNING)
    assert "could not be told to the application in time" in caplog.text


def test_there_are_no_other_events() -> None:
    with pytest.raises(ValueError, match=r"'save'.*opened, joined, stored, left, closed"):
        Collab().on("stored", "save")


def test_functions_are_called_by_each_application_of_an_extension_in_its_context() -> None:
    extension, heard = Collab(), list[tuple[str, str]]()
    early, late = Flask("early"), Flask("late")
    extension.init_app(early)

    @extension.on("opened", "closed")
    def hear(event: Event) -> None:
        from flask import current_app

        heard.append((current_app.name, event.kind))

    extension.init_app(late)
    for app in (early, late):
        events: Events = app.extensions["collab"].events
        events.tell("opened", "doc")
        events.tell("stored", "doc")
        settle()
    assert heard == [("early", "opened"), ("late", "opened")]


READING = """

@app.get("/read/<document_id>/<form>")
def read(document_id, form):
    content = collab.read(document_id, form)
    return {"content": content.hex() if isinstance(content, bytes) else content}
"""


def test_an_application_hears_and_reads_as_the_readme_says(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "their_app.py").write_text(block("README.md", "python", "@collab.on(") + READING)
    command = [*UNDER_GUNICORN, "--chdir", str(tmp_path), "--bind", "127.0.0.1:{port}", "their_app:app"]
    store = f"sqlite:///{tmp_path}/collab.db"
    running = serve(command, PYTHONPATH=ROOT, COLLAB_STORE=store, COLLAB_RESUME_GRACE=0)

    def read(document_id: str, form: str) -> object:
        plain: dict[str, str | None] = {"Upgrade": None, "Connection": None}
        return json.loads(ask(running.port, request(f"/read/{document_id}/{form}", headers=plain)).body)["content"]

    assert read("plan", "text") is None
    with connect(running.port, "/ws/document/plan?user_id=alice&user_name=Alice") as wire:
        wire.read_until(is_step1)
        editor = Editor()
        wire.say(update(editor.type("hello")))
        wire.say(step1())
        wire.read_until(lambda message: isinstance(message, bytes) and message[:2] == b"\x00\x01")
        assert read("plan", "text") == "hello", "what is open is read as it is now"
        running.wait_output("plan: Alice has joined")
        running.wait_output("plan has 5 characters")
        wire.goodbye()
    running.wait_output("plan: Alice has left")
    assert read("plan", "text") == "hello", "what is closed is read from the store"
    assert read("plan", "json") == {"text": "hello"}
    assert bytes.fromhex(str(read("plan", "update")))
