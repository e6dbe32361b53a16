"""Tokens: which are taken, which are refused and with which words, and where the keys come from."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import issuer
import jwt
import pytest
from gevent.event import Event
from issuer import KINDS, SECRET, Publisher, jwk, key_set, private_key, public_pem, published, settings, token
from processes import Serve
from wire import TIMEOUT, Wire, ask, connect, request

from collab.config import Settings
from collab.errors import ConfigError, Forbidden, HandshakeRefused, Unauthenticated
from collab.grants import MAX_PATTERN, MAX_PATTERNS, matches, read_grants, rights_in
from collab.identity import Credentials, Rights, User
from collab.keyset import MAX_BYTES, RETRY, KeySet, fetch, read_key_set
from collab.tokens import HOW_TO_SEND, MAX_TOKEN, Tokens

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")

every_algorithm = pytest.mark.parametrize("algorithm", KINDS)


def decide(shown: str | None, document_id: str = "doc", **values: Any) -> User:
    """What is decided on a token."""
    return Tokens(settings(**values)).decide(document_id, Credentials(shown, {}))


def refusal(shown: str | None, document_id: str = "doc", **values: Any) -> HandshakeRefused:
    """The error that a token is refused with, which has nothing of it."""
    with pytest.raises(HandshakeRefused) as caught:
        decide(shown, document_id, **values)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ == (
        caught.value.__context__ is not None
    )
    assert issuer.found_in(str(caught.value)) == []
    return caught.value


def is_nobody(error: HandshakeRefused, words: str) -> None:
    """The token is not taken, with these words."""
    assert isinstance(error, Unauthenticated)
    assert (error.status, error.code, error.headers) == (401, "unauthenticated", {"WWW-Authenticate": "Bearer"})
    assert words in error.message


# ---- what a token says


def test_a_token_says_who_it_is_and_for_how_long() -> None:
    expires = int(time.time()) + 60
    shown = token(sub="u-1", name="Alice A.", exp=expires)
    assert decide(shown) == User("u-1", "Alice A.", Rights.WRITE, float(expires))


@pytest.mark.parametrize("name", [None, ""])
def test_who_has_no_name_is_known_by_the_id(name: str | None) -> None:
    assert decide(token(sub="u-1", name=name)).name == "u-1"


def test_without_a_token_it_is_said_how_to_send_one() -> None:
    for shown in (None, ""):
        is_nobody(refusal(shown), HOW_TO_SEND)
    for way in ("Authorization: Bearer", "?token=", "collab.token.", "Hocuspocus"):
        assert way in HOW_TO_SEND


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"sub": None}, "lacks a claim"),
        ({"exp": None}, "lacks a claim"),
        ({"sub": ""}, "sub is not"),
        ({"sub": "a\nb"}, "sub is not"),
        ({"sub": "x" * 256}, "sub is not"),
        ({"sub": 7}, "sub is not"),
        ({"sub": ["alice"]}, "sub is not"),
        ({"name": 7}, "name is not"),
        ({"name": "a\x00"}, "name is not"),
        ({"name": "x" * 256}, "name is not"),
        ({"exp": "9999999999"}, "exp is not"),
        ({"exp": True}, "expired"),
        ({"exp": 1e15}, "exp is not"),
        ({"exp": 10**400}, "exp is not"),
        ({"exp": float("inf")}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"exp": {}}, "malformed"),
        ({"nbf": "soon"}, "malformed"),
        ({"docs": ["*"]}, "docs is not an object"),
        ({"docs": "*"}, "docs is not an object"),
        ({"docs": {"*": "own"}}, "docs gives a right that is none of read, write, admin"),
        ({"docs": {"*": 2}}, "docs gives a right"),
        ({"docs": {"*": ["write"]}}, "docs gives a right"),
        ({"docs": {"x" * 513: "read"}}, "docs has a pattern of more than 512"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_claims_that_cannot_be_meant_are_nobodys(claims: dict[str, Any], words: str) -> None:
    is_nobody(refusal(token(**claims)), words)


@pytest.mark.parametrize(
    ("docs", "words"), [(None, "names no documents"), ({}, "not for this document"), ({"a*": "admin"}, "not for this")]
)
def test_a_token_that_is_not_for_a_document_does_not_open_it(docs: dict[str, str] | None, words: str) -> None:
    error = refusal(token(docs=docs))
    assert isinstance(error, Forbidden)
    assert error.status == 403
    assert words in error.message


def test_the_best_right_of_all_patterns_that_match_counts() -> None:
    shown = token(docs={"*": "read", "team/*": "write", "team/a": "read", "team/b": "admin"})
    rights = {name: decide(shown, name).rights for name in ("other", "team/x", "team/a", "team/b")}
    assert rights == {"other": Rights.READ, "team/x": Rights.WRITE, "team/a": Rights.WRITE, "team/b": Rights.ADMIN}


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "document_id", "fits"),
    [
        ("handbook", "handbook", True),
        ("handbook", "handbook2", False),
        ("handbook", "Handbook", False),
        ("team/*", "team/", True),
        ("team/*", "team/a/b c/😀", True),
        ("team/*", "team", False),
        ("team/*", "xteam/a", False),
        ("*", "", True),
        ("*", "anything/at all", True),
        ("**", "x", True),
        ("*/notes", "a/b/notes", True),
        ("*/notes", "notes", False),
        ("a*b", "ab", True),
        ("a*b", "a", False),
        ("a*a", "a", False),
        ("aa*aa", "aaa", False),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "acb", False),
        ("a*b*b", "ab", False),
        ("*ab*ab*", "xabxab", True),
        ("*ab*ab*", "xabab", True),
        ("*ab*ab*", "xabxb", False),
        ("*a*ab", "ab", False),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.c", "abc", False),
        ("", "", True),
        ("", "a", False),
        ("caf\u00e9", "cafe\u0301", False),
        ("\\*", "\\x", True),
    ],
)
def test_a_star_is_any_characters_and_all_else_is_what_it_is(pattern: str, document_id: str, fits: bool) -> None:
    assert matches(pattern, document_id) is fits


def test_matching_agrees_with_regular_expressions() -> None:
    words = ["", "a", "b", "ab", "ba", "aa", "aab", "abab", "abba", "bab"]
    patterns = [f"{a}*{b}*{c}" for a in words for b in words for c in words]
    for pattern in patterns:
        expression = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL)
        for name in (a + b + c for a in words[:6] for b in words[:6] for c in words[:6]):
            assert matches(pattern, name) is (expression.fullmatch(name) is not None), (pattern, name)


@pytest.mark.parametrize("pattern", ["*a" * 200 + "*b", "*" * MAX_PATTERN, "*aa" * 100 + "*ab*", "a*" * 250 + "b"])
def test_no_pattern_takes_long_however_it_is_made(pattern: str) -> None:
    # One that tried all ways would need more steps than there are atoms: the test would not end.
    assert matches(pattern, "a" * 255) is (set(pattern) == {"*"})


def test_as_many_patterns_as_may_be_are_read() -> None:
    grants = read_grants({f"{n}".ljust(MAX_PATTERN, "x"): "read" for n in range(MAX_PATTERNS)})
    assert len(grants) == MAX_PATTERNS
    assert rights_in("0".ljust(MAX_PATTERN, "x"), grants) is Rights.READ
    assert rights_in("0", grants) is None
    with pytest.raises(ValueError, match=f"more than {MAX_PATTERNS} patterns"):
        read_grants({str(n): "read" for n in range(MAX_PATTERNS + 1)})


# ---- signatures


@every_algorithm
def test_a_token_is_taken_with_the_public_key_of_its_algorithm(algorithm: str) -> None:
    key = private_key(KINDS[algorithm])
    values = {"jwt_public_key": public_pem(key), "jwt_algorithm": algorithm}
    assert decide(token(key, algorithm), **values).id == "alice"
    is_nobody(refusal(token(private_key(KINDS[algorithm], 2), algorithm), **values), "signature is wrong")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_is_taken_with_the_secret(algorithm: str) -> None:
    assert decide(token(algorithm=algorithm), jwt_algorithm=algorithm).id == "alice"
    is_nobody(refusal(token("x" * 64, algorithm), jwt_algorithm=algorithm), "signature is wrong")


def test_an_ed448_key_is_an_eddsa_key_as_well() -> None:
    key = private_key("ed448")
    assert decide(token(key, "EdDSA"), jwt_public_key=public_pem(key), jwt_algorithm="EdDSA").id == "alice"


def test_without_a_word_on_it_the_algorithm_is_the_usual_one() -> None:
    assert decide(token()).id == "alice"
    key = private_key("rsa")
    assert decide(token(key, "RS256"), jwt_public_key=public_pem(key)).id == "alice"
    is_nobody(refusal(token(key, "PS256"), jwt_public_key=public_pem(key)), "another algorithm")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_than_the_one_that_is_set_is_refused(algorithm: str) -> None:
    is_nobody(refusal(token(algorithm=algorithm)), "another algorithm")


def forge(header: dict[str, Any], payload: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token put together by hand."""

    def segment(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = b".".join(segment(json.dumps(part).encode()) for part in (header, payload))
    made = (signed + b"." + segment(sign(signed))).decode()
    issuer.SECRETS.add(made)
    return made


CLAIMS = {"sub": "mallory", "exp": 4_000_000_000, "docs": {"*": "admin"}}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, "HS256", ["RS256"], 5])
def test_a_public_key_is_never_taken_for_a_secret_nor_done_without(alg: object) -> None:
    pem = public_pem(private_key("rsa"))
    hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    for sign in (lambda data: b"", lambda data: hs256.sign(data, pem.encode())):
        shown = forge({"alg": alg, "typ": "JWT"}, CLAIMS, sign)
        is_nobody(refusal(shown, jwt_public_key=pem), "another algorithm")
        with published(jwk(private_key("rsa"), "RS256", "one")) as publisher:
            is_nobody(refusal(shown, jwt_jwks_url=publisher.url), "another algorithm")
            assert publisher.asked == 0
    is_nobody(refusal(forge({"alg": "none"}, CLAIMS, lambda data: b"")), "another algorithm")


