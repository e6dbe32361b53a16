"""Seeds: however many begin a document with the same text, it has it once."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest

from collab.document import Document
from collab.errors import InvalidMessage
from collab.protocol.yledger import Ledger
from collab.protocol.yupdate import EMPTY_UPDATE, parse_update
from collab.seeds import seed, seed_clients, withdraw

TEXTS = ["a", "hello world", "héllo 😀 漢字\n" * 30, "😀", "\x00", "x" * 100_000]


def client_of(update: bytes) -> int:
    return parse_update(update).sections[0].client


def editor(*updates: bytes, root: str = "text") -> pycrdt.Text:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    for update in updates:
        doc.apply_update(update)
    text: pycrdt.Text = doc.get(root, type=pycrdt.Text)
    return text


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize("text", TEXTS)
def test_a_seed_is_what_everybody_makes_of_it(text: str) -> None:
    update = seed("doc", text)
    assert update == seed("doc", text)
    assert str(editor(update, seed("doc", text))) == text
    document = Document()
    assert not document.apply([update, seed("doc", text)])
    assert not document.early
    assert str(editor(document.diff(b"\x00"))) == text
    ledger = Ledger()
    assert ledger.admit(update) is None
    assert ledger.clocks() == {client_of(update): units(text)}


def test_the_bytes_do_not_change_from_release_to_release() -> None:
    assert seed("doc", "hé", "t").hex() == "01018fc0a2d5bca49f0c00040101740368c3a900"


def test_seeds_differ_by_document_root_and_text() -> None:
    seeds = [seed("doc", "a"), seed("doc", "b"), seed("doc", "a", "other"), seed("another", "a")]
    clients = [client_of(update) for update in seeds]
    assert len(set(clients)) == 4
    assert all(2**32 <= client < 2**53 for client in clients)
    assert seed_clients("doc", [*clients, 5, 2**32 - 1, 2**53 - 1]) == set(clients[:3])
    assert seed_clients("another", clients) == {clients[3]}


def test_a_client_of_before_comes_back_to_a_document_begun_anew() -> None:
    offline = editor(seed("doc", "hello"))
    offline += " world"
    server = Document()
    server.apply([seed("doc", "hello")])
    assert not server.apply([offline.doc.get_update()])
    assert str(editor(server.diff(b"\x00"))) == "hello world"


@pytest.mark.parametrize("text", TEXTS)
def test_a_seed_that_yields_leaves_what_was_written_in_it(text: str) -> None:
    ours = seed("doc", text)
    server = Document()
    server.apply([ours])
    mine = editor(ours)
    mine += "mine"
    theirs = editor(seed("doc", "theirs"))
    server.apply([mine.doc.get_update(), theirs.doc.get_update()])
    assert not server.apply([withdraw(client_of(ours), units(text))])
    assert not server.early
    # Which of the two comes first depends on their hashes.
    assert sorted(str(editor(server.diff(b"\x00")))) == sorted("theirsmine")
    assert not server.apply([withdraw(client_of(ours), units(text))])


def test_nothing_is_no_seed() -> None:
    assert seed("doc", "") == EMPTY_UPDATE
    assert withdraw(2**40, 0) == EMPTY_UPDATE


def test_text_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        seed("doc", "\ud83d")
