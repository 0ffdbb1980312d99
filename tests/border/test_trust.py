"""What is told and believed at the border (TS 24.229 4.4, RFC 3323, RFC 3325; requirement rows 61, 63, 64, 83)."""

import pytest
from msgspec.structs import replace

from redoubt.config.interconnect import PartnerConfig
from redoubt.events import Notice
from redoubt.sip.message import Request

from .edge import OTHER, PEER, PLAIN, Edge, from_partner, invite, plain, tls

# A second time, as TS 24.229 4.4, RFC 3325 7 and RFC 7315 list them, so that none gets lost in the code.
BILLING = frozenset((
    "P-Charging-Function-Addresses", "P-Private-Network-Indication", "P-Profile-Key", "P-Served-User",
    "P-User-Database", "Relayed-Charge", "Restoration-Info",
))  # fmt: skip
HOME_HEADERS = BILLING | frozenset((
    "Cellular-Network-Info", "Error-Info", "P-DCS-Billing-Info", "P-Media-Authorization", "P-Preferred-Identity",
    "P-Preferred-Service", "Policy-Contact", "Response-Key", "Security-Client", "Security-Server",
    "Security-Verify", "Server", "Service-Interact-Info", "User-Agent", "Warning",
))  # fmt: skip
DOMAIN_HEADERS = BILLING | frozenset((
    "Additional-Identity", "Feature-Caps", "History-Info", "P-Access-Network-Info", "P-Answer-State",
    "P-Asserted-Identity", "P-Asserted-Service", "P-Associated-URI", "P-Called-Party-ID", "P-Charge-Info",
    "P-Charging-Vector", "P-DCS-Billing-Info", "P-Early-Media", "P-Preferred-Identity", "P-Refused-URI-List",
    "P-Visited-Network-ID", "Priv-Answer-Mode", "Resource-Priority", "Resource-Share",
))  # fmt: skip
ASSERTED = ("P-Asserted-Identity", '"Alice" <sip:alice@home1.net>, <tel:+15550100>')
CELL = ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=26202ABC;network-provided")
OPERATOR = PartnerConfig(
    name="op", domains=("ims.mnc002.mcc262.3gppnetwork.org",), serves_visitors=True,
    visited_networks=("ims.mnc002.mcc262.3gppnetwork.org",),
)  # fmt: skip


def everything() -> list[tuple[str, str]]:
    """Each header that stays at home or in the trust domain, with a value that would be noticed."""
    values = {"P-Charging-Vector": "icid-value=1;orig-ioi=home1.net", "Privacy": "id"}
    return [(name, values.get(name, "<sip:secret@home1.net>")) for name in sorted(HOME_HEADERS | DOMAIN_HEADERS)]


async def test_nothing_private_is_told_a_plain_network_in_requests_or_responses() -> None:
    edge = Edge()
    edge.inside.answers = lambda request: request.response(200, to_tag="t", headers=tuple(everything()))
    await edge.leave(invite("sip:x@sip.example", *everything()))
    answer = await edge.enter(from_partner("sip:alice@home1.net", from_="<sip:x@sip.example>;tag=1"), plain())
    for message in (edge.outside.last, answer):
        assert not message.present(HOME_HEADERS | DOMAIN_HEADERS)


async def test_nothing_of_identity_or_charging_is_believed_of_a_plain_network() -> None:
    edge = Edge()
    edge.outside.answers = lambda request: request.response(200, to_tag="t", headers=tuple(everything()))
    ways = (("Path", "<sip:x.example;lr>"), ("Service-Route", "<sip:x.example;lr>"))
    call = from_partner("sip:alice@home1.net", *everything(), *ways, from_="<sip:x@sip.example>;tag=1")
    await edge.enter(call, plain())
    came = edge.inside.last
    assert came.present(DOMAIN_HEADERS | {"Path", "Service-Route"}) == {"P-Charging-Vector"}
    vector = came.get("P-Charging-Vector") or ""
    assert "orig-ioi=sip.example" in vector and "icid-value=1;" not in vector, "made here, in the partner's name"
    answer = await edge.leave(invite("sip:x@sip.example"))
    assert not answer.present(DOMAIN_HEADERS)


async def test_identity_and_wishes_for_privacy_go_to_partners_of_the_trust_domain_and_come_from_them() -> None:
    edge = Edge()
    await edge.leave(invite("sip:zoe@home2.net", ASSERTED, ("Privacy", "id")))
    out = edge.outside.last
    assert out.get("P-Asserted-Identity") == ASSERTED[1] and out.get("Privacy") == "id"
    theirs = ("P-Asserted-Identity", "<sip:zoe@home2.net>")
    await edge.enter(from_partner("sip:alice@home1.net", theirs, ("Privacy", "id")))
    assert edge.inside.last.get("P-Asserted-Identity") == theirs[1]
    await edge.leave(invite("sip:zoe@home2.net", *everything()))
    assert not edge.outside.last.present(HOME_HEADERS - {"User-Agent"})


