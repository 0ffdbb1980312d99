"""What partners with an agreement, or users who work together with one, try beyond it: with what they were given."""

import socket

import pytest
from msgspec.structs import replace

from redoubt.config.interconnect import MediaConfig, PartnerConfig
from redoubt.limits import B2BUA_FORKS
from redoubt.media.anchoring import Anchoring
from redoubt.media.relay import Relay
from redoubt.sip.message import Request, Response

from .edge import OTHER, PEER, PLAIN, Edge, from_partner, invite

THIRD = PartnerConfig(name="three", domains=("home3.net",))
PARTNERS = (PEER, PLAIN, THIRD)
ONWARD = ("<sip:bgcf.home1.net;lr>", "<sip:home3.net;lr>", "<sip:10.9.9.9;lr>", "<sip:scscf1.home1.net;lr;orig>")


async def way_given(edge: Edge) -> str:
    """A token of a dialog: the partner has one of every call."""
    await edge.leave(invite("sip:zoe@home2.net", ("Record-Route", "<sip:scscf1.home1.net;lr>")))
    return edge.outside.last.all("Record-Route")[0]


async def target_given(edge: Edge) -> str:
    """The token of a node's URI, as a P-CSCF that watches a registration has in Contact."""
    await edge.leave(invite("sip:zoe@home2.net", ("Contact", "<sip:scscf1.home1.net>"), method="SUBSCRIBE"))
    return (edge.outside.last.get("Contact") or "").strip("<>")


@pytest.mark.parametrize("off", [(), ("border-route",)], ids=["on", "off"])
@pytest.mark.parametrize("onward", ONWARD)
async def test_a_token_leads_where_it_says_and_no_further(onward: str, off: tuple[str, ...]) -> None:
    """Appended to it: the BGCF for calls that cost, a third network, any address, another user's originating half."""
    edge = Edge(*off, partners=PARTNERS)
    way = await way_given(edge)
    await edge.enter(from_partner("tel:+88100", ("Route", way), ("Route", onward), to_="<sip:a@b>;tag=1"))
    assert bool(edge.inside.came) is bool(off)


@pytest.mark.parametrize("off", [(), ("border-route",)], ids=["on", "off"])
@pytest.mark.parametrize("onward", ONWARD)
async def test_a_token_of_a_nodes_uri_opens_no_way_to_others(onward: str, off: tuple[str, ...]) -> None:
    edge = Edge(*off, partners=PARTNERS)
    target = await target_given(edge)
    await edge.enter(from_partner(target, ("Route", onward), method="MESSAGE", to_="<sip:a@b>;tag=1"))
    assert bool(edge.inside.came) is bool(off)


async def test_a_node_that_has_made_itself_known_is_reached() -> None:
    edge = Edge(partners=PARTNERS)
    target = await target_given(edge)
    answer = await edge.enter(from_partner(target, method="NOTIFY", to_="<sip:a@b>;tag=1"))
    assert answer.is_success and edge.inside.last.uri == "sip:scscf1.home1.net"


async def test_a_hidden_contact_is_reached_along_its_dialog_only() -> None:
    """A phone that works together with the partner names any address as its Contact; the token would lead there."""
    edge = Edge(partners=PARTNERS)
    contact = ("Contact", "<sip:x@10.9.9.9:3868;transport=tcp>")
    await edge.leave(invite("sip:x@sip.example", contact, ("Privacy", "header")))
    target = (edge.outside.last.get("Contact") or "").strip("<>")
    assert "10.9.9.9" not in target
    answer = await edge.enter(from_partner(target, method="BYE", to_="<sip:a@b>;tag=1"))
    assert not edge.inside.came and answer.status >= 400


@pytest.mark.parametrize("given", [way_given, target_given])
async def test_no_token_leads_a_register_past_the_i_cscf(given: object) -> None:
    """The HSS is asked there whether a user may roam (TS 24.229 5.3.1.2)."""
    edge = Edge(partners=PARTNERS)
    visited = ("P-Visited-Network-ID", OTHER)
    if given is way_given:
        register = from_partner("sip:home1.net", visited, ("Route", await way_given(edge)), method="REGISTER")
    else:
        register = from_partner(await target_given(edge), visited, method="REGISTER")
    assert (await edge.enter(register)).status == 403 and not edge.inside.came


