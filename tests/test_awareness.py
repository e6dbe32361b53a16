"""The presence entries of a document: whose word is taken, and for how long."""

from __future__ import annotations

import pytest

from collab.awareness import EXPIRY, MAX_CLIENTS, MAX_GONE, RENEWAL, Awareness, Outcome
from collab.errors import TooLarge
from collab.protocol.yawareness import Entry

ID = 5
HERE = "{}"


class Session:
    """All that presence knows of a session."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class Presence:
    """An `Awareness` with two users, one of them in two sessions, and a word for each thing that they do."""

    def __init__(self) -> None:
        self.awareness = Awareness()
        self.alice, self.alice_again, self.bob = Session("alice"), Session("alice"), Session("bob")

    def say(
        self, session: Session, clock: int, state: str | None = HERE, *, client: int = ID, now: float = 0.0
    ) -> Outcome:
        """One entry of one session."""
        return self.awareness.apply([Entry(client, clock, state)], session, now)

    @property
    def entry(self) -> tuple[int, str | None] | None:
        """What is known of `ID`."""
        return self.awareness.known().get(ID)


@pytest.fixture
def presence() -> Presence:
    return Presence()


TAKEN = Outcome([ID], [], [], [])
OVERLOOKED = Outcome([], [], [], [])
STALE = Outcome([], [ID], [], [])


@pytest.mark.parametrize(
    ("known", "said", "outcome"),
    [
        (None, (1, HERE), TAKEN),
        (None, (7, HERE), TAKEN),
        (None, (0, HERE), OVERLOOKED),
        (None, (0, None), OVERLOOKED),
        (None, (1, None), OVERLOOKED),
        ((3, HERE), (4, "1"), TAKEN),
        ((3, HERE), (9, None), TAKEN),
        ((3, HERE), (3, None), TAKEN),
        ((3, HERE), (3, "1"), OVERLOOKED),
        ((3, HERE), (2, "1"), OVERLOOKED),
        ((3, HERE), (2, None), OVERLOOKED),
        ((3, None), (4, HERE), TAKEN),
        ((3, None), (3, None), OVERLOOKED),
        ((3, None), (2, None), OVERLOOKED),
        ((3, None), (3, HERE), STALE),
        ((3, None), (2, HERE), STALE),
    ],
)
def test_the_clock_decides_what_is_taken(
    presence: Presence, known: tuple[int, str | None] | None, said: tuple[int, str | None], outcome: Outcome
) -> None:
    """A greater clock is; an equal one with None while present is; who is gone and comes with an old one is told."""
    if known is not None:
        presence.say(presence.alice, 1)
        presence.say(presence.alice, *known)
    assert presence.say(presence.alice, *said) == outcome
    assert presence.entry == (said if outcome is TAKEN else known)


def test_entries_of_one_update_take_effect_in_order(presence: Presence) -> None:
    said = [Entry(ID, 1, HERE), Entry(6, 1, HERE), Entry(ID, 2, "1"), Entry(6, 1, None), Entry(ID, 1, HERE)]
    assert presence.awareness.apply(said, presence.alice, 0.0).changed == [ID, 6, ID, 6]
    assert presence.awareness.known() == {ID: (2, "1"), 6: (1, None)}
    assert presence.awareness.present() == {ID: (2, "1")}


@pytest.mark.parametrize("state", ["1", None])
def test_what_another_user_says_of_an_id_that_is_owned_is_a_claim(presence: Presence, state: str | None) -> None:
    presence.say(presence.alice, 1)
    assert presence.say(presence.bob, 2, state) == Outcome([], [], [Entry(ID, 2, state)], [])
    assert presence.entry == (1, HERE)


@pytest.mark.parametrize("said", [(1, HERE), (1, "1")])
def test_an_echo_of_what_is_known_is_no_claim(presence: Presence, said: tuple[int, str]) -> None:
    presence.say(presence.alice, 1)
    assert presence.say(presence.bob, *said) == OVERLOOKED


@pytest.mark.parametrize("state", ["1", None])
def test_another_session_of_the_same_user_takes_over_at_once(presence: Presence, state: str | None) -> None:
    presence.say(presence.alice, 1)
    assert presence.say(presence.alice_again, 2, state) == TAKEN
    assert presence.entry == (2, state)


def test_what_was_taken_over_stays_when_its_former_owner_leaves(presence: Presence) -> None:
    presence.say(presence.alice, 1)
    presence.say(presence.alice_again, 2)
    assert presence.awareness.remove(presence.alice, 1.0) == []
    assert presence.awareness.remove(presence.alice_again, 1.0) == [ID]


def test_an_id_that_is_gone_belongs_to_whoever_uses_it_next(presence: Presence) -> None:
    presence.say(presence.alice, 1)
    presence.say(presence.alice, 2, None)
    assert presence.say(presence.bob, 3) == TAKEN
    assert presence.say(presence.alice, 4).claims == [Entry(ID, 4, HERE)]


def test_with_a_session_all_that_is_its_own_is_gone_and_nothing_else(presence: Presence) -> None:
    for client in (5, 6):
        presence.say(presence.alice, 3, client=client)
    presence.say(presence.bob, 1, client=7)
    assert sorted(presence.awareness.remove(presence.alice, 1.0)) == [5, 6]
    assert presence.awareness.known() == {5: (3, None), 6: (3, None), 7: (1, HERE)}
    assert presence.awareness.remove(presence.alice, 2.0) == []


def test_whoever_left_is_seen_again_with_a_greater_clock_only(presence: Presence) -> None:
    presence.say(presence.alice, 3)
    presence.awareness.remove(presence.alice, 1.0)
    assert presence.say(presence.bob, 3) == STALE
    assert presence.say(presence.bob, 4) == TAKEN


# ---- time


def test_an_entry_that_nobody_renews_is_gone_after_its_time(presence: Presence) -> None:
    presence.say(presence.alice, 3, now=100.0)
    assert presence.awareness.expire(100.0 + EXPIRY - 1.5) == []
    assert presence.awareness.expire(100.0 + EXPIRY) == [ID]
    assert presence.entry == (3, None)
    assert presence.awareness.remove(presence.alice, 131.0) == []


def test_a_renewal_gives_an_entry_all_its_time_again(presence: Presence) -> None:
    presence.say(presence.alice, 1, now=100.0)
    presence.say(presence.alice, 2, now=115.0)
    assert presence.awareness.expire(115.0 + EXPIRY - 1.5) == []
    assert presence.awareness.expire(115.0 + EXPIRY) == [ID]


def test_an_echo_is_no_renewal(presence: Presence) -> None:
    presence.say(presence.alice, 1, now=100.0)
    presence.say(presence.alice, 1, now=120.0)
    assert presence.awareness.expire(100.0 + EXPIRY) == [ID]


def test_a_gone_entry_is_forgotten_after_its_time_and_its_clock_with_it(presence: Presence) -> None:
    presence.say(presence.alice, 7, now=100.0)
    presence.say(presence.alice, 7, None, now=110.0)
    assert presence.awareness.expire(110.0 + EXPIRY - 1.5) == []
    assert presence.entry == (7, None)
    assert presence.awareness.expire(110.0 + EXPIRY) == []
    assert presence.entry is None
    assert presence.say(presence.bob, 1, now=141.0) == TAKEN


def test_an_expired_entry_is_remembered_as_long_as_any_that_is_gone(presence: Presence) -> None:
    presence.say(presence.alice, 7, now=100.0)
    presence.awareness.expire(130.0)
    presence.awareness.expire(130.0 + EXPIRY - 1.5)
    assert presence.say(presence.alice, 7, now=159.0) == STALE
    presence.awareness.expire(130.0 + EXPIRY)
    assert presence.entry is None


def test_what_the_server_holds_is_renewed_and_never_expires_while_its_owner_stays(presence: Presence) -> None:
    presence.awareness.take(Entry(ID, 1, HERE), presence.alice, 100.0, held=True)
    assert presence.awareness.expire(100.0 + RENEWAL - 1.5) == []
    assert presence.awareness.expire(100.0 + RENEWAL) == [ID]
    assert presence.entry == (2, HERE)
    assert presence.awareness.expire(115.0 + RENEWAL - 1.5) == []
    assert presence.awareness.expire(115.0 + 10 * EXPIRY) == [ID]
    assert presence.entry == (3, HERE)
    assert presence.awareness.remove(presence.alice, 500.0) == [ID]
    assert presence.awareness.expire(500.0 + EXPIRY) == []
    assert presence.entry is None


def test_a_client_that_speaks_for_itself_is_not_held_any_longer(presence: Presence) -> None:
    presence.awareness.take(Entry(ID, 1, HERE), presence.alice, 100.0, held=True)
    presence.say(presence.alice, 2, now=100.0)
    assert presence.awareness.expire(100.0 + RENEWAL) == []
    assert presence.awareness.expire(100.0 + EXPIRY) == [ID]
    assert presence.entry == (2, None)


# ---- bounds


@pytest.fixture
def crowded(presence: Presence) -> Presence:
    """Alice's first session is as many clients as it may be: 100 and up."""
    for n in range(MAX_CLIENTS):
        assert presence.say(presence.alice, 1, client=100 + n).over == []
    return presence


