"""The dashboard, as an operator uses it: in a real browser, beside people who are at work."""

from __future__ import annotations

import json
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Response, Route, ViewportSize, expect
from processes import Serve, Server
from wire import Wire, connect, is_event
from ydocs import Editor, update

from browser.conftest import ADMIN, Visit
from browser.visitors import Visitor

REFUSED = "status of 401"
"""What a browser says of a token that is not taken."""
AWAY = "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
PUT_AWAY = r"status of 404 .*/admin/api/users\?"
"""What it says, and no page can stop it, of a room that is put away between being listed and being asked for."""
NONE = "\N{EN DASH}"
"""What the dashboard shows where nothing can be told."""
PHONE: ViewportSize = {"width": 390, "height": 844}


class Operator:
    """Somebody with the dashboard open."""

    def __init__(self, visitor: Visitor, path: str = "/admin/") -> None:
        self.visitor = visitor
        self.page: Page = visitor.page
        self.page.clock.install()
        self.page.goto(visitor.site + path)

    def sign_in(self, token: str = ADMIN) -> Operator:
        """Sign in by a token."""
        self.page.get_by_label("Admin token").fill(token)
        self.visitor.button("Sign in").click()
        return self

    def is_in(self) -> Operator:
        """Wait until the server's numbers are shown."""
        expect(self.page.locator("#status-text")).to_have_text("Live")
        expect(self.page.get_by_label("Admin token")).to_be_hidden()
        return self

    def later(self) -> Operator:
        """Let the time pass until the page asks again."""
        self.page.clock.run_for(2000)
        return self

    def row(self, room: str) -> Locator:
        """A room's row in the table."""
        return self.page.locator("#rooms tr").filter(has=self.page.get_by_role("button", name=room, exact=True))

    def search(self, prefix: str) -> None:
        """Search for rooms, and return when the server has answered: until then the table may begin anew."""

        def is_found(answer: Response) -> bool:
            return parse_qs(urlsplit(answer.url).query).get("prefix") == [prefix]

        with self.page.expect_response(is_found):
            self.page.get_by_role("searchbox", name="Search for rooms").fill(prefix)

    def look_into(self, room: str) -> Locator:
        """Open a room; what is shown of it."""
        self.search(room)
        self.page.get_by_role("button", name=room, exact=True).click()
        return self.visitor.dialog(room)

    def is_told(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page says what came of something."""
        expect(self.page.locator(".toast").last).to_contain_text(text)


@pytest.fixture
def guests() -> Iterator[ExitStack]:
    """Connections that are closed at the end."""
    with ExitStack() as stack:
        yield stack


def enter(guests: ExitStack, server: Server, room: str, user: str = "alice", dialect: str = "/ws/document/") -> Wire:
    """Somebody comes into a room."""
    path = f"{dialect}{quote(room, safe='')}?user_id={quote(user)}&user_name={quote(user.title())}"
    return guests.enter_context(connect(server.port, path))


def document_of(visitor: Visitor) -> str:
    """The document that somebody writes in."""
    return unquote(visitor.path.removeprefix("/d/"))


# ---- coming in, and going


def test_a_wrong_token_is_told_and_the_right_one_opens_the_dashboard(site: Server, visit: Visit, axe: str) -> None:
    operator = Operator(visit(site, None, expected=REFUSED))
    expect(operator.page.get_by_label("Admin token")).to_be_focused()
    operator.sign_in("wrong")
    expect(operator.page.get_by_role("alert")).to_contain_text("COLLAB_ADMIN_TOKEN")
    operator.visitor.check_access(axe)
    operator.sign_in().is_in()
    assert operator.page.evaluate("[document.cookie, JSON.stringify(localStorage)].join()").find(ADMIN) < 0
    operator.page.reload()
    operator.is_in()


def test_a_link_signs_in_once_and_does_not_stay_in_the_address(site: Server, visit: Visit) -> None:
    connection = HTTPConnection(site.host, site.port, timeout=10)
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    connection.request("POST", "/admin/api/ticket", "{}", headers)
    path = json.load(connection.getresponse())["path"]
    connection.close()
    operator = Operator(visit(site, None), path).is_in()
    assert operator.visitor.path == "/admin/"
    late = Operator(visit(site, None, expected=REFUSED), path)
    expect(late.page.get_by_role("alert")).to_contain_text("has been used")
    assert late.visitor.path == "/admin/"


def test_who_signs_out_is_out(site: Server, visit: Visit) -> None:
    operator = Operator(visit(site, None)).sign_in().is_in()
    context: BrowserContext = operator.page.context
    assert [cookie["httpOnly"] for cookie in context.cookies()] == [True]
    operator.visitor.button("Sign out").click()
    expect(operator.page.get_by_role("alert")).to_have_text("You are signed out.")
    assert context.cookies() == []
    operator.page.reload()
    expect(operator.page.get_by_label("Admin token")).to_be_visible()
    expect(operator.page.get_by_role("heading", name="Rooms")).to_be_hidden()


def test_a_sign_in_that_is_over_is_told_and_charts_go_on_after_another(site: Server, visit: Visit) -> None:
    operator = Operator(visit(site, None, expected=REFUSED)).sign_in().is_in()
    operator.page.context.clear_cookies()
    operator.later()
    expect(operator.page.get_by_role("alert")).to_contain_text("COLLAB_ADMIN_TOKEN")
    operator.sign_in().is_in()
    operator.page.get_by_role("button", name="Sessions as a table").click()
    expect(operator.visitor.dialog("Sessions").get_by_role("row").nth(2)).to_be_visible()


# ---- looking


def test_numbers_move_with_those_who_are_at_work(site: Server, visit: Visit, guests: ExitStack, axe: str) -> None:
    operator = Operator(visit(site, None)).sign_in().is_in()
    room, editor = "numbers/who works", Editor()
    wire = enter(guests, site, room)
    enter(guests, site, room, "bob", "/yjs/")
    row = operator.later().row(room)
    cells = row.get_by_role("cell")
    expect(cells.nth(0)).to_have_text("2")
    expect(cells.nth(3)).to_have_text("0")
    for _ in range(5):
        wire.say(update(editor.type("word ")))
    operator.later()
    expect(cells.nth(3)).to_have_text("5")
    expect(operator.page.locator("#tile-sessions")).not_to_have_text("0")
    expect(operator.page.get_by_role("img", name=re.compile("^Sessions .* y-websocket: now [1-9]"))).to_be_visible()
    expect(operator.page.locator("#store")).to_contain_text("stores")
    operator.visitor.check_access(axe)
    operator.page.set_viewport_size(PHONE)
    operator.visitor.check_access(axe)


def test_a_room_shows_who_is_in_it_and_over_what(site: Server, visit: Visit, guests: ExitStack, axe: str) -> None:
    room = "looked/into"
    enter(guests, site, room, "alice")
    enter(guests, site, room, "alice", "/yjs/")
    enter(guests, site, room, "bob", "/yjs/")
    operator = Operator(visit(site, None)).sign_in().is_in()
    shown = operator.look_into(room)
    users = shown.locator(".user")
    expect(users).to_have_text([re.compile("Alice.*may write.*y-websocket|native"), re.compile("Bob.*y-websocket")])
    expect(users.first.locator(".sessions li")).to_have_count(2)
    operator.visitor.check_access(axe)
    operator.page.set_viewport_size(PHONE)
    operator.visitor.check_access(axe)
    operator.page.keyboard.press("Escape")
    expect(shown).to_be_hidden()
    expect(operator.page.get_by_role("button", name=room, exact=True)).to_be_focused()


def test_rooms_are_searched_sorted_and_turned_over_in_pages(site: Server, visit: Visit, guests: ExitStack) -> None:
    for number in range(28):
        enter(guests, site, f"many/{number:02}", f"user-{number}")
    enter(guests, site, "many/07", "somebody else")
    operator = Operator(visit(site, None)).sign_in().is_in()
    rows = operator.page.locator("#rooms tr")
    operator.search("many/")
    expect(operator.page.locator("#rooms-count")).to_have_text("28 rooms")
    expect(rows).to_have_count(25)
    operator.visitor.button("Users").click()
    expect(operator.page.get_by_role("columnheader", name="Users")).to_have_attribute("aria-sort", "descending")
    expect(rows.first).to_contain_text("many/07")
    operator.visitor.button("Room").click()
    expect(rows.first).to_contain_text("many/00")
    operator.visitor.button("Next").click()
    expect(rows).to_have_text([re.compile(f"many/{number}") for number in (25, 26, 27)])
    operator.search("many/07")
    expect(rows).to_have_count(1)
    operator.search("nothing begins so")
    expect(operator.page.get_by_text("No room that is open begins so.")).to_be_visible()


def test_names_are_shown_as_text_whatever_they_are(site: Server, visit: Visit, guests: ExitStack) -> None:
    room = "<img src=x onerror=alert(1)>/" + "wide" * 50
    enter(guests, site, room, "<b>mallory</b>")
    operator = Operator(visit(site, None)).sign_in().is_in()
    shown = operator.look_into(room)
    expect(shown.get_by_role("heading", name=room)).to_be_visible()
    expect(shown.locator(".user")).to_contain_text("<b>mallory</b>")
    operator.page.set_viewport_size(PHONE)
    operator.visitor.check_width()


def stats(**changes: Any) -> dict[str, Any]:
    """An answer of the server, as it could be after ten seconds."""
    empty = {"bounds": [0.001, 0.01, 0.1], "counts": [0, 0, 0, 0], "sum": 0.0}
    told: dict[str, Any] = {
        "node": "here:1",
        "version": "0",
        "started": "2026-01-01T00:00:00Z",
        "uptime": 10.0,
        "draining": False,
        "ready": True,
        "reasons": [],
        "connections": 3,
        "sessions": {"yjs": 3, "native": 0, "hocuspocus": 0},
        "users": 3,
        "rooms": 0,
        "totals": {"updates": 1000, "received_messages": {"update": 1000}, "upgrades_refused": {"full": 2}},
        "latency": {"queued": empty, "written": empty, "stored": empty},
        "queues": {"messages": 0, "bytes": 0, "slow": 0},
        "store": {"kind": "sqlite", "ready": True, "trouble": None, "unstored_bytes": 0, "unstored_age": 0.0},
        "process": {"pid": 1, "rss": 50_000_000, "cpu_seconds": 1.0, "greenlets": 5, "loop_lag": 0.001},
    }
    return told | changes


def test_rates_and_quantiles_are_of_what_happened_between_two_answers(site: Server, visit: Visit) -> None:
    queued = {"bounds": [0.001, 0.01, 0.1], "counts": [0, 100, 0, 0], "sum": 0.5}
    answers = [
        stats(),
        stats(
            uptime=20.0,
            totals={
                "updates": 1500,
                "received_messages": {"update": 1500, "awareness": 1000},
                "upgrades_refused": {"full": 5},
            },
            latency=stats()["latency"] | {"queued": queued},
            queues={"messages": 7, "bytes": 2_000_000, "slow": 1},
        ),
        stats(node="here:2", started="2026-01-01T01:00:00Z", uptime=1.0, totals={"updates": 5}),
    ]
    asked = iter([*answers[:2], *[answers[2]] * 99])
    visitor = visit(site, None)
    visitor.page.route("**/admin/api/stats", lambda route: _fulfil(route, next(asked)))
    operator = Operator(visitor).sign_in().is_in()
    tiles = {name: operator.page.locator(f"#tile-{name}") for name in ("updates", "messages", "latency")}
    expect(tiles["updates"]).to_have_text(NONE)
    operator.later()
    expect(tiles["updates"]).to_have_text("50")
    expect(tiles["messages"]).to_have_text("of 150 messages received")
    expect(tiles["latency"]).to_have_text("9.9 ms")
    expect(operator.page.locator("#refusals")).to_have_text(re.compile(r"Upgrades\s*full\s*5\s*\+3"))
    expect(operator.page.get_by_text("1 slow reader")).to_be_visible()
    operator.later()
    expect(tiles["updates"]).to_have_text(NONE)  # another process has begun to count anew
    operator.page.get_by_role("button", name="Messages a second as a table").click()
    times = operator.visitor.dialog("Messages a second").get_by_role("row")
    expect(times.nth(2)).to_contain_text(NONE * 2)


def _fulfil(route: Route, answer: dict[str, Any]) -> None:
    route.fulfill(json=answer)


def test_a_page_that_nobody_looks_at_asks_for_nothing(site: Server, visit: Visit) -> None:
    operator = Operator(visit(site, None))
    operator.sign_in().is_in()
    asked: list[str] = []
    operator.page.on("request", lambda request: asked.append(request.url))
    look = """hidden => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }"""
    with operator.page.expect_response("**/admin/api/rooms*"):
        operator.page.clock.run_for(3000)
    operator.page.evaluate(look, True)
    operator.page.clock.run_for(60_000)
    asked.clear()
    operator.page.clock.run_for(60_000)
    assert asked == []
    with operator.page.expect_response("**/admin/api/stats"):
        operator.page.evaluate(look, False)


def test_more_rooms_than_one_answer_has_are_shown_after_some_and_go_when_they_are_gone(
    site: Server, visit: Visit
) -> None:
    numbers = {"sessions": 1, "users": 1, "updates": 7, "bytes": 9, "unstored": 0, "queued": 0}
    pages = {name: [{"id": name, "opened": "2026-01-01T00:00:00Z", **numbers}] for name in ("first", "second")}
    visitor = visit(site, None)

    def answer(route: Route) -> None:
        after = "after=" in route.request.url
        route.fulfill(json={"rooms": pages["second" if after else "first"], "next": None if after else "first"})

    visitor.page.route("**/admin/api/rooms*", answer)
    operator = Operator(visitor).sign_in().is_in()
    expect(operator.page.locator("#rooms-count")).to_have_text("more than 1 room")
    operator.later()
    expect(operator.page.locator("#rooms-count")).to_have_text("2 rooms")
    expect(operator.page.locator("#rooms tr")).to_have_count(2)
    pages["second"] = []
    operator.later()
    operator.later()
    expect(operator.page.locator("#rooms-count")).to_have_text("1 room")
    expect(operator.row("first").get_by_role("cell").nth(2)).to_have_text("0")


def test_what_a_proxy_says_instead_of_the_server_is_told(site: Server, visit: Visit) -> None:
    visitor = visit(site, None, expected="status of 502")
    operator = Operator(visitor).sign_in().is_in()
    visitor.page.route("**/admin/api/stats", lambda route: route.fulfill(status=502, body="<html>Bad gateway</html>"))
    operator.later()
    expect(operator.page.locator(".alert")).to_contain_text("The server answers 502.")


# ---- steering


def test_who_is_kicked_from_the_dashboard_is_out_and_told_why(site: Server, visit: Visit, axe: str) -> None:
    ann = visit(site).type("before").has("Stored")
    operator = Operator(visit(site, None, expected=PUT_AWAY)).sign_in().is_in()
    shown = operator.look_into(document_of(ann))
    shown.get_by_role("button", name=re.compile("^Kick .+")).last.click()
    asked = operator.visitor.dialog("Kick ")
    asked.get_by_label("Keep them out").select_option("for 10 minutes")
    asked.get_by_label("Reason").fill("closing time")
    operator.visitor.check_access(axe)
    asked.get_by_role("button", name="Kick ").click()
    expect(ann.page.get_by_role("heading", name="You were sent out of this document")).to_be_visible()
    expect(ann.page.locator("#notice-text")).to_contain_text("closing time")
    operator.is_told("1 session ended.")
    expect(shown.get_by_text("Nobody")).to_be_visible()


def test_what_is_said_from_the_dashboard_reaches_a_page(
    site: Server, visit: Visit, guests: ExitStack, axe: str
) -> None:
    ann = visit(site).has("Stored")
    enter(guests, site, document_of(ann), "deaf", "/yjs/")
    operator = Operator(visit(site, None)).sign_in().is_in()
    shown = operator.look_into(document_of(ann))
    shown.get_by_role("button", name="Say").click()
    asked = operator.visitor.dialog("Say something to everybody")
    asked.get_by_label("What to say").fill("Back in five minutes <b>")
    operator.visitor.check_access(axe)
    asked.get_by_role("button", name="Say it").click()
    operator.is_told("Told 1 session; 1 client cannot be told.")
    expect(ann.page.get_by_text("Back in five minutes <b>")).to_be_visible()


def test_nobody_is_kicked_without_a_question_or_by_one_that_was_cancelled(
    site: Server, visit: Visit, guests: ExitStack
) -> None:
    room = "asked/before"
    alice = enter(guests, site, room)
    operator = Operator(visit(site, None, expected=PUT_AWAY)).sign_in().is_in()
    shown = operator.look_into(room)
    shown.get_by_role("button", name="Kick all").click()
    operator.visitor.dialog("Kick everybody").get_by_role("button", name="Cancel").click()
    alice.say({"type": "ping"})
    alice.read_until(is_event("pong"))
    shown.get_by_role("button", name="Recheck", exact=True).click()
    operator.is_told("What 1 session may do is decided once more.")
    shown.get_by_role("button", name="Kick all").click()
    operator.visitor.dialog("Kick everybody").get_by_role("button", name="Kick everybody").click()
    assert alice.read_closed().code == 4403


def test_a_store_that_is_away_and_comes_back_is_shown(
    serve: Serve, visit: Visit, guests: ExitStack, tmp_path: Path, axe: str
) -> None:
    running = serve(COLLAB_STORE=f"sqlite:///{tmp_path / 'c.db'}", COLLAB_ADMIN_TOKEN=ADMIN)
    wire, editor = enter(guests, running, "doc"), Editor()
    operator = Operator(visit(running, None)).sign_in().is_in()
    alert = operator.page.locator(".alert").filter(has_text="Changes cannot be stored")
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in running.worker_pids()}
    for pid in limits:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    wire.say(update(editor.type("not stored")))
    expect(alert).to_be_visible()
    expect(operator.page.locator("#store")).to_contain_text("away")
    operator.visitor.check_access(axe)
    for pid, limit in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    expect(alert).to_be_hidden()
    expect(operator.page.locator("#store")).to_contain_text("stores")


def test_a_server_is_drained_only_by_who_means_it_and_missed_when_it_is_gone(
    serve: Serve, visit: Visit, guests: ExitStack, axe: str
) -> None:
    running = serve(COLLAB_ADMIN_TOKEN=ADMIN)
    alice = enter(guests, running, "doc")
    operator = Operator(visit(running, None, expected=AWAY)).sign_in().is_in()
    operator.page.locator("#open-drain").click()
    asked = operator.visitor.dialog("Drain the server")
    drain = asked.get_by_role("button", name="Drain the server")
    expect(drain).to_be_disabled()
    operator.visitor.check_access(axe)
    asked.get_by_label("Write drain if").fill("drain")
    drain.click()
    assert alice.read_closed().code == 1012
    expect(operator.page.locator("#status-text")).to_have_text("Draining")
    expect(operator.page.locator(".alert").filter(has_text="The server is draining")).to_be_visible()
    assert running.stop(signal.SIGINT) == 0
    expect(operator.page.get_by_text("The server does not answer")).to_be_visible()
    expect(operator.page.locator("#status-text")).to_have_text("No answer")
    operator.visitor.check_access(axe)
