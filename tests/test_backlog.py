"""What waits for a slow reader: in order, within bounds, and with a record of what was forgotten."""

from __future__ import annotations

import pytest

from collab.backlog import JOIN_SIZE, Backlog, Repair
from collab.member import Part
from collab.protocol.messages import Join, Presence, Relay, ServerMessage, Update

MOST = 6
MOST_BYTES = 100
STATE_VECTOR = b"\x01\x05\x02"
UPDATE = Update(b"")


def part(frame: bytes, message: ServerMessage | None = UPDATE) -> Part:
    return Part(frame, message)


def backlog(rest: bytes = b"<", *, marked: bool = True) -> Backlog:
    """A backlog behind `rest` that may forget what is broadcast from here on, unless it is not `marked`."""
    made = Backlog(rest, MOST, MOST_BYTES, now=5.0)
    if marked:
        repair(made).state_vector = STATE_VECTOR
    return made


def repair(waiting: Backlog, session: str = "s") -> Repair:
    """What a session will need; there is one on the connection unless it is named."""
    return waiting.of(session)


def add(waiting: Backlog, *parts: Part, session: str = "s", read_at: float = 1.0) -> None:
    """One broadcast."""
    waiting.add(parts, repair(waiting, session), read_at)


def fill(waiting: Backlog, count: int, message: ServerMessage | None = UPDATE, session: str = "s") -> None:
    """Broadcast `count` messages, each of one byte and on its own."""
    for _ in range(count):
        add(waiting, part(b"u", message), session=session)


def drain(waiting: Backlog) -> bytes:
    """All that is left to write."""
    out = b""
    expected = waiting.bytes
    while chunk := waiting.take():
        out += chunk
        assert waiting.bytes == expected - len(out)
    assert len(waiting) == waiting.bytes == 0
    return out


@pytest.fixture
def forgetful() -> Backlog:
    """A backlog that had to forget updates only."""
    waiting = backlog()
    fill(waiting, MOST)
    assert repair(waiting).missed == {Update}
    return waiting


def test_all_goes_out_in_order_behind_what_the_socket_did_not_take() -> None:
    waiting = backlog(b"rest")
    add(waiting, part(b"1"), part(b"2", Relay("{}")))
    waiting.reply(b"3")
    add(waiting, part(b"4"))
    assert drain(waiting) == b"rest1234"
    assert repair(waiting).missed == set()


def test_a_new_backlog_owes_nothing_and_has_made_progress_just_now() -> None:
    waiting = backlog(marked=False)
    assert (waiting.progress, repair(waiting).owed, repair(waiting).state_vector) == (5.0, None, None)
    assert (repair(waiting).missed, repair(waiting).dropped_relays, waiting.congested, len(waiting)) == (
        set(),
        0,
        False,
        1,
    )


def test_before_the_mark_all_is_kept_because_no_diff_could_make_it_good() -> None:
    waiting = backlog(marked=False)
    fill(waiting, 3 * MOST)
    add(waiting, part(b"U" * 2 * MOST_BYTES))
    repair(waiting).state_vector = STATE_VECTOR
    fill(waiting, 3 * MOST)
    assert repair(waiting).state_vector == STATE_VECTOR
    assert repair(waiting).missed == {Update}
    assert drain(waiting) == b"<" + b"u" * 3 * MOST + b"U" * 2 * MOST_BYTES


def test_as_many_messages_as_may_wait_do_and_one_more_makes_it_forget() -> None:
    waiting = backlog()
    fill(waiting, MOST - 1)
    assert (len(waiting), repair(waiting).missed) == (MOST, set())
    fill(waiting, 1)
    assert (len(waiting), repair(waiting).missed) == (1, {Update})


def test_as_many_bytes_as_may_wait_do_and_one_more_makes_it_forget() -> None:
    waiting = backlog(b"r" * MOST_BYTES)
    add(waiting, part(b"u" * (MOST_BYTES - 1)))
    add(waiting, part(b"u"))
    assert repair(waiting).missed == set()
    add(waiting, part(b"u"))
    assert repair(waiting).missed == {Update}
    assert drain(waiting) == b"r" * MOST_BYTES


def test_one_broadcast_of_many_messages_is_held_against_the_bounds_as_a_whole() -> None:
    waiting = backlog()
    add(waiting, *[part(b"u")] * MOST, part(b"r", Relay("{}")))
    assert (len(waiting), repair(waiting).missed, repair(waiting).dropped_relays) == (1, {Update, Relay}, 1)


def test_it_stays_bounded_whatever_is_said_and_however_long_it_takes() -> None:
    waiting = backlog()
    for size in range(300):
        add(waiting, part(b"u" * size), part(b"p", Presence({})))
        assert len(waiting) <= MOST
    assert len(drain(waiting)) <= 1 + MOST_BYTES