def test_a_session_may_be_so_many_clients_and_no_more(crowded: Presence) -> None:
    assert crowded.say(crowded.alice, 1) == Outcome([], [], [], [Entry(ID, 1, HERE)])
    assert crowded.entry is None
    with pytest.raises(TooLarge):
        crowded.awareness.take(Entry(ID, 1, HERE), crowded.alice, 0.0, held=True)


def test_entries_beside_one_too_many_are_taken(crowded: Presence) -> None:
    outcome = crowded.awareness.apply([Entry(ID, 1, HERE), Entry(100, 2, "1")], crowded.alice, 0.0)
    assert (outcome.changed, outcome.over) == ([100], [Entry(ID, 1, HERE)])


def test_the_bound_is_each_sessions_own(crowded: Presence) -> None:
    assert crowded.say(crowded.alice_again, 1) == TAKEN
    assert crowded.say(crowded.bob, 1, client=6).changed == [6]


@pytest.mark.parametrize("state", [None, HERE], ids=["gone", "taken over by another session"])
def test_a_client_that_is_another_no_more_makes_room_for_one(crowded: Presence, state: str | None) -> None:
    crowded.say(crowded.alice if state is None else crowded.alice_again, 2, state, client=100)
    assert crowded.say(crowded.alice, 1) == TAKEN
    assert crowded.say(crowded.alice, 1, client=6).over == [Entry(6, 1, HERE)]


