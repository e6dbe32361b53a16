"""The admin interface over HTTP: what it tells, what it does, and whom it lets in; against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from adminapi import TOKEN, call
from processes import ROOT, SERVE, Serve, Server
from wire import Wire, ask, connect, is_step1, request
from ydocs import Editor, update

from collab.clock import utc

SECRET = "a secret of the tests that is long enough"
PAGE = {"Origin": "http://127.0.0.1:{port}"}
UNDER_GUNICORN = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-c", "python:collab.server"]
APPLICATION = """
from flask import Flask
from collab import Collab

app = Flask(__name__)
app.config.update(%s)
collab = Collab(app)

@app.get("/announce")
def announce():
    return list(collab.say("doc", "lunch"))
"""


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose admin interface wants `TOKEN`, or a token of COLLAB_JWT_SECRET; every address is believed."""
    folder = tmp_path_factory.mktemp("admin")
    settings = {
        "COLLAB_ADMIN_SOCKET": str(folder / "admin.sock"),
        "COLLAB_ADMIN_TOKEN": TOKEN,
        "COLLAB_AUTH": "jwt",
        "COLLAB_JWT_SECRET": SECRET,
        "COLLAB_TRUSTED_PROXIES": "127.0.0.1",
        "COLLAB_RESUME_GRACE": "0",
        "COLLAB_STORE": f"sqlite:///{folder / 'collab.db'}",
    }
    running = Server(SERVE, settings).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output
    assert TOKEN not in running.output


TOKEN_TIME = 600


def made(user: str, **docs: str) -> str:
    """A token for `user`, good for `TOKEN_TIME` seconds."""
    return jwt.encode({"sub": user, "exp": time.time() + TOKEN_TIME, "docs": docs or {"*": "write"}}, SECRET, "HS256")


def join(server: Server, path: str, user: str) -> Wire:
    """Somebody who is in a document."""
    wire = connect(server.port, f"{path}{'&' if '?' in path else '?'}token={made(user)}")
    wire.read_until(is_step1)
    return wire


# ---- what it tells


def test_stats_rooms_and_users_tell_what_is_going_on(admin: Server) -> None:
    before = call(admin, "GET", "stats").body
    with join(admin, "/yjs/team/plan", "alice") as yjs, join(admin, "/ws/document/team/plan", "bob") as native:
        native.say(update(Editor(native=True).type("hello")))
        native.read_until(lambda message: isinstance(message, bytes) and message[:1] == b"\x04")
        stats = call(admin, "GET", "stats").body
        assert (stats["ready"], stats["draining"], stats["reasons"]) == (True, False, [])
        assert stats["connections"] == 2 and stats["users"] == 2 and stats["rooms"] == 1
        assert stats["sessions"] == {"yjs": 1, "native": 1, "hocuspocus": 0}
        assert stats["totals"]["updates"] == before["totals"]["updates"] + 1
        assert sum(stats["latency"]["queued"]["counts"]) > sum(before["latency"]["queued"]["counts"])
        assert stats["store"] == {
            "kind": "sqlite",
            "ready": True,
            "trouble": None,
            "unstored_bytes": 0,
            "unstored_age": 0,
        }
        assert stats["process"]["pid"] in admin.worker_pids() and stats["process"]["rss"] > 10_000_000
        (room,) = call(admin, "GET", "rooms").body["rooms"]
        assert room.pop("bytes") > 0 and room.pop("opened") >= stats["started"]
        assert room == {"id": "team/plan", "sessions": 2, "users": 2, "updates": 1, "unstored": 0, "queued": 0}
        alice, bob = call(admin, "GET", "users?room=team/plan").body["users"]
        assert (alice["id"], alice["name"], alice["rights"]) == ("alice", "alice", "write")
        assert [session["dialect"] for session in alice["sessions"] + bob["sessions"]] == ["yjs", "native"]
        assert [session["updates"] for session in alice["sessions"] + bob["sessions"]] == [0, 1]
        assert yjs.sock.getsockname()[0] == alice["sessions"][0]["address"]
    missing = call(admin, "GET", "users?room=nowhere")
    assert (missing.status, missing.code) == (404, "not_open")


def test_rooms_come_in_pages_and_by_prefix(admin: Server) -> None:
    names = [f"page/{n}" for n in range(5)]
    wires = [join(admin, f"/yjs/{name}", "carol") for name in [*names, "other"]]
    pages, after = [], ""
    while True:
        told = call(admin, "GET", f"rooms?prefix=page/&limit=2&after={after}").body
        pages.append([room["id"] for room in told["rooms"]])
        after = told["next"]
        if after is None:
            break
    assert pages == [names[:2], names[2:4], names[4:]]
    for wire in wires:
        wire.sock.close()


