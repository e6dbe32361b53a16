"""Who may come in by a JSON Web Token (RFC 7519), and what it gives them (`COLLAB_AUTH=jwt`).

Invariants borne here:

* Who shows no token that can be checked, or one that is not valid now, is nobody.
* Nothing of a token is in what is raised here, and nothing is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import jwt

from collab.auth import Authenticator
from collab.config import Settings
from collab.errors import Forbidden, Unauthenticated
from collab.grants import read_grants, rights_in
from collab.identity import Credentials, Rights, User
from collab.keys import Keys, OneKey, read_key
from collab.keyset import KeySet, fetch
from collab.names import is_name

MAX_TOKEN: Final = 16 * 1024
"""Characters in a token: twice what gunicorn takes in a header."""

LAST_TIME: Final = 253402300799
"""The end of the year 9999."""

HOW_TO_SEND: Final = (
    "Say who you are, with a token: as `Authorization: Bearer <token>`, as `?token=<token>`, as the subprotocol "
    "`collab.token.<token>`, or as the token of a Hocuspocus provider"
)

_REASONS: Final[Mapping[str, str]] = {
    "ExpiredSignatureError": "The token has expired: get another one",
    "ImmatureSignatureError": "The token is not valid yet (nbf, iat)",
    "InvalidAlgorithmError": "The token is signed with another algorithm than COLLAB_JWT_ALGORITHM",
    "InvalidAudienceError": "The token is for somebody else: its aud is not COLLAB_JWT_AUDIENCE",
    "InvalidIssuerError": "The token is from somebody else: its iss is not COLLAB_JWT_ISSUER",
    "InvalidSignatureError": "The token's signature is wrong",
    "MissingRequiredClaimError": "The token lacks a claim that it needs: sub, exp, and aud and iss where they are set",
    "InvalidSubjectError": "The token's sub is not a user's id: 1 to 255 characters without control characters",
}
"""What went wrong, by the name of PyJWT's error."""


class Tokens(Authenticator):
    """Takes users and rights from signed tokens.

    Args:
        settings: the keys, and what is checked.

    Raises:
        ConfigError: the settings cannot work.
    """

    def __init__(self, settings: Settings) -> None:
        self._algorithm, key = read_key(settings)
        self._keys: Keys = OneKey(key)
        if key is None:
            url = settings.jwt_jwks_url
            self._keys = KeySet(lambda: fetch(url), self._algorithm, settings.jwt_jwks_lifetime)
        self._audience = settings.jwt_audience or None
        self._issuer = settings.jwt_issuer or None
        self._leeway = settings.jwt_leeway

    def decide(self, document_id: str, credentials: Credentials) -> User:
        """As the base class says; also `HandshakeRefused` with 503, if there are no keys now to check the token."""
        user, grants = self._grants(credentials.token)
        rights = rights_in(document_id, grants)
        if rights is None:
            raise Forbidden("The token is not for this document: no pattern in its docs fits")
        return user._replace(rights=rights)

    def steward(self, credentials: Credentials) -> User:
        """As the base class says: somebody whose token gives the right `admin` in `*`, all documents."""
        user, grants = self._grants(credentials.token)
        if grants.get("*") != Rights.ADMIN:
            raise Forbidden('The token does not give the right to steer the server: its docs have no "*": "admin"')
        return user._replace(rights=Rights.ADMIN)

    def _grants(self, token: str | None) -> tuple[User, dict[str, Rights]]:
        if not token:
            raise Unauthenticated(HOW_TO_SEND)
        claims = self._read(token)
        user = _user(claims)
        if claims.get("docs") is None:
            raise Forbidden("The token names no documents: they belong into its claim docs")
        try:
            return user, read_grants(claims["docs"])
        except ValueError as error:
            raise Unauthenticated(f"The token's docs {error}") from None

    def kept(self, credentials: Credentials) -> Credentials:
        """The token."""
        return Credentials(credentials.token and credentials.token[: MAX_TOKEN + 1], {})

    def _read(self, token: str) -> dict[str, Any]:
        """The claims of a token that is valid now."""
        if len(token) > MAX_TOKEN:
            raise Unauthenticated(f"The token has more than {MAX_TOKEN} characters")
        with _explained():
            header = jwt.get_unverified_header(token)
            if header.get("alg") != self._algorithm:
                raise jwt.InvalidAlgorithmError
        key = self._keys.find(header.get("kid"))
        with _explained():
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "sub"]},
            )
        return claims


@contextmanager
def _explained() -> Iterator[None]:
    """Say in words of our own what PyJWT does not like; its own may quote the token."""
    try:
        yield
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = _REASONS.get(type(error).__name__, "The token is malformed: it is no signed JSON Web Token")
        raise Unauthenticated(reason) from None


def _user(claims: Mapping[str, Any]) -> User:
    """Whose token it is."""
    sub, name, expires = claims["sub"], claims.get("name"), claims["exp"]
    if not isinstance(sub, str) or not is_name(sub):
        raise Unauthenticated(_REASONS["InvalidSubjectError"])
    if name is not None and not (isinstance(name, str) and (not name or is_name(name))):
        raise Unauthenticated("The token's name is not 1 to 255 characters without control characters")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or expires > LAST_TIME:
        raise Unauthenticated("The token's exp is not a time in seconds since 1970")
    return User(sub, name or sub, expires=float(expires))