def test_what_was_taken_makes_room_in_messages_and_bytes() -> None:
    waiting = backlog()
    for _ in range(5):
        add(waiting, *[part(b"u" * (MOST_BYTES // 2))] * 2)
        assert waiting.take()
    assert repair(waiting).missed == set()


def test_what_was_forgotten_is_remembered_by_its_kind(forgetful: Backlog) -> None:
    add(forgetful, part(b"p", Presence({})), part(b"j", Join("a", "A")))
    assert repair(forgetful).missed == {Update, Presence, Join}
    assert repair(forgetful).dropped_relays == 0
    assert repair(forgetful).state_vector == STATE_VECTOR


def test_once_something_was_forgotten_no_broadcast_is_kept_until_the_repair(forgetful: Backlog) -> None:
    """A later update in front of the diff would be of no use to the client."""
    fill(forgetful, 1)
    assert drain(forgetful) == b"<"


def test_each_relay_that_was_forgotten_is_counted() -> None:
    waiting = backlog()
    fill(waiting, 2, Relay("{}"))
    fill(waiting, MOST)
    fill(waiting, 3, Relay("{}"))
    assert (repair(waiting).dropped_relays, repair(waiting).missed) == (5, {Update, Relay})


def test_answers_are_kept_in_order_whatever_is_forgotten_around_them() -> None:
    waiting = backlog()
    waiting.reply(b"1")
    fill(waiting, 2)
    waiting.reply(b"2")
    fill(waiting, MOST)
    waiting.reply(b"3")
    assert repair(waiting).missed == {Update}
    assert drain(waiting) == b"<123"


def test_a_part_that_must_not_be_forgotten_is_not(forgetful: Backlog) -> None:
    add(forgetful, part(b"!", None))
    assert drain(forgetful) == b"<!"
    assert repair(forgetful).missed == {Update}


def test_too_many_answers_are_congestion_until_all_is_taken() -> None:
    waiting = backlog(b"r" * JOIN_SIZE)
    fill(waiting, MOST)
    for _ in range(MOST - 1):
        waiting.reply(b"a")
    assert not waiting.congested
    waiting.reply(b"a")
    assert waiting.congested
    assert waiting.take() == b"r" * JOIN_SIZE
    assert waiting.congested
    assert waiting.take() == b"a" * MOST
    assert not waiting.congested


def test_beginning_anew_forgets_what_was_missed_and_waits_for_a_new_mark(forgetful: Backlog) -> None:
    fill(forgetful, 1, Relay("{}"))
    drain(forgetful)
    forgetful.start(b"repair")
    assert (repair(forgetful).missed, repair(forgetful).dropped_relays, repair(forgetful).state_vector) == (
        set(),
        0,
        None,
    )
    fill(forgetful, 1)
    assert drain(forgetful) == b"repairu"


def test_beginning_anew_gives_all_the_room_again(forgetful: Backlog) -> None:
    forgetful.reply(b"a")
    drain(forgetful)
    forgetful.start(b"r" * 10 * MOST_BYTES)
    repair(forgetful).state_vector = STATE_VECTOR
    add(forgetful, part(b"u" * MOST_BYTES))
    assert repair(forgetful).missed == set()


def test_each_session_on_a_connection_has_a_repair_of_its_own() -> None:
    waiting = backlog()
    fill(waiting, 2, session="new")
    fill(waiting, MOST - 2)
    assert repair(waiting).missed == {Update}
    assert repair(waiting, "new").missed == set(), "nothing of it may be forgotten before its document is known"
    fill(waiting, 1, session="new")
    repair(waiting, "new").state_vector = STATE_VECTOR
    fill(waiting, 1, Presence({}), session="new")
    assert repair(waiting, "new").missed == {Presence}
    assert repair(waiting).missed == {Update}
    assert drain(waiting) == b"<uuu"


# ---- writes


@pytest.mark.parametrize(
    ("frames", "writes"),
    [
        ([1, 2, 3], [6]),
        ([JOIN_SIZE - 2, 1, 1, 1], [JOIN_SIZE, 1]),
        ([JOIN_SIZE, 1], [JOIN_SIZE, 1]),
        ([1, JOIN_SIZE], [1, JOIN_SIZE]),
        ([JOIN_SIZE + 1, 1], [JOIN_SIZE + 1, 1]),
        ([1, 3 * JOIN_SIZE, 1, 1], [1, 3 * JOIN_SIZE, 2]),
    ],
    ids=[
        "small ones",
        "up to the bound",
        "none beside a full one",
        "none before one",
        "one over it",
        "one far over it",
    ],
)
def test_waiting_frames_are_joined_into_writes_and_none_is_cut(frames: list[int], writes: list[int]) -> None:
    first, *others = [bytes((n,)) * size for n, size in enumerate(frames)]
    waiting = backlog(first)
    for frame in others:
        waiting.reply(frame)
    taken = [waiting.take() for _ in writes]
    assert [len(write) for write in taken] == writes
    assert b"".join(taken) == b"".join([first, *others])
    assert waiting.take() == b""


def test_a_frame_that_goes_out_alone_is_not_copied() -> None:
    """It may be a whole document, and the same for everybody."""
    frame = bytes(2 * JOIN_SIZE)
    assert backlog(frame).take() is frame


def test_what_is_taken_to_be_written_says_when_it_was_read() -> None:
    waiting = backlog()
    add(waiting, part(b"u"), part(b"v"), read_at=2.0)
    add(waiting, part(b"w"), read_at=3.0)
    assert waiting.carried == {}
    waiting.take()
    assert waiting.carried == {2.0: 2, 3.0: 1}


def test_a_repair_makes_good_what_was_forgotten_since_the_first_of_it_was_read() -> None:
    waiting = backlog()
    for read_at in (2.0, 3.0, 4.0, 5.0, 6.0):
        add(waiting, *[part(b"u")] * MOST, read_at=read_at)
    drain(waiting)
    assert waiting.carried == {}
    waiting.start(b"repair")
    assert waiting.carried == {2.0: 1}