def test_a_document_that_waits_for_the_store_is_told(serve: Serve) -> None:
    server = serve(COLLAB_ADMIN_TOKEN=TOKEN, COLLAB_STORE="postgresql://127.0.0.1:1/none", COLLAB_MAX_UNSTORED=1000)
    told = call(server, "GET", "stats").body["store"]
    assert told["kind"] == "postgresql" and not told["ready"] and "COLLAB_STORE" in told["trouble"]


# ---- what it does


def test_everybody_who_can_be_told_is_told_what_is_said(admin: Server) -> None:
    with (
        join(admin, "/ws/document/talk", "a") as native,
        join(admin, "/yjs/talk?events=1", "b") as events,
        join(admin, "/yjs/talk", "c"),
    ):
        assert call(admin, "POST", "say", {"room": "talk", "text": "Back at 9 ☕"}).body["untold"] == 1
        said = {"type": "say", "text": "Back at 9 ☕"}
        native.read_until(lambda message: message == said)
        text = events.read_until(lambda message: isinstance(message, bytes) and message[0] == 103)
        assert json.loads(text[2:]) == said and text[1] == len(text) - 2
        native.say({"type": "say", "text": "I am the server"})
        assert native.read_until(lambda message: message["type"] == "error")["code"] == "invalid_message"
    assert call(admin, "POST", "say", {"room": "nowhere", "text": "x"}).body["told"] == 0


