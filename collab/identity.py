"""Who somebody is and what they may do, as applications and the rest of the package say it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple


class Rights(IntEnum):
    """What a user may do in a document; each includes those before it."""

    READ = 1
    """See everything, and set their own presence."""
    WRITE = 2
    """Edit."""
    ADMIN = 3
    """Steer the server by its admin interface."""

    @property
    def word(self) -> str:
        """As tokens and clients say it: `read`, `write` or `admin`."""
        return self.name.lower()


class User(NamedTuple):
    """Somebody who may be in a document: what an authenticator returns."""

    id: str
    """1 to 255 characters without control characters. Sessions with equal ids are one user's."""
    name: str
    """As the others see it."""
    rights: Rights = Rights.WRITE
    expires: float | None = None
    """When the decision has to be made anew, in seconds since 1970; None: never."""
    anonymous: bool = False
    """The id was drawn for this connection: nobody can come back under it."""


class Credentials(NamedTuple):
    """What somebody shows who wants to come in."""

    token: str | None
    environ: Mapping[str, Any]
    """The WSGI environment of the upgrade, or what is needed of it."""
