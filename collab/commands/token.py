"""`collab token`: tokens to develop and test with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from collab.clock import stamp
from collab.commands.console import emit, json_option
from collab.commands.live import Duration
from collab.commands.outcome import Misused, Unusable
from collab.commands.settings import load_settings
from collab.config import Settings
from collab.errors import ConfigError
from collab.grants import MAX_PATTERN, WORDS
from collab.names import is_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

EVERYTHING: Final = "*=write"
LONGEST: Final = 3650 * 86400.0
"""Seconds for which a token may be valid."""


class Grant(click.ParamType[tuple[str, str]]):
    """A pattern and a right, such as team/*=write."""

    name = "pattern=right"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read one; the right is behind the last sign of equality."""
        if isinstance(value, tuple):
            return value
        pattern, _, right = str(value).rpartition("=")
        if not pattern or len(pattern) > MAX_PATTERN or right not in WORDS:
            self.fail(f"{value!r} is no pattern and right, such as team/*=write ({', '.join(WORDS)}).", param, ctx)
        return pattern, right


@click.command()
@click.option("--user", metavar="ID", required=True, help="Whose token it is.")
@click.option("--name", metavar="NAME", help="How the others see them; ID if it is left out.")
@click.option(
    "--doc",
    "docs",
    metavar="PATTERN=RIGHT",
    type=Grant(),
    multiple=True,
    default=[EVERYTHING],
    show_default=True,
    help="A right, read, write or admin, in documents; * is any characters. May be said several times.",
)
@click.option("--expires", type=Duration(), default="1h", show_default=True, help="How long it is valid: 30s, 10m, 2h.")
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the private key to sign with, in PEM, instead of COLLAB_JWT_SECRET.",
)
@json_option
def token(
    user: str, name: str | None, docs: tuple[tuple[str, str], ...], expires: float, key: Path | None, as_json: bool
) -> None:
    """Make a token for a server with COLLAB_AUTH=jwt, signed with COLLAB_JWT_SECRET, to develop and test with."""
    import jwt

    if not (is_name(user) and is_name(name or user)):
        raise Misused("usage", "A user's id and name are 1 to 255 characters without control characters.")
    if expires > LONGEST:
        raise Misused("usage", "A token is valid for 3650 days at most.")
    settings = load_settings()
    algorithm, secret = _signer(settings, key)
    at = time.time()
    claims = {
        "sub": user,
        "name": name or user,
        "docs": dict(docs),
        "iat": int(at),
        "exp": int(at + expires),
        **({"aud": settings.jwt_audience} if settings.jwt_audience else {}),
        **({"iss": settings.jwt_issuer} if settings.jwt_issuer else {}),
    }
    signed = jwt.encode(claims, secret, algorithm)
    told = {
        "token": signed,
        "user": user,
        "name": claims["name"],
        "docs": claims["docs"],
        "expires": stamp(at + expires),
    }
    emit(as_json, told, [signed])


def _signer(settings: Settings, file: Path | None) -> tuple[str, Any]:
    """The algorithm, and what to sign with."""
    from collab.keys import MAKE_SECRET, SECRET_BYTES, flaw, read_secret

    if file is None:
        if not settings.jwt_secret:
            text = f"COLLAB_JWT_SECRET is not set: give it the server's ({MAKE_SECRET} makes one), or say --key."
            raise ConfigError(text)
        algorithm = settings.jwt_algorithm or "HS256"
        if algorithm not in SECRET_BYTES:
            raise ConfigError(f"COLLAB_JWT_ALGORITHM is {algorithm!r}, which signs with a private key: say --key.")
        return algorithm, read_secret(settings.jwt_secret, algorithm)
    private = _read_private_key(file)
    algorithm = settings.jwt_algorithm or _usual(private)
    wrong = flaw(private.public_key(), algorithm)
    if wrong:
        raise Unusable("file", f"The key in {file} {wrong}.")
    return algorithm, private


def _read_private_key(file: Path) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise Unusable("file", f"{file} cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unusable("file", f"{file} is no private key in PEM without a password.") from None


def _usual(private: PrivateKeyTypes) -> str:
    """The algorithm that is usual for a key."""
    from collab.keys import PUBLIC, flaw

    return next((name for name in PUBLIC if not flaw(private.public_key(), name)), "RS256")
