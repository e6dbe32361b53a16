"""The editor's page, as people use it: in real browsers, against real servers."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import issuer
import pytest
from commandline import damage, opened, write
from playwright.sync_api import expect
from processes import Serve, Server, free_port

from browser.conftest import ADMIN, Visit
from browser.visitors import Visitor

AWAY = "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|status of 503|WebSocket connection to .* failed"
"""What a browser says when a server is not there, or does not let it in."""


def steer(server: Server, action: str, **asked: Any) -> dict[str, Any]:
    """Do what an operator can."""
    connection = HTTPConnection(server.host, server.port, timeout=10)
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    connection.request("POST", f"/admin/api/{action}", json.dumps(asked), headers)
    answer = connection.getresponse()
    told: dict[str, Any] = json.load(answer)
    connection.close()
    assert answer.status == 200, told
    return told


def document_of(visitor: Visitor) -> str:
    return unquote(visitor.path.removeprefix("/d/"))


# ---- writing together


def test_a_visitor_gets_a_new_document_with_a_name_that_can_be_read_out(site: Server, visit: Visit, axe: str) -> None:
    ann, bob = visit(site), visit(site)
    assert re.fullmatch(r"/d/[a-z]+-[a-z]+-[a-z]+-\d{4}", ann.path)
    assert ann.path != bob.path
    expect(ann.page).to_have_title(f"{document_of(ann)} · collab")
    ann.sees("Write here. Whoever has the link writes along.").has("Stored").check_access(axe)


def test_two_who_type_at_once_end_with_the_same_text(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site)
    bob = visit(site, ann.path)
    ann.type("from ann\n")
    bob.sees("from ann", "")
    for letter in "simultaneous":
        ann.page.keyboard.type(letter)
        bob.page.keyboard.type(letter.upper())
    lines = r"(?=(.*[a-z]){12})(?=(.*[A-Z]){12})"
    for visitor in (ann, bob):
        expect(visitor.text).to_have_text(re.compile(lines))
        visitor.has("Stored")
    expect(bob.text).to_have_text(ann.text.inner_text().replace("\n", ""))
    ann.check_access(axe)


def test_everybody_sees_where_the_others_are_and_what_they_have_selected(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site)
    bob = visit(site, ann.path)
    for visitor, name in ((ann, "Ann Lee"), (bob, "Bob")):
        visitor.button("You").click()
        visitor.page.get_by_label("Your name").fill(name)
        visitor.page.keyboard.press("Enter")
    ann.page.get_by_role("button", name="You").click()
    ann.page.get_by_role("radio", name="Teal").check()
    ann.page.keyboard.press("Escape")
    ann.type("one two")
    ann.page.keyboard.press("Control+Shift+ArrowLeft")
    expect(bob.page.locator(".caret")).to_have_attribute("data-name", "Ann Lee")
    expect(bob.page.locator(".caret")).to_have_css("--user", "#0b7285")
    expect(bob.page.locator(".selected")).to_have_text("two")
    expect(bob.button("Who is here: 2 people")).to_be_visible()
    bob.button("Who is here: 2 people").click()
    expect(bob.dialog("Who is here").locator("li")).to_have_text([re.compile("Bob.*you"), re.compile("Ann Lee")])
    bob.check_access(axe)
    ann.page.close()
    expect(bob.dialog("Who is here").locator("li")).to_have_text([re.compile("Bob.*you")])
    expect(bob.page.locator(".caret")).to_have_count(0)


def test_each_undoes_what_they_did_themselves(site: Server, visit: Visit) -> None:
    ann = visit(site).type("mine")
    bob = visit(site, ann.path)
    bob.sees("mine").type(" and yours")
    ann.sees("mine and yours")
    expect(ann.button("Redo")).to_be_disabled()
    ann.button("Undo").click()
    bob.sees(" and yours")
    ann.button("Redo").click()
    bob.sees("mine and yours")
    bob.page.keyboard.press("Control+z")
    ann.sees("mine")


def test_a_page_that_is_loaded_again_has_the_text_the_name_and_one_of_its_user(site: Server, visit: Visit) -> None:
    ann = visit(site).type("kept")
    bob = visit(site, ann.path)
    ann.button("You").click()
    ann.page.get_by_label("Your name").fill("Ann")
    ann.page.keyboard.press("Enter")
    ann.has("Stored")
    ann.page.reload()
    ann.sees("kept")
    bob.button("Who is here: 2 people").click()
    expect(bob.dialog("Who is here").locator("li")).to_have_count(2)
    expect(bob.dialog("Who is here").locator("li").nth(1)).to_contain_text("Ann")


def test_names_of_documents_may_have_slashes_spaces_and_any_letters(site: Server, visit: Visit) -> None:
    name = "team/a plan?/100%/你好 😀"
    ann = visit(site)
    ann.button(document_of(ann)).click()
    ann.page.get_by_label("Open another one by its name").fill(name)
    ann.page.keyboard.press("Enter")
    expect(ann.button(name)).to_be_visible()
    ann.type("here")
    ann.has("Stored")
    visit(site, ann.path).sees("here")


def test_dots_in_a_name_do_not_lead_to_another_document(site: Server, visit: Visit) -> None:
    ann = visit(site, "/d/elsewhere")

    def open_document(name: str) -> None:
        ann.page.locator("#open-documents").click()
        ann.page.locator("#documents-id").fill(name)
        ann.page.keyboard.press("Enter")

    for name in ("a/../b", "../up", "a/./b", "end/.."):
        open_document(name)
        expect(ann.page.locator("#document-name")).to_have_text(name)
        assert document_of(ann) == name
    open_document("..")
    expect(ann.page.locator(".toast").last).to_contain_text("A name of nothing but one or two dots cannot be opened")
    assert document_of(ann) == "end/.."


def test_carriage_returns_of_other_editors_move_nothing(site: Server, visit: Visit) -> None:
    ann = visit(site)
    ann.text.evaluate(
        """async content => {
          const data = new DataTransfer()
          data.setData('text/plain', 'one\\r\\ntwo\\rthree')
          content.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}))
        }"""
    )
    ann.sees("one", "two", "three").type("!")
    visit(site, ann.path).sees("one", "two", "three!")


def test_what_strangers_say_of_themselves_is_shown_as_text_and_colours_nothing_else(site: Server, visit: Visit) -> None:
    ann = visit(site)
    mallory = {
        "name": "<img src=x onerror=alert(1)>" + "x" * 500,
        "color": "red; background: url(http://example.org/x)",
    }
    ann.page.evaluate(
        """([id, user]) => new Promise(resolve => {
          const socket = new WebSocket(`ws://${location.host}/ws/document/${id}?user_id=m`)
          socket.onmessage = resolve
          socket.onopen = () => socket.send(JSON.stringify({type: 'awareness', user}))
        })""",
        [document_of(ann), mallory],
    )
    ann.button("Who is here: 2 people").click()
    shown = ann.dialog("Who is here").locator("li").nth(1)
    expect(shown).to_contain_text("<img src=x onerror=alert(1)>")
    assert len(shown.inner_text()) < 100
    expect(shown.locator(".face")).to_have_css("--user", re.compile(r"^#[0-9a-f]{6}$"))


# ---- losing the server, and finding it again


def test_what_is_stored_survives_a_server_that_is_killed_and_what_is_written_meanwhile_comes_after(
    serve: Serve, visit: Visit, tmp_path: Path, axe: str
) -> None:
    store = f"sqlite:///{tmp_path / 'c.db'}"
    port = free_port()
    running = serve(port=port, COLLAB_STORE=store)
    ann = visit(running, "/d/plan", expected=AWAY)
    bob = visit(running, "/d/plan", expected=AWAY)
    ann.type("before").has("Stored")
    bob.sees("before")
    running.kill()
    ann.has("Offline: kept on this device").type(", and during").check_access(axe)
    bob.has("Offline: kept on this device").page.close()
    again = serve(port=port, COLLAB_STORE=store)
    ann.has("Stored").sees("before, and during")
    visit(again, "/d/plan").sees("before, and during")


def test_what_is_written_offline_waits_on_the_device_until_the_page_is_opened_again(
    serve: Serve, visit: Visit, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'c.db'}"
    port = free_port()
    running = serve(port=port, COLLAB_STORE=store)
    ann = visit(running, "/d/plan", expected=AWAY).type("shared").has("Stored")
    context = ann.page.context
    assert running.stop(signal.SIGINT) == 0
    ann.has("Offline: kept on this device").type(", alone")
    expect(ann.status).to_have_attribute("data-kept", "true")
    ann.page.close()
    again = serve(port=port, COLLAB_STORE=store)
    bob = visit(again, "/d/plan").sees("shared").type("!")
    visit(again, "/d/plan", context=context).has("Stored")
    expect(bob.text).to_contain_text("alone")


def test_it_says_when_the_store_is_away_and_when_it_is_back(serve: Serve, visit: Visit, tmp_path: Path) -> None:
    running = serve(COLLAB_STORE=f"sqlite:///{tmp_path / 'c.db'}")
    ann = visit(running, "/d/plan").type("stored").has("Stored")
    holder = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    ann.type(" not yet").has("The store is away: kept on this device")
    holder.execute("ROLLBACK")
    holder.close()
    ann.has("Stored")


# ---- who may do what


@pytest.fixture
def guarded(serve: Serve) -> Server:
    """A server that wants tokens."""
    return serve(
        COLLAB_STORE="memory:",
        COLLAB_AUTH="jwt",
        COLLAB_JWT_SECRET=issuer.SECRET,
        COLLAB_JWT_LEEWAY=0,
        COLLAB_ADMIN_TOKEN=ADMIN,
    )


UNSIGNED = r"status of 40[13]|WebSocket connection to .* failed"


def test_who_has_no_token_is_asked_for_one_and_who_may_only_read_is_told_so(
    guarded: Server, visit: Visit, axe: str
) -> None:
    writer = visit(guarded, None, expected=UNSIGNED)
    writer.page.goto(f"{writer.site}/d/plan")
    expect(writer.dialog("Sign in")).to_be_visible()
    writer.check_access(axe)
    writer.page.keyboard.press("Escape")
    expect(writer.page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    writer.button("Sign in").click()
    writer.page.get_by_label("Token").fill("no token")
    writer.page.keyboard.press("Enter")
    expect(writer.page.locator("#sign-in-text")).to_contain_text("token")
    writer.page.get_by_label("Token").fill(issuer.token(name="Alice"))
    writer.button("Sign in").click()
    writer.type("written").has("Stored")

    reader = visit(guarded, f"/d/plan#token={issuer.token(sub='rose', name='Rose', docs={'*': 'read'})}")
    assert reader.path == "/d/plan"
    reader.sees("written").has("Up to date")
    expect(reader.page.get_by_text("Read only", exact=True)).to_be_visible()
    reader.type("not taken").sees("written").check_access(axe)
    writer.type("!")
    reader.sees("written!")
    reader.button("History").click()
    expect(reader.page.get_by_label("Save a version, to come back to")).to_be_hidden()
    writer.button("Who is here: 2 people").click()
    expect(writer.dialog("Who is here").locator("li")).to_have_text([re.compile("Alice"), re.compile("Rose")])


def test_a_token_that_is_over_is_asked_for_anew_and_what_was_written_stays(guarded: Server, visit: Visit) -> None:
    token = issuer.token(exp=time.time() + 4)
    ann = visit(guarded, f"/d/plan#token={token}", expected=UNSIGNED).type("before").has("Stored")
    expect(ann.dialog("Sign in")).to_be_visible()
    expect(ann.page.locator("#sign-in-text")).to_contain_text("What you have written stays on this page")
    ann.page.get_by_label("Token").fill(issuer.token())
    ann.page.keyboard.press("Enter")
    ann.has("Stored").sees("before").type(", after").has("Stored")


def test_who_may_not_open_a_document_is_told_so_and_not_left_knocking(guarded: Server, visit: Visit, axe: str) -> None:
    ann = visit(guarded, None, expected=UNSIGNED)
    ann.page.goto(f"{ann.site}/d/secret#token={issuer.token(docs={'plan': 'write'})}")
    expect(ann.page.get_by_role("heading", name="You may not open this document")).to_be_visible()
    ann.check_access(axe)
    assert ann.sockets == []


def test_who_is_sent_out_is_told_so_and_does_not_come_back(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site).type("before").has("Stored")
    ann.page.clock.install()
    opened = len(ann.sockets)
    assert steer(site, "kick", room=document_of(ann), reason="closing time")["sessions"] == 1
    expect(ann.page.get_by_role("heading", name="You were sent out of this document")).to_be_visible()
    expect(ann.page.locator("#notice-text")).to_contain_text("closing time")
    ann.page.clock.run_for(120_000)
    expect(ann.button("Undo")).to_be_disabled()
    ann.has("Not connected").type("nothing more").sees("before")
    assert len(ann.sockets) == opened
    ann.check_access(axe)


def test_a_document_in_quarantine_is_told_of(serve: Serve, visit: Visit, tmp_path: Path, axe: str) -> None:
    store = f"sqlite:///{tmp_path / 'c.db'}"
    with opened(store) as documents:
        write(documents, "plan", "to be damaged")
    damage(tmp_path / "c.db")
    ann = visit(serve(COLLAB_STORE=store), None, expected="status of 423")
    ann.page.goto(f"{ann.site}/d/plan")
    expect(ann.page.get_by_role("heading", name="This document is in quarantine")).to_be_visible()
    ann.check_access(axe)


def test_what_the_operator_says_stays_until_it_is_read(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site).has("Stored")
    told = steer(site, "say", room=document_of(ann), text="Back in five minutes <b>")
    assert told["told"] == 1
    message = ann.page.get_by_text("Back in five minutes <b>")
    expect(message).to_be_visible()
    ann.check_access(axe)
    ann.page.get_by_role("button", name="Close: From whoever runs this server").click()
    expect(message).to_have_count(0)


# ---- versions


def test_a_version_is_saved_compared_and_brought_back(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site).insert("The first plan.\n" + "same\n" * 20 + "end").has("Stored")
    bob = visit(site, ann.path)
    ann.button("History").click()
    history = ann.dialog("Version history")
    expect(history.get_by_text("There are no versions yet")).to_be_visible()
    history.get_by_label("Save a version, to come back to").fill("As agreed")
    history.get_by_role("button", name="Save a version").click()
    expect(history.get_by_role("button", name="As agreed")).to_be_visible()
    ann.page.keyboard.press("Escape")
    expect(ann.button("History")).to_be_focused()

    bob.text.focus()
    bob.page.keyboard.press("Control+Home")
    bob.page.keyboard.press("Control+ArrowRight")
    bob.page.keyboard.press("Control+Delete")
    bob.page.keyboard.type(" second")
    expect(ann.text).to_contain_text("The second plan.")

    ann.button("History").click()
    history.get_by_role("button", name="As agreed").click()
    expect(history.locator("ins")).to_contain_text("second")
    expect(history.locator("del")).to_contain_text("first")
    expect(history.locator(".left-out")).to_contain_text("lines alike")
    ann.check_access(axe)
    history.get_by_text("As it was").click()
    expect(history.locator("pre")).to_contain_text("The first plan.")
    history.get_by_role("button", name="Restore this version …").click()
    question = ann.dialog("Restore this version?")
    ann.check_access(axe)
    question.get_by_role("button", name="Cancel").click()
    expect(bob.text).to_contain_text("The second plan.")
    history.get_by_role("button", name="Restore this version …").click()
    question.get_by_role("button", name="Restore").click()
    expect(bob.text).to_contain_text("The first plan.")
    bob.has("Stored").type("!")
    expect(ann.text).to_contain_text("end!")


# ---- for everybody


def test_all_of_it_is_done_with_the_keyboard_alone(site: Server, visit: Visit) -> None:
    ann = visit(site)
    expect(ann.text).to_be_focused()
    ann.page.keyboard.type("a")
    ann.page.keyboard.press("Tab")
    expect(ann.text).not_to_be_focused()
    ann.sees("a").page.reload()
    ann.text.wait_for()
    ann.page.locator("body").evaluate("body => document.activeElement.blur()")
    ann.page.keyboard.press("Tab")
    for name in ("Who is here: you alone", "History", "You", "Share"):
        ann.button(name).focus()
        ann.page.keyboard.press("Enter")
        dialog = ann.page.locator("dialog[open]")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
        ann.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(ann.button(name)).to_be_focused()
    skip = ann.page.get_by_role("link", name="Skip to the text")
    skip.focus()
    expect(skip).to_be_in_viewport()
    ann.page.keyboard.press("Enter")
    expect(ann.text).to_be_focused()


def test_light_or_dark_is_as_the_system_has_it_or_as_was_chosen(site: Server, visit: Visit) -> None:
    ann = visit(site)
    body = ann.page.locator("body")
    ann.page.emulate_media(color_scheme="light")
    light = str(body.evaluate("body => getComputedStyle(body).backgroundColor"))
    ann.page.emulate_media(color_scheme="dark")
    expect(body).not_to_have_css("background-color", light)
    ann.button("You").click()
    ann.page.get_by_text("Light", exact=True).click()
    expect(body).to_have_css("background-color", light)
    ann.page.reload()
    expect(body).to_have_css("background-color", light)


def test_it_fits_a_phone(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site).insert("word " * 40 + "x" * 300)
    bob = visit(site, ann.path)
    for width, height in ((390, 844), (320, 568)):
        bob.page.set_viewport_size({"width": width, "height": height})
        bob.has("Stored").check_width()
        for name in (document_of(ann), "Who is here: 2 people", "History", "You", "Share"):
            bob.button(name).click()
            expect(bob.page.locator("dialog[open]")).to_be_in_viewport(ratio=0.9)
            bob.check_width().page.keyboard.press("Escape")
    bob.check_access(axe)


def test_every_dialog_can_be_used_by_everybody(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site)
    for name in (document_of(ann), "History", "You", "Share"):
        ann.button(name).click()
        expect(ann.page.locator("dialog[open]")).to_be_visible()
        ann.check_access(axe).page.keyboard.press("Escape")


def test_the_link_is_copied(site: Server, visit: Visit) -> None:
    ann = visit(site)
    ann.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ann.button("Share").click()
    ann.button("Copy").click()
    expect(ann.page.get_by_text("The link is copied.")).to_be_visible()
    assert ann.page.evaluate("navigator.clipboard.readText()") == ann.page.url