async def test_a_call_that_a_partners_user_forwards_back_keeps_its_caller() -> None:
    edge = Edge()
    await edge.leave(invite("sip:zoe@home2.net", ASSERTED, call_id="forwarded"))
    back = from_partner("sip:bob@home1.net", ASSERTED, call_id="forwarded", from_="<sip:alice@home1.net>;tag=f1")
    assert (await edge.enter(back)).status == 200
    assert edge.inside.last.get("P-Asserted-Identity") == ASSERTED[1]
    await edge.enter(from_partner("sip:bob@home1.net", ASSERTED, call_id="another"))
    assert edge.inside.last.get("P-Asserted-Identity") == "<tel:+15550100>", "whose number it is nobody here can tell"


async def test_who_says_privacy_none_is_named_outside_the_trust_domain() -> None:
    edge = Edge()
    await edge.leave(invite("sip:x@sip.example", ASSERTED, ("Privacy", "none")))
    assert edge.outside.last.get("P-Asserted-Identity") == ASSERTED[1]


@pytest.mark.parametrize("wish", ["id", "user", "header", "id;user;header;critical", "history", "?? unreadable"])
async def test_a_wish_for_privacy_names_nobody(wish: str) -> None:
    edge = Edge()
    headers = (
        ASSERTED, ("Privacy", wish), ("History-Info", "<sip:alice@home1.net>;index=1"),
        ("Contact", "<sip:al@203.0.113.7>"),
    )  # fmt: skip
    await edge.leave(invite("sip:x@sip.example", *headers))
    out = edge.outside.last
    assert not out.has("P-Asserted-Identity") and not out.has("History-Info") and not out.has("Privacy")
    text = out.to_bytes().decode()
    assert ("alice" in text) == ("user" not in wish)
    assert ("203.0.113.7" in text) == ("user" not in wish and "header" not in wish)


async def test_a_called_user_who_wants_to_be_unknown_is() -> None:
    edge = Edge()
    told = (ASSERTED, ("Privacy", "user"), ("Contact", "<sip:alice@203.0.113.7>"), ("Organization", "Alice's"))
    way = ("Record-Route", "<sip:pcscf.home1.net;lr>")
    edge.inside.answers = lambda request: request.response(
        200, to_tag="t", headers=(*told, way, ("Record-Route", request.get("Record-Route") or ""))
    )
    answer = await edge.enter(from_partner("sip:a@home1.net", from_="<sip:x@sip.example>;tag=1"), plain())
    text = answer.to_bytes().decode().lower()
    assert answer.status == 200 and "alice" not in text and "203.0.113.7" not in text
    (route,) = answer.all("Record-Route")
    contact = (answer.get("Contact") or "").strip("<>")
    bye = from_partner(contact, ("Route", route), method="BYE", to_="<sip:a@home1.net>;tag=t")
    await edge.enter(bye, plain())
    assert edge.inside.last.uri == "sip:alice@203.0.113.7"


async def test_an_anonymous_caller_stays_so_in_the_whole_dialog() -> None:
    edge = Edge()
    edge.outside.answers = lambda request: request.response(
        200, to_tag="z", headers=(("Record-Route", request.get("Record-Route") or ""),)
    )
    told = (("Privacy", "user"), ("Contact", "<sip:alice@203.0.113.7>"))
    answer = await edge.leave(invite("sip:x@sip.example", *told))
    assert answer.get("From") == "<sip:alice@home1.net>;tag=f1"
    assert edge.outside.last.get("From") == '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=f1'
    (route,) = answer.all("Record-Route")
    bye = invite("sip:x@198.51.100.9", ("Route", route), method="BYE", to_="<sip:x@sip.example>;tag=z")
    assert (await edge.leave(bye)).get("From") == "<sip:alice@home1.net>;tag=f1"
    assert "alice" not in edge.outside.last.to_bytes().decode()


async def test_critical_privacy_that_cannot_be_had_is_500() -> None:
    """Media of a call with a plain network does not pass a relay here (RFC 3323 5)."""
    edge = Edge()
    wishes = ("Privacy", "session;critical")
    assert (await edge.leave(invite("sip:x@sip.example", wishes))).status == 500
    assert not edge.outside.came and "session" in edge.refusals()[-1]
    assert (await edge.leave(invite("sip:zoe@home2.net", wishes))).status == 200, "the far edge of the domain can"
    assert (await Edge(hiding="off").leave(invite("sip:x@sip.example", ("Privacy", "header;critical")))).status == 500


async def test_charging_names_operators_and_no_nodes() -> None:
    edge = Edge()
    vector = "icid-value=abc;icid-generated-at=pcscf.home1.net;orig-ioi=elsewhere.net;transit-ioi=secret"
    edge.outside.answers = lambda request: request.response(
        200, to_tag="t", headers=(("P-Charging-Vector", "icid-value=abc;orig-ioi=home1.net;term-ioi=home9.net"),)
    )
    answer = await edge.leave(invite("sip:zoe@home2.net", ("P-Charging-Vector", vector)))
    out = edge.outside.last.get("P-Charging-Vector")
    assert out == "icid-value=abc;icid-generated-at=ibcf.home1.net;orig-ioi=home1.net"
    assert not answer.has("P-Charging-Vector"), "another operator would be billed for the call"