def test_a_key_that_a_token_brings_along_is_not_used() -> None:
    mine = private_key("rsa", 2)
    headers = {"jwk": jwk(mine, "RS256"), "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "kid": "../../x"}
    shown = token(mine, "RS256", headers)
    is_nobody(refusal(shown, jwt_public_key=public_pem(private_key("rsa"))), "signature is wrong")


@pytest.mark.parametrize(
    "shown",
    [
        "x",
        "a.b",
        "a.b.c",
        "...",
        "é.ü.ö",
        "\ud800.a.b",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.e30.",
        "W10.e30.x",
        base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.x",
        "Bearer x.y.z",
    ],
)
def test_what_is_no_token_is_said_to_be_none(shown: str) -> None:
    error = refusal(shown)
    assert isinstance(error, Unauthenticated)
    assert shown not in error.message


@pytest.mark.parametrize("payload", [b"[]", b"7", b"null", b"{", b"\xff", b'{"a":' * 4000 + b"1" + b"}" * 4000])
def test_a_payload_that_is_no_object_is_malformed(payload: bytes) -> None:
    shown = jwt.PyJWS().encode(payload, SECRET, "HS256")
    issuer.SECRETS.add(shown)
    is_nobody(refusal(shown), "malformed" if payload[:5] != b'{"a":' else "The token")


@pytest.mark.parametrize("headers", [{"kid": 7}, {"crit": ["exp"], "exp": 1}, {"crit": []}])
def test_a_header_that_is_not_understood_is_malformed(headers: dict[str, Any]) -> None:
    header = {"alg": "HS256", **headers}
    hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    is_nobody(refusal(forge(header, CLAIMS, lambda data: hs256.sign(data, SECRET.encode()))), "malformed")


def test_a_token_has_a_longest() -> None:
    long = token(padding="x" * 12_000)
    assert decide(long).id == "alice"
    is_nobody(refusal(token(padding="x" * MAX_TOKEN)), f"more than {MAX_TOKEN} characters")


@pytest.mark.parametrize("part", range(3))
def test_a_token_that_was_changed_anywhere_is_refused(part: int) -> None:
    parts = token().split(".")
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]
    shown = ".".join(parts)
    issuer.SECRETS.add(shown)
    assert isinstance(refusal(shown), Unauthenticated)


