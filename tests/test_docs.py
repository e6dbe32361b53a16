"""The README is complete: every setting, metric, close code, error code and command is in it, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import fields
from functools import cache

import click
import pytest
import readme
from frontend import FOLDER
from processes import ROOT
from readme import PAGES, block, fenced, page, section

from collab import errors
from collab.cli import main
from collab.config import PREFIX, Settings
from collab.metrics import METRICS
from collab.protocol.frames import CloseCode

README = page("README.md")


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


def test_every_error_code_is_in_the_native_protocol() -> None:
    table = page("docs/native-protocol.md").partition("| error code |")[2].partition("\n\n")[0]
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
    others = {"COLLAB_BINARY", "COLLAB_COMPLETE"}
    for path in [*(ROOT / "collab").rglob("*.py"), *(ROOT / "deploy").iterdir(), *map(ROOT.joinpath, PAGES)]:
        named = set(re.findall(r"COLLAB_[A-Z_]+[A-Z](?![A-Z]|_…)", path.read_text()))
        assert named <= known | others, path


def test_what_the_readme_says_of_troubles_is_what_the_server_says() -> None:
    text = section("Run it for others").partition("### Troubleshooting")[2]
    labelled = {name: METRICS[name].label for name in re.findall(r"`(\w+)\{code\}`", text)}
    assert set(labelled.values()) == {"code"} and labelled
    source = "".join(path.read_text() for path in (ROOT / "collab").rglob("*.py"))
    lines = {"reach this server by", "Refused a connection", "Changes cannot be stored", "ended by"}
    words = {word for word in re.findall(r"`([a-z_]+)`", text) if "_" in word or word in ("full", "kicked", "dead")}
    assert all(line in text and line in source for line in lines)
    assert [word for word in words if word not in METRICS and f'"{word}"' not in source] == []


def test_ci_runs_the_readmes_test_command() -> None:
    assert block("README.md", "sh", "pytest").rstrip() in (ROOT / ".ci" / "run").read_text().splitlines()


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
    lines = rows(page("docs/threat-model.md"))
    assert len(lines) > 20
    for line in lines:
        for name in re.findall(r"`(collab/[\w/.]+)`", line[2]):
            assert (ROOT / name).exists(), name
        proofs = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", line[-1])
        assert proofs, line[0]
        for file, test in proofs:
            assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text() if test else (ROOT / "tests" / file).exists()


# ---- that each block of code is run, and each link leads somewhere


@cache
def taken() -> list[tuple[str, list[str]]]:
    """What tests take from pages by `block` and `blocks`: the call's name, and its arguments, which are literal."""
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        if "node_modules" in path.parts or path.name == "readme.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("block", "blocks"):
                arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                assert len(arguments) == len(node.args) and not node.keywords, f"{path}:{node.lineno} is not literal"
                found.append((node.func.id, [str(argument) for argument in arguments]))
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_code_is_taken_by_a_test(name: str) -> None:
    ways: dict[str, Callable[..., list[str]]] = {"block": lambda *what: [readme.block(*what)], "blocks": readme.blocks}
    known = [code for way, (where, *what) in taken() if where == name for code in ways[way](name, *what)]
    assert [code for _, code in fenced(name) if code not in known] == []


def anchors(name: str) -> set[str]:
    """What links to a page may name behind `#`: its headings, as forges spell them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page(name), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, "CHANGES.md"])
def test_every_link_leads_to_a_file_and_a_heading_that_exist(name: str) -> None:
    text = re.sub(r"^```.*?^```$", "", page(name), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        assert found.exists(), target
        assert not anchor or anchor in anchors(str(found.relative_to(ROOT))), target


def test_every_page_is_linked_from_the_readme() -> None:
    assert [name for name in PAGES[1:] if f"]({name}" not in README] == []
