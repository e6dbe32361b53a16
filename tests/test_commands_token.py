"""`collab token`: tokens that a server with the same settings takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import issuer
import pytest
from click.testing import CliRunner, Result
from issuer import KINDS, SECRET, private_key, private_pem, public_pem

from collab.cli import main
from collab.grants import MAX_PATTERN
from collab.identity import Credentials, Rights, User
from collab.tokens import Tokens

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")


def run(*args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Result:
    """Run `collab token` for alice, which must end with `code` and tell no secret but the token."""
    settings = {"COLLAB_JWT_SECRET": SECRET, **(env or {})}
    result = CliRunner(env=settings).invoke(main, ["token", "--user", "alice", *args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    assert issuer.found_in(result.output) == []
    return result


def taken(token: str, document_id: str = "doc", **settings: Any) -> User:
    """What a server makes of a token."""
    return Tokens(issuer.settings(**settings)).decide(document_id, Credentials(token, {}))


def test_a_token_is_printed_and_nothing_else() -> None:
    before = int(time.time())
    result = run()
    assert result.stderr == ""
    user = taken(result.stdout.rstrip("\n"))
    assert user[:3] == ("alice", "alice", Rights.WRITE)
    assert user.expires is not None
    assert before + 3600 <= user.expires <= time.time() + 3600


def test_it_says_what_it_was_told_to_say() -> None:
    token = run("--name", "Alice A.", "--doc", "team/*=admin", "--doc", "a=b=read", "--expires", "30s").stdout.strip()
    user = taken(token, "team/x")
    assert (user.name, user.rights) == ("Alice A.", Rights.ADMIN)
    assert user.expires is not None and user.expires < time.time() + 31
    assert taken(token, "a=b").rights is Rights.READ
    with pytest.raises(Exception, match="not for this document"):
        taken(token, "other")


def test_scripts_get_the_facts_as_well() -> None:
    answer = json.loads(run("--name", "Alice A.", "--doc", "x=read", "--expires", "2h", "--json").stdout)
    assert answer.keys() == {"token", "user", "name", "docs", "expires"}
    assert (answer["user"], answer["name"], answer["docs"]) == ("alice", "Alice A.", {"x": "read"})
    assert taken(answer["token"], "x").id == "alice"
    assert answer["expires"].endswith("Z")


@pytest.mark.parametrize("expires", ["30s", "10m", "2h", "7d"])
def test_how_long_it_is_valid_may_be_said_in_each_unit(expires: str) -> None:
    seconds = {"30s": 30, "10m": 600, "2h": 7200, "7d": 604800}[expires]
    user = taken(run("--expires", expires).stdout.strip())
    assert user.expires == pytest.approx(time.time() + seconds, abs=5)


def test_audience_issuer_and_algorithm_are_those_of_the_settings() -> None:
    values = {"jwt_audience": "collab", "jwt_issuer": "https://login.example/", "jwt_algorithm": "HS512"}
    token = run(env={f"COLLAB_{name.upper()}": value for name, value in values.items()}).stdout.strip()
    assert taken(token, **values).id == "alice"


@pytest.mark.parametrize("algorithm", [*KINDS, ""])
def test_a_private_key_signs_for_its_public_key(tmp_path: Path, algorithm: str) -> None:
    file = tmp_path / "private.pem"
    for kind in {KINDS[algorithm]} if algorithm else {"rsa", "p256", "p384", "p521", "ed25519"}:
        usual = {"rsa": "RS256", "p256": "ES256", "p384": "ES384", "p521": "ES512", "ed25519": "EdDSA"}[kind]
        key = private_key(kind)
        file.write_text(private_pem(key))
        env = {"COLLAB_JWT_SECRET": "", "COLLAB_JWT_ALGORITHM": algorithm}
        token = run("--key", str(file), env=env).stdout.strip()
        assert taken(token, jwt_public_key=public_pem(key), jwt_algorithm=algorithm or usual).id == "alice"


@pytest.mark.parametrize(
    "args",
    [
        ("--doc", "team/*"),
        ("--doc", "team/*=own"),
        ("--doc", "=read"),
        ("--doc", f"{'x' * (MAX_PATTERN + 1)}=read"),
        ("--expires", "soon"),
        ("--expires", "1y"),
        ("--expires", "3651d"),
        ("--expires", "999999999d"),
        ("--name", "a\nb"),
        ("--user", ""),
        ("--user", "x" * 256),
    ],
)
def test_what_cannot_be_meant_is_not_understood(args: tuple[str, ...]) -> None:
    run(*args, code=2)
    assert json.loads(run(*args, "--json", code=2).stdout)["error"]["code"] == "usage"


def test_a_user_has_to_be_named() -> None:
    result = CliRunner(env={"COLLAB_JWT_SECRET": SECRET}).invoke(main, ["token"])
    assert result.exit_code == 2
    assert "--user" in result.stderr


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"COLLAB_JWT_SECRET": ""}, "COLLAB_JWT_SECRET is not set"),
        ({"COLLAB_JWT_SECRET": "short"}, "needs 32"),
        ({"COLLAB_JWT_ALGORITHM": "RS256"}, "say --key"),
        ({"COLLAB_JWT_ALGORITHM": "none"}, "say --key"),
    ],
)
def test_without_a_secret_that_can_sign_there_is_no_token(environment: dict[str, str], words: str) -> None:
    assert words in run(code=4, env=environment).stderr
    assert json.loads(run("--json", code=4, env=environment).stdout)["error"]["code"] == "setting"


def test_a_file_without_a_fit_private_key_is_refused(tmp_path: Path) -> None:
    files = {
        "nowhere.pem": (None, "cannot be read"),
        "public.pem": (public_pem(private_key("rsa")), "no private key"),
        "empty.pem": ("", "no private key"),
        "weak.pem": (private_pem(private_key("weak")), "1024 bits"),
    }
    for name, (text, words) in files.items():
        file = tmp_path / name
        if text is not None:
            file.write_text(text)
        assert words in run("--key", str(file), code=4).stderr
    file.write_text(private_pem(private_key("p256")))
    assert "no RSA key" in run("--key", str(file), code=4, env={"COLLAB_JWT_ALGORITHM": "RS256"}).stderr
    assert "no key for HS256" in run("--key", str(file), code=4, env={"COLLAB_JWT_ALGORITHM": "HS256"}).stderr
