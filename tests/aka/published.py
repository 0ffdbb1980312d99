"""Reads the published test sets in tests/vectors, as pytest parameters named after the sets."""

import json
from pathlib import Path
from typing import Any

import pytest

_VECTORS = Path(__file__).parent.parent / "vectors"


def published(path: str) -> list[Any]:
    """The sets of one file, at least one."""
    sets = json.loads((_VECTORS / path).read_text())["vectors"]
    assert sets, path
    return [pytest.param(each, id=each["id"].replace(" ", "-")) for each in sets]


def octets(entry: dict[str, Any], *names: str) -> list[bytes]:
    """Hexadecimal fields as octets."""
    return [bytes.fromhex(entry[name]) for name in names]
