"""Attacks at the border: each succeeds while its protection is off, and fails while it is on.

The partner that attacks has an agreement: it is somebody who may send, and sends what it may not.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from redoubt.border.hiding import SHORT
from redoubt.config.interconnect import PartnerConfig
from redoubt.config.protections import PROTECTIONS
from redoubt.sip.message import Request, Response

from .edge import NODES, OTHER, PEER, PLAIN, Edge, from_partner, invite, plain, tls

Attack = Callable[[Edge], Awaitable[bool]]
ATTACKS: dict[str, tuple[Attack, dict[str, Any]]] = {}
THIRD = PartnerConfig(name="three", domains=("home3.net",))


def against(protection: str, **options: Any) -> Callable[[Attack], Attack]:
    """Enters an attack, with the options of the border that it is played at."""

    def enter(attack: Attack) -> Attack:
        ATTACKS[protection] = attack, options
        return attack

    return enter


@pytest.mark.parametrize("protection", [name for name in PROTECTIONS if name.startswith("border-")])
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
async def test_an_attack_succeeds_only_without_its_protection(protection: str, on: bool) -> None:
    attack, options = ATTACKS[protection]
    edge = Edge(*(() if on else (protection,)), partners=(PEER, PLAIN, THIRD), **options)
    assert await attack(edge) is not on, edge.events


def names(text: str) -> bool:
    """Whether a text names a node inside."""
    shown = text.replace("ibcf.home1.net", "").lower()
    return any(node in shown for node in (*NODES, "scscf", "pcscf", ".home1.net"))


@against("border-hiding")
async def the_partner_reads_who_is_inside(edge: Edge) -> bool:
    """From Via, Record-Route and Contact of a call, and from the Service-Route of a visitor."""
    inner = (("Service-Route", "<sip:orig@scscf1.home1.net;lr>"), ("Contact", "<sip:scscf1.home1.net>"))
    edge.inside.answers = lambda request: request.response(200, to_tag="r", headers=inner)
    await edge.leave(invite("sip:zoe@home2.net", ("Record-Route", "<sip:scscf1.home1.net;lr>")))
    answer = await edge.enter(from_partner("sip:alice@home1.net"))
    return names(edge.outside.last.to_bytes().decode()) or names(answer.to_bytes().decode())


@against("border-token-mac", hiding="cbc")
async def a_token_is_bent_to_another_node(edge: Edge) -> bool:
    """CBC without a MAC: who flips bits of the IV flips them in the first block, and knows what stands there.

    The first 16 octets are a time and the beginning of an entry: `scscf1` becomes `scscf2`, another server.
    """
    await edge.leave(invite("sip:zoe@home2.net", ("Record-Route", "<sip:scscf1.home1.net;lr>")))
    (route,) = edge.outside.last.all("Record-Route")
    token = route.partition(":")[2].partition("@")[0]
    octets = bytearray(urlsafe_b64decode(token + "=="))
    octets[3 + 4 + len(f"{SHORT}scscf")] ^= ord("1") ^ ord("2")
    bent = urlsafe_b64encode(bytes(octets)).rstrip(b"=").decode()
    way = ("Route", route.replace(token, bent))
    await edge.enter(from_partner("sip:alice@203.0.113.7", way, method="BYE", to_="<sip:a@b>;tag=f1"))
    return bool(edge.inside.came) and "scscf2" in (edge.inside.last.get("Route") or "")


@against("border-route")
async def a_partner_goes_straight_to_a_node(edge: Edge) -> bool:
    """It knows the name of an S-CSCF, and asks it to place a call as for a user of ours."""
    steps = ("<sip:orig@scscf1.home1.net;lr>", "<sip:10.0.0.1;lr>", "<sip:10.9.9.9:5060;lr>")
    for step in steps:
        await edge.enter(from_partner("sip:+15550100@home1.net;user=phone", ("Route", step)))
    await edge.enter(from_partner("sip:x@10.9.9.9", method="BYE", to_="<sip:alice@home1.net>;tag=guessed"))
    return bool(edge.inside.came)


@against("border-relay")
async def a_partner_calls_through_us(edge: Edge) -> bool:
    """A third network trusts us, so a call through us is trusted there."""
    await edge.enter(from_partner("sip:carol@home3.net"))
    await edge.enter(from_partner("sip:carol@home1.net", ("Route", "<sip:home3.net;lr>")))
    return bool(edge.inside.came)


@against("border-identity")
async def a_plain_network_says_who_calls(edge: Edge) -> bool:
    """The bank's number, and that somebody else pays; and it hears who of ours calls."""
    lies = (
        ("P-Asserted-Identity", "<sip:bank@home1.net>"), ("P-Served-User", "<sip:alice@home1.net>"),
        ("P-Charging-Vector", "icid-value=x;orig-ioi=home2.net"), ("Resource-Priority", "wps.0"),
    )  # fmt: skip
    call = from_partner("sip:alice@home1.net", *lies, from_="<sip:bank@sip.example>;tag=1")
    await edge.enter(call, plain())
    believed = edge.inside.last.get("P-Asserted-Identity") or edge.inside.last.get("Resource-Priority")
    await edge.leave(invite("sip:x@sip.example", ("P-Asserted-Identity", "<sip:alice@home1.net>")))
    return bool(believed) or edge.outside.last.has("P-Asserted-Identity")


@against("border-privacy")
async def a_plain_network_learns_who_wants_to_be_unknown(edge: Edge) -> bool:
    """From, Contact and the rest of a call with Privacy: user."""
    call = invite(
        "sip:x@sip.example", ("Privacy", "id;user"), ("P-Asserted-Identity", "<sip:alice@home1.net>"),
        ("Contact", "<sip:alice@203.0.113.7>"), ("Subject", "Alice calls"), ("Referred-By", "<sip:alice@home1.net>"),
        from_='"Alice" <sip:alice@home1.net>;tag=f1',
    )  # fmt: skip
    await edge.leave(call)
    return "alice" in edge.outside.last.to_bytes().decode().lower()