def test_a_draining_server_sends_everybody_away_takes_nobody_and_goes_on_answering(serve: Serve) -> None:
    server = serve(COLLAB_ADMIN_TOKEN=TOKEN)
    with connect(server.port, "/yjs/doc") as alice, connect(server.port, "/ws/document/doc") as bob:
        for wire in (alice, bob):
            wire.read_until(is_step1)
        told = call(server, "POST", "drain", {}).body
        assert told["draining"] and told["connections"] == 2
        assert {alice.read_closed().code, bob.read_closed().code} == {1012}
    refused = ask(server.port, request("/yjs/doc"))
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "draining", "5")
    ready = ask(server.port, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert ready.status == 503 and b"draining" in ready.body
    assert call(server, "POST", "drain", {}).status == 200, "once more changes nothing"
    stats = call(server, "GET", "stats").body
    assert stats["draining"] and not stats["ready"] and "drain" in stats["reasons"][0]
    assert server.stop() == 0
    assert "did not end by itself" not in server.output


# ---- whom it lets in


def test_without_a_token_nobody_is_let_in_wherever_they_are(admin: Server, server: Server) -> None:
    for running in (admin, server):
        for method, path in (("GET", "stats"), ("POST", "kick"), ("POST", "ticket"), ("GET", "openapi.json")):
            told = call(running, method, path, token=None)
            assert (told.status, told.code, told.headers["www-authenticate"]) == (401, "unauthenticated", "Bearer")
            assert "collab dashboard" in told.body["error"]["message"]
    refused = call(admin, "GET", "stats").body["totals"]["admin_refused"]
    assert refused["unauthenticated"] >= 4


def test_an_admin_of_all_documents_may_and_nobody_else_with_a_token(admin: Server) -> None:
    assert call(admin, "GET", "stats", token=made("root", **{"*": "admin"})).status == 200
    for docs in ({"*": "write"}, {"team/*": "admin"}, {"**": "admin"}):
        told = call(admin, "GET", "stats", token=made("alice", **docs))
        assert (told.status, told.code) == (403, "forbidden")
    assert call(admin, "GET", "stats", token="not a token", headers={"X-Forwarded-For": "2001:db8::2"}).status == 401


def test_who_shows_wrong_tokens_is_not_listened_to_for_a_while(admin: Server) -> None:
    guesser = {"X-Forwarded-For": "192.0.2.1"}
    signed_in = call(admin, "POST", "session", {"token": TOKEN}, token=None, headers=guesser)
    page = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    for n in range(100):
        told = call(admin, "GET", "stats", token=f"guess {n}", headers=guesser)
        if told.status != 401:
            break
    assert (told.status, told.code) == (429, "too_many_failures") and int(told.headers["retry-after"]) >= 1
    assert call(admin, "GET", "stats", headers=guesser).status == 429, "not even with the right one"
    assert call(admin, "POST", "session", {"token": TOKEN}, token=None, headers=guesser).status == 429
    assert call(admin, "GET", "stats", headers={"X-Forwarded-For": "192.0.2.2"}).status == 200
    assert call(admin, "GET", "stats", token=None, headers=guesser | page).status == 200, "who is in stays in"
    assert call(admin, "GET", "stats").body["totals"]["admin_refused"]["too_many_failures"] >= 3


def test_who_has_a_whole_ipv6_network_has_no_more_tries_than_who_has_one_address(admin: Server) -> None:
    def tried(n: int, network: str = "2001:db8:0:64", token: str = "a guess") -> int:
        return call(admin, "GET", "stats", token=token, headers={"X-Forwarded-For": f"{network}::{n:x}"}).status

    assert 429 in [tried(n) for n in range(1, 100)]
    assert tried(0xFFFF, token=TOKEN) == 429
    assert tried(1, "2001:db8:0:65", TOKEN) == 200


def test_a_page_signs_in_by_a_cookie_and_out_again(admin: Server) -> None:
    own = {"Origin": f"http://127.0.0.1:{admin.port}"}
    told = call(admin, "POST", "session", {"token": TOKEN}, token=None, headers=own)
    cookie, *rest = told.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/admin", "SameSite=Strict"} <= set(rest) and "Secure" not in rest
    assert told.status == 200 and told.body["until"] and TOKEN not in cookie
    page = {"Cookie": cookie}
    assert call(admin, "GET", "stats", token=None, headers=page).status == 200
    kick = {"room": "nowhere"}
    assert call(admin, "POST", "kick", kick, token=None, headers=page | own).status == 200
    for origin in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": f"http://127.0.0.1:{admin.port + 1}"},
        {"Origin": "null"},
    ):
        refused = call(admin, "POST", "kick", kick, token=None, headers=page | origin)
        assert (refused.status, refused.code) == (403, "bad_origin")
    forged = {"Cookie": cookie[:-2] + "xx"}
    assert call(admin, "GET", "stats", token=None, headers=forged).status == 401
    out = call(admin, "DELETE", "session", token=None, headers=page | own)
    assert out.status == 204 and "Max-Age=0" in out.headers["set-cookie"]
    copied = call(admin, "GET", "stats", token=None, headers=page)
    assert copied.status == 401 and "signed out" in copied.body["error"]["message"]
    behind = call(admin, "POST", "session", {"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
    assert "; Secure" in behind.headers["set-cookie"]
    assert call(admin, "POST", "session", {"token": TOKEN}, headers={"Origin": "https://evil.example"}).status == 403


def test_a_link_signs_in_once(admin: Server) -> None:
    link = call(admin, "POST", "ticket", {}).body
    assert link["url"] == f"http://127.0.0.1:{admin.port}{link['path']}"
    ticket = link["path"].removeprefix("/admin/#ticket=")
    for status in (200, 401):
        told = call(admin, "POST", "session", {"ticket": ticket}, token=None, headers={"X-Forwarded-For": "192.0.2.3"})
        assert told.status == status
    assert call(admin, "POST", "session", {"ticket": ticket, "token": TOKEN}, token=None).status == 400


def test_nobody_steers_for_longer_by_a_link_or_a_cookie_than_by_their_token(admin: Server) -> None:
    ends = utc(time.time() + TOKEN_TIME + 1)

    def signed_in(headers: dict[str, str], token: str | None) -> tuple[str, str]:
        path = call(admin, "POST", "ticket", {}, token=token, headers=headers).body["path"]
        told = call(admin, "POST", "session", {"ticket": path.partition("=")[2]}, token=None)
        return told.body["until"], told.headers["set-cookie"].partition(";")[0]

    until, cookie = signed_in({}, made("root", **{"*": "admin"}))
    assert until <= ends
    again, _ = signed_in({"Cookie": cookie, "Origin": f"http://127.0.0.1:{admin.port}"}, None)
    assert again <= until
    assert signed_in({}, TOKEN)[0] > ends, "the operator's own does not end"


def test_who_signs_out_ends_what_was_had_for_the_cookie_and_nothing_else(admin: Server) -> None:
    own = {"Origin": f"http://127.0.0.1:{admin.port}"}

    def signed_in(shown: dict[str, str]) -> dict[str, str]:
        told = call(admin, "POST", "session", shown, token=None, headers=own)
        return {"Cookie": told.headers["set-cookie"].partition(";")[0], **own}

    def link(page: dict[str, str]) -> dict[str, str]:
        path = call(admin, "POST", "ticket", {}, token=None, headers=page).body["path"]
        return {"ticket": path.partition("=")[2]}

    first, other = signed_in({"token": TOKEN}), signed_in({"token": TOKEN})
    second, unused = signed_in(link(first)), link(first)
    assert call(admin, "DELETE", "session", token=None, headers=first).status == 204
    assert [call(admin, "GET", "stats", token=None, headers=page).status for page in (first, second)] == [401, 401]
    assert call(admin, "POST", "session", unused, token=None, headers=own).status == 401
    assert call(admin, "GET", "stats", token=None, headers=other).status == 200


def test_a_page_with_a_cookie_of_before_can_still_sign_out(admin: Server) -> None:
    own = {"Origin": f"http://127.0.0.1:{admin.port}"}
    for stale in ("collab_admin=stale", "other=1"):
        out = call(admin, "DELETE", "session", token=None, headers={"Cookie": stale} | own)
        assert out.status == 204 and "Max-Age=0" in out.headers["set-cookie"]
    evil = {"Cookie": "collab_admin=stale", "Origin": "https://evil.example"}
    assert call(admin, "DELETE", "session", token=None, headers=evil).status == 403


def test_a_body_that_cannot_be_read_is_refused_and_counted(admin: Server) -> None:
    before = call(admin, "GET", "stats").body["totals"]["admin_refused"].get("bad_request", 0)
    bodies = [b"[" * 30_000, b'{"token": ' * 5000, b"{", b"\xff", b'{"token": NaN}', b""]
    for body in bodies:
        told = ask(
            admin.port,
            b"POST /admin/api/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body),
        )
        assert (told.status, told.error["code"]) == (400, "bad_request")
    assert call(admin, "GET", "stats").body["totals"]["admin_refused"]["bad_request"] == before + len(bodies)


@pytest.mark.parametrize("token", ["", TOKEN])
def test_an_application_says_things_and_has_the_interface_over_http_when_it_has_a_token(
    serve: Serve, tmp_path: Path, token: str
) -> None:
    (tmp_path / "their_app.py").write_text(APPLICATION % f"COLLAB_ADMIN_TOKEN={token!r}")
    command = [*UNDER_GUNICORN, "--chdir", str(tmp_path), "--bind", "127.0.0.1:{port}", "their_app:app"]
    server = serve(command, COLLAB_STORE="memory:")
    with connect(server.port, "/ws/document/doc?user_id=alice") as wire:
        wire.read_until(is_step1)
        assert ask(server.port, b"GET /announce HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body == b"[1,0]\n"
        wire.read_until(lambda message: message == {"type": "say", "text": "lunch"})
    if token:
        assert call(server, "GET", "stats").body["store"]["kind"] == "memory"
    else:
        answer = ask(server.port, b"GET /admin/api/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.status == 404 and b"html" in answer.headers["content-type"].encode()


def test_a_token_that_can_be_guessed_keeps_the_server_from_starting() -> None:
    server = Server(SERVE, {"COLLAB_ADMIN_TOKEN": "fifteen-chars.."})
    assert server.wait_end() == 1
    assert "COLLAB_ADMIN_TOKEN has fewer than 16 characters" in server.output and "fifteen" not in server.output


# ---- whether it is as it says


@pytest.mark.parametrize("operation", ["HEAD stats", "OPTIONS stats", "PUT kick", "GET kick", "GET nothing"])
def test_what_there_is_not_is_answered_in_json_too(admin: Server, operation: str) -> None:
    method, path = operation.split()
    told = call(admin, method, path)
    assert told.status == (200 if method == "HEAD" else 404 if path == "nothing" else 405)
    assert told.headers["content-type"] == "application/json"
    assert ("allow" in told.headers) == (told.status == 405)


def test_the_openapi_document_is_true(admin: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{admin.port}/admin/api/openapi.json"
    program, config = Path(sys.executable).parent / "schemathesis", ROOT / "tests" / "schemathesis.toml"
    command: list[Any] = [program, "--config-file", config, "run", url, "-H", f"Authorization: Bearer {TOKEN}"]
    options = ["--max-examples", "5", "--seed", "1", "--no-color", "--generation-database", "none"]
    done = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "adminapi", "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Selected: 10/10" in done.stdout and "Tested: 10" in done.stdout
    assert "Rate limited" not in done.stdout, done.stdout
