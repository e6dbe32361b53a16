"""The commands on documents and their versions, as people and as scripts meet them."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commandline import ask, damage, opened, refusal, run, write
from readme import page
from ydocs import Editor

from collab.cli import main
from collab.commands import console, outcome
from collab.commands.outcome import CommandLine
from collab.errors import StoreError
from collab.stores.base import Record, Store, Whole
from collab.updates import squash

README = page("README.md")
NAMES = ("a/b c", "😀 👩‍💻", "-dash", "--json", "new", "%41?x#y")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty store in a file."""
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    with opened(url) as store:
        store.check()
    return url


def text_of(url: str, document_id: str) -> str:
    return run(url, "docs", "show", "--format", "text", "--", document_id).stdout


# ---- the command line as a whole


def commands(group: click.Group, *path: str) -> list[tuple[str, click.Command]]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, *path, name)
        else:
            found.append((" ".join(("collab", *path, name)), command))
    return found


def test_every_command_and_option_is_in_the_readme() -> None:
    section = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    for name, command in commands(main):
        assert re.search(rf"^\| `{name}\b", section, re.MULTILINE), name
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"`{option.opts[0]}" in section, (name, option.opts)
                assert option.help, (name, option.opts)


def test_every_exit_code_is_in_the_readme() -> None:
    table = README.partition("| exit code |")[2].partition("\n\n")[0]
    known = [0, outcome.DAMAGED, outcome.USAGE, outcome.MISSING, outcome.UNUSABLE, outcome.REFUSED]
    assert [int(code) for code in re.findall(r"^\| (\d) \|", table, re.MULTILINE)] == known == [0, 1, 2, 3, 4, 5]


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    script = "import collab.cli, sys; print({name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for name in ("gevent", "sqlalchemy", "pycrdt", "flask"):
        assert f"'{name}'" not in loaded


def test_every_command_that_answers_does_so_in_json() -> None:
    assert isinstance(main, CommandLine)
    without = {name for name, command in commands(main) if all("--json" not in p.opts for p in command.params)}
    assert without == {"collab serve", "collab top"}


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("docs", "show"), 2, "usage"),
        (("docs", "nonsense"), 2, "usage"),
        (("docs", "verify"), 2, "usage"),
        (("docs", "compact", "x", "--all"), 2, "usage"),
        (("docs", "show", "gone"), 3, "no_document"),
        (("docs", "export", "gone", "-o", "x.txt"), 3, "no_document"),
        (("docs", "delete", "gone", "--yes"), 3, "no_document"),
        (("docs", "verify", "gone"), 3, "no_document"),
        (("versions", "list", "gone"), 3, "no_document"),
        (("versions", "save", "gone"), 3, "no_document"),
        (("versions", "restore", "gone", "1"), 3, "no_document"),
        (("quarantine", "show", "gone"), 3, "no_document"),
        (("quarantine", "release", "gone"), 3, "no_document"),
    ],
)
def test_what_is_not_there_or_not_understood(url: str, args: tuple[str, ...], code: int, word: str) -> None:
    assert refusal(url, *args, code=code) == word
    assert run(url, *args, code=code).stdout == ""


def test_errors_for_people_go_to_stderr(url: str) -> None:
    result = run(url, "docs", "show", "gone", code=3)
    assert result.stderr.startswith("Error: There is no document 'gone'")


def test_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'none.db'}"
    assert refusal(there, "docs", "list", code=4) == "store"
    assert not (tmp_path / "none.db").exists(), "looking makes nothing"
    assert refusal("memory:", "docs", "list", code=4) == "store"
    assert refusal("mysql://x", "docs", "list", code=4) == "setting"
    assert refusal("postgresql://u:p@127.0.0.1:1/x", "docs", "list", code=4) == "store"
    (tmp_path / "text.db").write_text("no database" * 100)
    assert refusal(f"sqlite:///{tmp_path / 'text.db'}", "docs", "list", code=4) == "store"