# ---- time, audience, issuer


@pytest.mark.parametrize(
    ("claim", "seconds", "leeway", "words"),
    [
        ("exp", -30, 10, "expired"),
        ("exp", -30, 60, None),
        ("exp", 30, 0, None),
        ("nbf", 30, 10, "not valid yet"),
        ("nbf", 30, 60, None),
        ("nbf", -30, 0, None),
        ("iat", 30, 10, "not valid yet"),
    ],
)
def test_a_token_is_taken_in_its_time(claim: str, seconds: int, leeway: float, words: str | None) -> None:
    claims: dict[str, Any] = {claim: int(time.time()) + seconds}
    shown = token(**claims)
    if words is None:
        assert decide(shown, jwt_leeway=leeway).id == "alice"
    else:
        is_nobody(refusal(shown, jwt_leeway=leeway), words)


def test_clocks_may_differ_by_ten_seconds_unless_set_otherwise() -> None:
    assert settings().jwt_leeway == 10
    assert decide(token(exp=int(time.time()) - 5)).id == "alice"


@pytest.mark.parametrize(
    ("audience", "aud", "words"),
    [
        ("collab", "collab", None),
        ("collab", ["other", "collab"], None),
        ("collab", "other", "aud"),
        ("collab", ["other"], "aud"),
        ("collab", "collab2", "aud"),
        ("collab", None, "lacks a claim"),
        ("collab", 7, "aud"),
        ("", "other", "aud"),
        ("", None, None),
    ],
)
def test_a_token_for_somebody_else_is_refused(audience: str, aud: Any, words: str | None) -> None:
    shown = token(aud=aud)
    if words is None:
        assert decide(shown, jwt_audience=audience).id == "alice"
    else:
        is_nobody(refusal(shown, jwt_audience=audience), words)


