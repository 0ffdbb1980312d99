"""Requests pass the border both ways, and find their way back (TS 24.229 5.10.2, 5.10.3)."""

from redoubt.config.interconnect import PartnerConfig
from redoubt.sip.message import Request, Response

from .edge import OTHER, PEER, VIAS, Edge, from_partner, invite, tls

CORE_ROUTES = (("Record-Route", "<sip:scscf1.home1.net;lr>"), ("Record-Route", "<sip:abc@pcscf.home1.net;lr>"))


def answered_with(*routes: str) -> object:
    """A callee whose proxies recorded these."""

    def answer(request: Request) -> Response:
        response = request.response(200, to_tag="t2")
        response.replace("Record-Route", [*routes, *request.all("Record-Route")])
        response.set("Contact", "<sip:bob@203.0.113.9>")
        return response

    return answer


async def test_a_call_leaves_and_its_responses_come_back_as_nodes_inside_know_them() -> None:
    edge = Edge()
    edge.outside.answers = answered_with("<sip:ibcf.home2.net;lr>")  # type: ignore[assignment]
    response = await edge.leave(invite("sip:bob@home2.net", *CORE_ROUTES))
    out = edge.outside.last
    assert not {"scscf", "pcscf", "10.0.0.1"} & set(out.to_bytes().decode().replace("<", ".").split("."))
    assert len(out.all("Via")) == 1 and len(out.all("Record-Route")) == 1
    assert response.all("Via") == list(VIAS)
    assert response.all("Record-Route") == [
        "<sip:ibcf.home2.net;lr>", "<sip:Home%20Two@ibcf.home1.net;lr>", *[line for _, line in CORE_ROUTES],
    ]  # fmt: skip


async def test_a_request_inside_the_dialog_comes_back_along_what_the_token_hides() -> None:
    edge = Edge()
    await edge.leave(invite("sip:bob@home2.net", *CORE_ROUTES))
    (route,) = edge.outside.last.all("Record-Route")
    bye = from_partner("sip:alice@203.0.113.7", ("Route", route), method="BYE", to_="<sip:alice@home1.net>;tag=f1")
    assert (await edge.enter(bye)).status == 200
    assert edge.inside.last.all("Route") == [line for _, line in CORE_ROUTES]


async def test_a_call_enters_and_what_is_inside_comes_back_in_the_order_of_a_route() -> None:
    edge = Edge()
    edge.inside.answers = answered_with(*[line for _, line in reversed(CORE_ROUTES)])  # type: ignore[assignment]
    outer = "<sip:ibcf.home2.net;lr>"
    response = await edge.enter(from_partner("sip:alice@home1.net", ("Record-Route", outer)))
    assert edge.inside.last.all("Route") == ["<sip:home1.net;lr>"]
    token, beyond = response.all("Record-Route")
    assert beyond == outer
    route = token.replace(", ", "")
    bye = from_partner("sip:alice@203.0.113.7", ("Route", route), method="BYE", to_="<sip:alice@home1.net>;tag=t2")
    await edge.enter(bye)
    assert edge.inside.last.all("Route") == [line for _, line in CORE_ROUTES]  # S-CSCF first, the phone's P-CSCF last


async def test_an_inside_request_in_a_dialog_goes_to_the_partner_whom_our_own_entry_names() -> None:
    edge = Edge()
    routes = (("Route", "<sip:Home%20Two@ibcf.home1.net;lr>"),)
    await edge.leave(invite("sip:bob@203.0.113.9:5062", *routes, method="BYE", to_="<sip:bob@home2.net>;tag=t2"))
    assert edge.outside.last.all("Route") == [f"<sip:{OTHER};lr>"]
    assert edge.partners.named(PEER.name) is not None


async def test_while_the_tunnel_to_a_partner_is_down_the_border_refuses_at_once() -> None:
    """The next hop would refuse it, too; but that is another one's rule."""
    tunnel = PartnerConfig(
        name="tunnel", domains=("tunnel.example",), security="gateway", gateway="za", addresses=("198.51.100.7",)
    )
    edge = Edge(partners=(tunnel,))
    assert (await edge.leave(invite("sip:x@tunnel.example"))).status == 503
    assert not edge.outside.came
    assert "the tunnel to tunnel is down" in edge.refusals()[-1]


