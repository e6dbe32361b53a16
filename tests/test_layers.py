"""What may import what, and how large it may be: the rules of the architecture, read from the source.

A module imports only from its own layer or a lower one. What is imported for type checkers alone is free of that.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "collab"

LAYERS = (
    {"errors", "config", "clock", "metrics", "identity", "names"},
    {"protocol", "awareness", "limits", "networks", "grants"},
    {
        "updates",
        "content",
        "history",
        "seeds",
        "commit",
        "document",
        "member",
        "receipts",
        "statuses",
        "telling",
        "journal",
        "gathering",
        "room",
        "presence",
    },
    {"logs", "tracing", "exporting", "transport", "stores", "auth", "keys", "keyset", "tokens", "platforms"},
    {
        "admission",
        "comings",
        "crew",
        "backlog",
        "door",
        "intake",
        "events",
        "connection",
        "handlers",
        "listener",
        "session",
        "solo",
        "traced",
        "seat",
        "shared",
        "offloop",
        "writer",
        "saver",
        "archive",
        "caretaker",
        "looppass",
        "rooms",
        "pulse",
        "versions",
        "steered",
        "departures",
        "hub",
        "gauges",
        "stats",
        "steering",
    },
    {"ext", "app", "web", "commands", "cli", "control", "server", "serverlog", "testing", "__init__", "__main__"},
)
"""Modules and packages by layer, the lowest first. A new one has to be given its place here."""

GEVENT_FROM = 3
SOCKETS = {"socket", "_socket", "select", "selectors", "ssl"}
FLASK = {"flask", "flask_sock", "werkzeug", "simple_websocket"}
CLOCKS = {"time", "datetime"}

MAX_MODULE = 300
MAX_FUNCTION = 40


def name_of(path: Path) -> str:
    """A module's name inside the package, such as ``web.sockets``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


TREES = {name_of(path): ast.parse(path.read_text(), path.name) for path in sorted(PACKAGE.rglob("*.py"))}
LENGTHS = {name_of(path): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
every_module = pytest.mark.parametrize("module", TREES)


def layer_of(module: str) -> int:
    """The layer of a module of the package."""
    (layer,) = [n for n, names in enumerate(LAYERS) if module.partition(".")[0] in names] or [-1]
    return layer


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def import_statements(node: ast.AST, *, type_checking: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports below `node`, those inside functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif isinstance(child, ast.If) and is_type_checking(child) and not type_checking:
            for other in child.orelse:
                yield from import_statements(ast.Module([other], []), type_checking=False)
        else:
            yield from import_statements(child, type_checking=type_checking)


def imported(module: str) -> set[str]:
    """Full names of the modules that a module imports when it runs."""
    names: set[str] = set()
    for node in import_statements(TREES[module], type_checking=False):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner.removeprefix("collab.") in TREES else str(node.module))
    return names


def ours(module: str) -> set[str]:
    """Modules of the package that a module imports, by their names inside it."""
    names = {name for name in imported(module) if name.partition(".")[0] == "collab"}
    return {name.removeprefix("collab.") if name != "collab" else "__init__" for name in names}


def others(module: str) -> set[str]:
    """Top-level names of what a module imports from elsewhere."""
    return {name.partition(".")[0] for name in imported(module)} - {"collab"}


@every_module
def test_a_module_has_its_place_in_the_table(module: str) -> None:
    assert layer_of(module) >= 0, f"collab.{module} is in no layer"


@every_module
def test_a_module_imports_from_its_own_layer_or_a_lower_one(module: str) -> None:
    assert {name for name in ours(module) if layer_of(name) > layer_of(module)} == set()


@every_module
def test_imports_are_absolute_and_name_what_they_import(module: str) -> None:
    for node in import_statements(TREES[module], type_checking=True):
        assert not (isinstance(node, ast.ImportFrom) and node.level), ast.unparse(node)
        assert "*" not in [alias.name for alias in node.names], ast.unparse(node)


def test_the_foundations_need_the_standard_library_only() -> None:
    for module in filter(lambda module: layer_of(module) == 0, TREES):
        assert others(module) <= sys.stdlib_module_names
        assert ours(module) <= ({"errors"} if module == "config" else set())


def test_the_pure_modules_do_no_io_and_read_no_clock() -> None:
    for module in filter(lambda module: layer_of(module) == 1, TREES):
        assert others(module) & ({"gevent", "greenlet", "pycrdt"} | SOCKETS | FLASK | CLOCKS) == set()
        assert "clock" not in ours(module)


def test_gevent_is_for_the_edges_and_what_runs() -> None:
    for module in filter(lambda module: layer_of(module) < GEVENT_FROM, TREES):
        assert others(module) & ({"gevent", "greenlet"} | SOCKETS | FLASK) == set()


def test_only_what_handles_content_imports_pycrdt() -> None:
    assert {module for module in TREES if "pycrdt" in others(module)} <= {"updates", "content", "commit", "document"}


@every_module
def test_a_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(TREES[module])


@every_module
def test_a_module_and_its_functions_are_short(module: str) -> None:
    assert LENGTHS[module] <= MAX_MODULE
    for node in ast.walk(TREES[module]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import collab.hub", {"hub"}),
        ("from collab import hub, VERSION", {"hub", "__init__"}),
        ("from collab.protocol import frames", {"protocol.frames"}),
        ("from collab.protocol.frames import TEXT", {"protocol.frames"}),
        ("def f():\n    import collab.room", {"room"}),
        ("try:\n    import collab.room\nexcept ImportError:\n    pass", {"room"}),
        ("if TYPE_CHECKING:\n    import collab.hub\nelse:\n    import collab.room", {"room"}),
        ("if X:\n    import collab.room", {"room"}),
    ],
)
def test_the_reader_of_imports_sees_them_wherever_they_are(
    monkeypatch: pytest.MonkeyPatch, source: str, names: set[str]
) -> None:
    monkeypatch.setitem(TREES, "app", ast.parse(source))
    assert ours("app") == names
