"""Where requests come from: pages of which origin may connect, and which address counts."""

from __future__ import annotations

from typing import Any

import pytest

from collab.config import Settings
from collab.errors import ConfigError, Forbidden
from collab.networks import network_of
from collab.web.addresses import check_host, check_origin, check_peer, client_address


def may_connect(origin: str | None, host: str = "docs.example.org", allowed: str = "") -> bool:
    environ: dict[str, Any] = {"HTTP_HOST": host} | ({} if origin is None else {"HTTP_ORIGIN": origin})
    try:
        check_origin(environ, Settings(allowed_origins=allowed).origins)
    except Forbidden as error:
        assert (error.status, error.code) == (403, "bad_origin")
        return False
    return True


@pytest.mark.parametrize(
    "origin", [None, "https://docs.example.org", "http://docs.example.org", "https://DOCS.example.org"]
)
def test_what_is_no_page_and_pages_of_the_host_itself_may(origin: str | None) -> None:
    assert may_connect(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://example.org",
        "https://docs.example.org.evil.example",
        "https://docs.example.org:8443",
        "https://docs.example.org@evil.example",
        "http://localhost",
        "null",
        "",
        "file://",
        "https://[",
    ],
)
def test_pages_of_other_sites_may_not(origin: str) -> None:
    assert not may_connect(origin)


def test_pages_that_are_listed_may() -> None:
    allowed = "https://app.example.org, https://Other.example/"
    assert may_connect("https://app.example.org", allowed=allowed)
    assert may_connect("https://other.example", allowed=allowed)
    assert not may_connect("http://app.example.org", allowed=allowed)
    assert may_connect("https://evil.example", allowed="*")
    assert may_connect("null", allowed="null")


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "app.localhost"])
@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:5173", "http://[::1]:3000"])
def test_on_ones_own_machine_ports_do_not_matter(host: str, origin: str) -> None:
    assert may_connect(origin, host)
    assert not may_connect("http://localhost.evil.example:5173", host)


@pytest.mark.parametrize(
    ("host", "allowed", "answered"),
    [
        ("127.0.0.1:8080", "", True),
        ("[::1]:8080", "", True),
        ("LOCALHOST", "", True),
        ("", "", True),
        ("evil.example:8080", "", False),
        ("localhost.evil.example", "", False),
        ("192.0.2.1:8080", "", False),
        ("[", "", False),
        ("app.example.org:8080", "https://app.example.org", True),
        ("evil.example", "https://app.example.org, null", False),
        ("evil.example", "*", True),
    ],
)
def test_a_name_that_resolves_to_this_machine_is_not_its_own(host: str, allowed: str, answered: bool) -> None:
    origins = Settings(allowed_origins=allowed).origins
    if answered:
        check_host({"HTTP_HOST": host}, origins)
    else:
        with pytest.raises(Forbidden, match="COLLAB_ALLOWED_ORIGINS"):
            check_host({"HTTP_HOST": host}, origins)


@pytest.mark.parametrize(
    ("peer", "proxies", "near"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("::ffff:127.0.0.1", "", True),
        ("", "", True),
        ("10.0.0.7", "10.0.0.0/8", True),
        ("10.0.0.7", "", False),
        ("192.0.2.1", "10.0.0.0/8", False),
        ("2001:db8::1", "", False),
    ],
)
def test_who_is_not_on_this_machine_is_known_by_where_they_connect_from(peer: str, proxies: str, near: bool) -> None:
    networks = Settings(trusted_proxies=proxies).proxies
    if near:
        check_peer({"REMOTE_ADDR": peer}, networks)
    else:
        with pytest.raises(Forbidden, match="COLLAB_AUTH"):
            check_peer({"REMOTE_ADDR": peer}, networks)


def address(remote: str, forwarded: str | None = None, proxies: str = "") -> str:
    environ = {"REMOTE_ADDR": remote} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})
    return client_address(environ, Settings(trusted_proxies=proxies).proxies)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert address("203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert address("203.0.113.9", "198.51.100.1", "10.0.0.0/8") == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("1.2.3.4, 198.51.100.1, 10.1.1.1", "198.51.100.1"),
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("198.51.100.1, unknown", "10.0.0.7"),
        ("198.51.100.1, \x9b2J, 10.1.1.1", "10.1.1.1"),
        ("fe80::1%\x9b2J", "10.0.0.7"),
        ("", "10.0.0.7"),
        (" , ", "10.0.0.7"),
    ],
)
def test_it_is_the_last_one_that_is_no_trusted_proxys(forwarded: str, expected: str) -> None:
    assert address("10.0.0.7", forwarded, "10.0.0.0/8, ::1") == expected


def test_an_ipv4_address_on_a_socket_for_both_kinds_is_itself() -> None:
    assert address("::ffff:10.0.0.7", "::ffff:10.1.1.1, 198.51.100.1", "10.0.0.0/8") == "198.51.100.1"
    assert address("::ffff:10.0.0.7", "198.51.100.1", "::ffff:10.0.0.0/104") == "198.51.100.1"
    assert address("::ffff:203.0.113.9", "198.51.100.1", "10.0.0.0/8") == "::ffff:203.0.113.9"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_limits_count_an_ipv6_address_as_its_network_and_an_ipv4_address_as_itself(address: str, network: str) -> None:
    assert network_of(address) == network


def test_behind_a_unix_socket_the_proxy_is_believed_if_any_is() -> None:
    assert address("", "198.51.100.1", "127.0.0.1") == "198.51.100.1"
    assert address("", "198.51.100.1") == ""


def test_a_proxy_that_is_no_address_is_told_at_start_up() -> None:
    with pytest.raises(ConfigError, match="COLLAB_TRUSTED_PROXIES"):
        Settings.load({"COLLAB_TRUSTED_PROXIES": "nginx"})
