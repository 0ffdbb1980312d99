"""A registered phone at the edge of the network: what it addresses to places of its own choice leaves by the border, or
not at all. Sent there directly it would tell who is inside, and reach what no agreement covers (TS 24.229 5.10.2)."""

from pathlib import Path

import pytest

from redoubt.events import Refused

from .peering import pair_of, running
from .registrar import registrar


@pytest.mark.parametrize("target", ["sip:x@{host}:{port}", "sip:x@nowhere.alpha.example:{port};maddr={host}"])
async def test_a_phone_sends_no_node_to_an_address_of_its_choice(tmp_path: Path, target: str) -> None:
    alpha, _ = pair_of(tmp_path)
    async with running(alpha):
        alice = await alpha.net.registered("alice")
        async with registrar() as (host, port):
            answer = await alice.ask(alice.make("MESSAGE", target.format(host=host, port=port)))
        assert answer.status == 404
        [why] = [event.why for event in alpha.net.events(Refused) if event.node == "ibcf"]
        assert why.startswith("no agreement of [[partners]] leads to ")


@pytest.mark.parametrize("where", ["scscf.alpha.example", "alpha.example;maddr=127.66.0.1", "127.66.0.1", "[::1]:5072"])
async def test_a_phone_registers_with_networks_and_not_with_nodes(tmp_path: Path, where: str) -> None:
    """Past the I-CSCF nobody would ask the HSS whether it may (TS 24.229 5.3.1.2)."""
    alpha, _ = pair_of(tmp_path)
    async with running(alpha):
        alice = await alpha.net.phone("alice")
        register = alice.register()
        register.uri = f"sip:{where}"
        assert (await alice.ask(register)).status == 403
