"""Keeps the house: import order, lengths, clocks and sockets in their rooms, one broad except."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "redoubt"
# An import may only point to a folder later in this list (architecture: Layout).
ORDER = [
    "cli", "console", "lab", "network", "phone", "gba", "border", "cscf", "application", "media", "hss", "ndm", "gm",
    "aka", "charging", "diameter", "sip", "transport", "sim", "events", "config", "expressions", "xml", "limits",
    "secret", "sources",
]  # fmt: skip
FILE_LINES = 400
FUNCTION_LINES = 50
# Rooms that may touch the outside: sockets, files, clocks, the system's randomness.
OUTSIDE = {"transport", "cli", "lab", "network", "sources.py"}
FORBIDDEN_CALLS = {
    ("time", "time"), ("time", "monotonic"), ("time", "perf_counter"), ("os", "urandom"), ("socket", "socket"),
    ("secrets", "token_bytes"), ("secrets", "token_hex"), ("random", "random"),
    ("datetime", "now"), ("datetime", "utcnow"),
}  # fmt: skip
BROAD_EXCEPT = {"sip/service.py", "sim"}

FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0].removesuffix(".py")


def imported(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("redoubt."):
            names.append(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "redoubt":
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("redoubt.")]
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_point_down(path: Path) -> None:
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    assert here in ORDER, f"{here} has no place in the layout"
    upward = [name for name in imported(TREES[path]) if name not in ORDER or ORDER.index(name) < ORDER.index(here)]
    assert not upward, f"{path} imports {upward}, which stand above {here}"


def test_modules_import_each_other_without_cycles() -> None:
    graph: dict[str, set[str]] = {}
    names = {".".join(("redoubt", *path.relative_to(ROOT).with_suffix("").parts)): path for path in FILES}
    for name, path in names.items():
        found = set()
        for node in TREES[path].body:
            if isinstance(node, ast.ImportFrom) and node.module in names:
                found.add(node.module)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}.{alias.name}" for alias in node.names} & names.keys()
        graph[name] = found
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a cycle: {' -> '.join((*above, name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES, "asks to be two files"
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_clock_sockets_and_randomness_stay_in_their_rooms(path: Path) -> None:
    if room(path) in OUTSIDE or path.name in OUTSIDE:
        return
    for node in ast.walk(TREES[path]):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            call = (node.func.value.id, node.func.attr)
            assert call not in FORBIDDEN_CALLS, f"line {node.lineno}: {'.'.join(call)} belongs to the composition root"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_exceptions_are_caught_by_name(path: Path) -> None:
    where = str(path.relative_to(ROOT))
    if where in BROAD_EXCEPT or room(path) in BROAD_EXCEPT:
        return
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ExceptHandler):
            names = (
                {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"everything"}
            )
            assert not names & {"Exception", "BaseException", "everything"}, f"line {node.lineno} catches everything"


def test_public_modules_say_what_they_are() -> None:
    silent = [str(path) for path in FILES if path.name != "__init__.py" and not ast.get_docstring(TREES[path])]
    assert not silent