@pytest.mark.parametrize(
    ("iss", "words"),
    [("https://login.example/", None), ("https://login.example", "iss"), (None, "lacks a claim"), (["x"], "iss")],
)
def test_a_token_from_somebody_else_is_refused(iss: Any, words: str | None) -> None:
    made = token(iss=iss) if not isinstance(iss, list) else forge_hs256({**CLAIMS, "iss": iss})
    if words is None:
        assert decide(made, jwt_issuer="https://login.example/").id == "alice"
    else:
        is_nobody(refusal(made, jwt_issuer="https://login.example/"), words)


def forge_hs256(claims: dict[str, Any]) -> str:
    """A token with the right signature and claims that PyJWT would not sign."""
    hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return forge({"alg": "HS256"}, claims, lambda data: hs256.sign(data, SECRET.encode()))


def test_who_issued_it_does_not_matter_where_nothing_is_set() -> None:
    assert decide(token(iss="anybody")).id == "alice"


# ---- what is kept


def test_the_token_alone_is_kept_and_decides_as_before() -> None:
    tokens = Tokens(settings())
    shown = token(docs={"doc": "read"})
    kept = tokens.kept(Credentials(shown, {"QUERY_STRING": f"token={shown}", "wsgi.input": object()}))
    assert kept == Credentials(shown, {})
    assert tokens.decide("doc", kept) == tokens.decide("doc", Credentials(shown, {}))
    assert tokens.needs_token and not tokens.believes


def test_of_a_token_that_is_too_long_no_more_is_kept_than_refuses_it() -> None:
    tokens = Tokens(settings())
    kept = tokens.kept(Credentials("x" * 1_000_000, {}))
    assert kept.token is not None and len(kept.token) == MAX_TOKEN + 1
    assert tokens.kept(Credentials(None, {"a": "b"})) == Credentials(None, {})


# ---- settings that cannot work


def wrong(**values: Any) -> str:
    """The error that settings are refused with, which repeats no secret."""
    with pytest.raises(ConfigError) as caught:
        Tokens(settings(**values))
    for value in values.values():
        assert len(str(value)) < 20 or str(value) not in str(caught.value)
    return str(caught.value)


def test_something_to_check_tokens_with_must_be_set_and_only_one() -> None:
    names = ("COLLAB_JWT_SECRET", "COLLAB_JWT_PUBLIC_KEY", "COLLAB_JWT_JWKS_URL")
    assert all(name in wrong(jwt_secret="") for name in names)
    both = wrong(jwt_secret=SECRET, jwt_jwks_url="https://login.example/keys")
    assert [name in both for name in names] == [True, False, True]