async def test_an_entry_for_a_third_partner_that_a_partner_made_up_leads_to_the_partner_itself() -> None:
    """In Record-Route, or in the Path of a visitor: our own requests would go to the third in our name."""
    edge = Edge(partners=PARTNERS)
    lies = ("<sip:three@ibcf.home1.net;lr>", "<sip:scscf1.home1.net;lr;orig>")
    await edge.enter(from_partner("sip:alice@home1.net", *[("Record-Route", lie) for lie in lies]))
    routes = [("Route", route) for route in edge.inside.last.all("Record-Route")]
    await edge.leave(invite("sip:x@home3.net", *routes, method="BYE", to_="<sip:a@b>;tag=1"))
    third, own = edge.partners.named("three"), edge.partners.named(PEER.name)
    assert third is not None and own is not None and (third.requests_out, own.requests_out) == (0, 1)


async def test_what_a_partner_wrote_into_a_route_is_never_sealed_for_it() -> None:
    """Sealed, it would be a token of ours, with which the partner goes wherever it likes."""
    edge = Edge(partners=PARTNERS)
    lies = ("<sip:three@ibcf.home1.net;lr>", "<sip:bgcf.home1.net;lr>")
    await edge.enter(from_partner("sip:alice@home1.net", *[("Record-Route", lie) for lie in lies]))
    routes = [("Route", route) for route in edge.inside.last.all("Record-Route")]
    await edge.leave(invite("sip:x@home2.net", *routes, method="BYE", to_="<sip:a@b>;tag=1"))
    assert not [route for route in edge.outside.last.all("Route") if "tokenized-by" in route]


async def test_a_partner_with_a_way_through_asks_for_no_callers_services_here() -> None:
    """;orig on our entry before the third network's would make the I-CSCF serve who is asserted as a caller of ours."""
    edge = Edge(partners=(replace(PEER, transit_for=("three",)), PLAIN, THIRD))
    steps = [("Route", "<sip:home1.net;lr;orig>"), ("Route", "<sip:home3.net;lr>")]
    assert (await edge.enter(from_partner("sip:carol@home3.net", *steps))).is_success
    assert edge.inside.last.all("Route") == ["<sip:home3.net;lr>"]


# ---- who somebody is


def registering(user: str) -> Request:
    path = ("Path", "<sip:pcscf.home1.net;lr>")
    return invite("sip:home2.net", path, method="REGISTER", to_=f"<{user}>", from_=f"<{user}>;tag=1")


@pytest.mark.parametrize("off", [(), ("border-visitor",)], ids=["on", "off"])
async def test_a_home_network_registers_its_own_users_here_and_no_others(off: tuple[str, ...]) -> None:
    """Else the P-CSCF here would assert to everybody that its phone is the director of this network."""
    edge = Edge(*off, partners=PARTNERS)
    edge.outside.answers = lambda request: request.response(
        200, to_tag="x", headers=(("P-Associated-URI", "<sip:zoe@home2.net>, <sip:director@home1.net>"),)
    )
    others = [await edge.leave(registering("sip:director@home1.net")), await edge.leave(registering("sip:c@home3.net"))]
    assert [answer.is_success for answer in others] == [bool(off)] * 2
    answer = await edge.leave(registering("sip:zoe@home2.net"))
    assert answer.is_success and ("director" in (answer.get("P-Associated-URI") or "")) is bool(off)


async def test_requests_of_a_visitor_go_home_even_if_home_names_no_way() -> None:
    """Without a Service-Route the P-CSCF would send them into this network, past the visitor's S-CSCF."""
    edge = Edge(partners=PARTNERS)
    answer = await edge.leave(registering("sip:zoe@home2.net"))
    assert answer.all("Service-Route") == ["<sip:Home%20Two@ibcf.home1.net;lr>"]


@pytest.mark.parametrize("who", ["<sip:pcscf.home1.net>", "<sip:boss@home1.net.>", "<sip:boss@home1.net>"])
async def test_a_partner_speaks_for_no_node_and_no_other_user_than_who_called(who: str) -> None:
    """A P-CSCF's word lets it watch registrations; a call that went out comes back with its own caller alone."""
    edge = Edge(partners=PARTNERS)
    await edge.leave(invite("sip:zoe@home2.net", ("P-Asserted-Identity", "<sip:alice@home1.net>")))
    asserted = ("P-Asserted-Identity", f"{who}, <sip:alice@home1.net>")
    await edge.enter(from_partner("sip:bob@home1.net", asserted, from_="<sip:alice@home1.net>;tag=f1"))
    assert edge.inside.last.all("P-Asserted-Identity") == ["<sip:alice@home1.net>"]


