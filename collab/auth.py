"""Who may come in: the decision, made at the handshake or in band, and again whenever somebody asks for it.

Bound here: whoever is not let in is told so by `Unauthenticated` or `Forbidden`, and nothing of a token is in either.
"""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from typing import Final
from urllib.parse import parse_qs

from collab.config import Settings
from collab.errors import ConfigError, HandshakeRefused, Unauthenticated
from collab.identity import Credentials, User
from collab.names import is_name
from collab.platforms import setting

MAX_FIELDS: Final = 64

TOKENS: Final = 'COLLAB_AUTH=jwt COLLAB_JWT_SECRET="$(openssl rand -base64 48)"'
"""What to set where everybody is believed and nobody should be."""

_PROXY_OPEN_TO_ALL: Final = (
    "Whoever a proxy brings, such as %s, can come in as anybody they like, since COLLAB_AUTH is dev. Before others can "
    "reach it, set COLLAB_AUTH=jwt and what tokens are checked with (COLLAB_JWT_SECRET, COLLAB_JWT_PUBLIC_KEY or "
    "COLLAB_JWT_JWKS_URL), or give your application an authenticator."
)


class Authenticator(ABC):
    """Decides who somebody is, and what they may do in a document."""

    needs_token = True
    """Whether nobody is let in before having shown a token."""
    believes = False
    """Whether it takes people's own word for who they are."""

    @abstractmethod
    def decide(self, document_id: str, credentials: Credentials) -> User:
        """Who this is. May switch greenlets.

        Raises:
            Unauthenticated: that cannot be told.
            Forbidden: they may not be in this document.
            HandshakeRefused: 400, a name is not 1 to 255 characters without control characters.
        """

    def decide_again(self, document_id: str, credentials: Credentials, user: User) -> User:
        """As `decide`, for somebody who is in the document as `user`."""
        return self.decide(document_id, credentials)

    def steward(self, credentials: Credentials) -> User:
        """Who this is, who may steer the server by its admin interface. May switch greenlets.

        Raises:
            Unauthenticated: nobody that this one knows: nobody at all, unless it says otherwise.
            Forbidden: somebody who may not.
            HandshakeRefused: 503, that cannot be told now.
        """
        raise Unauthenticated("No other token steers this server")

    def kept(self, credentials: Credentials) -> Credentials:
        """What has to be kept of `credentials` for that."""
        return credentials


class Trusting(Authenticator):
    """Takes `user_id` and `user_name` from the query as they are (`COLLAB_AUTH=dev`)."""

    needs_token = False
    believes = True

    def decide(self, document_id: str, credentials: Credentials) -> User:
        """As the base class says; everybody may write."""
        try:
            query = parse_qs(credentials.environ.get("QUERY_STRING", ""), max_num_fields=MAX_FIELDS)
        except ValueError:
            text = f"The query has more than {MAX_FIELDS} fields"
            raise HandshakeRefused(400, "bad_user", text) from None
        user_id = query.get("user_id", [""])[0]
        name = query.get("user_name", [""])[0] or user_id or "Anonymous"
        return checked(User(user_id or f"anonymous-{secrets.token_hex(8)}", name, anonymous=not user_id))

    def decide_again(self, document_id: str, credentials: Credentials, user: User) -> User:
        """They are who they said, and may still write."""
        return user

    def kept(self, credentials: Credentials) -> Credentials:
        """Nothing."""
        return NOTHING


NOTHING: Final = Credentials(None, {})


def check(settings: Settings) -> None:
    """Make sure that the settings say who decides; loads nothing that gevent has yet to patch.

    Raises:
        ConfigError: they do not, or one of them cannot work.
    """
    if settings.auth == "jwt":
        from collab.keys import read_key

        read_key(settings)
        return
    for name in ("jwt_secret", "jwt_public_key", "jwt_jwks_url"):
        if getattr(settings, name):
            text = f"COLLAB_{name.upper()} is set, but COLLAB_AUTH is dev, which looks at no token: set it to jwt"
            raise ConfigError(text)


def open_by_proxy(proxy: str) -> str:
    """What to warn of where everybody is believed whom `proxy` brings."""
    return _PROXY_OPEN_TO_ALL % proxy + setting(os.environ, TOKENS)


def by_settings(settings: Settings) -> Authenticator:
    """The one that the settings name.

    Raises:
        ConfigError: they cannot work.
    """
    check(settings)
    if settings.auth == "dev":
        return Trusting()
    from collab.tokens import Tokens

    return Tokens(settings)


def checked(user: User) -> User:
    """`user`, if its id and name are fit to be shown.

    Raises:
        HandshakeRefused: 400, one of them is not 1 to 255 characters without control characters.
    """
    if not (is_name(user.id) and is_name(user.name)):
        text = "user_id and user_name are 1 to 255 characters without control characters"
        raise HandshakeRefused(400, "bad_user", text)
    return user
