"""How busy rooms are: looked at when somebody asks, once a second at most, and ordered by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collab.stats import Page, open_rooms
from collab.testing import Stage, stage


class Time:
    """The clocks of whoever looks; the wall's says a thousand seconds more."""

    def __init__(self) -> None:
        self.at = 100.0

    def wall(self) -> float:
        return self.at + 1000


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Time that passes when a test says so."""
    time = Time()
    monkeypatch.setattr("collab.activity.now", lambda: time.at)
    monkeypatch.setattr("collab.activity.unix", time.wall)
    return time


@pytest.fixture
def hub(time: Time) -> Iterator[Stage]:
    """A server with three rooms, opened ten seconds ago."""
    with stage() as hub:
        for name in ("a", "b", "c"):
            hub.native(name)
            hub.rooms[name].opened = time.wall() - 10
        yield hub


def busiest(hub: Stage) -> list[tuple[str, float]]:
    rooms = open_rooms(hub, Page(order="-activity"))["rooms"]
    return [(room["id"], room["activity"]) for room in rooms]


def test_the_first_look_tells_of_the_time_since_a_room_was_opened_and_each_later_one_since_the_look_before(
    hub: Stage, time: Time
) -> None:
    hub.rooms["b"].updates = 50
    assert busiest(hub) == [("b", 5.0), ("a", 0.0), ("c", 0.0)]
    time.at += 2
    hub.rooms["b"].updates += 1
    hub.rooms["c"].updates += 6
    assert busiest(hub) == [("c", 3.0), ("b", 0.5), ("a", 0.0)]
    time.at += 2
    assert busiest(hub) == [("a", 0.0), ("b", 0.0), ("c", 0.0)]


def test_who_asks_sooner_than_after_a_second_is_told_the_same_as_others(hub: Stage, time: Time) -> None:
    before = busiest(hub)
    hub.rooms["a"].updates = 9
    time.at += 0.9
    assert busiest(hub) == before
    time.at += 0.1
    assert busiest(hub)[0] == ("a", 9.0)


def test_a_room_that_was_opened_anew_counts_from_there(hub: Stage, time: Time) -> None:
    hub.rooms["b"].updates = hub.rooms["c"].updates = 1000
    busiest(hub)
    time.at += 4
    for name, updates, age in (("b", 30, 3), ("c", 1000, 0.1)):
        hub.rooms[name].updates = updates
        hub.rooms[name].opened = time.wall() - age
    assert busiest(hub) == [("c", 1000.0), ("b", 10.0), ("a", 0.0)], "a burst in a tenth of a second is no rate"


def test_pages_in_any_order_have_all_rooms_once(hub: Stage) -> None:
    for n in range(40):
        hub.native(f"many/{n:02}", f"user-{n}")
    hub.native("many/07", "somebody else")
    for order in ("id", "-id", "users", "-users", "-opened", "queued"):
        pages = [open_rooms(hub, Page("many/", "", order, offset, 3)) for offset in range(0, 42, 3)]
        found = [room["id"] for page in pages for room in page["rooms"]]
        assert sorted(found) == [f"many/{n:02}" for n in range(40)], order
        assert {page["matching"] for page in pages} == {40}
        assert (pages[0]["next"] is None) == (order != "id")
    assert open_rooms(hub, Page("many/", order="-users", limit=1))["rooms"][0]["id"] == "many/07"
    assert open_rooms(hub, Page("many/", order="users"))["rooms"][-1]["id"] == "many/07"
    assert open_rooms(hub, Page("many/", order="-id", limit=1))["rooms"][0]["id"] == "many/39"
    assert open_rooms(hub, Page(offset=50)) == {"rooms": [], "matching": 43, "next": None}