@pytest.mark.parametrize(("algorithm", "least"), [("", 32), ("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_that_is_too_short_is_refused(algorithm: str, least: int) -> None:
    text = wrong(jwt_secret="é" * (least // 2 - 1) + "x", jwt_algorithm=algorithm)
    assert f"has {least - 1} bytes" in text and f"needs {least}" in text
    assert Tokens(settings(jwt_secret="é" * (least // 2), jwt_algorithm=algorithm))


def test_a_key_is_no_secret() -> None:
    assert "COLLAB_JWT_PUBLIC_KEY" in wrong(jwt_secret=public_pem(private_key("rsa")))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "RS1", "rs256", "ES256K"])
def test_with_a_public_key_the_algorithm_is_one_of_public_keys(algorithm: str) -> None:
    pem = public_pem(private_key("rsa"))
    for values in ({"jwt_public_key": pem}, {"jwt_jwks_url": "https://login.example/keys"}):
        text = wrong(jwt_algorithm=algorithm, **values)
        assert "COLLAB_JWT_ALGORITHM" in text and "RS256" in text


@pytest.mark.parametrize("algorithm", ["none", "RS256", "EdDSA", "hs256"])
def test_with_a_secret_the_algorithm_is_one_of_secrets(algorithm: str) -> None:
    text = wrong(jwt_algorithm=algorithm)
    assert "COLLAB_JWT_ALGORITHM" in text and "HS256, HS384, HS512" in text


@pytest.mark.parametrize(
    ("kind", "algorithm", "words"),
    [
        ("weak", "RS256", "has 1024 bits"),
        ("p256", "RS256", "no RSA key"),
        ("rsa", "ES256", "secp256r1"),
        ("p384", "ES256", "secp256r1"),
        ("p256", "EdDSA", "no key for EdDSA"),
        ("ed25519", "PS512", "no RSA key"),
    ],
)
def test_a_public_key_must_be_fit_for_the_algorithm(kind: str, algorithm: str, words: str) -> None:
    assert words in wrong(jwt_public_key=public_pem(private_key(kind)), jwt_algorithm=algorithm)


def test_a_public_key_may_be_a_file_or_have_its_lines_escaped(tmp_path: Path) -> None:
    key = private_key("rsa")
    file = tmp_path / "public.pem"
    file.write_text(public_pem(key))
    for value in (str(file), public_pem(key).replace("\n", "\\n"), "\n" + public_pem(key)):
        assert decide(token(key, "RS256"), jwt_public_key=value).id == "alice"


def test_what_is_no_public_key_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "private.pem"
    private.write_text(issuer.private_pem(private_key("rsa")))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 100)
    for value, words in {
        str(private): "private key",
        issuer.private_pem(private_key("p256")): "private key",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----": "not a public key",
        str(tmp_path / "nowhere.pem"): "No such file",
        str(tmp_path): "directory",
        str(binary): "no text",
        "a\0b": "neither PEM nor a file",
    }.items():
        text = wrong(jwt_public_key=value)
        assert "COLLAB_JWT_PUBLIC_KEY" in text and words in text


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://h/k", "login.example/keys", "https://", "https://u:p@h/k", "http://[", "http://h:x/"],
)
def test_key_sets_are_fetched_over_http_alone(url: str) -> None:
    assert "COLLAB_JWT_JWKS_URL" in wrong(jwt_jwks_url=url)


def test_settings_do_not_show_their_secrets() -> None:
    pem = public_pem(private_key("rsa"))
    shown = repr(settings(jwt_secret=SECRET, jwt_public_key=pem))
    assert SECRET not in shown and pem[30:60] not in shown
    for name in ("COLLAB_JWT_SECRET", "COLLAB_JWT_PUBLIC_KEY"):
        with pytest.raises(ConfigError, match=name) as caught:
            Settings.load({name: SECRET.encode()})
        assert SECRET not in str(caught.value)


# ---- keys that are published: what is in a set

ONE, TWO = private_key("rsa", 1), private_key("rsa", 2)


@every_algorithm
def test_a_token_is_taken_with_a_published_key_of_its_algorithm(algorithm: str) -> None:
    key = private_key(KINDS[algorithm])
    with published(jwk(ONE, "RS256", "other"), jwk(key, algorithm, "mine")) as publisher:
        values = {"jwt_jwks_url": publisher.url, "jwt_algorithm": algorithm}
        assert decide(token(key, algorithm, {"kid": "mine"}), **values).id == "alice"
        stranger = token(private_key(KINDS[algorithm], 3), algorithm, {"kid": "mine"})
        is_nobody(refusal(stranger, **values), "signature is wrong")


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, True),
        ({"use": None, "alg": None}, True),
        ({"key_ops": ["verify"]}, True),
        ({"key_ops": ["encrypt"]}, False),
        ({"key_ops": "verify"}, False),
        ({"use": "enc"}, False),
        ({"alg": "RS512"}, False),
        ({"kty": "EC"}, False),
        ({"kid": 5}, False),
        ({"n": None}, False),
        ({"n": 5}, False),
        ({"n": "!!"}, False),
    ],
    ids=str,
)
def test_keys_that_are_not_meant_for_this_are_passed_over(fields: dict[str, Any], taken: bool) -> None:
    good = jwk(TWO, "RS256", "good")
    keys = read_key_set(key_set(jwk(ONE, "RS256", "one", **fields), good), "RS256")
    assert keys.keys() == ({"one", "good"} if taken else {"good"})


def test_a_published_private_key_proves_nothing() -> None:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(ONE))
    with pytest.raises(ValueError, match="no key for RS256"):
        read_key_set(key_set(private), "RS256")
    public = {name: value for name, value in private.items() if name in ("kty", "n", "e")}
    assert read_key_set(key_set(public), "RS256")


