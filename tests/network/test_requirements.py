"""Keeps docs/requirements.md true: every test that it names exists, every row and protection has one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from redoubt.config.protections import PROTECTIONS

from .test_attacks import ATTACKS

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "requirements.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)))
ROWS = [*range(1, 48), *range(52, 60), *range(61, 84), *range(91, 97), 100, *range(103, 117)]


@cache
def functions(path: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda text: text)
def test_a_test_that_the_table_names_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file(), f"docs/requirements.md names {path}"
    assert name in functions(path), f"docs/requirements.md names {path}::{name}"


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_requirements_has_a_test(row: int) -> None:
    (line,) = [line for line in TABLE.splitlines() if line.startswith(f"| {row} |")]
    assert "::test_" in line


def test_every_protection_has_its_attack() -> None:
    folder, media = ROOT / "tests" / "diameter", ROOT / "tests" / "media" / "test_attacks.py"
    border = ROOT / "tests" / "border" / "test_attacks.py"
    gm, names = Path(__file__).with_name("test_gm_attacks.py"), ROOT / "tests" / "ndm" / "test_dns_attacks.py"
    peering, roaming = (Path(__file__).with_name(f"test_{name}.py") for name in ("peering_attacks", "roaming"))
    places = (peering, roaming, folder / "test_attacks.py", folder / "test_cx.py", gm, media, border, names)
    elsewhere = "".join(place.read_text() for place in places)
    assert {*ATTACKS, *re.findall(r'@against\("([\w-]+)"', elsewhere)} == set(PROTECTIONS)