def test_store_goes_before_the_environment(url: str, tmp_path: Path) -> None:
    with opened(url) as store:
        write(store, "doc", "x")
        store.quarantine("doc", "why")
    for group in ("docs", "quarantine"):
        assert len(ask("memory:", group, "--store", url, "list")["documents"]) == 1
    assert ask("memory:", "versions", "--store", url, "list", "doc")["versions"] == []
    file = str(tmp_path / "b.db")
    assert ask("memory:", "backup", file, "--store", url)["documents"] == 1
    assert ask("memory:", "restore", file, "--store", url, "--overwrite")["overwritten"] == ["doc"]


def test_a_name_that_is_no_text(url: str) -> None:
    assert refusal(url, "docs", "show", "\udcff", code=2) == "usage"


# ---- documents


@pytest.mark.parametrize("name", NAMES)
def test_documents_of_any_name(url: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "in.txt").write_text("héllo 😀")
    assert ask(url, "docs", "import", str(tmp_path / "in.txt"), code=2)["error"]["code"] == "usage"
    run(url, "docs", "import", "--", name, str(tmp_path / "in.txt"))
    assert text_of(url, name) == "héllo 😀"
    [entry] = json.loads(run(url, "docs", "list", "--json", "--", name[:2]).stdout)["documents"]
    assert entry["id"] == name
    assert name in run(url, "docs", "list").stdout
    run(url, "versions", "save", "--", name)
    run(url, "docs", "verify", "--", name)
    run(url, "docs", "delete", "--yes", "--", name)
    assert ask(url, "docs", "list") == {"documents": []}


