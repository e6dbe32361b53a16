"""The presence side of a room: what members are told, and whose word counts when two claim one id."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from members import Recorder

from collab.awareness import EXPIRY, MAX_CLIENTS, RENEWAL, Awareness
from collab.errors import InvalidUpdate, ProtocolError, TooLarge
from collab.metrics import Metrics
from collab.presence import CLAIM_TIMEOUT, Presences
from collab.protocol.messages import AwarenessJson, Presence
from collab.protocol.native import NATIVE
from collab.protocol.yawareness import encode_awareness

ID = 5
HERE = "{}"
MAX_STATE = 200
NATIVE_JSON = NATIVE[False, True]

Entries = dict[int, tuple[int, str | None]]


class Stage:
    """Presence in a room of y-websocket clients alice (twice), bob and carol."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.wakes = 0
        self.presences = Presences(Awareness(), MAX_STATE, self.metrics, self._wake)
        self.alice, self.alice_again, self.bob, self.carol = map(Recorder, ("alice", "alice", "bob", "carol"))

    def _wake(self) -> None:
        self.wakes += 1

    def say(self, member: Recorder, entries: Entries, now: float = 0.0) -> None:
        """One awareness update of a member."""
        self.presences.update(member, encode_awareness(entries), now)

    def news(self) -> Entries:
        """What everybody is to be told, since this was last asked."""
        told: Entries = {}
        for message, _ in self.presences.news():
            told |= message.entries
        return told

    @property
    def known(self) -> Entries:
        return self.presences.awareness.known()


@pytest.fixture
def stage() -> Stage:
    return Stage()


# ---- news


def test_what_has_changed_is_news_once(stage: Stage) -> None:
    stage.say(stage.alice, {ID: (1, HERE), 6: (1, HERE)})
    assert stage.presences.news() == [(Presence({ID: (1, HERE), 6: (1, HERE)}), None)]
    assert stage.presences.news() == []


def test_news_is_the_latest_state_of_each_client(stage: Stage) -> None:
    stage.say(stage.alice, {ID: (1, HERE)})
    stage.say(stage.alice, {ID: (2, "1")})
    stage.say(stage.alice, {ID: (2, None)})
    assert stage.presences.news() == [(Presence({ID: (2, None)}), None)]


def test_a_change_wakes_the_room_and_an_echo_does_not(stage: Stage) -> None:
    stage.say(stage.alice, {ID: (1, HERE)})
    assert stage.wakes == 1
    stage.say(stage.bob, {ID: (1, HERE)})
    stage.presences.tick(1.0)
    assert stage.wakes == 1
    stage.presences.leave(stage.alice, 2.0)
    assert stage.wakes == 2


def test_only_a_client_that_needs_its_own_presence_back_gets_it(stage: Stage) -> None:
    native = Recorder("nat", NATIVE[False, False])
    stage.say(stage.alice, {ID: (1, HERE)})
    stage.say(native, {6: (1, HERE), 7: (1, HERE)})
    assert stage.presences.news() == [
        (Presence({ID: (1, HERE)}), None),
        (Presence({6: (1, HERE), 7: (1, HERE)}), native),
    ]


def test_what_the_server_does_to_an_entry_its_client_hears_too(stage: Stage) -> None:
    native = Recorder("nat", NATIVE[False, False])
    stage.say(native, {6: (1, HERE)})
    stage.presences.news()
    stage.presences.tick(EXPIRY)
    assert stage.presences.news() == [(Presence({6: (1, None)}), None)]


# ---- awareness updates


def test_a_stale_entry_is_answered_with_gone_to_its_sender_alone(stage: Stage) -> None:
    stage.say(stage.alice, {ID: (7, HERE)})
    stage.presences.leave(stage.alice, 1.0)
    stage.news()
    stage.say(stage.bob, {ID: (3, HERE), 6: (1, HERE)}, 2.0)
    assert stage.bob.replies == [Presence({ID: (7, None)})]
    assert stage.news() == {6: (1, HERE)}


def test_a_malformed_update_is_refused_and_changes_nothing(stage: Stage) -> None:
    with pytest.raises(InvalidUpdate):
        stage.presences.update(stage.alice, encode_awareness({ID: (1, HERE)}) + b"\x00", 0.0)
    assert (stage.known, stage.wakes) == ({}, 0)


def test_a_client_too_many_is_refused_and_the_others_are_taken(stage: Stage) -> None:
    crowd: Entries = dict.fromkeys(range(MAX_CLIENTS + 1), (1, HERE))
    with pytest.raises(TooLarge):
        stage.say(stage.alice, crowd)
    del crowd[MAX_CLIENTS]
    assert stage.news() == stage.known == crowd