def test_a_published_secret_is_no_key() -> None:
    octets = {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 40).decode(), "kid": "s"}
    with pytest.raises(ValueError, match="no key for RS256"):
        read_key_set(key_set(octets, {**octets, "alg": "RS256"}), "RS256")


def test_weak_keys_and_other_curves_are_passed_over() -> None:
    weak, p384 = jwk(private_key("weak"), "RS256", "weak"), jwk(private_key("p384"), "ES384", "p", alg="ES256")
    for key, algorithm in ((weak, "RS256"), (p384, "ES256")):
        with pytest.raises(ValueError, match=f"no key for {algorithm}"):
            read_key_set(key_set(key), algorithm)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [5]}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_key_set_is_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_key_set(data, "RS256")


def test_a_token_that_names_no_key_is_taken_where_there_is_one_alone() -> None:
    shown = token(ONE, "RS256")
    with published(jwk(ONE, "RS256", "one")) as publisher:
        assert decide(shown, jwt_jwks_url=publisher.url).id == "alice"
        publisher.body = key_set(jwk(ONE, "RS256"))
        assert decide(shown, jwt_jwks_url=publisher.url).id == "alice"
        publisher.body = key_set(jwk(ONE, "RS256", "one"), jwk(TWO, "RS256", "two"))
        is_nobody(refusal(shown, jwt_jwks_url=publisher.url), "there are several")


# ---- keys that are published: fetching


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    """The clock of `keys`."""
    return Time()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """Publishes one key, `one`."""
    with published(jwk(ONE, "RS256", "one")) as running:
        yield running


@pytest.fixture
def keys(publisher: Publisher, clock: Time) -> KeySet:
    """The keys of `publisher`, kept for 300 s by `clock`."""
    return KeySet(lambda: fetch(publisher.url, 0.3), "RS256", 300.0, clock)


def unknown(keys: KeySet, key_id: str | None) -> str:
    """What is said of a key that is not known."""
    with pytest.raises(Unauthenticated) as caught:
        keys.find(key_id)
    return caught.value.message


def unavailable(keys: KeySet, key_id: str) -> None:
    """It is said that this cannot be told now."""
    with pytest.raises(HandshakeRefused) as caught:
        keys.find(key_id)
    assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")
    assert int(caught.value.headers["Retry-After"]) == RETRY


