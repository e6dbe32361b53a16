"""Who may steer the server over HTTP: by a token, or as a page that has signed in.

Invariants borne here:

* Nobody is believed because of where they are: a proxy on this machine makes everybody look near.
* Tokens and tickets are compared in constant time; a ticket works once, and for `TICKET_TIME` seconds.
* Who fails again and again from one network is not listened to for a while, whatever token or ticket they show then.
  A cookie, which nobody guesses, is looked at all the same: strangers cannot keep out who has signed in before.
* Nobody can steer for longer by a ticket or a cookie than by what they had it for, nor, as long as the server is not
  started anew, after signing out: neither by a copy of the cookie nor by what was had for it.
* A cookie steers nothing by itself: what changes anything must come from a page of this host (`Origin`).
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from flask import Request, Response
from itsdangerous import BadSignature, URLSafeSerializer

from collab.clock import now, unix, utc
from collab.errors import Forbidden, HandshakeRefused, Unauthenticated
from collab.hub import Hub
from collab.identity import Credentials
from collab.limits import Bucket
from collab.networks import network_of
from collab.web.addresses import client_address
from collab.web.handshake import read_token

COOKIE: Final = "collab_admin"
COOKIE_TIME: Final = 12 * 3600.0
"""Seconds for which a page is signed in."""

TICKET_TIME: Final = 300.0
MAX_TICKETS: Final = 100
"""Links that may be unused at once; over that the earliest no longer work."""

FAILURES: Final = 2.5
"""Wrong tokens a second looked at from one network (`collab.networks`), after a burst of four times as many."""
MAX_NETWORKS: Final = 10_000

MAX_SIGNED_OUT: Final = 10_000
"""Pages that have signed out before their time was over; over that, those whose time ends first are forgotten."""

_SAFE: Final = ("GET", "HEAD", "OPTIONS")

HOW: Final = (
    "Show the server's COLLAB_ADMIN_TOKEN as `Authorization: Bearer <token>`, or open the link that `collab dashboard` "
    "prints on the server's machine"
)


class Pass(NamedTuple):
    """What somebody may steer by."""

    ends: float | None
    """When that does, in seconds since 1970, if it does."""
    page: str | None
    """The page that has signed in, as its cookie names it; None: a token."""


class _Ticket(NamedTuple):
    usable: float
    """Until when, by this process's clock."""
    shown: Pass
    """What it was had for."""


