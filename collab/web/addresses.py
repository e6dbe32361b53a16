"""Where a request comes from: which page, and which machine.

Invariants borne here:

* What a client says of itself is believed only where that does not matter, or where a trusted proxy said it.
* A page of another site cannot use what a browser shows by itself (cookies, a place in the network) to connect, nor
  become one of this site by a name that resolves to here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from collab.errors import Forbidden
from collab.networks import read_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOCAL_NAME: Final = "localhost"

_PASSED_ON: Final = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
"""What proxies add."""


def check_origin(environ: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Make sure that a page may connect: one of this host, or of an origin in `allowed` (`*`: all).

    Pages of the machine's own loopback may, whatever their port, where that is what they connect to. What is no page
    sends no `Origin`, and is not meant.

    Raises:
        Forbidden: it may not.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or "*" in allowed or origin.lower().rstrip("/") in allowed:
        return
    host = environ.get("HTTP_HOST", "").lower()
    try:
        page = urlsplit(origin)
        same = bool(page.netloc) and page.netloc.lower() == host
        both_local = is_local(page.hostname or "") and is_local(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        same = both_local = False
    if not (same or both_local):
        raise Forbidden("Pages of that origin may not connect: see COLLAB_ALLOWED_ORIGINS", "bad_origin")


def check_peer(environ: Mapping[str, Any], proxies: Sequence[Network]) -> None:
    """Make sure that what connects is on this machine, or one of `proxies`.

    For servers where being on this machine is what lets people in, whatever serves them and wherever that listens.

    Raises:
        Forbidden: it is neither.
    """
    peer = str(environ.get("REMOTE_ADDR") or "")  # none behind a Unix socket, which is on this machine
    if peer and not is_local(peer) and not _is_one_of(peer, proxies):
        text = (
            "This server believes what people say of themselves (COLLAB_AUTH=dev), which is for its own machine alone, "
            "and you are on another one: set COLLAB_AUTH=jwt there, or give the application an authenticator"
        )
        raise Forbidden(text)


def check_host(environ: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Make sure that a request is for one of this machine's own names, or for the host of an origin in `allowed`.

    For servers where being on this machine is what lets people in: the owner of a name can have it resolve to here, and
    to the browser his page is then of the same origin as the server. What names no host is no browser.

    Raises:
        Forbidden: it is for another name.
    """
    host = environ.get("HTTP_HOST", "").lower()
    if not host or "*" in allowed:
        return
    try:
        name = urlsplit(f"//{host}").hostname or ""
        known = is_local(name) or name in {urlsplit(origin).hostname for origin in allowed}
    except ValueError:
        known = False
    if not known:
        text = (
            "This server believes what people say of themselves (COLLAB_AUTH=dev), and so answers to this machine's "
            "own names alone: list the page's origin in COLLAB_ALLOWED_ORIGINS, or its proxy in COLLAB_TRUSTED_PROXIES"
        )
        raise Forbidden(text, "bad_origin")


def is_local(host: str) -> bool:
    """Whether `host` is a name or address of the machine itself."""
    if host == _LOCAL_NAME or host.endswith(f".{_LOCAL_NAME}"):
        return True
    try:
        return read_address(host).is_loopback
    except ValueError:
        return False


def is_near(environ: Mapping[str, Any]) -> bool:
    """Whether a program on this machine asks, and no proxy for somebody else.

    The name that it asks for must be the machine's own as well: a page can have another one resolve to here.
    """
    if any(header in environ for header in _PASSED_ON):
        return False
    try:
        asked = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or ""
    except ValueError:
        return False
    return is_local(str(environ.get("REMOTE_ADDR") or "")) and is_local(asked)


def client_address(environ: Mapping[str, Any], proxies: Sequence[Network]) -> str:
    """The client's address: the last one on the way here that is no trusted proxy's, or has no address before it."""
    address = str(environ.get("REMOTE_ADDR") or "")
    hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    while hops and _is_one_of(address, proxies):
        hop = _without_port(hops.pop())
        if not _is_address(hop):
            break
        address = hop
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # behind which there may be anything


def _is_one_of(address: str, networks: Sequence[Network]) -> bool:
    if not address:  # a Unix socket: whoever is at its other end is a proxy
        return bool(networks)
    try:
        found = {ipaddress.ip_address(address), read_address(address)}
    except ValueError:
        return False
    return any(form in network for form in found for network in networks)


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
