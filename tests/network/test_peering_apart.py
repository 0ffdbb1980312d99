"""The border in a process of its own, a plain SIP partner in clear, and a border that is flooded with handshakes."""

import asyncio
import contextlib
import ssl
from pathlib import Path

from tests.ports import free_port

from redoubt import limits
from redoubt.network.run import Network
from redoubt.sources import SeededRandomness

from .home import Home, subscribers
from .peering import Operator, pair_of, running, until
from .test_peering_certificates import spoken


async def messages(*homes: Home) -> None:
    """Alice of the one and Bob of the other write to each other."""
    alice, bob = await homes[0].registered("alice"), await homes[1].registered("bob")
    for sender, receiver in ((alice, bob), (bob, alice)):
        message = sender.make("MESSAGE", receiver.card.impu)
        sender.send(message)
        receiver.respond(await receiver.request("MESSAGE"), 200)
        assert (await sender.final(message)).status == 200


async def test_the_border_may_be_a_process_of_its_own(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    tree = alpha.tree()
    inside = f"127.{alpha.number}.0.2"
    for section in ("i-cscf", "s-cscf"):
        tree[section] = {"listen": [f"udp:{inside}:{free_port(inside)}"]}
    tree["ibcf"] = {**tree["ibcf"], "core": [f"udp:{inside}:{free_port(inside)}"]}
    async with contextlib.AsyncExitStack() as stack, running(beta):
        border = await Network.temporary(tree, only=("ibcf",), randomness=SeededRandomness(5))
        stack.push_async_callback(border.close)
        rest = await Network.temporary(
            tree, only=("p-cscf", "i-cscf", "s-cscf", "hss"), randomness=SeededRandomness(6)
        )
        stack.push_async_callback(rest.close)
        assert rest.border is None and border.hss is None and rest.hss is not None
        home = Home(rest, rest.hss, rest.directory)
        stack.callback(home.close)
        await rest.hss.administration.add(subscribers(alpha.realm, ("alice",)))
        await messages(home, beta.net)


async def test_a_flood_of_handshakes_from_one_address_keeps_no_partner_out(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    async with running(beta):
        writers = []
        for _ in range(limits.TLS_HANDSHAKES_PER_SOURCE + 10):
            _, writer = await asyncio.open_connection(*beta.address, local_addr=("127.66.0.1", 0))
            writers.append(writer)
        await until(lambda: any("too many TLS handshakes" in why for why in beta.refusals()))
        assert (await spoken(alpha, beta, "border")).startswith(b"SIP/2.0")
        for writer in writers:
            writer.close()


async def test_in_clear_only_the_agreed_addresses_are_answered(tmp_path: Path) -> None:
    """A plain SIP network; everybody else who sends to that socket hears nothing (row 54)."""
    alpha, beta = Operator.of(tmp_path, "alpha", 1), Operator.of(tmp_path, "beta", 2)
    for one, other in ((alpha, beta), (beta, alpha)):
        one.security = "none"
        one.partners = [{"name": other.name, "domains": [other.realm], "connect": [f"udp:{other.host}:{other.port}"],
                         "kind": "sip", "security": "none", "addresses": [other.host]}]  # fmt: skip
    async with running(alpha, beta):
        await messages(alpha.net, beta.net)
        stranger = await beta.net.stranger("ibcf", host="127.66.0.1")
        stranger.server = beta.address
        stranger.send(stranger.make("OPTIONS", f"sip:{beta.realm}"))
        assert await stranger.hears_nothing()
        assert any("no agreement" in why for why in beta.refusals())


async def test_a_partner_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    pem = alpha.pki.path / "border"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(f"{pem}.pem", f"{pem}.key")
    async with running(beta):
        opened = [
            await asyncio.open_connection(*beta.address, ssl=context) for _ in range(limits.CONNECTIONS_PER_PARTNER + 1)
        ]
        await until(lambda: any("connections open already" in why for why in beta.refusals()))
        assert beta.net.network.border is not None
        (partner,) = beta.net.network.border.partners
        assert len(partner.flows) == limits.CONNECTIONS_PER_PARTNER
        for _, writer in opened:
            writer.close()
