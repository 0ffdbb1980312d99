"""`redoubt ue --discover`: by the network's list, and by DNS with the operator's own name server."""

import asyncio
from pathlib import Path

from tests.cli.test_ue import ALICE, lab

from redoubt.network.configuration import load
from redoubt.network.name_server import OperatorDns, OperatorZones
from redoubt.sources import Clock
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen


async def test_the_next_of_the_list_is_tried_where_nobody_listens(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        assert made.network is not None
        port = made.network.p_cscf_address[1]
        done = await made("ue", "register", "alice", "--discover", f"pco:127.0.0.1:9,127.0.0.1:{port}")
        assert done.status == 0, done.errors
        assert f"{ALICE} is registered" in done.output
        done = await made("ue", "deregister", "alice", "--discover", "pco:127.0.0.1:9")
        assert (done.status, "nobody listens at sip:127.0.0.1:9" in done.errors) == (1, True)


async def test_the_home_network_s_name_server_says_where_its_p_cscf_is(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        assert made.network is not None
        zones = OperatorZones(load(tmp_path / "redoubt.toml"), made.network.directory)
        server = await OperatorDns.start(
            zones, Clock(asyncio.get_running_loop()), [Listen.parse("udp:127.0.0.1:0", Zone.CORE)]
        )
        with (tmp_path / "redoubt.toml").open("a") as file:
            file.write(f'[dns]\nservers = ["udp:127.0.0.1:{server.addresses[0][1][1]}"]\n')
        done = await made("ue", "register", "alice", "--discover", "dns")
        assert done.status == 0, done.errors
        assert f"{ALICE} is registered" in done.output
        done = await made("ue", "register", "alice", "--discover", "dns:nowhere.example")
        assert (done.status, "DNS has no P-CSCF for nowhere.example" in done.errors) == (1, True)
        server.close()


async def test_what_is_no_way_to_find_one_gets_a_sentence(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        wrong = {"guess": "none of pco:ADDRESS", "pco:example.org": "no IP address", "pco:": "no address"}
        for how, says in wrong.items():
            done = await made("ue", "register", "alice", "--discover", how)
            assert (done.status, says in done.errors) == (1, True), done.errors
        both = await made("ue", "register", "alice", "--discover", "dns", "--proxy", "sip:127.0.0.1")
        assert "write one of them" in both.errors
