"""The keys that tokens are checked with: a secret, a public key, or a set of public keys that is fetched.

Invariants borne here:

* There is one algorithm, of the settings, and keys that are fit for it: nothing that a token claims chooses either.
* What cannot work is a `ConfigError` at start-up, which repeats no key and no secret.

gunicorn's master reads this too, before gevent has patched anything: what would load `ssl` is elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from collab.config import Settings
from collab.errors import ConfigError

SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Algorithms with a secret, and how long it is at least (RFC 7518 §3.2)."""

CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
"""Algorithms on elliptic curves, and their curves."""

RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
PUBLIC: Final = (*RSA, *CURVES, "EdDSA")
"""Algorithms with a public key."""

RSA_BITS: Final = 2048

MAKE_SECRET: Final = "python3 -c 'import secrets; print(secrets.token_urlsafe(64))'"


class Keys(ABC):
    """Finds the key that a token is checked with."""

    @abstractmethod
    def find(self, key_id: str | None) -> Any:
        """The key of this id, as PyJWT takes it. May switch greenlets.

        Raises:
            HandshakeRefused: there is none, 401, or that cannot be told now, 503.
        """


class OneKey(Keys):
    """The same key for all tokens, whatever key they say they are of."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def find(self, key_id: str | None) -> Any:
        """As the base class says."""
        return self._key


def read_key(settings: Settings) -> tuple[str, Any]:
    """The algorithm of tokens, and the key that they are checked with; None where keys are fetched.

    Raises:
        ConfigError: the settings do not say which, or one of them cannot work.
    """
    sources = {
        "COLLAB_JWT_SECRET": settings.jwt_secret,
        "COLLAB_JWT_PUBLIC_KEY": settings.jwt_public_key,
        "COLLAB_JWT_JWKS_URL": settings.jwt_jwks_url,
    }
    given = [name for name, value in sources.items() if value]
    if not given:
        raise ConfigError(f"COLLAB_AUTH is jwt, but nothing to check tokens with is set: set {' or '.join(sources)}")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are set, but tokens are checked with one of them: unset the others")
    algorithm = settings.jwt_algorithm or ("HS256" if settings.jwt_secret else "RS256")
    fit = tuple(SECRET_BYTES) if settings.jwt_secret else PUBLIC
    if algorithm not in fit:
        raise ConfigError(f"COLLAB_JWT_ALGORITHM is {algorithm!r}; with {given[0]} it is one of {', '.join(fit)}")
    if settings.jwt_secret:
        return algorithm, read_secret(settings.jwt_secret, algorithm)
    if settings.jwt_public_key:
        return algorithm, _read_public_key(settings.jwt_public_key, algorithm)
    _check_url(settings.jwt_jwks_url)
    return algorithm, None


def read_secret(secret: str, algorithm: str) -> bytes:
    """The secret of an algorithm.

    Raises:
        ConfigError: it is too short, or no secret.
    """
    data, least = secret.encode("utf-8", "surrogateescape"), SECRET_BYTES[algorithm]
    if len(data) < least:
        text = f"COLLAB_JWT_SECRET has {len(data)} bytes; {algorithm} needs {least} that nobody can guess"
        raise ConfigError(f"{text}: {MAKE_SECRET}")
    if data.lstrip().startswith((b"-----BEGIN", b"ssh-", b"ecdsa-")):
        raise ConfigError("COLLAB_JWT_SECRET is a key, no secret: a public key is COLLAB_JWT_PUBLIC_KEY")
    return data


def _read_public_key(value: str, algorithm: str) -> Any:
    text = value.replace("\\n", "\n") if value.lstrip().startswith("-----") else _read_file(value)
    if "PRIVATE KEY" in text:
        raise ConfigError("COLLAB_JWT_PUBLIC_KEY is a private key: give the public one, and keep this one elsewhere")
    try:
        key = load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("COLLAB_JWT_PUBLIC_KEY is not a public key in PEM (BEGIN PUBLIC KEY), or its file") from None
    wrong = flaw(key, algorithm)
    if wrong:
        raise ConfigError(f"COLLAB_JWT_PUBLIC_KEY {wrong} (COLLAB_JWT_ALGORITHM)")
    return key


def _read_file(name: str) -> str:
    try:
        return Path(name).read_text("ascii")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"COLLAB_JWT_PUBLIC_KEY is neither PEM nor a file that can be read: {why}") from None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise ConfigError("COLLAB_JWT_JWKS_URL is no URL that begins with https:// (or http://), a host and no user")


def flaw(key: object, algorithm: str) -> str | None:
    """Why a public key is not fit for an algorithm, as the end of a sentence about it; None if it is."""
    if algorithm in RSA:
        if not isinstance(key, RSAPublicKey):
            return f"is no RSA key, which {algorithm} needs"
        if key.key_size < RSA_BITS:
            return f"has {key.key_size} bits; {algorithm} needs {RSA_BITS} or more"
    elif algorithm in CURVES:
        curve = CURVES[algorithm]
        if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != curve:
            return f"is no key on the curve {curve}, which {algorithm} needs"
    elif algorithm != "EdDSA" or not isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return f"is no key for {algorithm}"
    return None
