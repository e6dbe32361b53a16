"""What docs/authentication.md says does what it says: its commands and its Python, run as they stand."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import issuer
import pytest
from flask import Flask
from issuer import SECRET, jwk, private_key, private_pem, public_pem, published, token
from processes import ROOT, Server
from readme import block, page
from wire import ask, connect, is_step1, request

from collab.grants import WORDS
from collab.identity import Credentials, Rights, User
from collab.keys import PUBLIC, SECRET_BYTES
from collab.tokens import Tokens

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")

PORT = "9000"
KEY = private_key("p256")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a `collab` in it, and a pair of keys."""
    program = tmp_path / "collab"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m collab "$@"\n')
    program.chmod(0o755)
    (tmp_path / "public.pem").write_text(public_pem(KEY))
    (tmp_path / "private.pem").write_text(private_pem(KEY))
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    """The one in which the page's commands find what they need."""
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def started(folder: Path, script: str) -> Server:
    """The server that a script starts, on a port of its own."""
    assert script.count(PORT) == 1
    script = script.replace(PORT, "{port}").replace("collab serve", "exec collab serve")
    return Server(["sh", "-c", f"cd {shlex.quote(str(folder))}\n{script}"], environment(folder)).wait_ready()


def lets_in(running: Server, shown: str) -> None:
    """The server lets in who shows this, and nobody else."""
    assert ask(running.port, request("/yjs/team/plan")).status == 401
    assert ask(running.port, request(f"/yjs/team/plan?token={token('x' * 64)}")).status == 401
    with connect(running.port, f"/yjs/team/plan?token={shown}") as wire:
        wire.read_until(is_step1)


def test_a_server_with_a_secret(folder: Path) -> None:
    script = block("docs/authentication.md", "sh", "export COLLAB_JWT_SECRET")
    running = started(folder, script.replace("$(python3 -c", f"$(echo {SECRET}; true"))
    try:
        lets_in(running, token())
    finally:
        assert running.stop() == 0
    fresh = subprocess.run(
        ["sh", "-c", script.partition("collab serve")[0] + 'printf %s "$COLLAB_JWT_SECRET"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Tokens(issuer.settings(jwt_secret=fresh, jwt_algorithm="HS512"))


def test_a_server_with_a_public_key(folder: Path) -> None:
    running = started(folder, block("docs/authentication.md", "sh", "COLLAB_JWT_PUBLIC_KEY"))
    try:
        lets_in(running, token(KEY, "ES256"))
    finally:
        assert running.stop() == 0


def test_a_server_with_published_keys(folder: Path) -> None:
    key = private_key("rsa")
    with published(jwk(key, "RS256", "one")) as publisher:
        script = block("docs/authentication.md", "sh", "COLLAB_JWT_JWKS_URL")
        url = "https://login.example.org/.well-known/jwks.json"
        assert url in script
        running = started(folder, script.replace(url, publisher.url))
        try:
            lets_in(running, token(key, "RS256", {"kid": "one"}, aud="collab", iss="https://login.example.org/"))
            elsewhere = token(key, "RS256", {"kid": "one"}, aud="other", iss="https://login.example.org/")
            assert ask(running.port, request(f"/yjs/team/plan?token={elsewhere}")).status == 401
        finally:
            assert running.stop() == 0


def decide(shown: str, document_id: str, **settings: Any) -> User:
    return Tokens(issuer.settings(**settings)).decide(document_id, Credentials(shown, {}))


def test_the_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = json.loads(block("docs/authentication.md", "json", "docs"))
    alice = decide(token(**claims), "team/plan")
    assert (alice.id, alice.name, alice.rights) == ("u-17", "Alice", Rights.WRITE)
    assert decide(token(**claims), "handbook").rights is Rights.READ


def test_signing_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_JWT_SECRET", SECRET)
    names: dict[str, Any] = {}
    exec(block("README.md", "python", "jwt.encode"), names)
    issuer.SECRETS.add(names["token"])
    assert decide(names["token"], "team/plan")[:3] == ("u-17", "Alice", Rights.WRITE)


@pytest.mark.parametrize("key", ["", " --key private.pem"])
def test_a_token_from_the_command_line(folder: Path, key: str) -> None:
    settings = {"COLLAB_JWT_SECRET": SECRET} if not key else {}
    made = subprocess.run(
        ["sh", "-c", block("docs/authentication.md", "sh", "collab token").rstrip() + key],
        cwd=folder,
        env={**os.environ, **environment(folder), **settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    issuer.SECRETS.add(made)
    values = {"jwt_public_key": public_pem(KEY), "jwt_algorithm": "ES256"} if key else {}
    assert decide(made, "team/plan", **values)[:3] == ("u-17", "Alice", Rights.WRITE)
    assert decide(made, "handbook", **values).rights is Rights.READ


def test_the_login_of_an_application() -> None:
    names: dict[str, Any] = {"__name__": "their_app"}
    exec(block("README.md", "python", "@collab.authenticator"), names)
    app = names["app"]
    assert isinstance(app, Flask)
    auth = app.extensions["collab"].auth

    @app.get("/login")
    def login() -> str:
        names["session"]["name"] = "alice"
        return "welcome"

    cookie = app.test_client().get("/login").headers["Set-Cookie"].partition(";")[0]
    issuer.SECRETS.add(cookie.partition("=")[2])
    with app.test_request_context("/yjs/doc", headers={"Cookie": cookie}) as context:
        shown = auth.kept(Credentials(None, context.request.environ))
    assert auth.decide("alice/doc", shown) == User("alice", "Alice", Rights.WRITE)
    assert auth.decide("bob/doc", shown).rights is Rights.READ
    with pytest.raises(Exception, match="may not be in this document"):
        auth.decide("alice/doc", Credentials(None, {**shown.environ, "HTTP_COOKIE": ""}))


def test_rights_and_algorithms_are_named() -> None:
    text = page("docs/authentication.md")
    assert all(f"`{word}`" in text for word in WORDS)
    assert all(f"`{name}`" in text for name in (*SECRET_BYTES, *PUBLIC) if name[:2] not in ("RS", "PS"))
    assert "`RS…`" in text and "`PS…`" in text
