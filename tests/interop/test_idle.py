"""Real clients of all versions that do nothing for 65 s, while other tests run: nobody gives their connection up."""

from __future__ import annotations

from collections.abc import Callable


def test_idle_clients_stay_connected(idle_clients: Callable[[], str]) -> None:
    """Alone in a room, no version reaches the limit at which it drops a connection that brings nothing."""
    assert "ok idle" in idle_clients()


def test_who_idles_for_longer_than_nginx_waits_by_itself_stays(idle_behind_nginx: Callable[[], str]) -> None:
    assert "ok idle" in idle_behind_nginx()
