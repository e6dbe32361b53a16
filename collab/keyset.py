"""Public keys that somebody publishes as a JSON Web Key Set (RFC 7517), fetched when they are needed.

Invariants borne here:

* There is one fetch at a time, which all share who need it, and one in `RETRY` seconds: nobody can make this server
  hammer another one by naming keys that there are not.
* A fetch that fails changes nothing: the keys that there were go on, and who names one of them waits for no other.
* What is fetched has a bound in size and time, and no redirect is followed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from gevent import Timeout, spawn_raw
from gevent.event import Event

from collab.clock import now
from collab.errors import HandshakeRefused, Unauthenticated
from collab.keys import Keys, flaw
from collab.logs import logger

RETRY: Final = 5.0
"""Seconds between the beginnings of two fetches."""
FETCH_TIMEOUT: Final = 5.0
MAX_BYTES: Final = 256 * 1024

log = logger(__name__)


class KeySet(Keys):
    """Keys that are fetched, and kept for a while.

    Args:
        fetch: the set as it comes; may switch greenlets.
        algorithm: what the keys are for; others in the set are passed over.
        lifetime: seconds until they are fetched again.
        clock: seconds.
    """

    def __init__(
        self, fetch: Callable[[], bytes], algorithm: str, lifetime: float, clock: Callable[[], float] = now
    ) -> None:
        self._fetch = fetch
        self._algorithm = algorithm
        self._lifetime = lifetime
        self._clock = clock
        self._keys: dict[str | None, Any] = {}
        self._due = self._retry_at = float("-inf")
        self._fetching: Event | None = None
        self._failing = False

    def find(self, key_id: str | None) -> Any:
        """As the base class says. A key that is not known is looked for in a set that is fetched anew."""
        at = self._clock()
        stale = at >= self._due
        if self._fetching is None and at >= self._retry_at and (stale or not self._has(key_id)):
            self._fetching = Event()
            self._retry_at = at + RETRY
            spawn_raw(self._refresh, self._fetching)
        if self._fetching is not None and ((stale and not self._failing) or not self._has(key_id)):
            self._fetching.wait()
        if self._has(key_id):
            return self._keys[key_id] if key_id is not None else next(iter(self._keys.values()))
        if self._failing:
            text = "The keys that tokens are checked with cannot be fetched now: come back in a moment"
            raise HandshakeRefused(503, "keys_unavailable", text, {"Retry-After": f"{RETRY:.0f}"})
        if key_id is None:
            raise Unauthenticated("The token does not say which key it was signed with (kid), and there are several")
        raise Unauthenticated("The token was signed with a key that is not known (kid)")

    def _has(self, key_id: str | None) -> bool:
        """Whether a token of this key can be checked. One that names none can if there is one key alone."""
        return key_id in self._keys if key_id is not None else len(self._keys) == 1

    def _refresh(self, done: Event) -> None:
        try:
            keys = read_key_set(self._fetch(), self._algorithm)
        except Exception as error:  # whatever it is: those who wait have to be told, and others let in
            if not self._failing:
                state = "those that were go on" if self._keys else "nobody can come in"
                log.warning("The keys of COLLAB_JWT_JWKS_URL cannot be fetched, %s: %s", state, error)
            self._failing = True
        else:
            if self._failing:
                log.info("The keys of COLLAB_JWT_JWKS_URL can be fetched again")
            self._keys, self._failing = keys, False
            self._due = self._clock() + self._lifetime
        finally:
            self._fetching = None
            done.set()


# ---- what is fetched


def read_key_set(data: bytes, algorithm: str) -> dict[str | None, Any]:
    """The keys of a set that are for checking signatures of `algorithm`, by their ids.

    Raises:
        ValueError: it is no set, or has no such key.
    """
    value = json.loads(data)
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no JSON Web Key Set")
    keys: dict[str | None, Any] = {}
    for jwk in listed:
        if isinstance(jwk, dict) and _is_meant(jwk, algorithm) and (key := _read_key(jwk, algorithm)) is not None:
            keys.setdefault(jwk.get("kid"), key)
    if not keys:
        raise ValueError(f"it has no key for {algorithm} (COLLAB_JWT_ALGORITHM)")
    return keys


def _is_meant(jwk: dict[str, Any], algorithm: str) -> bool:
    operations = jwk.get("key_ops")
    return (
        jwk.get("use") in (None, "sig")
        and jwk.get("alg") in (None, algorithm)
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and isinstance(jwk.get("kid"), str | None)
    )


def _read_key(jwk: dict[str, Any], algorithm: str) -> Any:
    """The key, if it is a public one that is fit for the algorithm: a private one that all can read proves nothing."""
    from jwt import PyJWK, PyJWTError

    try:
        key = PyJWK(jwk, algorithm).key
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return None if flaw(key, algorithm) else key


# ---- fetching


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """There is none."""


def fetch(url: str, timeout: float = FETCH_TIMEOUT) -> bytes:
    """What is at `url`, within `timeout` seconds where gevent has patched the standard library.

    Raises:
        OSError: it cannot be fetched.
        ValueError: it is larger than `MAX_BYTES`.
    """
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "collab"})
    with Timeout(timeout, OSError(f"that took more than {timeout:g} s")):
        try:
            answer: IO[bytes] = build_opener(_NoRedirects).open(request, timeout=timeout)
        except HTTPError as error:
            error.close()
            raise OSError(f"the answer is HTTP {error.code}") from None
        with answer:
            data = answer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return data
