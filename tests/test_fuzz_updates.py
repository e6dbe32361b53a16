"""Real updates with bytes changed, and structs put together at random: nothing may come of them but a refusal."""

from __future__ import annotations

import random
import resource
from collections import Counter
from pathlib import Path

import pytest
from ydocs import Editor
from yupdates import OF_YJS, TEXT, after, between, child, clock, every_content, gap, gc, top, update

from collab.document import Document
from collab.errors import InvalidMessage, InvalidUpdate
from collab.protocol.lib0 import var_bytes, var_string, var_uint
from collab.protocol.yawareness import decode_awareness
from collab.protocol.yupdate import (
    EMPTY_STATE_VECTOR,
    check_state_vector,
    check_update,
    parse_state_vector,
    parse_update,
)

BYTES = (0, 1, 2, 5, 10, 0x7F, 0x80, 0x84, 0xC4, 0xFF)
MEGABYTE = 1 << 20


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def processor_time() -> float:
    """Seconds of processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One of the seeds with one to five changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0 | 1:
                data[at : at + 1] = bytes((rng.choice((*BYTES, rng.randrange(256))),))
            case 2:
                del data[at : at + rng.choice((1, 1, 2, 9))]
            case _:
                other = rng.choice(seeds)
                start = rng.randrange(len(other))
                data[at : at + rng.randrange(8)] = other[start : start + rng.randrange(12)]
    return bytes(data)


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    return [*every_content(), *OF_YJS.values()]


def applied_alone(doc: Document, update: bytes) -> dict[int, InvalidUpdate]:
    """As a room applies an update that is alone in its pass."""
    return {} if doc.apply_next(update) else doc.apply([update])


def test_changed_updates_are_refused_or_applied_and_cost_little(seeds: list[bytes]) -> None:
    """yrs alone grew by 600 MB over as many, held the process for half a second at some, and panicked at others."""
    rng = random.Random(20)
    base = Document()
    assert base.apply(seeds[:-7]) == {}
    content = base.diff(EMPTY_STATE_VECTOR)
    before = resident()
    longest = 0.0
    outcomes: Counter[str] = Counter()
    doc = Document(content)
    for round_ in range(4000):
        if round_ % 40 == 0:
            doc = Document(content)
        data = mutated(rng, seeds)
        start = processor_time()
        refused = applied_alone(doc, data)
        longest = max(longest, (processor_time() - start) / (1 + len(data) // 1024))
        outcomes["refused" if refused else "taken" if doc.taken else "waits"] += 1
    assert min(outcomes.values()) > 100 and len(outcomes) == 3
    assert resident() - before < 40 * MEGABYTE
    assert longest < 0.25


def test_the_other_readers_of_the_same_bytes_refuse_them_as_calmly(seeds: list[bytes]) -> None:
    rng = random.Random(21)
    vectors = [Document(seed).state_vector() for seed in seeds[-7:]]
    outcomes: Counter[bool] = Counter()
    for _ in range(4000):
        for data in (mutated(rng, seeds), mutated(rng, vectors)):
            try:
                check_update(data)
                check_state_vector(data)
                decode_awareness(data, 1000)
            except InvalidMessage:
                outcomes[False] += 1
            try:
                base = Document(seeds[-1])
                base.diff(data)
                outcomes[True] += 1
            except InvalidUpdate:
                outcomes[False] += 1
    assert outcomes[True] > 500
    assert outcomes[False] > 4000


def content(rng: random.Random) -> tuple[int, bytes]:
    """A kind of content, and some of it."""
    kind = rng.choice((1, 3, 4, 4, 4, 4, 5, 6, 7, 7, 7, 8, 9))
    type_ = rng.choice((0, 1, 2, 3, 4, 6, 9, 15))
    values = rng.choice((1, 2, 3, 0))
    return kind, {
        1: var_uint(rng.choice((1, 2, 3, 7))),
        3: var_bytes(b"\x01"),
        4: var_string(rng.choice(("a", "bc", "😀", "héx", "", "longer", "x😀y"))),
        5: var_string(rng.choice(('{"a":1}', "null", "{bad"))),
        6: var_string("b") + var_string(rng.choice(("null", "true"))),
        7: var_uint(type_) + (var_string("p") if type_ == 3 else b""),
        8: var_uint(values) + b"\x78" * values,
        9: var_string("g") + b"\x76\x01" + var_string(rng.choice(("gc", "autoLoad"))) + b"\x78",
    }[kind]


def struct(rng: random.Random, known: dict[int, int]) -> bytes:
    """A struct beside, below or behind what a document mostly knows."""

    def somewhere() -> bytes:
        client = rng.choice((1, 2, 3))
        return clock(client, rng.randrange(known.get(client, 0) + rng.choice((0, 0, 0, 2)) or 1))

    kind, data = content(rng)
    key = rng.choice((None, None, "k"))
    match rng.randrange(20):
        case 0:
            return gc(rng.choice((1, 2, 5)))
        case 1:
            return gap(rng.choice((1, 2)))
        case 2 | 3 | 4:
            return top(kind, data, name=rng.choice("tm"), key=key)
        case 5 | 6 | 7:
            return child(kind, somewhere(), data, key=key)
        case 8 | 9:
            return bytes((kind | 0x40,)) + somewhere() + data
        case 10 | 11 | 12:
            return between(kind, somewhere(), somewhere(), data)
        case _:
            return after(kind | rng.choice((0, 0, 0x20)), somewhere(), data)


def made_up(rng: random.Random, known: dict[int, int]) -> bytes:
    """An update of up to three clients, most of whose clocks fit a document at the clocks `known`."""
    sections = []
    for client in rng.sample((1, 2, 3), rng.choice((0, 1, 1, 1, 2, 3))):
        first = max(0, known.get(client, 0) + rng.choice((0, 0, 0, 0, 0, -2, -1, 1, 4)))
        sections.append((client, first, [struct(rng, known) for _ in range(rng.choice((1, 1, 2, 4)))]))
    erased = {}
    for client in rng.sample((1, 2, 3), rng.choice((0, 0, 1, 2))):
        start = rng.randrange(known.get(client, 0) + 1)
        erased[client] = [(start, rng.choice((1, 1, 3)))]
    return update(*sections, erased=erased)


def test_made_up_documents_stay_sound() -> None:
    """Without the ledger one in a thousand of these ended the process by a segmentation fault."""
    rng = random.Random(22)
    outcomes: Counter[str] = Counter()
    for _ in range(250):
        doc = Document()
        for _ in range(rng.randrange(1, 50)):
            known = parse_state_vector(doc.state_vector())
            made = [made_up(rng, known) for _ in range(rng.choice((1, 1, 2, 4)))]
            refused = applied_alone(doc, made[0]) if len(made) == 1 else doc.apply(made)
            outcomes["refused"] += len(refused)
            outcomes["taken"] += len(doc.taken)
        clocks = parse_state_vector(doc.state_vector())
        whole = doc.diff(EMPTY_STATE_VECTOR)
        assert {section.client: section.end for section in parse_update(whole).sections} == clocks
        assert parse_state_vector(Document(whole).state_vector()) == clocks
    assert min(outcomes.values()) > 2000


def test_yrs_takes_whatever_is_admitted_as_the_next_text(seeds: list[bytes]) -> None:
    """So it can be told and stored before yrs is given it. Beside what is deleted, nested, no text, or further left."""
    rng = random.Random(23)
    admitted = 0
    for _ in range(300):
        doc = Document()
        assert doc.apply(seeds[: rng.randrange(1, len(every_content()) + 1)]) == {}
        clocks = {client: end for client, end in parse_state_vector(doc.state_vector()).items() if end}
        for _ in range(60):
            if not clocks:
                break
            client = rng.choice((*clocks, rng.randrange(1, 9), (1 << 53) - 1))
            left, right = (clock(known, rng.randrange(clocks[known])) for known in rng.choices(list(clocks), k=2))
            letters = bytes(rng.randrange(128) for _ in range(rng.randrange(1, 5)))
            kinds = (after(TEXT, left, var_bytes(letters)), between(TEXT, left, right, var_bytes(letters)))
            one = rng.choice((*kinds, bytes((TEXT | 0x40,)) + right + var_bytes(letters)))
            if doc.apply_next(update((client, clocks.get(client, 0), [one]))):
                admitted += 1
                clocks[client] = clocks.get(client, 0) + len(letters)
            if rng.random() < 0.1:
                known = rng.choice(list(clocks))
                doc.apply([update(erased={known: [(rng.randrange(clocks[known]), 1)]})])
            if rng.random() < 0.3:
                assert parse_state_vector(doc.state_vector()) == clocks
        content = doc.diff(EMPTY_STATE_VECTOR)
        assert parse_state_vector(Document(content).state_vector()) == parse_state_vector(doc.state_vector())
    assert admitted > 3000


@pytest.mark.parametrize("seed", range(5))
def test_updates_applied_together_give_what_they_give_one_by_one(seed: int) -> None:
    """Several people type and delete at random places, and hear of each other now and then."""
    rng = random.Random(seed)
    editors = [Editor(client) for client in (3, 500, 70_000)]
    together, apart = Document(), Document()
    for _ in range(60):
        batch = []
        for _ in range(rng.randrange(1, 8)):
            editor = rng.choice(editors)
            length = len(editor.text)
            if length > 4 and rng.random() < 0.3:
                at = rng.randrange(length - 2)
                batch.append(editor.delete(at, at + rng.randrange(1, 3)))
            else:
                batch.append(editor.insert(rng.randint(0, length), rng.choice(("a", "bc", "def"))))
        assert together.apply(batch) == {}
        for each in batch:
            assert applied_alone(apart, each) == {}
        for editor in rng.sample(editors, 2):
            editor.doc.apply_update(together.diff(editor.doc.get_state()))
        assert parse_state_vector(together.state_vector()) == parse_state_vector(apart.state_vector())
    texts = set()
    for document in (together, apart):
        reader = Editor()
        reader.doc.apply_update(document.diff(EMPTY_STATE_VECTOR))
        texts.add(str(reader))
    assert len(texts) == 1
