"""Somebody who issues tokens: keys of every kind, tokens with any claims, and a real server that publishes the keys.

What is secret is noted in `SECRETS`, so that a test can look for it where it must not be.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

from collab.config import Settings

SECRET = "gr8-s3cr3t-" + "0123456789" * 8
SECRETS = {SECRET}
PATIENCE = 10.0

KINDS = {
    "RS256": "rsa",
    "RS384": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "PS384": "rsa",
    "PS512": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}
"""A kind of key for each algorithm with a public key."""


@cache
def private_key(kind: str, number: int = 1) -> Any:
    """A private key; those of different numbers are different."""
    return {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "weak": lambda: rsa.generate_private_key(65537, 1024),
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
    }[kind]()


def private_pem(key: Any) -> str:
    """A private key as PEM."""
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    SECRETS.add(text)
    return str(text)


def public_pem(key: Any) -> str:
    """The public half of a private key as PEM."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def jwk(key: Any, algorithm: str, key_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """The public half of a private key as a JSON Web Key; a field that is None is left out."""
    numbers = json.loads(get_default_algorithms()[algorithm].to_jwk(key.public_key()))
    described = {**numbers, "kid": key_id, "use": "sig", "alg": algorithm, "key_ops": None, **fields}
    return {name: value for name, value in described.items() if value is not None}


def key_set(*keys: dict[str, Any]) -> bytes:
    """A JSON Web Key Set."""
    return json.dumps({"keys": keys}).encode()


def token(key: Any = SECRET, algorithm: str = "HS256", headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A token of alice's, who may write everywhere; a claim that is None is left out."""
    said = {"sub": "alice", "exp": time.time() + 3600, "docs": {"*": "write"}, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    made = jwt.encode(said, key, algorithm, dict(headers or {}))
    SECRETS.add(made)
    return made


def settings(**values: Any) -> Settings:
    """Settings with `COLLAB_AUTH=jwt`, which check with the secret unless they name something else."""
    sources = {"jwt_secret", "jwt_public_key", "jwt_jwks_url"}
    given = {"auth": "jwt", **({} if sources & values.keys() else {"jwt_secret": SECRET}), **values}
    return Settings.load({f"COLLAB_{name.upper()}": value for name, value in given.items()})


def found_in(text: str) -> list[str]:
    """The secrets that `text` tells."""
    return [secret for secret in SECRETS if secret in text]


class Publisher:
    """A web server on this machine that publishes a key set.

    Attributes:
        body: what it answers with.
        status: the answer's.
        headers: further ones of the answer.
        asked: how often it was.
        open: while it is not set, requests are not answered.
        drip: answer one byte at a time, without end.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 200
        self.headers: dict[str, str] = {}
        self.drip = False
        self.asked = 0
        self.open = threading.Event()
        self.open.set()
        self._over = threading.Event()
        self._more = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def wait_asked(self, times: int = 1) -> None:
        """Return when it was asked so often."""
        with self._more:
            assert self._more.wait_for(lambda: self.asked >= times, PATIENCE), f"asked {self.asked} times"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher._answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._more:
            self.asked += 1
            self._more.notify_all()
        self.open.wait(PATIENCE)
        try:
            handler.send_response(self.status)
            for name, value in self.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            while self.drip and not self._over.wait(0.05):
                handler.wfile.write(b" ")
            handler.wfile.write(self.body)
        except OSError:
            pass  # nobody waits for it any more

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more; who still waits is answered."""
        self.open.set()
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@contextmanager
def published(*keys: dict[str, Any]) -> Iterator[Publisher]:
    """A web server that publishes these keys."""
    publisher = Publisher(key_set(*keys))
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop()
