"""`redoubt demo interconnect`, as people run it: every claim holds, with root and without."""

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from redoubt.cli.demo import command
from redoubt.lab.demo_interconnect import demo_interconnect
from redoubt.lab.demo_interconnect_gateways import lacks_gateways
from redoubt.lab.demo_interconnect_hosts import may_make_networks
from redoubt.lab.demo_interconnect_show import Outcome


def missed(outcome: Outcome) -> list[str]:
    return [claim for claim, held in outcome.verdict.claims if not held]


async def test_on_loopback_it_shows_each_act_and_what_is_on_each_wire() -> None:
    out = io.StringIO()
    outcome = await demo_interconnect(Console(file=out, width=150), namespaces=False)
    shown = out.getvalue()
    assert missed(outcome) == [], shown
    assert outcome.verdict.exit_status == 0 and "need root" in outcome.left_out
    for told in ("=== Over the bare Internet", "=== Borders and TLS", "=== By a hub", "BORDER ALPHA", "PASSED"):
        assert told in shown
    assert "unreadable" not in shown
    bare, by_tls, *by_hub = [found for _, found in outcome.findings]
    assert bare.messages > 10 and bare.keys == 2 and "alice@alpha.example" in bare.identities
    assert by_tls.is_silent and all(found.is_silent for found in by_hub)


async def test_with_root_each_operator_has_a_host_and_gateways_a_tunnel() -> None:
    if not may_make_networks():
        pytest.skip("this user may not make network namespaces")
    outcome = await demo_interconnect(namespaces=True)
    assert missed(outcome) == []
    assert outcome.left_out == lacks_gateways()
    if not outcome.left_out:
        assert set(outcome.findings[-1][1].packets) == {"IKE", "ESP"}


def test_machines_get_claims_and_wires_as_one_object() -> None:
    done = CliRunner().invoke(command, ["interconnect", "--loopback", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["passed"] is True
    assert {wire["act"] for wire in told["wires"]} == {"Over the bare Internet", "Borders and TLS", "By a hub"}
    assert all(claim["held"] for claim in told["claims"])
