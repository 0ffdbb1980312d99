"""The suite of registration and calls over the kernel's ESP, unchanged: one pytest in a kernel that has ESP."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.guest import LACKING, WHY, boot

from .conftest import BOTH, ON_A_WIRE, ON_A_WIRE_TOO

PATIENCE_S = 540.0
PARTS = {"registration and calls": (BOTH, 180), "handsets, attacks, restarts": (ON_A_WIRE | ON_A_WIRE_TOO, 40)}
SUITE = "-m pytest -q -p no:cacheprovider -k 'kernel and not restarted'"

pytestmark = pytest.mark.skipif(LACKING, reason=WHY)


@pytest.mark.parametrize("part", PARTS)
def test_phones_register_and_call_over_the_kernels_esp_on_ipv4_and_ipv6(part: str, tmp_path: Path) -> None:
    report, (names, at_least) = tmp_path / "report.xml", PARTS[part]
    modules = " ".join(f"tests/network/{name}.py" for name in sorted(names))
    boot(tmp_path, f"{SUITE} {modules} --junitxml={report}", PATIENCE_S, "REDOUBT_KERNEL_HAS_ESP=1")
    said = (tmp_path / "result").read_text() + (tmp_path / "errors").read_text()
    assert report.exists(), said
    cases = ElementTree.parse(report).getroot().findall(".//testcase")
    assert [case.get("name") for case in cases if len(case)] == [], said
    assert len(cases) > at_least, said