class SignIn:
    """Lets people steer one server over HTTP.

    Args:
        hub: what is steered; its settings have the token, its authenticator knows others that may.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._token = hub.settings.admin_token
        # With a token, so that pages stay signed in when the server is started anew; who changes it signs them all out.
        self._signer = URLSafeSerializer(self._token or secrets.token_urlsafe(32), salt="collab admin page")
        self._tickets: dict[str, _Ticket] = {}
        self._failures: dict[str, Bucket] = {}
        self._signed_out: dict[str, float] = {}  # pages, and when their cookies end

    # ---- every request

    def check(self, request: Request) -> Pass:
        """Make sure that whoever asks may, and by what. May switch greenlets.

        Raises:
            HandshakeRefused: 401, nobody knows who that is; 403, they may not; 429, they have failed too often.
        """
        token = read_token(request.environ, (), {})
        if token is not None:
            self._listen(request)
            return Pass(self._check_token(request, token), None)
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            raise Unauthenticated(HOW)
        until, page = self._read(cookie)
        if unix() >= until:
            raise Unauthenticated(f"You were signed in until {utc(until)}: sign in again. {HOW}")
        if page in self._signed_out:
            raise Unauthenticated(f"You have signed out: sign in again. {HOW}")
        if request.method not in _SAFE:
            self._check_page(request, needed=True)
        return Pass(until, page)

    def _check_token(self, request: Request, token: str) -> float | None:
        """Raise unless `token` lets its bearer in; until when it does, in seconds since 1970, if it ends."""
        if self._token and hmac.compare_digest(token.encode(errors="replace"), self._token.encode()):
            return None
        try:
            return self._hub.auth.steward(Credentials(token, request.environ)).expires
        except Unauthenticated as error:
            ours = "not COLLAB_ADMIN_TOKEN" if self._token else "not known: the server has no COLLAB_ADMIN_TOKEN"
            raise self._failed(request, f"The token is {ours}. {error.message}") from None

    def _read(self, cookie: str) -> tuple[float, str]:
        """Until when a cookie is good, and of which page it is."""
        try:
            until, page = self._signer.loads(cookie)
            return float(until), str(page)
        except (BadSignature, TypeError, ValueError):
            # No failure of somebody who guesses: it may be of a server that was here before, or of another port.
            raise Unauthenticated(f"The cookie is not of this server: sign in again. {HOW}") from None

    # ---- pages

    def enter(self, request: Request, body: dict[str, Any], response: Response) -> str:
        """Sign a page in by a `token` or a `ticket`: give `response` the cookie; until when it is good.

        Raises:
            HandshakeRefused: 401, 403 or 429.
        """
        self._check_page(request, needed=False)
        self._listen(request)
        if "ticket" in body:
            ends, page = self._use(request, body["ticket"])
        else:
            ends, page = self._check_token(request, body["token"]), None
        until = unix() + COOKIE_TIME if ends is None else min(unix() + COOKIE_TIME, ends)
        # Whoever signs out ends what was had for their cookie as well.
        cookie = self._signer.dumps([int(until), page or secrets.token_urlsafe(12)])
        self._set_cookie(request, response, str(cookie), int(until - unix()))
        return utc(until)

    def leave(self, request: Request, response: Response) -> None:
        """Sign a page out."""
        self._check_page(request, needed=False)
        self._set_cookie(request, response, "", 0)
        try:
            until, page = self._read(request.cookies.get(COOKIE, ""))
        except Unauthenticated:
            return  # there is nothing to end here: the cookie is of a server that was here before, or gone
        at = unix()
        self._signed_out = {one: ends for one, ends in {**self._signed_out, page: until}.items() if ends > at}
        if len(self._signed_out) > MAX_SIGNED_OUT:
            del self._signed_out[min(self._signed_out, key=self._signed_out.__getitem__)]

    def _set_cookie(self, request: Request, response: Response, value: str, seconds: int) -> None:
        # Whoever lies about the scheme only keeps the cookie from themselves.
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        path = f"{request.root_path}/admin"
        response.set_cookie(COOKIE, value, max_age=seconds, path=path, secure=secure, httponly=True, samesite="Strict")

    def _check_page(self, request: Request, *, needed: bool) -> None:
        """Make sure that a page that asks is one of this host's own."""
        origin = request.headers.get("Origin")
        try:
            same = urlsplit(origin or "").netloc.lower() == request.host.lower()
        except ValueError:
            same = False
        if not same and (needed or origin is not None):
            raise Forbidden("Only the server's own pages may do this: there is no Origin, or another one", "bad_origin")

    # ---- tickets

    def ticket(self, shown: Pass) -> str:
        """A word that signs a page in once, and not for longer than what it is had for."""
        at = now()
        self._tickets = {word: ticket for word, ticket in self._tickets.items() if ticket.usable > at}
        while len(self._tickets) >= MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        word = secrets.token_urlsafe(24)
        self._tickets[word] = _Ticket(at + TICKET_TIME, shown)
        return word

    def _use(self, request: Request, shown: str) -> Pass:
        at = now()
        for word, ticket in list(self._tickets.items()):
            if hmac.compare_digest(word.encode(), shown.encode()):
                del self._tickets[word]
                ends, page = ticket.shown
                if ticket.usable > at and (ends is None or ends > unix()) and page not in self._signed_out:
                    return ticket.shown
        text = "The link has been used, or is too old: `collab dashboard` on the server's machine prints another one"
        raise self._failed(request, text)

    # ---- who guesses

    def _bucket(self, request: Request) -> tuple[str, Bucket | None]:
        network = network_of(client_address(request.environ, self._hub.settings.proxies))
        return network, self._failures.get(network)

    def _listen(self, request: Request) -> None:
        _, bucket = self._bucket(request)
        wait = bucket.spend(0, now()) if bucket is not None else 0.0
        if wait:
            text = "Too many wrong tokens have come from your address or network: come back in a moment"
            raise HandshakeRefused(429, "too_many_failures", text, {"Retry-After": str(int(wait) + 1)})

    def _failed(self, request: Request, text: str) -> Unauthenticated:
        """Somebody has shown something wrong: note it, and what to raise."""
        network, bucket = self._bucket(request)
        if bucket is None:
            while len(self._failures) >= MAX_NETWORKS:
                del self._failures[next(iter(self._failures))]
            bucket = self._failures[network] = Bucket(FAILURES)
        bucket.spend(1, now())
        return Unauthenticated(text)
