"""The account of a client that is told of each of its changes, against a model of the provider that counts them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.statuses import Statuses


@pytest.fixture
def statuses() -> Statuses:
    """A client that has said what it has, and answered as update 1 what it was asked back."""
    made = Statuses()
    made.expect(0)
    made.answer(1)
    return made


def test_the_answer_that_the_client_counts_is_worth_one(statuses: Statuses) -> None:
    assert statuses.confirm(1) == 1


def test_each_update_is_worth_one_and_is_told_once(statuses: Statuses) -> None:
    assert statuses.confirm(3) == 3
    assert statuses.confirm(3) == 0
    assert statuses.confirm(4) == 1


def test_an_answer_that_was_asked_for_besides_is_worth_nothing(statuses: Statuses) -> None:
    statuses.answer(3)
    assert [statuses.confirm(2), statuses.confirm(3), statuses.confirm(4)] == [2, 0, 1]


def test_a_refused_update_is_not_told_as_taken(statuses: Statuses) -> None:
    statuses.refuse(2, later=False)
    assert statuses.confirm(3) == 2
    statuses.answer(4)
    assert statuses.confirm(4) == 0


def test_what_could_not_be_taken_is_told_once_it_came_again(statuses: Statuses) -> None:
    for number in (2, 3, 4):
        statuses.refuse(number, later=True)
    assert statuses.confirm(5) == 2
    statuses.answer(6)
    statuses.answer(7)
    assert statuses.confirm(7) == 3


def test_what_could_not_be_taken_the_second_time_either_is_told_once_it_came_at_last(statuses: Statuses) -> None:
    statuses.refuse(2, later=True)
    statuses.refuse(3, later=True)
    statuses.answer(4)
    statuses.refuse(4, later=True)
    assert statuses.confirm(4) == 1
    statuses.answer(5)
    assert statuses.confirm(5) == 2


def test_the_counted_answer_can_be_one_of_those_that_came_too_soon_for_the_store() -> None:
    statuses = Statuses()
    statuses.expect(0)
    statuses.answer(1)
    statuses.refuse(1, later=True)
    assert statuses.confirm(1) == 0
    statuses.answer(2)
    assert statuses.confirm(2) == 1


def test_what_came_again_and_is_refused_for_good_stays_untold(statuses: Statuses) -> None:
    statuses.refuse(2, later=True)
    statuses.answer(3)
    statuses.refuse(3, later=False)
    assert statuses.confirm(3) == 1
    statuses.answer(4)
    assert statuses.confirm(4) == 0


def test_a_client_that_counts_anew_is_told_nothing_more_of_what_it_has_sent_before(statuses: Statuses) -> None:
    statuses.refuse(3, later=True)
    statuses.expect(5)
    statuses.refuse(4, later=True)
    assert statuses.confirm(5) == 0
    statuses.answer(7)
    statuses.answer(8)
    assert statuses.confirm(8) == 2, "update 6, and the answer that it counts"


def test_the_answer_to_an_earlier_beginning_is_worth_nothing(statuses: Statuses) -> None:
    statuses.expect(1)
    statuses.expect(1)
    statuses.answer(2)
    statuses.answer(3)
    assert statuses.confirm(3) == 1


# ---- the provider


class Provider:
    """@hocuspocus/provider's counting: 1 when it begins, 1 more for each update, 1 less for each status of 1.

    It may fall below 0, as that of version 2 does; the later ones stop at 0, which hides what is told too often. It
    begins anew when it is made to sync, or connects again.
    """

    def __init__(self) -> None:
        self.unsynced_changes = 0
        self.changes: set[int] = set()
        self.out: deque[tuple[str, frozenset[int]]] = deque()
        self.begin()

    def begin(self) -> None:
        self.unsynced_changes = 1
        self.out.append(("step1", frozenset()))

    @property
    def beginning(self) -> bool:
        return ("step1", frozenset()) in self.out

    def edit(self) -> None:
        change = len(self.changes)
        self.changes.add(change)
        self.unsynced_changes += 1
        self.out.append(("update", frozenset((change,))))

    def read(self, message: str) -> None:
        if message == "step1":
            self.out.append(("step2", frozenset(self.changes)))
        elif message == "taken":
            self.unsynced_changes -= 1


class Server:
    """What the server does with the account: a room that may be unable to store, and confirms when it likes."""

    def __init__(self) -> None:
        self.statuses = Statuses()
        self.full = False
        self.turned_away = False
        self.spoilt = 0  # how many of the next changes are malformed
        self.lost = 0  # by how much the provider's counter will stay above 0 for that
        self.number = 0
        self.has: set[int] = set()
        self.stored: set[int] = set()
        self.out: deque[str] = deque()

    def read(self, kind: str, changes: frozenset[int]) -> None:
        if kind == "step1":
            self.statuses.expect(self.number)
            self.lost = 0
            self.out.append("step1")
            return
        self.number += 1
        if kind == "step2":
            self.statuses.answer(self.number)
        if kind == "step2" and changes <= self.has:
            return
        if self.full:
            self.turned_away = True
            self.statuses.refuse(self.number, later=True)
        elif self.spoilt and kind == "update":
            self.spoilt -= 1
            self.lost += 1
            self.statuses.refuse(self.number, later=False)
        else:
            self.has |= changes

    def confirm(self) -> None:
        self.stored = set(self.has)
        self.out.extend(["taken"] * self.statuses.confirm(self.number))

    def make_room(self) -> None:
        self.full = False
        if self.turned_away:
            self.turned_away = False
            self.out.append("step1")


def play(steps: Iterable[str]) -> tuple[Provider, Server]:
    """A provider that comes in, these steps, and then all that is under way until nothing is."""
    provider, server = Provider(), Server()

    def step(what: str) -> None:
        if what == "edit":
            provider.edit()
        elif what == "up" and provider.out:
            server.read(*provider.out.popleft())
        elif what == "down" and server.out:
            provider.read(server.out.popleft())
        elif what == "confirm" and not provider.beginning:
            server.confirm()
        elif what == "begin" and "taken" not in server.out:
            # Where the two cross on the way, neither side can tell, and the count is wrong until it begins again.
            provider.begin()
        elif what == "full":
            server.full = True
        elif what == "room":
            server.make_room()
        elif what == "ask":  # as when something came that builds on what has not
            server.out.append("step1")
        elif what == "spoil":
            server.spoilt += 1
        if not server.lost:
            assert provider.unsynced_changes > 0 or provider.changes <= server.stored, "told before it was so"
        assert provider.unsynced_changes >= 0, "told too often"

    for what in steps:
        step(what)
    for what in ("room", "confirm"):
        step(what)
    while provider.out or server.out:
        for what in ("up", "confirm", "down"):
            step(what)
    return provider, server


HARMLESS = ("edit", "edit", "up", "up", "down", "confirm", "full", "room", "ask", "begin")

long = settings(deadline=None, database=None, derandomize=True, max_examples=400)


@long
@given(st.lists(st.sampled_from(HARMLESS), max_size=60))
def test_unsynced_changes_are_0_again_once_all_is_stored_and_not_before(steps: list[str]) -> None:
    provider, server = play(steps)
    assert provider.unsynced_changes == 0
    assert server.stored == provider.changes


@long
@given(st.lists(st.sampled_from((*HARMLESS, "spoil")), max_size=60))
def test_unsynced_changes_stay_by_as_many_as_were_refused_for_good(steps: list[str]) -> None:
    provider, server = play(steps)
    assert provider.unsynced_changes == server.lost


def test_the_model_sees_a_change_that_is_refused_and_asked_for_again() -> None:
    provider, server = play(["up", "down", "up", "full", "edit", "edit", "up", "up", "confirm", "down", "down"])
    assert (provider.unsynced_changes, server.stored) == (0, {0, 1})
