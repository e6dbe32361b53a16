"""The settings: one frozen object, read once from `app.config` and the environment.

Every setting is one field of `Settings`; its name on the outside is `COLLAB_` and the field's name in capitals. A
value in `app.config` goes before one in the environment. What cannot work is a `ConfigError` at start-up that names
the setting; a `COLLAB_` name that nobody knows is warned of, since it is usually a typing error.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from collab.errors import ConfigError

PREFIX = "COLLAB_"
HEROKU = "DATABASE_URL"
"""Where platforms in Heroku's style say which database there is; `COLLAB_STORE` goes before it."""
MIB = 1024 * 1024
MIN_TOKEN = 16
"""Characters of `COLLAB_ADMIN_TOKEN`."""
MAKE_TOKEN = "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'`"

log = logging.getLogger(__name__)


def _setting(
    default: float | str,
    help_text: str,
    *,
    least: float = 0,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    metadata = {"help": help_text, "least": least, "choices": choices, "needed": default != "", "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; sizes in bytes, times in seconds."""

    max_message_size: int = _setting(16 * MIB, "largest WebSocket message taken, in bytes; larger closes 1009", least=1)
    max_awareness_size: int = _setting(64 * 1024, "largest awareness state of one client, in bytes", least=1)
    ping_interval: float = _setting(
        30.0, "seconds between WebSocket pings; two without any sign of life: dead", least=0.01
    )
    cleanup_interval: float = _setting(30.0, "seconds between clean-ups of idle, closed and stuck sessions", least=0.01)
    idle_timeout: float = _setting(300.0, "seconds without a message until a session is closed 4508; 0: never")
    send_queue: int = _setting(512, "messages that may wait for a slow reader before it is repaired instead", least=1)
    send_queue_bytes: int = _setting(
        MIB, "bytes that may wait for a slow reader before it is repaired instead", least=1
    )
    slow_timeout: float = _setting(
        60.0, "seconds in which a slow reader takes nothing at all until it is closed 1013", least=0.01
    )
    max_invalid: int = _setting(100, "invalid messages a session may send in a minute until it is closed 1008", least=1)
    stop_timeout: float = _setting(2.0, "seconds that a stopping server gives its clients to say goodbye", least=0.1)
    resume_grace: float = _setting(10.0, "seconds in which who lost the connection may come back unnoticed; 0: none")
    store: str = _setting(
        "sqlite:///collab.db",
        "where documents are kept: sqlite:///file, postgresql://user:password@host/name or memory:",
        secret=True,
    )
    ack: str = _setting(
        "stored", "when an update is acknowledged: stored (on disk) or applied", choices=("stored", "applied")
    )
    flush_interval: float = _setting(0.02, "seconds that an update waits at most for others to be stored with")
    max_unstored: int = _setting(
        64 * MIB, "bytes of updates kept in memory while the store is away, before updates are refused", least=1
    )
    compact_size: int = _setting(MIB, "bytes of single updates at which an open document is compacted", least=1)
    version_interval: float = _setting(
        3600.0, "seconds between the versions that are saved of a document while it is edited; 0: none"
    )
    version_keep: int = _setting(50, "versions without a name that are kept of each document", least=1)

    log_format: str = _setting("text", "how lines of the log look: text or json", choices=("text", "json"))
    traces: str = _setting(
        "", "where spans go: a collector that takes OTLP over HTTP, such as http://localhost:4318", secret=True
    )
    traces_sample: float = _setting(0.01, "share of the connections that are traced, from 0 to 1")

    auth: str = _setting(
        "dev", "who tells who somebody is: dev (they do themselves) or jwt (a token)", choices=("dev", "jwt")
    )
    jwt_secret: str = _setting("", "the secret that tokens are signed with, of 32 bytes or more", secret=True)
    jwt_public_key: str = _setting("", "the public key that tokens are checked with: PEM, or its file", secret=True)
    jwt_jwks_url: str = _setting("", "where the public keys are that tokens are checked with: a JSON Web Key Set")
    jwt_jwks_lifetime: float = _setting(300.0, "seconds after which those keys are fetched again", least=1)
    jwt_algorithm: str = _setting("", "the one algorithm of tokens; without it HS256 with a secret, RS256 with keys")
    jwt_audience: str = _setting("", "what tokens must have as their aud")
    jwt_issuer: str = _setting("", "what tokens must have as their iss")
    jwt_leeway: float = _setting(10.0, "seconds by which clocks may differ when exp and nbf are checked")
    auth_timeout: float = _setting(10.0, "seconds until a connection must have said who it is", least=0.01)
    max_unauthenticated_bytes: int = _setting(
        MIB, "bytes that a connection may send before it is decided who it is", least=1
    )
    metrics: str = _setting(
        "local",
        "who may read /metrics without a token: local (programs on this machine, without a proxy) or open (everybody)",
        choices=("local", "open"),
    )
    admin_socket: str = _setting("collab.sock", "local socket by which commands reach the running server")
    admin_token: str = _setting(
        "", "the token that the admin interface wants to see over HTTP, of 16 characters or more", secret=True
    )
    admin_url: str = _setting(
        "",
        "where commands reach a server on another machine, such as https://docs.example.org; with COLLAB_ADMIN_TOKEN",
    )
    pages: str = _setting(
        "auto",
        "whether the editor's page is at /: auto (while only this machine can reach the server), on or off",
        choices=("auto", "on", "off"),
    )
    allowed_origins: str = _setting(
        "", "origins of pages that may connect besides those of this host, by commas: https://app.example.org, or *"
    )
    trusted_proxies: str = _setting(
        "", "addresses or networks, by commas, of the proxies whose X-Forwarded-For is believed"
    )
    max_connections: int = _setting(20_000, "connections of this process", least=1)
    max_connections_per_address: int = _setting(8000, "connections from one IPv4 address or IPv6 /64", least=1)
    max_sessions_per_user: int = _setting(100, "sessions of one user, in all documents together", least=1)
    max_sessions_per_document: int = _setting(2000, "sessions in one document", least=1)
    max_rooms: int = _setting(20_000, "documents that may be open at once", least=1)
    max_document_size: int = _setting(64 * MIB, "bytes of a document, over which it only takes deletions", least=1)
    rate_messages: float = _setting(
        20_000.0, "messages a second that are read of one user, after a burst of four times as many", least=1
    )
    rate_bytes: int = _setting(
        8 * MIB, "bytes a second that are read of one user, after a burst of four times as many", least=1
    )
    rate_awareness: float = _setting(
        100.0, "awareness messages a second that are taken of one session, after a burst of four times as many", least=1
    )
    flood_timeout: float = _setting(
        30.0, "seconds for which a user may send more than is read before it is closed 1008", least=0.01
    )
    max_documents_per_socket: int = _setting(100, "documents that a Hocuspocus connection may have open", least=1)

    @property
    def origins(self) -> tuple[str, ...]:
        """`allowed_origins`, one by one, in lower case."""
        return tuple(origin.lower().rstrip("/") for origin in split(self.allowed_origins))

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """`trusted_proxies`, one by one."""
        return tuple(ipaddress.ip_network(network, strict=False) for network in split(self.trusted_proxies))

    @classmethod
    def load(cls, *sources: Mapping[str, Any]) -> Settings:
        """Read the settings from mappings with `COLLAB_…` keys; earlier sources go before later ones.

        Raises:
            ConfigError: a value is not of the setting's type or below its least value.
        """
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        values: dict[str, Any] = {}
        for source in reversed(sources):
            if HEROKU in source:
                values["store"] = source[HEROKU]
        for source in reversed(sources):
            for key in source:
                if key in known:
                    values[known[key].name] = _parse(key, source[key], type(known[key].default), known[key].metadata)
                elif key.startswith(PREFIX):
                    close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
                    hint = f"; did you mean {close[0]}?" if close else ""
                    log.warning("Setting %s is not known and has no effect%s", key, hint)
        settings = cls(**values)
        try:
            settings.proxies  # noqa: B018
        except ValueError as error:
            raise ConfigError(f"COLLAB_TRUSTED_PROXIES has something that is no address or network: {error}") from None
        _check_token(settings.admin_token)
        return settings


def _check_token(token: str) -> None:
    """Raise `ConfigError` if whoever guesses could find the token, or nobody could send it."""
    if 0 < len(token) < MIN_TOKEN:
        raise ConfigError(f"COLLAB_ADMIN_TOKEN has fewer than {MIN_TOKEN} characters: {MAKE_TOKEN} makes a good one")
    if not token.isascii() or not token.isprintable() or " " in token:
        text = "COLLAB_ADMIN_TOKEN has a space or another character that no header can carry"
        raise ConfigError(f"{text}: {MAKE_TOKEN} makes a good one")


def split(values: str) -> list[str]:
    """The values of a setting that is a list, by commas."""
    return [value.strip() for value in values.split(",") if value.strip()]


def _parse(key: str, value: Any, kind: type, limits: Mapping[str, Any]) -> float | str:
    if kind is str:
        missing = value == "" and limits["needed"]
        if not isinstance(value, str) or missing or (limits["choices"] and value not in limits["choices"]):
            said = "not what it should be" if limits["secret"] else repr(value)
            raise ConfigError(f"{key} is {said}; it is {limits['help']}")
        return value
    try:
        number: float = kind(value)
        if isinstance(value, float) and number != value:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{key} is {value!r}, which is not {noun}; it is the {limits['help']}") from None
    if not limits["least"] <= number < float("inf"):
        raise ConfigError(f"{key} is {value!r}; it is the {limits['help']}, and must be at least {limits['least']:g}")
    return number