def test_the_facts_about_a_document(url: str) -> None:
    with opened(url) as store:
        write(store, "doc", "one ", "two")
        write(store, "other", "x")
        store.quarantine("other", "two\nlines \x1b[31m")
    [doc, other] = ask(url, "docs", "list")["documents"]
    assert (doc["id"], doc["updates"], doc["versions"], doc["quarantine"]) == ("doc", 2, 0, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", doc["changed"])
    assert other["quarantine"] == "two\nlines \x1b[31m"
    assert [entry["id"] for entry in ask(url, "docs", "list", "d")["documents"]] == ["doc"]
    shown = ask(url, "docs", "show", "doc")
    assert shown["members"] == [{"user_id": "u1", "user_name": "Alice", "seen": "2023-11-14T22:13:20.500Z"}]
    assert {key: shown[key] for key in doc} == doc
    printed = run(url, "docs", "show", "doc").stdout
    assert "Alice (u1)" in printed and "in 2 updates" in printed
    assert "\x1b" not in run(url, "docs", "show", "other").stdout
    table = run(url, "docs", "list").stdout.splitlines()
    assert len(table) == 3 and "quarantine" in table[2]
    assert run(url, "docs", "list", "none").stdout == "There are no such documents.\n"


def test_content_in_every_form(url: str, tmp_path: Path) -> None:
    with opened(url) as store:
        editor = write(store, "doc", "héllo ", "😀")
    assert text_of(url, "doc") == "héllo 😀"
    assert json.loads(run(url, "docs", "show", "doc", "--format", "json").stdout) == {"text": "héllo 😀"}
    assert ask(url, "docs", "show", "doc", "--format", "json")["content"] == {"text": "héllo 😀"}
    raw = run(url, "docs", "export", "doc").stdout_bytes
    assert base64.b64decode(ask(url, "docs", "show", "doc", "--format", "update")["content"]) == raw
    again = Editor()
    again.doc.apply_update(raw)
    assert again.clocks == editor.clocks and str(again) == "héllo 😀"
    for name, expected in (("x.txt", "héllo 😀".encode()), ("x.bin", raw)):
        answer = ask(url, "docs", "export", "doc", "-o", str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == expected and answer["size"] == len(expected)
    run(url, "docs", "export", "doc", "--output", str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text()) == {"text": "héllo 😀"}
    run(url, "docs", "export", "doc", "-o", str(tmp_path / "x.json"), "--format", "text")
    assert (tmp_path / "x.json").read_text() == "héllo 😀"
    assert refusal(url, "docs", "export", "doc", code=2) == "usage"
    assert refusal(url, "docs", "export", "doc", "-o", str(tmp_path / "no" / "x"), code=4) == "file"


def test_an_import_is_checked(url: str, tmp_path: Path) -> None:
    editor = Editor()
    first, second = editor.type("one "), editor.type("two")
    (tmp_path / "whole").write_bytes(editor.doc.get_update())
    (tmp_path / "part").write_bytes(second)
    (tmp_path / "junk").write_bytes(b"\xff\xff\xff")
    (tmp_path / "x.json").write_text("{}")
    assert refusal(url, "docs", "import", "doc", str(tmp_path / "junk"), code=1) == "damaged"
    assert refusal(url, "docs", "import", "doc", str(tmp_path / "part"), code=1) == "incomplete"
    assert refusal(url, "docs", "import", "doc", str(tmp_path / "junk"), "--format", "text", code=1) == "damaged"
    assert refusal(url, "docs", "import", "doc", str(tmp_path / "x.json"), code=2) == "usage"
    assert refusal(url, "docs", "import", "doc", str(tmp_path / "none"), code=2) == "usage"
    assert refusal(url, "docs", "import", "doc", "-", code=2) == "usage"
    assert refusal(url, "docs", "import", "two\nlines", str(tmp_path / "whole"), code=2) == "usage"
    assert refusal(url, "docs", "import", "x" * 256, str(tmp_path / "whole"), code=2) == "usage"
    assert ask(url, "docs", "list")["documents"] == []
    assert ask(url, "docs", "import", "doc", "-", "--format", "update", stdin=first)["merged"] is False
    assert text_of(url, "doc") == "one "
    assert refusal(url, "docs", "import", "doc", str(tmp_path / "whole"), code=5) == "exists"
    assert (
        refusal(url, "docs", "import", "doc", "--merge", "--format", "text", str(tmp_path / "whole"), code=2) == "usage"
    )
    answer = ask(url, "docs", "import", "doc", "--merge", str(tmp_path / "part"))
    assert answer["merged"] and answer["gained"] and answer["updates"] == 2
    assert text_of(url, "doc") == "one two"
    assert ask(url, "docs", "import", "doc", "--merge", str(tmp_path / "whole"))["gained"] == 0
    assert ask(url, "docs", "show", "doc")["updates"] == 2
    with opened(url) as store:
        assert [name for _, name in store.notices()] == ["doc", "doc"]


def test_the_same_text_imported_twice_is_the_same_document(url: str) -> None:
    for name in ("a", "b"):
        run(url, "docs", "import", name, "-", "--format", "text", stdin=b"text")
    run(url, "docs", "import", "c", "-", "--format", "text", stdin=b"")
    assert [text_of(url, name) for name in "abc"] == ["text", "text", ""]
    exported = run(url, "docs", "export", "a").stdout_bytes
    run(url, "docs", "delete", "a", "--yes")
    run(url, "docs", "import", "a", "-", "--format", "text", stdin=b"text")
    assert ask(url, "docs", "import", "a", "-", "--format", "update", "--merge", stdin=exported)["gained"] == 0


def test_deleting_wants_a_yes(url: str) -> None:
    with opened(url) as store:
        write(store, "a", "x")
        write(store, "b", "x")
    assert refusal(url, "docs", "delete", "a", "b", code=5) == "not_confirmed"
    assert refusal(url, "docs", "delete", "a", "gone", "--yes", code=3) == "no_document"
    assert len(ask(url, "docs", "list")["documents"]) == 2
    assert ask(url, "docs", "delete", "a", "a", "--yes") == {"deleted": ["a"]}
    assert [entry["id"] for entry in ask(url, "docs", "list")["documents"]] == ["b"]


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 5), (b"y\n", 0)])
def test_on_a_terminal_deleting_asks(url: str, answer: bytes, code: int) -> None:
    with opened(url) as store:
        write(store, "a", "x")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        command = [sys.executable, "-m", "collab", "docs", "--store", url, "delete", "a"]
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=30, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Delete 1 document with all versions: 'a'?" in done.stderr
    assert done.stdout == ("1 document deleted.\n" if code == 0 else "")