@pytest.mark.parametrize(
    ("ioi", "status"), [("home2.net", 200), ("HOME2.net", 200), ("home1.net", 403), ("home9.net", 403), ("", 200)]
)
async def test_a_partner_names_its_own_operator_identifiers_only(ioi: str, status: int) -> None:
    edge = Edge()
    vector = f"icid-value=1;orig-ioi={ioi}" if ioi else "icid-value=1"
    assert (await edge.enter(from_partner("sip:alice@home1.net", ("P-Charging-Vector", vector)))).status == status
    if status == 200:
        assert "orig-ioi=home2.net" in (edge.inside.last.get("P-Charging-Vector") or "").lower()


@pytest.mark.parametrize(
    ("visited", "status"),
    [(OTHER, 200), (f'"{OTHER}"', 200), ("home9.net", 403), (f"{OTHER}, home9.net", 403), ("", 403)],
)
async def test_our_users_register_from_networks_of_the_agreement_only(visited: str, status: int) -> None:
    edge = Edge()
    headers = [("P-Visited-Network-ID", visited)] if visited else []
    assert (await edge.enter(from_partner("sip:home1.net", *headers, method="REGISTER"))).status == status


async def test_without_a_roaming_agreement_nobody_registers_either_way() -> None:
    edge = Edge(partners=(PartnerConfig(name="two", domains=(OTHER,)), PLAIN))
    register = ("P-Visited-Network-ID", OTHER)
    assert (await edge.enter(from_partner("sip:home1.net", register, method="REGISTER"))).status == 403
    assert (await edge.enter(from_partner("sip:home1.net", register, method="REGISTER"), plain())).status == 403
    assert (await edge.leave(invite("sip:home2.net", method="REGISTER"))).status == 403
    assert not edge.inside.came and not edge.outside.came
    edge = Edge(partners=(replace(PLAIN, serves_visitors=True),))
    assert (await edge.leave(invite("sip:sip.example", method="REGISTER"))).status == 403
    assert not edge.outside.came, "a plain network gets no keys of phones, whatever is written"


@pytest.mark.parametrize(("cell", "stays"), [("26202ABC", True), ("262002ABC", True), ("26201ABC", False)])
async def test_a_visited_network_vouches_for_its_own_cells_only(cell: str, stays: bool) -> None:
    edge = Edge(partners=(OPERATOR,))
    told = ("P-Access-Network-Info", f'3GPP-E-UTRAN-FDD;utran-cell-id-3gpp="{cell}";network-provided')
    call = from_partner("sip:alice@home1.net", told, from_=f"<sip:z@{OPERATOR.domains[0]}>;tag=1")
    await edge.enter(call, tls(OPERATOR.domains[0]))
    assert edge.inside.last.has("P-Access-Network-Info") is stays
    assert any(isinstance(event, Notice) and "another network" in event.what for event in edge.events) is not stays


async def test_what_a_phone_says_of_its_cell_is_the_phones_word_and_passes() -> None:
    edge = Edge(partners=(OPERATOR,))
    told = ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=26201ABC")
    call = from_partner("sip:alice@home1.net", told, from_=f"<sip:z@{OPERATOR.domains[0]}>;tag=1")
    await edge.enter(call, tls(OPERATOR.domains[0]))
    assert edge.inside.last.get("P-Access-Network-Info") == told[1]


async def test_who_pays_is_said_when_a_call_begins_and_not_made_up_inside_it() -> None:
    edge = Edge(hiding="off")
    along = ("Route", "<sip:scscf1.home1.net;lr>")
    await edge.enter(from_partner("sip:alice@203.0.113.7", along, method="BYE", to_="<sip:alice@home1.net>;tag=t"))
    assert edge.inside.last.method == "BYE" and not edge.inside.last.has("P-Charging-Vector")


async def test_where_a_user_is_is_told_its_home_and_no_other() -> None:
    """A visitor's home gets the cell; a partner that is called gets nothing of it."""
    edge = Edge()
    visitor = ("P-Asserted-Identity", "<sip:zoe@home2.net>")
    await edge.leave(invite("sip:home2.net", CELL, visitor))
    assert edge.outside.last.has("P-Access-Network-Info")
    await edge.leave(invite("sip:zoe@home2.net", CELL, ASSERTED))
    assert not edge.outside.last.has("P-Access-Network-Info")


async def test_the_same_headers_from_an_unknown_flow_are_not_answered() -> None:
    """Headers make no trust: without an agreement for the flow nothing is served, whatever it says."""
    edge = Edge()
    request: Request = from_partner("sip:alice@home1.net", ("P-Asserted-Identity", "<sip:zoe@home2.net>"))
    with pytest.raises(AssertionError):  # no response
        await edge.enter(request, tls("evil.example"))
    with pytest.raises(AssertionError):
        await edge.enter(request, plain("192.0.2.200"))
    assert not edge.inside.came and "no agreement" in edge.refusals()[-1]
    assert PEER.kind == "ims"
