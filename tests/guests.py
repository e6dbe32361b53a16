"""A list of guests: an authenticator that tests write, and may change while somebody is in."""

from __future__ import annotations

from collab.auth import Authenticator
from collab.errors import Forbidden, Unauthenticated
from collab.identity import Credentials, Rights, User


class Guests(Authenticator):
    """Knows people by their tokens; `rights` says what they may do, nothing if they are not in it."""

    def __init__(self, **rights: Rights) -> None:
        self.rights = rights
        self.expires: dict[str, float] = {}

    def decide(self, document_id: str, credentials: Credentials) -> User:
        token = credentials.token
        if token is None:
            raise Unauthenticated("No token")
        name, _, _ = token.partition("/")
        if name not in self.rights:
            raise Forbidden("You are not on the list")
        return User(name, name.title(), self.rights[name], self.expires.get(token))