def test_compacting(url: str, tmp_path: Path) -> None:
    with opened(url) as store:
        for name in ("a", "b", "c"):
            write(store, name, "one ", "two ", "three")
        store.quarantine("c", "why")
    [told] = ask(url, "docs", "compact", "a")["documents"]
    assert (told["id"], told["compacted"], told["updates_before"]) == ("a", True, 3)
    assert told["size"] == ask(url, "docs", "show", "a")["size"] < told["size_before"]
    told = ask(url, "docs", "compact", "--all")["documents"]
    assert [(one["id"], one["compacted"]) for one in told] == [("a", False), ("b", True), ("c", False)]
    assert [entry["updates"] for entry in ask(url, "docs", "list")["documents"]] == [1, 1, 3]
    assert text_of(url, "a") == "one two three"
    assert "in quarantine: 'c'" in run(url, "docs", "compact", "--all").stdout
    with opened(url) as store:
        write(store, "d", "x", "y")
    damage(tmp_path / "collab.db")
    told = ask(url, "docs", "compact", "--all", code=1)["documents"]
    assert [one["id"] for one in told if one["damaged"]] == ["d"]


def test_verifying_reads_every_byte(url: str, tmp_path: Path) -> None:
    with opened(url) as store:
        write(store, "a", "x")
        write(store, "b", "one ", "two ", "three")
        loaded = store.load("b")
        assert loaded is not None
        for name in ("v1", "v2"):
            store.save_version("b", loaded.epoch, squash(loaded.updates), name)
        write(store, "c", "x")
        store.append([Record("c", "e1", b"\xff\xff", False)])
        store.quarantine("c", "cannot be read")
        write(store, "d", "x")
        store.quarantine("d", "just so")
    damage(tmp_path / "collab.db", which="min(id) + 2")
    damage(tmp_path / "collab.db", "collab_versions")
    answer = ask(url, "docs", "verify", "--all", code=1)
    told = {one["id"]: one for one in answer["documents"]}
    assert answer["damaged"] == 2
    assert {name: one["sound"] for name, one in told.items()} == {"a": True, "b": False, "c": False, "d": True}
    assert told["b"]["damaged_updates"] == [2]
    assert len(told["b"]["damaged_versions"]) == 1
    assert (told["c"]["damaged_updates"], told["c"]["quarantine"]) == ([2], "cannot be read")
    printed = run(url, "docs", "verify", "--all", code=1).stdout
    assert "b: damaged updates: 2 of 3" in printed and "d: in quarantine: just so" in printed
    assert "4 documents read, 2 damaged." in printed
    assert run(url, "docs", "verify", "a").stdout == "1 document read, 0 damaged.\n"
    assert refusal(url, "docs", "show", "b", "--format", "text", code=1) == "damaged"
    assert refusal(url, "docs", "export", "c", "-o", str(tmp_path / "x"), code=5) == "quarantined"
    assert refusal(url, "versions", "save", "c", code=5) == "quarantined"


def test_verifying_goes_on_behind_what_the_store_cannot_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as store:
        write(store, "a", "x")
        write(store, "b", "x")
        kind = type(store)
    original = kind.read

    def read(self: Store, document_id: str) -> Whole | None:
        if document_id == "a":
            raise StoreError("the file is damaged")
        return original(self, document_id)

    def gone(self: Store) -> None:
        raise StoreError("the store is gone")

    monkeypatch.setattr(kind, "read", read)
    told = ask(url, "docs", "verify", "--all", code=1)
    assert [(one["id"], one["sound"], one["error"]) for one in told["documents"]] == [
        ("a", False, "the file is damaged"),
        ("b", True, None),
    ]
    assert "a: the file is damaged" in run(url, "docs", "verify", "a", code=1).stdout
    monkeypatch.setattr(kind, "check", gone)
    assert refusal(url, "docs", "verify", "--all", code=4) == "store"


# ---- versions


