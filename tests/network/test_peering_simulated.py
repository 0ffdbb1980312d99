"""Two networks in virtual time: what happens to calls when the ground between them gives way, and that it drains."""

import asyncio

from redoubt.events import Bug
from redoubt.network.run import Network
from redoubt.sim import DeclaredTls, run
from redoubt.sim import Network as Wire
from redoubt.sources import SeededRandomness
from redoubt.transport.tls import TlsSettings

from .calls import AS_SDP, SDP, call
from .client import Client
from .home import CLEAR, Home, subscribers

HOSTS = {"alpha": "10.1.0", "beta": "10.2.0"}


def declared(*names: str) -> TlsSettings:
    mine = DeclaredTls(names, check_hostname=False, require_peer=True)
    return TlsSettings(mine, mine)  # type: ignore[arg-type]


async def operator(name: str, other: str, shown: str = "") -> Home:
    """A network whose border stands at .1 and all else at .2."""
    border, inside, there = f"{HOSTS[name]}.1", f"{HOSTS[name]}.2", f"{HOSTS[other]}.1"
    tree = {
        "access": CLEAR,
        "network": {"realm": f"{name}.example", "trusted-nodes": [inside]},
        "p-cscf": {"listen": [f"udp:{inside}:5060"], "core": [f"udp:{inside}:5070"]},
        "i-cscf": {"listen": [f"udp:{inside}:5071"]},
        "s-cscf": {"listen": [f"udp:{inside}:5072"]},
        "gm": {"listen": []},
        "hss": {"diameter": [f"tcp:{inside}:3868"]},
        "ibcf": {"listen": [f"tls:{border}:5061"], "core": [f"udp:{inside}:5073"]},
        "partners": [{"name": other, "domains": [f"{other}.example"], "connect": [f"tls:{there}:5061"]}],
    }
    seed = list(HOSTS).index(name) + 1
    tls = declared(f"sip:{shown or name}.example")
    network = await Network.temporary(tree, randomness=SeededRandomness(seed), epoch_s=1.8e9, border_tls=tls)
    assert network.hss is not None
    made = Home(network, network.hss, network.directory)
    await network.hss.administration.add(subscribers(made.realm, ("alice", "bob")))
    return made


async def phone(home: Home, name: str) -> Client:
    """Registered, at an address of its own."""
    return await home.registered(name, host=home.network.p_cscf_address[0].removesuffix("2") + "9")


def drained(home: Home) -> bool:
    busy = ("transactions", "exchanges", "dialogs")
    return not any(size for name, size in home.network.table_sizes().items() if name.endswith(busy))


def test_a_partition_ends_no_network_and_calls_go_on_when_it_heals() -> None:
    async def main(wire: Wire) -> None:
        alpha, beta = await operator("alpha", "beta"), await operator("beta", "alpha")
        alice, bob = await phone(alpha, "alice"), await phone(beta, "bob")
        made = await call(alice, bob)
        wire.partition("10.1.0.1", "10.2.0.1")
        lost = alice.make("INVITE", bob.card.impu, None, AS_SDP, body=SDP)
        assert (await alice.ask(lost, 60.0)).status in (408, 480, 500, 504), "no call hangs"
        wire.heal()
        await asyncio.sleep(60)
        assert await made.lives(), "the dialog outlives the connection"
        bye = made.from_callee("BYE", 70)
        bob.send(bye)
        alice.respond(await alice.request("BYE"), 200)
        assert (await bob.final(bye)).status == 200
        await asyncio.sleep(400)
        for home in (alpha, beta):
            assert not home.events(Bug) and drained(home), home.network.table_sizes()
            home.close()
            await home.network.close()

    run(main, 1)


def test_who_declares_another_name_is_no_partner() -> None:
    async def main(_wire: Wire) -> None:
        alpha, beta = await operator("alpha", "beta"), await operator("beta", "alpha", shown="gamma")
        alice = await phone(alpha, "alice")
        assert (await alice.ask(alice.make("MESSAGE", "sip:bob@beta.example"))).status >= 400
        assert "gamma.example" in alpha.why()
        for home in (alpha, beta):
            home.close()
            await home.network.close()

    run(main, 1)