def test_keys_are_fetched_when_they_are_needed_and_kept(keys: KeySet, publisher: Publisher, clock: Time) -> None:
    assert publisher.asked == 0
    key = keys.find("one")
    clock.now += 299
    assert keys.find("one") is key
    assert publisher.asked == 1
    clock.now += 1
    assert keys.find("one") is not key
    assert publisher.asked == 2


def test_a_new_key_is_found_as_soon_as_a_token_names_it(keys: KeySet, publisher: Publisher, clock: Time) -> None:
    keys.find("one")
    publisher.body = key_set(jwk(TWO, "RS256", "two"))
    clock.now += RETRY
    assert keys.find("two").public_numbers() == TWO.public_key().public_numbers()
    clock.now += RETRY
    assert "not known" in unknown(keys, "one")


def test_a_key_that_is_withdrawn_is_of_no_use_when_its_time_is_over(
    keys: KeySet, publisher: Publisher, clock: Time
) -> None:
    keys.find("one")
    publisher.body = key_set(jwk(TWO, "RS256", "two"))
    clock.now += 300
    assert "not known" in unknown(keys, "one")


def test_keys_that_are_not_known_do_not_make_us_ask_for_each(keys: KeySet, publisher: Publisher, clock: Time) -> None:
    keys.find("one")
    for number in range(100):
        unknown(keys, f"made-up-{number}")
    assert publisher.asked == 1
    clock.now += RETRY
    for number in range(100):
        unknown(keys, f"made-up-{number}")
    assert publisher.asked == 2
    assert keys.find("one")