async def test_a_plain_network_that_is_told_who_calls_is_not_told_from_what_kind_of_line() -> None:
    kinds = "<tel:+15550100;cpc=prison;oli=23;isub=7>, <sip:+15550100;CPC=payphone;isub=7@home1.net;user=phone>"
    edge = Edge()
    await edge.leave(invite("sip:x@sip.example", ("P-Asserted-Identity", kinds), ("Privacy", "none")))
    told = ", ".join(edge.outside.last.all("P-Asserted-Identity"))
    assert told == "<tel:+15550100;isub=7>, <sip:+15550100;isub=7@home1.net;user=phone>"
    await edge.leave(invite("sip:x@sip.example", ("P-Asserted-Identity", "<?"), ("Privacy", "none")))
    assert not edge.outside.last.has("P-Asserted-Identity")
    await edge.leave(invite("sip:zoe@home2.net", ("P-Asserted-Identity", "<tel:+15550100;cpc=prison>")))
    assert edge.outside.last.get("P-Asserted-Identity") == "<tel:+15550100;cpc=prison>", (
        "partners of the trust domain are"
    )


async def test_a_hub_passes_on_to_another_hub_only_whom_its_agreement_lets() -> None:
    hub = PartnerConfig(name="hub", domains=("hub.net",), transit_to=("*",))
    for transit_for, status in ((("hub",), 200), (("three",), 403)):
        edge = Edge(partners=(PartnerConfig(name="two", domains=(OTHER,), transit_for=transit_for), hub))
        assert (await edge.enter(from_partner("sip:carol@far.example"))).status == status


async def test_a_third_network_is_reached_through_this_one_only_where_the_agreement_says_so() -> None:
    three = PartnerConfig(name="three", domains=("home3.net",))
    hub = PartnerConfig(name="hub", domains=("hub.net",), transit_to=("*",))
    for transit_for, status in ((("three",), 200), (("hub",), 403), ((), 403)):
        two = PartnerConfig(name="two", domains=(OTHER,), transit_for=transit_for)
        edge = Edge(partners=(two, three, hub))
        assert (await edge.enter(from_partner("sip:carol@home3.net"))).status == status
        assert not edge.inside.came or not edge.inside.last.has("Route"), "the next function sends it out again"
        assert (await edge.enter(from_partner("sip:alice@home1.net"))).status == 200
        assert edge.inside.last.all("Route") == ["<sip:home1.net;lr>"]
        await edge.leave(invite("sip:x@far.example"))
        assert edge.outside.last.all("Route") == ["<sip:hub.net;lr>"], "through the hub"


async def test_a_visitor_registers_and_calls_along_the_way_that_its_home_hides() -> None:
    visited, home = Edge(), Edge()
    theirs = ("Service-Route", "<sip:TOKEN@ibcf.home2.net;lr>")
    visited.outside.answers = lambda request: request.response(
        200, to_tag="r", headers=(("Path", request.get("Path") or ""), theirs)
    )
    path = "<sip:flow@pcscf.home1.net;lr>"
    response = await visited.leave(invite("sip:home2.net", ("Path", path), method="REGISTER"))
    assert "pcscf" not in visited.outside.last.to_bytes().decode()
    assert response.all("Path") == [path]
    assert response.all("Service-Route") == ["<sip:Home%20Two@ibcf.home1.net;lr>", "<sip:TOKEN@ibcf.home2.net;lr>"]

    ours = ("Service-Route", "<sip:orig@scscf.home1.net;lr>")
    home.inside.answers = lambda request: request.response(
        200, to_tag="r", headers=(*[("Path", path) for path in request.all("Path")], ours)
    )
    (outer,) = visited.outside.last.all("Path")
    register = from_partner(
        "sip:home1.net", ("Path", outer.replace("home1", "home2")), ("P-Visited-Network-ID", OTHER), method="REGISTER"
    )
    answer = await home.enter(register, tls(OTHER))
    assert home.inside.last.all("Path") == ["<sip:Home%20Two@ibcf.home1.net;lr>", outer.replace("home1", "home2")]
    assert answer.all("Path") == [outer.replace("home1", "home2")]
    assert "scscf" not in answer.to_bytes().decode()
    (service,) = answer.all("Service-Route")
    await home.enter(from_partner("sip:carol@home3.net", ("Route", service)))
    assert home.inside.last.all("Route") == ["<sip:orig@scscf.home1.net;lr>"]
