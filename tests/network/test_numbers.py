"""Calls to telephone numbers on a whole network: own users, ENUM by DNS, out by the BGCF (TS 24.229 5.4.3.2, 5.6)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.ndm.name_server import NameServer, zone

from redoubt.events import Event
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.network.verdict import attempts
from redoubt.secret import Secret
from redoubt.sip.message import Request, Response

from .client import OPC, Card, Client, key_of
from .home import Home, home

KNOWN = {("3.2.1.0.3.9.4.e164.example.", "NAPTR"): ['10 10 "u" "E2U+sip" "!^.*$!sip:bob@partner.example!" .']}
OWN = "tel:+4930100"


@asynccontextmanager
async def numbered(routes: bool = True, partners: str = "any") -> AsyncIterator[tuple[Home, Client]]:
    """A network with Dora, who has a number, and somebody outside who is gateway and partner at once."""
    outside = await Client.open(Card.of("outside", "x"), ("127.0.0.1", 1))
    server = await NameServer.open(zone(KNOWN))
    at = f"127.0.0.1:{outside.address[1]}"
    tree: dict[str, Any] = {
        "network": {"routes": {"partner.example": f"udp:{at}"}},
        "dns": {
            "servers": [f"udp:127.0.0.1:{server.address[1]}"], "enum-roots": ["e164.example"], "partners": partners,
        },
        "bgcf": {"routes": [{"prefix": "+33", "to": f"sip:{at}"}] if routes else []},
    }  # fmt: skip
    try:
        async with home(tree) as net:
            impi = PrivateIdentity(f"dora@{net.realm}", Secret(key_of("dora")), opc=OPC)
            await net.hss.administration.add([Subscriber.simple(impi, f"sip:dora@{net.realm}", OWN)])
            yield net, outside
    finally:
        server.close()
        outside.close()


async def sent(net: Home, uri: str, to: Client | None) -> tuple[int, Request | None]:
    """Alice's MESSAGE to that address: the response, and what arrived at whom it was meant for."""
    alice = await net.registered("alice")
    request = alice.make("MESSAGE", uri)
    alice.send(request)
    arrived = await to.request("MESSAGE") if to is not None else None
    if to is not None and arrived is not None:
        host, _, port = (arrived.get("Via") or "").split()[1].partition(";")[0].rpartition(":")
        to.send(arrived.response(200, to_tag="there"), (host, int(port)))
    answer: Response = await alice.final(request)
    return answer.status, arrived


async def test_a_user_s_own_number_is_found_at_home() -> None:
    async with numbered() as (net, _outside):
        dora = await net.registered("dora")
        status, arrived = await sent(net, OWN, dora)
        assert status == 200
        assert arrived is not None


async def test_a_number_that_enum_knows_goes_to_the_network_that_it_names() -> None:
    async with numbered() as (net, outside):
        status, arrived = await sent(net, "tel:+4930123", outside)
        assert (status, arrived is not None and arrived.uri) == (200, "sip:bob@partner.example")


async def test_a_number_that_nobody_knows_leaves_by_the_gateway_of_its_prefix() -> None:
    async with numbered() as (net, outside):
        status, arrived = await sent(net, f"sip:+33123@{net.realm};user=phone", outside)
        at = f"127.0.0.1:{outside.address[1]}"
        assert (status, arrived is not None and arrived.uri) == (200, f"sip:+33123@{at};user=phone")


async def test_a_number_without_any_way_is_404_with_the_reason_and_forged_records_lead_nowhere() -> None:
    async with numbered(routes=False, partners="authentic") as (net, outside):
        assert (await sent(net, "tel:+4930123", None))[0] == 404
        (check,) = [each for each in net.failed() if each.rule == "ENUM knows the number"]
        assert "not authentic" in check.seen
        (told,) = [each for each in attempts(net.events(Event), net.impu("alice")) if each.call_id == check.call_id]
        assert "a way leads to the number" in told.verdict
        assert "[[bgcf.routes]]" in told.advice
        assert await outside.hears_nothing()
