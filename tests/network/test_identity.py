"""Who a phone may say it is, and what it may say of the network: rows 59, 61, 62, 65, 66, 67 (TS 24.229 5.2.6.3)."""

import pytest

from redoubt.sip.message import Request

from .calls import call, pair
from .client import Client, fresh
from .home import Home, home


async def reaches(sender: Client, receiver: Client, *more: tuple[str, str]) -> Request:
    """A MESSAGE with these headers, as the receiver got it."""
    request = sender.make("MESSAGE", receiver.card.impu, None, *more)
    sender.send(request)
    received = await receiver.request("MESSAGE")
    receiver.respond(received, 200)
    assert (await sender.final(request)).status == 200
    return received


@pytest.mark.parametrize(
    "claim",
    [
        [("P-Asserted-Identity", "<sip:carol@{realm}>")],
        [("P-Asserted-Identity", "<sip:carol@{realm}>"), ("P-Asserted-Identity", "<tel:+15550100>")],
        [("P-Asserted-Identity", '"Carol"\r\n <sip:carol@{realm}>')],
        [("P-Asserted-Identity", "<sip:%63arol@{realm}>, <tel:+15550100>")],
        [("p-asserted-identity", "sip:carol@{realm}")],
    ],
)
async def test_a_phone_asserts_no_identity(claim: list[tuple[str, str]]) -> None:
    """Row 61 (RFC 3325 5): removed in whatever form, and the registered one put in its place."""
    async with home() as net:
        alice, bob = await pair(net)
        request = alice.make("MESSAGE", bob.card.impu)
        lines = "".join(f"{name}: {value.format(realm=net.realm)}\r\n" for name, value in claim)
        alice.send(request.to_bytes().replace(b"Contact:", lines.encode() + b"Contact:", 1))
        received = await bob.request("MESSAGE")
        assert received.all("P-Asserted-Identity") == [f"<{alice.card.impu}>"]


async def test_a_preferred_identity_counts_only_if_it_is_the_phones_own() -> None:
    """Row 62 (RFC 3325 9.2)."""
    async with home() as net:
        alice, bob = await pair(net)
        received = await reaches(alice, bob, ("P-Preferred-Identity", f"<{net.impu('carol')}>"))
        assert received.all("P-Asserted-Identity") == [f"<{alice.card.impu}>"]
        assert not received.has("P-Preferred-Identity")
        received = await reaches(alice, bob, ("P-Preferred-Identity", f"<{alice.card.impu}>"))
        assert received.all("P-Asserted-Identity") == [f"<{alice.card.impu}>"]


@pytest.mark.parametrize("route", ["<sip:{elsewhere};lr>", "<sip:other.example;lr>", "<sip:{scscf};lr>"])
async def test_a_phones_route_is_replaced_by_the_stored_one(route: str) -> None:
    """Row 65 (TS 24.229 5.2.6.3)."""
    async with home(tracing=True) as net:
        alice, bob = await pair(net)
        elsewhere = await net.phone("carol")
        text = route.format(
            elsewhere=f"{elsewhere.address[0]}:{elsewhere.address[1]}", scscf=f"127.0.0.1:{net.address_of('s-cscf')[1]}"
        )
        await reaches(alice, bob, ("Route", text))
        assert await elsewhere.hears_nothing(0.05)
        assert not [seen for seen in net.seen_at("s-cscf") if text in seen]


CORE_HEADERS = [
    ("P-Charging-Vector", "icid-value=forged;orig-ioi=forged.example"),
    ("P-Charging-Function-Addresses", "ccf=forged.example"),
    ("P-Visited-Network-ID", "forged.example"),
    ("P-Profile-Key", "<sip:forged@example>"),
    ("P-User-Database", "<aaa://forged.example>"),
    ("P-Served-User", "<sip:forged@example>"),
    ("P-Access-Network-Info", "IEEE-802.11;i-wlan-node-id=forged;network-provided"),
]


async def test_network_headers_of_a_phone_reach_no_core_node() -> None:
    """Row 66: in a REGISTER and in a request."""
    async with home(tracing=True) as net:
        alice, bob = await net.phone("alice"), await net.registered("bob")
        assert (await alice.registers(*CORE_HEADERS)).status == 200
        received = await reaches(alice, bob, *CORE_HEADERS)
        assert b"forged" not in received.to_bytes()
        assert net.seen_at("i-cscf", "s-cscf")
        assert not [text for text in net.seen_at("i-cscf", "s-cscf") if "forged" in text]