# ---- how much


UNRECORDED = (
    "sip:bgcf.home1.net", "sip:icscf.home1.net", "sip:home1.net", "sip:home3.net", "sip:10.0.0.2:5074",
    "sip:scscf1.home1.net:5074", "sip:scscf1.home1.net;maddr=10.0.0.2", "sip:three@ibcf.home1.net",
)  # fmt: skip


@pytest.mark.parametrize("off", [(), ("border-route",)], ids=["on", "off"])
@pytest.mark.parametrize("onward", UNRECORDED)
async def test_without_hiding_a_dialog_leads_where_a_record_route_can_have_been_and_nowhere_else(
    onward: str, off: tuple[str, ...]
) -> None:
    """Calls that cost, at the BGCF; users of others; an address; a port of another function; a third network."""
    edge = Edge(*off, partners=PARTNERS, hiding="off")
    along = ("Route", f"<sip:ibcf.home1.net;lr>, <{onward};lr>")
    await edge.enter(from_partner("sip:+88100@home1.net", along, to_="<sip:a@b>;tag=1"))
    await edge.enter(from_partner(onward, method="BYE", to_="<sip:a@b>;tag=1"))
    scscf = ("Route", "<sip:scscf1.home1.net;lr>")
    if onward.startswith("sip:bgcf"):
        await edge.enter(from_partner(onward, scscf, to_="<sip:a@b>;tag=1"))
    assert bool(edge.inside.came) is bool(off)


async def test_without_hiding_dialogs_go_on_along_their_record_route() -> None:
    joined = replace(PEER, transit_for=("three",))
    edge = Edge(partners=(joined, PLAIN, THIRD), hiding="off")
    for route in ("<sip:scscf1.home1.net;lr>, <sip:t@10.0.0.1:5070;lr>", "<sip:three@ibcf.home1.net;lr>, <sip:x.y;lr>"):
        along = ("Route", f"<sip:ibcf.home1.net;lr>, {route}")
        answer = await edge.enter(from_partner("sip:a@203.0.113.7", along, method="BYE", to_="<sip:a@b>;tag=1"))
        assert answer.is_success, edge.refusals()


async def test_calls_with_one_call_id_are_several_calls() -> None:
    edge = Edge(partners=(replace(PEER, sessions=3), PLAIN))
    calls = [from_partner("sip:alice@home1.net", from_=f"<sip:a@home2.net>;tag={n}") for n in range(9)]
    assert [(await edge.enter(each)).status for each in calls].count(503) == 6
    assert edge.ibcf.table_sizes()["calls"] == 3


async def test_one_request_fills_no_table_with_those_who_answer_it() -> None:
    """180 with another tag each time: dialogs of the border for half a day, and no room for other partners'."""
    edge = Edge(partners=(replace(PEER, mode="b2bua"), PLAIN))

    def ringing(request: Request) -> list[Response]:
        return [request.response(180, to_tag=f"t{n}") for n in range(200)]

    edge.outside.early = ringing
    await edge.leave(invite("sip:zoe@home2.net"))
    assert len(edge.early) == B2BUA_FORKS and edge.ibcf.table_sizes()["dialogs"] <= B2BUA_FORKS


@pytest.mark.parametrize(
    "target", ["sip:+881555@home2.net;user=phone", "sip:+8-8(1)555@home2.net;user=phone", "sip:x@evil.home2.net."]
)
async def test_who_is_refused_is_so_in_every_spelling(target: str) -> None:
    edge = Edge(partners=(replace(PEER, refuse=("+881", "evil.home2.net")), PLAIN))
    assert (await edge.leave(invite(target))).status == 403


async def test_what_an_agreement_does_not_let_in_opens_no_port_for_media() -> None:
    """The one pair of ports is another program's: whoever wanted it would get 503."""
    agreement, context = replace(PEER, media="relay", methods=("MESSAGE",)), Edge().context
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1] & ~1
        relay = Relay(context, MediaConfig(ports=(port, port + 1)))
        edge = Edge(partners=(agreement, PLAIN), anchoring=Anchoring(context, relay))
        sdp = b"v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n"
        call = from_partner("sip:alice@home1.net", ("Content-Type", "application/sdp"), body=sdp)
        assert (await edge.enter(call)).status == 405
        relay.close()