def test_nothing_is_taken_of_an_update_with_a_state_that_is_too_large(stage: Stage) -> None:
    with pytest.raises(TooLarge):
        stage.say(stage.alice, {ID: (1, HERE), 6: (1, '"' + "x" * MAX_STATE + '"')})
    assert stage.news() == stage.known == {}


# ---- claims


@pytest.fixture
def claimed(stage: Stage) -> Stage:
    """Alice has been client 5 since 0; at 10 bob says that it is his."""
    stage.say(stage.alice, {ID: (1, '"alice"')})
    stage.news()
    stage.alice.heard = 9.0
    stage.say(stage.bob, {ID: (2, '"bob"')}, 10.0)
    return stage


def test_a_claim_is_held_while_the_owner_is_asked_for_a_sign_of_life(claimed: Stage) -> None:
    claimed.presences.tick(10.0 + CLAIM_TIMEOUT - 0.1)
    assert (claimed.alice.probes, claimed.alice.losses) == (1, 0)
    assert claimed.known == {ID: (1, '"alice"')}
    assert claimed.news() == {}


def test_a_claim_on_an_owner_that_answers_is_dropped_and_counted(claimed: Stage) -> None:
    claimed.alice.heard = 10.5
    claimed.presences.tick(10.0 + CLAIM_TIMEOUT)
    assert claimed.metrics.labelled["claims_dropped", ""] == 1
    claimed.presences.leave(claimed.alice, 20.0)
    assert claimed.known == {ID: (1, None)}
    assert claimed.alice.losses == 0


def test_an_owner_that_does_not_answer_is_given_up_and_its_leaving_lets_the_claim_through(claimed: Stage) -> None:
    claimed.presences.tick(10.0 + CLAIM_TIMEOUT)
    assert claimed.alice.losses == 1
    claimed.presences.leave(claimed.alice, 12.5)
    assert claimed.news() == claimed.known == {ID: (2, '"bob"')}
    assert claimed.metrics.labelled["claims_dropped", ""] == 0


def test_a_claim_that_went_through_makes_the_claimant_the_owner(claimed: Stage) -> None:
    claimed.presences.leave(claimed.alice, 11.0)
    claimed.say(claimed.alice_again, {ID: (3, '"again"')}, 12.0)
    assert claimed.bob.probes == 1
    assert claimed.known == {ID: (2, '"bob"')}
    claimed.presences.leave(claimed.bob, 13.0)
    assert claimed.known == {ID: (3, '"again"')}


def test_a_claimant_that_says_more_is_held_with_its_latest_word_and_the_owner_asked_once(claimed: Stage) -> None:
    claimed.say(claimed.bob, {ID: (4, '"bob 4"')}, 11.0)
    claimed.say(claimed.bob, {ID: (3, '"bob 3"')}, 11.5)
    assert claimed.alice.probes == 1
    claimed.presences.tick(10.0 + CLAIM_TIMEOUT)
    claimed.presences.leave(claimed.alice, 12.0)
    assert claimed.known == {ID: (4, '"bob 4"')}


def test_while_a_claim_is_held_a_third_users_is_not_heard(claimed: Stage) -> None:
    claimed.say(claimed.carol, {ID: (9, '"carol"')}, 11.0)
    claimed.presences.leave(claimed.alice, 12.0)
    assert claimed.known == {ID: (2, '"bob"')}


def test_a_claim_goes_with_its_claimant(claimed: Stage) -> None:
    claimed.presences.leave(claimed.bob, 11.0)
    claimed.presences.tick(10.0 + CLAIM_TIMEOUT)
    assert claimed.alice.losses == 0
    claimed.presences.leave(claimed.alice, 20.0)
    assert claimed.known == {ID: (1, None)}


def test_a_dropped_claim_may_be_made_again(claimed: Stage) -> None:
    claimed.alice.heard = 11.0
    claimed.presences.tick(12.0)
    claimed.say(claimed.bob, {ID: (5, '"bob"')}, 20.0)
    claimed.presences.tick(22.0)
    assert (claimed.alice.probes, claimed.alice.losses) == (2, 1)


def test_a_claim_that_its_owner_has_overtaken_in_the_meantime_is_not_let_through(claimed: Stage) -> None:
    claimed.say(claimed.alice, {ID: (8, '"alice 8"')}, 11.0)
    claimed.presences.leave(claimed.alice, 11.5)
    assert claimed.known == {ID: (8, None)}


def test_a_user_who_comes_back_takes_over_without_a_question(stage: Stage) -> None:
    stage.say(stage.alice, {ID: (1, HERE)})
    stage.say(stage.alice_again, {ID: (2, "1")}, 1.0)
    stage.presences.leave(stage.alice, 2.0)
    assert stage.alice.probes == 0
    assert stage.news() == stage.known == {ID: (2, "1")}