def test_who_may_not_be_more_clients_does_not_take_one_over(crowded: Presence) -> None:
    crowded.say(crowded.alice_again, 1)
    assert crowded.say(crowded.alice, 2).over == [Entry(ID, 2, HERE)]
    assert crowded.awareness.remove(crowded.alice_again, 1.0) == [ID]


# ---- asking


def test_entries_are_told_of_those_who_are_known(presence: Presence) -> None:
    presence.say(presence.alice, 1)
    presence.say(presence.bob, 2, client=6)
    presence.say(presence.bob, 3, None, client=6)
    assert presence.awareness.entries([6, 7, ID]) == {6: (3, None), ID: (1, HERE)}
    assert presence.awareness.present() == {ID: (1, HERE)}
    assert presence.awareness.known() == {ID: (1, HERE), 6: (3, None)}


def test_the_longest_gone_are_forgotten_first_when_there_are_many(presence: Presence) -> None:
    for client in range(1, MAX_GONE + 3):
        presence.say(presence.alice, 1, client=client)
        presence.say(presence.alice, 2, None, client=client)
    known = presence.awareness.known()
    assert len(known) == MAX_GONE
    assert set(range(1, MAX_GONE + 3)) - set(known) == {1, 2}
    assert presence.awareness.expire(EXPIRY) == []
    assert presence.awareness.known() == {}