def test_a_fetch_that_fails_keeps_the_old_keys_and_is_told_once(
    keys: KeySet, publisher: Publisher, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.find("one")
    publisher.status = 500
    for times in range(1, 4):
        clock.now += 300
        assert keys.find("one") is key
        gevent.idle()
        assert publisher.asked == 1 + times
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "COLLAB_JWT_JWKS_URL cannot be fetched, those that were go on: the answer is HTTP 500" in record.message
    unavailable(keys, "two")
    publisher.status = 200
    clock.now += RETRY
    keys.find("one")
    gevent.idle()
    assert "can be fetched again" in caplog.records[-1].message
    assert "not known" in unknown(keys, "two")


def test_while_fetches_fail_who_has_a_known_key_waits_for_none(clock: Time) -> None:
    answers: list[bytes] = [key_set(jwk(ONE, "RS256", "one"))]
    never = Event()

    def answer() -> bytes:
        if not answers:
            never.wait()
            raise OSError("at last")
        return answers.pop()

    keys = KeySet(answer, "RS256", 300.0, clock)
    key = keys.find("one")
    clock.now += 300
    first = gevent.spawn(keys.find, "one")
    gevent.idle()
    assert not first.dead, "the first one waits for keys that may be newer"
    never.set()
    assert first.get(timeout=TIMEOUT) is key
    never.clear()
    clock.now += RETRY
    assert gevent.spawn(keys.find, "one").get(timeout=TIMEOUT) is key
    never.set()
    gevent.idle()


def test_nothing_is_known_before_the_first_fetch_has_worked(keys: KeySet, publisher: Publisher, clock: Time) -> None:
    publisher.status = 404
    unavailable(keys, "one")
    unavailable(keys, "one")
    assert publisher.asked == 1
    publisher.status = 200
    clock.now += RETRY
    assert keys.find("one")


def test_all_who_wait_share_one_fetch(clock: Time) -> None:
    asked, answered = [], Event()

    def answer() -> bytes:
        asked.append(1)
        answered.wait()
        return key_set(jwk(ONE, "RS256", "one"))

    keys = KeySet(answer, "RS256", 300.0, clock)
    waiting = [gevent.spawn(keys.find, "one") for _ in range(50)]
    stranger = gevent.spawn(lambda: unknown(keys, "two"))
    gevent.idle()
    clock.now += RETRY
    waiting.append(gevent.spawn(keys.find, "one"))
    gevent.idle()
    assert len(asked) == 1 and not stranger.dead and not any(greenlet.dead for greenlet in waiting)
    answered.set()
    assert len({id(greenlet.get(timeout=TIMEOUT)) for greenlet in waiting}) == 1
    assert "not known" in stranger.get(timeout=TIMEOUT)
    assert len(asked) == 1


def test_a_fault_of_ours_in_a_fetch_lets_nobody_wait_for_ever(clock: Time) -> None:
    faults: list[Exception] = [ZeroDivisionError("of ours")]

    def answer() -> bytes:
        if faults:
            raise faults.pop()
        return key_set(jwk(ONE, "RS256", "one"))

    keys = KeySet(answer, "RS256", 300.0, clock)
    unavailable(keys, "one")
    clock.now += RETRY
    assert keys.find("one")


def test_what_hangs_is_too_large_or_leads_elsewhere_is_not_fetched(publisher: Publisher) -> None:
    assert fetch(publisher.url) == publisher.body
    publisher.open.clear()
    with pytest.raises(OSError, match="timed out"):
        fetch(publisher.url, 0.1)
    publisher.open.set()
    publisher.body = b" " * MAX_BYTES
    assert len(fetch(publisher.url)) == MAX_BYTES
    publisher.body += b" "
    with pytest.raises(ValueError, match=f"more than {MAX_BYTES} bytes"):
        fetch(publisher.url)
    asked = publisher.asked
    publisher.status, publisher.headers = 302, {"Location": publisher.url}
    with pytest.raises(OSError, match="the answer is HTTP 302"):
        fetch(publisher.url)
    assert publisher.asked == asked + 1


def test_a_server_that_is_down_is_an_error_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/keys"
        error = refusal(token(ONE, "RS256"), jwt_jwks_url=url)
    assert (error.status, error.code) == (503, "keys_unavailable")
    assert "nobody can come in" in caplog.text and "refused" in caplog.text


def test_an_answer_that_drips_is_given_up_in_time(publisher: Publisher) -> None:
    publisher.drip = True
    script = "\n".join(
        (
            "from gevent import monkey; monkey.patch_all()",
            "from collab.keyset import fetch",
            f"try: fetch({publisher.url!r}, 0.5)",
            "except OSError as error: print(error)",
        )
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stdout == "that took more than 0.5 s\n"


# ---- in a server


def test_a_server_goes_on_while_keys_are_fetched_and_asks_once_for_all(serve: Serve, publisher: Publisher) -> None:
    publisher.open.clear()
    running = serve(COLLAB_AUTH="jwt", COLLAB_JWT_JWKS_URL=publisher.url)
    shown = token(ONE, "RS256", {"kid": "one"})
    wires = [Wire(running.port) for _ in range(10)]
    try:
        for wire in wires:
            wire.send(request("/yjs/doc", headers={"Authorization": f"Bearer {shown}"}))
        publisher.wait_asked()
        assert ask(running.port, b"GET /readyz HTTP/1.0\r\nHost: h\r\n\r\n").status == 200
        assert ask(running.port, request("/yjs/doc")).status == 401
        publisher.open.set()
        for wire in wires:
            assert wire.read_answer().status == 101
    finally:
        for wire in wires:
            wire.sock.close()
    assert publisher.asked == 1
    answer = ask(running.port, request(f"/yjs/doc?token={token(TWO, 'RS256', {'kid': 'one'})}"))
    assert (answer.status, answer.error["code"]) == (401, "unauthenticated")
    running.stop()
    assert issuer.found_in(running.output) == []


def test_tokens_and_secrets_are_in_no_log_of_a_server_not_even_of_requests(serve: Serve) -> None:
    arguments = "--access-logfile - --log-level debug"
    running = serve(COLLAB_AUTH="jwt", COLLAB_JWT_SECRET=SECRET, GUNICORN_CMD_ARGS=arguments)
    good, bad = token(), token("another secret " * 4)
    with (
        connect(running.port, f"/yjs/doc?token={good}"),
        connect(running.port, "/ws/document/doc", "collab.json", f"collab.token.{good}"),
    ):
        assert ask(running.port, request("/yjs/doc", headers={"Authorization": f"Bearer {bad}"})).status == 401
        assert ask(running.port, request(f"/yjs/doc?token={bad}")).status == 401
        assert ask(running.port, request("/yjs/doc", f"collab.token.{bad}")).status == 401
        assert ask(running.port, request(f"/hocuspocus?token={bad}")).status == 101
    running.stop()
    assert '"GET /yjs/doc HTTP/1.1" 401' in running.output
    assert issuer.found_in(running.output) == []