@against("border-roaming")
async def a_roaming_partner_lies_about_where_and_who_pays(edge: Edge) -> bool:
    """Another network's name in P-Visited-Network-ID; another operator in orig-ioi (row 83)."""
    visited = [("P-Visited-Network-ID", "home3.net")]
    register = from_partner("sip:home1.net", *visited, method="REGISTER")
    vector = ("P-Charging-Vector", "icid-value=1;orig-ioi=home3.net")
    answers = [await edge.enter(register), await edge.enter(from_partner("sip:alice@home1.net", vector))]
    return any(answer.is_success for answer in answers)


@against("border-screening")
async def a_partner_sends_what_no_agreement_has(edge: Edge) -> bool:
    """A method and a header of its own, a description of 64 kB, bodies inside bodies (row 82)."""
    nested = b"--a\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--a--\r\n"
    tries = [
        from_partner("sip:alice@home1.net", method="EXEC"),
        from_partner("sip:alice@home1.net", ("Content-Type", "application/sdp"), body=b"v=0\r\n" + b"a=x\r\n" * 12_000),
        from_partner("sip:alice@home1.net", ("Content-Type", "multipart/mixed;boundary=a"), body=nested),
    ]
    answers = [await edge.enter(request) for request in tries]
    await edge.enter(from_partner("sip:alice@home1.net", ("X-Billing", "free")))
    return any(answer.is_success for answer in answers) or edge.inside.last.has("X-Billing")


@against("border-rate")
async def a_partner_floods(edge: Edge) -> bool:
    """Twice its rate of initial requests within a moment."""
    answers = [await edge.enter(from_partner("sip:alice@home1.net", call_id=f"c{n}")) for n in range(400)]
    served = sum(answer.is_success for answer in answers)
    return served > 1.5 * PEER.requests_per_s


@against("border-probe")
async def a_partner_counts_hops(edge: Edge) -> bool:
    """Max-Forwards 1, 2, 3... from outside; what is left of 70 in what leaves; phrases of errors (rows 74, 78)."""

    def short_of_hops(request: Request) -> Response:
        left = int(request.get("Max-Forwards") or 0)
        return request.response(483 if left < 4 else 404, "scscf1 does not know alice", to_tag="n")

    edge.inside.answers = short_of_hops
    traces = []
    for hops in range(1, 10):
        answer = await edge.enter(from_partner("sip:alice@home1.net", hops=str(hops), call_id=f"c{hops}"))
        traces.append((answer.status, answer.reason))
    left = set()
    for hops in (62, 65, 69):
        await edge.leave(invite("sip:zoe@home2.net", hops=str(hops)))
        left.add(edge.outside.last.get("Max-Forwards"))
    far = await edge.enter(from_partner("sip:alice@home1.net"))
    return len(set(traces)) > 1 or len(left) > 1 or "scscf" in far.reason


@against("border-redirect")
async def a_partner_redirects_to_a_number_that_costs(edge: Edge) -> bool:
    """And to a hundred of them."""
    costly = ", ".join(f"<sip:+88{n}@home1.net;user=phone>" for n in range(100))
    edge.outside.answers = lambda request: request.response(302, to_tag="r", headers=(("Contact", costly),))
    answer = await edge.leave(invite("sip:zoe@home2.net"))
    return answer.status == 302 or "+88" in answer.to_bytes().decode()


@against("border-token-partner")
async def a_token_is_used_by_another_partner(edge: Edge) -> bool:
    """The third network has seen the token that leads to Alice's P-CSCF, in a trace or a transit, and uses it."""
    await edge.leave(invite("sip:zoe@home2.net", ("Record-Route", "<sip:flow@pcscf.home1.net;lr>")))
    (route,) = edge.outside.last.all("Record-Route")
    call = from_partner("sip:alice@203.0.113.7", ("Route", route), from_="<sip:x@home3.net>;tag=1")
    await edge.enter(call, tls("home3.net"))
    return bool(edge.inside.came)


@against("border-visitor")
async def a_visited_network_calls_as_somebody_who_is_at_home(edge: Edge) -> bool:
    """One of our users registered from there; along that Service-Route it calls in the name of another."""
    users = ("P-Associated-URI", "<sip:roamer@home1.net>, <tel:+15550100>")
    edge.inside.answers = lambda request: request.response(
        200, to_tag="r", headers=(("Service-Route", "<sip:orig@scscf1.home1.net;lr>"), users)
    )
    visited = ("P-Visited-Network-ID", OTHER)
    answer = await edge.enter(from_partner("sip:home1.net", visited, method="REGISTER"))
    (route,) = answer.all("Service-Route")
    own = from_partner("sip:x@home3.net", ("Route", route), ("P-Asserted-Identity", "<tel:+1-555-0100>"))
    assert (await edge.enter(own)).is_success, "its own visitor calls"
    call = from_partner("sip:x@home3.net", ("Route", route), ("P-Asserted-Identity", "<sip:director@home1.net>"))
    return (await edge.enter(call)).is_success


@against("border-own-users")
async def a_trusted_partner_calls_as_one_of_our_own(edge: Edge) -> bool:
    """The called user sees the director of its own network."""
    boss = ("P-Asserted-Identity", "<sip:director@home1.net>")
    await edge.enter(from_partner("sip:alice@home1.net", boss))
    return "director" in (edge.inside.last.get("P-Asserted-Identity") or "")


def test_the_partner_of_most_attacks_is_one_with_an_agreement() -> None:
    assert PEER.domains == (OTHER,)