def test_that_somebody_else_is_gone_is_a_claim_as_well(stage: Stage) -> None:
    """Or anybody could make anybody disappear."""
    stage.say(stage.alice, {ID: (1, HERE)})
    stage.say(stage.bob, {ID: (1, None)}, 1.0)
    assert stage.alice.probes == 1
    assert stage.known == {ID: (1, HERE)}


# ---- clients without Yjs


@pytest.fixture
def json_member() -> Recorder:
    return Recorder("dora", NATIVE_JSON)


def said(stage: Stage, member: Recorder, *parts: dict[str, Any], now: float = 0.0) -> tuple[int, int, dict[str, Any]]:
    """Client id, clock and state of a member that says `parts`, one after the other."""
    for part in parts:
        stage.presences.update_json(member, part, now)
    ((client, (clock, state)),) = stage.presences.awareness.present().items()
    assert state is not None
    return client, clock, json.loads(state)


def test_a_client_without_yjs_is_given_an_id_and_becomes_an_ordinary_entry(stage: Stage, json_member: Recorder) -> None:
    client, clock, state = said(stage, json_member, {"cursor": {"line": 42, "column": 15}, "state": [1]})
    assert 0 <= client < 2**32
    assert clock == 1
    assert state == {
        "client_id": client,
        "user": {"id": "dora", "name": "Dora"},
        "cursor": {"line": 42, "column": 15},
        "state": [1],
    }
    ((message, author),) = stage.presences.news()
    assert (list(message.entries), author) == ([client], json_member)


def test_each_part_stays_until_it_is_replaced_or_cleared(stage: Stage, json_member: Recorder) -> None:
    _, clock, state = said(
        stage, json_member, {"cursor": {"line": 1}, "state": 1}, {"cursor": {"line": 2}}, {"state": None}, {}
    )
    assert clock == 4
    assert (state["cursor"], "state" in state) == ({"line": 2}, False)


@pytest.mark.parametrize(
    ("user", "known_as"),
    [
        ({"color": "#f00"}, {"id": "dora", "name": "Dora", "color": "#f00"}),
        ({"id": "root", "name": "D."}, {"id": "dora", "name": "D."}),
        ("root", {"id": "dora", "name": "Dora"}),
        (None, {"id": "dora", "name": "Dora"}),
    ],
)
def test_a_client_can_add_to_who_it_is_but_not_be_somebody_else(
    stage: Stage, json_member: Recorder, user: Any, known_as: dict[str, str]
) -> None:
    assert said(stage, json_member, {"user": user})[2]["user"] == known_as


def test_a_json_state_over_the_limit_is_refused_and_the_last_one_stays(stage: Stage, json_member: Recorder) -> None:
    before = said(stage, json_member, {"state": "a"})
    room = MAX_STATE - len(stage.known[before[0]][1] or "")
    with pytest.raises(TooLarge):
        stage.presences.update_json(json_member, {"state": "a" * (room + 2)}, 1.0)
    assert said(stage, json_member) == before
    assert said(stage, json_member, {"state": "a" * (room + 1)})[1] == 2


def test_json_presence_is_renewed_by_the_server_and_gone_with_its_member(stage: Stage, json_member: Recorder) -> None:
    client, _, _ = said(stage, json_member, {})
    stage.news()
    stage.presences.tick(RENEWAL)
    assert stage.news()[client][0] == 2
    stage.presences.tick(10 * EXPIRY)
    assert client in stage.presences.awareness.present()
    stage.presences.leave(json_member, 11 * EXPIRY)
    assert stage.known == {client: (3, None)}


def test_one_who_leaves_and_comes_back_is_a_new_client_with_nothing_said(stage: Stage, json_member: Recorder) -> None:
    old, _, _ = said(stage, json_member, {"state": 1})
    stage.presences.leave(json_member, 1.0)
    new, clock, state = said(stage, json_member, {})
    assert new != old
    assert (clock, "state" in state) == (1, False)


def test_json_presence_counts_among_the_clients_that_a_session_may_be(stage: Stage, json_member: Recorder) -> None:
    stage.say(json_member, dict.fromkeys(range(MAX_CLIENTS), (1, HERE)))
    with pytest.raises(TooLarge):
        stage.presences.update_json(json_member, {}, 0.0)
    assert len(stage.known) == MAX_CLIENTS


def test_no_state_can_be_made_that_browsers_cannot_read(stage: Stage, json_member: Recorder) -> None:
    """JSON knows no infinity, but `1e999` is valid JSON and becomes one in Python."""
    with contextlib.suppress(ProtocolError):
        message = NATIVE_JSON.decode(b'{"type":"awareness","cursor":{"line":1e999}}', text=True)
        assert isinstance(message, AwarenessJson)
        stage.presences.update_json(json_member, message.parts, 0.0)
    for _, state in stage.known.values():
        assert state is not None
        json.loads(state, parse_constant=pytest.fail)