def test_a_version_brings_the_old_text_back(url: str) -> None:
    with opened(url) as store:
        editor = write(store, "doc", "old ", "text")
        saved = ask(url, "versions", "save", "doc", "--name", "good")
        assert saved["name"] == "good"
        store.append([Record("doc", "e1", editor.delete(0, 4), False), Record("doc", "e1", editor.type(" new"), False)])
        assert text_of(url, "doc") == "text new"
        before = store.notices()
        answer = ask(url, "versions", "restore", "doc", "good")
        assert answer["version"] == saved["version"] and answer["changed"]
        assert [name for number, name in store.notices() if (number, name) not in before] == ["doc"]
        loaded = store.load("doc")
        assert loaded is not None and loaded.epoch == "e1", "it is an edit on top"
        editor.doc.apply_update(squash(loaded.updates))
    assert text_of(url, "doc") == str(editor) == "old text"
    assert run(url, "versions", "show", "doc", str(answer["before"]), "--format", "text").stdout == "text new"
    assert ask(url, "versions", "restore", "doc", str(saved["version"]))["changed"] is False
    run(url, "versions", "restore", "doc", str(answer["before"]))
    assert text_of(url, "doc") == "text new"


def test_versions_by_number_and_by_name(url: str) -> None:
    with opened(url) as store:
        write(store, "doc", "x")
        write(store, "other", "x")
    numbers = [ask(url, "versions", "save", "doc", "--name", name)["version"] for name in ("a b", "twice", "twice")]
    theirs = ask(url, "versions", "save", "other")["version"]
    listed = ask(url, "versions", "list", "doc")["versions"]
    assert [(one["version"], one["name"]) for one in listed] == [
        (numbers[2], "twice"),
        (numbers[1], "twice"),
        (numbers[0], "a b"),
    ]
    assert "a b" in run(url, "versions", "list", "doc").stdout
    assert ask(url, "versions", "show", "doc", "a b")["version"] == numbers[0]
    assert ask(url, "versions", "show", "doc", "a b", "--format", "json")["content"] == {"text": "x"}
    assert "Version 1 (a b) of 'doc'" in run(url, "versions", "show", "doc", "1").stdout
    assert refusal(url, "versions", "show", "doc", "twice", code=2) == "usage"
    assert refusal(url, "versions", "show", "doc", str(theirs), code=3) == "no_version"
    assert refusal(url, "versions", "delete", "doc", "a b", "none", code=3) == "no_version"
    for name in ("", " ", "12"):
        assert refusal(url, "versions", "save", "doc", "--name", name, code=2) == "usage"
    assert ask(url, "versions", "delete", "doc", "a b", str(numbers[1]))["deleted"] == numbers[:2]
    assert ask(url, "versions", "show", "doc", "twice")["version"] == numbers[2]
    run(url, "versions", "delete", "doc", "twice")
    assert run(url, "versions", "list", "doc").stdout == "It has no versions.\n"


def test_a_damaged_version_is_not_restored(url: str, tmp_path: Path) -> None:
    with opened(url) as store:
        write(store, "doc", "x")
    run(url, "versions", "save", "doc", "--name", "v")
    damage(tmp_path / "collab.db", "collab_versions")
    assert refusal(url, "versions", "restore", "doc", "v", code=1) == "damaged"
    assert ask(url, "docs", "show", "doc")["updates"] == 1


# ---- the console


class _Terminal:
    def __init__(self) -> None:
        self.shown = ""

    def write(self, text: str) -> int:
        self.shown += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress([1, 2, 3], "Working") as bar:
        assert list(bar) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.progress([1, 2, 3], "Working") as bar:
        assert list(bar) == [1, 2, 3]
    assert "Working" in terminal.shown and "100%" in terminal.shown
    assert capsys.readouterr().out == ""


def test_words_for_people() -> None:
    assert [console.size(number) for number in (0, 999, 1000, 1_234_567, 10**13)] == [
        "0 B",
        "999 B",
        "1.0 KB",
        "1.2 MB",
        "10.0 TB",
    ]
    assert console.plain("a\x1b[2J\n\u202e😀👩‍💻é") == "a\\x1b[2J\\n\\u202e😀👩‍💻é"
    assert console.quoted("-a b") == "-- '-a b'"
    assert console.named([str(n) for n in range(12)]).endswith("'9' and 2 more")
    assert (console.counted(1, "document"), console.counted(2000, "document")) == ("1 document", "2,000 documents")
