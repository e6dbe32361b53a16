"""The README is complete: every setting, metric, close code, error code and command is in it, and nothing else is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
from frontend import FOLDER

from collab import errors
from collab.cli import main
from collab.config import PREFIX, Settings
from collab.metrics import METRICS
from collab.protocol.frames import CloseCode

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match, f"the README has no section {title!r}"
    return match[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables = "\n".join(lines)
    body = re.sub(r"^\|.*\n\|(?:---\|)+$", "", tables, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines() if line]


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    told = {row[0].strip("` "): row[1] for row in rows(section("Settings"))}
    known = {PREFIX + field.name.upper(): _written(field.default) for field in fields(Settings)}
    assert told == known


def _written(default: object) -> str:
    if isinstance(default, str):
        return f"`{default}`" if default else "none"
    return str(default) if isinstance(default, int) else f"{default:g}"


def test_every_metric_is_in_the_readme_in_the_same_words() -> None:
    told = {row[0].strip("` "): (row[1], row[2].rstrip("| ")) for row in rows(section("Metrics"))}
    known = {
        name: (f"{metric.kind}, `{metric.label}`" if metric.label else metric.kind, metric.text)
        for name, metric in METRICS.items()
    }
    assert told == known


def test_every_close_code_is_in_the_readme() -> None:
    assert {int(row[0]) for row in rows(section("Close codes"))} == {int(code) for code in CloseCode}


def test_every_error_code_is_in_the_readme() -> None:
    table = section("The native protocol").partition("| error code |")[2]
    told = {code for row in rows(f"| |\n|---|{table}") for code in re.findall(r"`([a-z_]+)`", row[0])}
    others = {"too_slow", "quarantined", "unauthenticated", "forbidden", "kicked"}
    assert told == {kind.code for kind in _leaves(errors.InvalidMessage)} | others


def _leaves(kind: type[errors.InvalidMessage]) -> list[type[errors.InvalidMessage]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


def test_every_command_and_option_is_in_the_readme() -> None:
    assert isinstance(main, click.Group)
    for name, command in main.commands.items():
        assert f"collab {name}" in README
        for option in command.params:
            assert any(spelling in README or spelling.upper() in README for spelling in option.opts), option.opts


def test_every_setting_named_anywhere_exists() -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    for path in [*(ROOT / "collab").rglob("*.py"), *(ROOT / "deploy").iterdir(), *(ROOT / "docs").iterdir()]:
        named = set(re.findall(r"COLLAB_[A-Z_]+[A-Z]", path.read_text())) - {"COLLAB_BINARY", "COLLAB_COMPLETE"}
        assert named <= known, path


def test_ci_runs_the_readmes_test_command() -> None:
    match = re.search(r"```sh\n(.*)\n```", section("Test it"))
    assert match
    assert match[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_map_of_the_code_names_files_that_exist() -> None:
    for name in re.findall(r"`(collab/[\w/.]*)`", README):
        assert (ROOT / name).exists(), name


def test_no_file_names_a_registry_host() -> None:
    hosts = re.compile(r"registry\.npmjs\.org|files\.pythonhosted\.org|pypi\.org/simple|deb\.debian\.org")
    listed = [
        ROOT / name
        for name in (
            "setup.cfg",
            "pyproject.toml",
            ".ci/run",
            "tests/interop/package-lock.json",
            f"{FOLDER}/package-lock.json",
        )
    ]
    assert [path.name for path in listed if hosts.search(path.read_text())] == []


def test_every_line_of_the_threat_model_names_code_and_tests_that_exist() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text()
    lines = rows(page)
    assert len(lines) > 20
    for line in lines:
        for name in re.findall(r"`(collab/[\w/.]+)`", line[2]):
            assert (ROOT / name).exists(), name
        proofs = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", line[-1])
        assert proofs, line[0]
        for file, test in proofs:
            assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text() if test else (ROOT / "tests" / file).exists()
