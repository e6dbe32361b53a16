"""Behind a real nginx with the configuration that is there to be copied: all that works without it works with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from issuer import SECRET, token
from nginx import CONFIGURATION, Nginx, running_nginx
from processes import HOST, SERVE, Serve, Server
from wire import Answer, Wire, ask, connect, is_event, is_step1, request
from ydocs import Editor, update

from collab.config import Settings

OUTSIDE, ELSEWHERE = "127.0.0.2", "127.0.0.3"
"""Addresses of this machine from which strangers come."""

ODD_NAMES = [
    "a//b",
    "team/plan",
    "//",
    "50% of it",
    "a b",
    "a?b#c",
    "ünïcode/文档/🙂",
    "a/../b",
    "x\\y",
    "+&=;",
    "a%2Fb",
]


@pytest.fixture(scope="module")
def inside() -> Iterator[Server]:
    """A server that listens to its proxy on who somebody is."""
    running = Server(SERVE, {"COLLAB_TRUSTED_PROXIES": HOST, "COLLAB_MAX_CONNECTIONS_PER_ADDRESS": "6"}).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output


@pytest.fixture(scope="module")
def nginx(inside: Server) -> Iterator[Nginx]:
    """The proxy in front of it."""
    with running_nginx(inside.port) as running:
        yield running


def get(path: str, **headers: str) -> bytes:
    """An ordinary request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{lines}\r\n".encode()


# ---- documents


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("prefix", ["/yjs/", "/ws/document/"])
def test_a_document_has_its_name_however_odd(nginx: Nginx, inside: Server, prefix: str, name: str) -> None:
    with (
        connect(nginx.port, prefix + quote(name, safe=""), source=OUTSIDE) as near,
        connect(inside.port, f"/ws/document/{quote(name, safe='')}", source=ELSEWHERE) as direct,
    ):
        near.read_until(is_step1)
        assert direct.read_until(is_event("initial_state"))["session"]["document_id"] == name
        near.say(update(Editor().type("through the proxy")))
        assert b"through the proxy" in direct.read_until(lambda message: isinstance(message, bytes) and message[0] == 1)


@pytest.mark.parametrize("path", ["/yjs/a//b", "/yjs//a", "/yjs/a/"])
def test_slashes_stay_as_they_are_written(nginx: Nginx, inside: Server, path: str) -> None:
    name = path.removeprefix("/yjs/")
    with connect(nginx.port, path) as near, connect(inside.port, f"/ws/document/{quote(name, safe='')}") as direct:
        near.read_until(is_step1)
        direct.read_until(is_step1)
        near.say(update(Editor().type("a/b")))
        direct.read_until(lambda message: isinstance(message, bytes) and b"a/b" in message)


def test_the_longest_name_and_a_long_token_and_large_cookies_pass(nginx: Nginx) -> None:
    longest = quote("🙂" * 255)
    cookies = {"Cookie": f"session={'c' * 7000}"}
    with connect(nginx.port, f"/yjs/{longest}?token={'t' * 3000}", headers=cookies) as wire:
        wire.read_until(is_step1)


def test_a_message_of_nearly_the_greatest_size_passes_and_a_greater_one_is_told_of(nginx: Nginx) -> None:
    size = Settings().max_message_size
    text = "x" * (size - 100)
    with connect(nginx.port, "/yjs/large") as writer, connect(nginx.port, "/yjs/large", source=OUTSIDE) as reader:
        reader.read_until(is_step1)
        message = update(Editor().type(text))
        assert size - 100 < len(message) <= size
        writer.say(message)
        assert len(reader.read_until(lambda message: isinstance(message, bytes) and len(message) > 1000)) > len(text)
        writer.say(bytes(size + 1))
        assert writer.read_closed().code == 1009
        writer.polite = False


# ---- people


def test_limits_count_the_clients_own_addresses_whatever_they_say_of_them(nginx: Nginx) -> None:
    lies = [{"X-Forwarded-For": f"203.0.113.{n}"} for n in range(8)]
    wires = [connect(nginx.port, "/yjs/doc", source=OUTSIDE, headers=lie) for lie in lies[:6]]
    try:
        for lie in lies:
            answer = ask(nginx.port, request("/yjs/doc", headers=lie), OUTSIDE)
            assert (answer.status, answer.error["code"]) == (429, "too_many_connections")
        with connect(nginx.port, "/yjs/doc", source=ELSEWHERE) as wire:
            wire.read_until(is_step1)
    finally:
        for wire in wires:
            wire.sock.close()


