"""What a P-CSCF that demands IPsec makes of a home network that answers wrongly: nothing gets through (row 13, 46)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from redoubt.events import EventStream, MessageSeen
from redoubt.lab.population import residents
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

from .client import Card, Client

NONCE = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
KEYS = ('ck="{0}"', 'ik="{0}"')
WHOLE = "00112233445566778899aabbccddeeff"


@asynccontextmanager
async def between() -> AsyncIterator[tuple[Phone, Client, Network]]:
    """A phone, and a home network that says what a test tells it, around a P-CSCF."""
    core = await Client.open(Card.of("core", "home.test"), ("127.0.0.1", 0))
    events = EventStream()
    events.tracing = True
    home = {"i-cscf": {"listen": [f"udp:127.0.0.1:{core.address[1]}"]}}
    network = await Network.temporary(home, only=("p-cscf",), events=events)
    core.server = next(
        (host, int(port)) for host, _, port in (place.rpartition(":") for place in list(network.names)[-1:])
    )
    [alice] = residents(["alice"], network.config.network.realm, SeededRandomness(1))
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(2))
    host, port = network.p_cscf_address
    gm = GmOptions(port=network.tunnel_address[1])
    phone = Phone(context, alice.card(), Stack(context), f"sip:{host}:{port}", renews=False, gm=gm)
    phone.registration.attempts = 1
    await phone.open("udp:127.0.0.1:0")
    try:
        yield phone, core, network
    finally:
        await phone.close()
        await network.close()
        core.close()


@pytest.mark.parametrize(
    "keys",
    [
        (),
        (KEYS[0].format(WHOLE),),
        tuple(key.format(WHOLE[2:]) for key in KEYS),
        tuple(key.format("zz" * 16) for key in KEYS),
    ],
    ids=["none", "one", "too short", "no hexadecimal"],
)
async def test_a_challenge_without_usable_keys_goes_no_further(keys: tuple[str, ...]) -> None:
    async with between() as (phone, core, network):
        registering = asyncio.create_task(phone.register())
        request = await core.request("REGISTER")
        challenge = ", ".join((f'Digest realm="home.test", nonce="{NONCE}", algorithm=AKAv1-MD5', *keys))
        core.respond(request, 401, ("WWW-Authenticate", challenge))
        assert (await registering).status == 502
        assert network.table_sizes()["p-cscf association sets"] == 0


async def test_a_200_to_a_register_that_nothing_protected_registers_nobody() -> None:
    async with between() as (phone, core, network):
        registering = asyncio.create_task(phone.register())
        request = await core.request("REGISTER")
        core.respond(request, 200, ("Contact", f"{request.get('Contact')};expires=600"))
        assert (await registering).status == 502
        assert network.table_sizes()["p-cscf bindings"] == 0


async def test_a_security_server_of_home_s_own_making_does_not_reach_the_phone() -> None:
    async with between() as (phone, core, network):
        registering = asyncio.create_task(phone.register())
        request = await core.request("REGISTER")
        core.respond(request, 403, ("Security-Server", "ipsec-3gpp;alg=null;ealg=null"))
        assert (await registering).status == 403
        assert not request.has("Security-Client")
        told = [event for event in network.context.events.recent if isinstance(event, MessageSeen)]
        refusals = ["Security-Server" in event.text for event in told if event.text.startswith("SIP/2.0 403")]
        assert refusals == [True, False], "from home, and to the phone"