@pytest.mark.parametrize("function", ["i-cscf", "s-cscf", "p-cscf"])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "MESSAGE", "OPTIONS"])
async def test_core_functions_serve_no_stranger(function: str, method: str) -> None:
    """Row 67: an address that is no core node's gets 403 or silence, and reaches nobody."""
    async with home() as net:
        await net.registered("bob")
        mallory = await net.stranger(function)
        victim = next(client for client in net.clients if client is not mallory)
        if method == "REGISTER":
            request = mallory.register()
        else:
            request = mallory.make(
                method,
                net.impu("bob"),
                None,
                ("P-Asserted-Identity", f"<{net.impu('alice')}>"),
                ("Route", own_route(net)),
            )
        mallory.send(request)
        try:
            assert (await mallory.final(request, 0.3)).status == 403
        except TimeoutError:
            pass
        assert await victim.hears_nothing(0.05)


def own_route(net: Home) -> str:
    """The way to Bob's phone that only the core knows: his flow token."""
    assert net.network.p_cscf is not None
    (binding,) = net.network.p_cscf.bindings.of_impu(net.impu("bob"))
    return f"<sip:{binding.token}@pcscf.{net.realm};lr>"


async def test_a_changed_flow_token_leads_nowhere() -> None:
    """Row 59 (RFC 5626 5.3.1): from a core node even."""
    async with home() as net:
        bob = await net.registered("bob")
        node = await net.stranger("p-cscf", host="127.0.0.1")
        route = own_route(net)
        good = node.make("MESSAGE", net.impu("bob"), None, ("Route", route))
        node.send(good)
        bob.respond(await bob.request("MESSAGE"), 200)
        assert (await node.final(good)).status == 200
        for changed in (route.replace("<sip:", "<sip:A", 1), route.replace("@", "A@", 1), flipped(route)):
            answer = await node.ask(node.make("MESSAGE", net.impu("bob"), None, ("Route", changed)))
            assert answer.status in (403, 430)
        assert await bob.hears_nothing(0.05)


def flipped(route: str) -> str:
    """The route with the last letter of its token changed to another."""
    before, _, after = route.partition("@")
    return f"{before[:-1]}{'B' if before[-1] != 'B' else 'C'}@{after}"


async def test_an_unregistered_phone_may_only_register() -> None:
    """TS 24.229 5.2.6.3.2A."""
    async with home() as net:
        bob = await net.registered("bob")
        mallory = await net.phone("mallory")
        for method in ("INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"):
            assert (await mallory.ask(mallory.make(method, bob.card.impu))).status == 403
        assert await bob.hears_nothing(0.05)


async def test_the_called_phone_says_not_who_it_is() -> None:
    """Rows 61 and 66 for responses: a P-Asserted-Identity in a 200 is the registered one."""
    async with home() as net:
        alice, bob = await pair(net)
        request = alice.make("MESSAGE", bob.card.impu)
        alice.send(request)
        received = await bob.request("MESSAGE")
        bob.respond(
            received, 200, ("P-Asserted-Identity", f"<{net.impu('carol')}>"), ("P-Charging-Vector", "icid-value=x")
        )
        answer = await alice.final(request)
        assert answer.all("P-Asserted-Identity") == [f"<{net.impu('bob')}>"]
        assert not answer.has("P-Charging-Vector")


async def test_privacy_hides_the_asserted_identity_from_the_called_phone() -> None:
    """RFC 3325 7."""
    async with home() as net:
        alice, bob = await pair(net)
        received = await reaches(alice, bob, ("Privacy", "id"))
        assert not received.has("P-Asserted-Identity")


async def test_an_identity_inside_a_dialog_is_no_ones_to_claim() -> None:
    """Row 61 inside a dialog."""
    async with home() as net:
        alice, bob = await pair(net)
        made = await call(alice, bob)
        request = made.from_caller("INFO", 2, ("P-Asserted-Identity", f"<{net.impu('carol')}>"), ("X-Mark", fresh("m")))
        alice.send(request)
        received = await bob.request("INFO")
        assert net.impu("carol") not in received.to_bytes().decode()
        bob.respond(received, 200)
        assert (await alice.final(request)).status == 200