def test_refusals_come_through_as_they_are(serve: Serve) -> None:
    server = serve(
        COLLAB_TRUSTED_PROXIES=HOST,
        COLLAB_AUTH="jwt",
        COLLAB_JWT_SECRET=SECRET,
        COLLAB_MAX_CONNECTIONS=2,
        COLLAB_MAX_CONNECTIONS_PER_ADDRESS=1,
    )
    with running_nginx(server.port) as nginx:

        def refusal(path: str, source: str = HOST, **headers: str) -> tuple[int, str]:
            answer = ask(nginx.port, request(path, headers=headers), source)
            return answer.status, answer.error["code"]

        mine = f"/yjs/mine?token={token(docs={'mine': 'write'})}"
        assert refusal("/yjs/mine") == (401, "unauthenticated")
        assert refusal(mine.replace("/mine", "/other")) == (403, "forbidden")
        assert refusal(mine, Origin="https://evil.example") == (403, "bad_origin")
        assert ask(nginx.port, get("/yjs/doc")).status == 426
        with connect(nginx.port, mine) as wire:
            wire.read_until(is_step1)
            assert refusal(mine) == (429, "too_many_connections")
            with connect(nginx.port, mine, source=OUTSIDE) as other:
                other.read_until(is_step1)
                answer = ask(nginx.port, request(mine), ELSEWHERE)
                assert (answer.status, answer.error["code"]) == (503, "full")
                assert int(answer.headers["retry-after"]) > 0
        server.stop()
        answer = ask(nginx.port, request(mine))
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "restarting", "1")
        assert token(docs={"mine": "write"})[:20] not in "\n".join(nginx.log())
        assert [line for line in nginx.log() if '"GET /yjs/mine" 101' in line]


def test_a_page_of_the_site_may_connect_and_one_of_another_may_not(nginx: Nginx) -> None:
    host = f"docs.example.org:{nginx.port}"
    with connect(nginx.port, "/yjs/doc", headers={"Host": host, "Origin": f"https://{host}"}) as wire:
        wire.read_until(is_step1)
    lie = {"Host": host, "Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}
    assert ask(nginx.port, request("/yjs/doc", headers=lie)).status == 403


# ---- requests


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/admin",
        "/admin/",
        "/admin/api/stats",
        "/%61dmin/",
        "/admin%2Fapi",
        "/yjs/..%2fadmin/",
        "/./metrics",
        "/metrics/",
        "//metrics",
        "//admin/",
        "/.//%2Fadmin//api/stats",
    ],
)
def test_what_is_the_operators_is_not_for_everybody(nginx: Nginx, path: str) -> None:
    assert ask(nginx.port, get(path)).status == 403


def test_whether_it_is_ready_is_to_be_seen_from_outside(nginx: Nginx) -> None:
    answer = ask(nginx.port, get("/readyz"))
    assert (answer.status, json.loads(answer.body)["ready"]) == (200, True)
    assert ask(nginx.port, get("/healthz")).status == 200


def test_no_page_is_shown_to_strangers_unless_it_is_asked_for(nginx: Nginx) -> None:
    assert ask(nginx.port, get("/")).status == 404


def test_a_session_may_follow_requests_on_one_connection(nginx: Nginx) -> None:
    with Wire(nginx.port) as wire:
        for _ in range(3):
            wire.send(f"GET /readyz HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            assert wire.read_answer().status == 200
        wire.send(request("/yjs/kept"))
        assert wire.read_answer().status == 101
        wire.read_until(is_step1)


def test_without_tls_everybody_is_sent_to_it(nginx: Nginx) -> None:
    answer: Answer = ask(nginx.redirect_port, get("/yjs/a%2Fb?token=t"))
    assert (answer.status, answer.headers["location"]) == (301, f"https://{HOST}/yjs/a%2Fb?token=t")


def test_with_tls_it_is_the_same(nginx: Nginx) -> None:
    with (
        connect(nginx.tls_port, "/yjs/tls", trust=nginx.trust) as writer,
        connect(nginx.port, "/yjs/tls", source=OUTSIDE) as reader,
    ):
        reader.read_until(is_step1)
        writer.say(update(Editor().type("in secret")))
        reader.read_until(lambda message: isinstance(message, bytes) and b"in secret" in message)


# ---- times


def test_nginx_is_never_the_first_to_give_up() -> None:
    told = {name: float(value) for name, value in re.findall(r"^ +(\w+_timeout) (\d+)s;", CONFIGURATION, re.MULTILINE)}
    settings = Settings()
    # The hub looks once a second.
    assert min(told["proxy_read_timeout"], told["proxy_send_timeout"]) > 2 * settings.ping_interval + 1
    assert told["send_timeout"] > settings.slow_timeout + settings.cleanup_interval - 1
