"""Calls to numbers: own users, ENUM, the BGCF, and no circles between them (TS 24.229 5.4.3.2, 5.6.2)."""

import asyncio
from collections.abc import Iterable

import pytest
from tests.ndm.test_enum import Zone, rule
from tests.transaction.nodes import own_exchange

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import BgcfConfig, BgcfRoute
from redoubt.cscf.bgcf.bgcf import Bgcf
from redoubt.cscf.scscf.breakout import Breakout
from redoubt.events import Check, EventStream, Refused
from redoubt.ndm.enum import Enum
from redoubt.network.dispatch import Dispatch
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Root, enter
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport import flow as wires

REALM = "ims.example.org"
BGCF = f"sip:bgcf.{REALM}"
OWN = "+4930100"
ROUTES = {"": "sip:mgcf.example.net:5080;transport=tcp", "+49": "sip:partner.example", "+4930": "sip:berlin.example"}


class Home:
    """An S-CSCF's and a BGCF's part of a network whose only number is OWN; all else leaves it."""

    def __init__(self, routes: dict[str, str], enum: Enum | None = None, served: Iterable[str] = ()) -> None:
        loop = asyncio.get_running_loop()
        self.context = Context("s-cscf", EventStream(), Clock(loop, 0.0), SeededRandomness(1))
        self.left: list[Request] = []
        self.returns = False
        dispatch = Dispatch(self.context, own := {}, self.outside)
        config = BgcfConfig(uri=BGCF, routes=tuple(BgcfRoute(prefix=p, to=to) for p, to in routes.items()))
        self.bgcf = Bgcf(self.context.named("bgcf"), config, REALM, dispatch)
        own |= {REALM: ("i-cscf", self.i_cscf), f"bgcf.{REALM}": ("bgcf", self.bgcf)}
        self.breakout = Breakout(self.context, REALM, enum, BGCF if routes else "", dispatch, set(served).__contains__)

    async def i_cscf(self, request: Request, _exchange: Exchange) -> Response:
        return request.response(200 if OWN in request.uri.replace("-", "") else 404, to_tag="i")

    async def outside(self, request: Request, exchange: Exchange) -> Response | None:
        self.left.append(request.copy())
        if self.returns:
            request.push("Route", f"<{BGCF};lr>")
            return await enter(self.bgcf, request, exchange, "partner")
        return request.response(200, to_tag="o")

    async def call(self, uri: str) -> int:
        request = Request("INVITE", uri)
        request.extend([("From", "<sip:a@x>;tag=1"), ("To", f"<{uri}>"), ("Call-ID", "c"), ("CSeq", "1 INVITE")])
        request.add("Max-Forwards", "9")
        assert self.breakout.concerns(request)
        answer = await self.breakout.send(request, own_exchange(self.context), lambda _response: None)
        assert answer is not None
        return answer.status

    def failed(self) -> list[Check]:
        return [each for each in self.context.events.recent if isinstance(each, Check) and not each.passed]


def enum(made: str, number: str = "+4930123") -> Enum:
    name = ".".join((*reversed(number[1:]), "e164.example"))
    return Enum(Zone({name: [rule(f"!^.*$!{made}!")]}), ("e164.example",), REALM, authentic=True)


async def test_a_user_of_this_network_is_found_first() -> None:
    home = Home(ROUTES, enum("sip:a@b.example", OWN))
    for uri in (f"tel:{OWN}", "tel:+49-30-100", f"sip:{OWN}@{REALM};user=phone"):
        assert await home.call(uri) == 200
    assert home.left == []


async def test_then_whom_enum_names() -> None:
    home = Home(ROUTES, enum("sip:a@b.example"))
    assert await home.call("tel:+4930123") == 200
    assert [request.uri for request in home.left] == ["sip:a@b.example"]
    assert not home.left[0].has("Route")


@pytest.mark.parametrize(
    ("number", "leaves_to"),
    [
        ("+4930123", "sip:+4930123@berlin.example;user=phone"),
        ("+4940123", "sip:+4940123@partner.example;user=phone"),
        ("+33-1-23", "sip:+33123@mgcf.example.net:5080;transport=tcp;user=phone"),
    ],
)
async def test_then_the_longest_prefix_says_where_the_number_leaves(number: str, leaves_to: str) -> None:
    home = Home(ROUTES, enum("sip:a@b.example", "+1"))
    assert await home.call(f"tel:{number}") == 200
    assert [request.uri for request in home.left] == [leaves_to]
    assert not home.left[0].has("Route")
    assert home.left[0].get("Max-Forwards") == "7"


async def test_what_enum_says_and_must_not_leaves_it_to_the_bgcf_with_the_reason_told() -> None:
    home = Home(ROUTES, enum("sip:a@10.0.0.1"))
    assert await home.call("tel:+4930123") == 200
    assert "berlin" in home.left[0].uri
    assert "names a node" in home.failed()[0].seen


async def test_a_number_that_nobody_knows_is_404_and_the_advice_says_what_to_write() -> None:
    without = Home({})
    assert await without.call("tel:+33123") == 404
    assert "[[bgcf.routes]]" in without.failed()[-1].advice
    german = Home({"+49": "sip:partner.example"})
    assert await german.call("tel:+33123") == 404
    assert german.failed()[-1].rule == "a route leads to the number"
    assert "+33123" in german.failed()[-1].advice


async def test_what_a_short_number_means_here_only_a_route_of_its_own_says() -> None:
    assert await Home(ROUTES).call("tel:110;phone-context=example.net") == 404
    police = Home({**ROUTES, "110": "sip:police.example"})
    assert await police.call("tel:110;phone-context=example.net") == 200
    assert police.left[0].uri == "sip:110@police.example;user=phone"


async def test_a_user_of_this_s_cscf_who_is_not_to_be_reached_is_not_called_elsewhere() -> None:
    home = Home(ROUTES, served=["tel:+4930123"])
    assert await home.call("tel:+4930123") == 404
    assert home.left == []


async def test_what_a_short_number_means_enum_is_not_asked() -> None:
    home = Home({"110": "sip:police.example"}, enum("sip:bob@b.example", "+110"))
    assert await home.call("tel:110;phone-context=example.net") == 200
    assert not [each for each in home.context.events.recent if isinstance(each, Check) and "ENUM" in each.rule]


async def test_a_number_that_somebody_routed_already_goes_along_its_route() -> None:
    request = Request("INVITE", "tel:+4930123", [("Route", "<sip:partner.example;lr>")])
    assert not Home(ROUTES).breakout.concerns(request)


async def test_the_bgcf_serves_core_nodes_only() -> None:
    home = Home(ROUTES)
    here, there = ("10.0.0.1", 5060), ("10.9.9.9", 5060)
    flow = wires.Flow("udp", here, there, wires.Zone.CORE, wires.Clear(), lambda _data: None)
    request = Request("INVITE", "tel:+4930123")
    request.extend([("From", "<sip:a@x>;tag=1"), ("To", "<tel:+4930123>"), ("Call-ID", "c"), ("CSeq", "1 INVITE")])
    with pytest.raises(SipError, match="no node of this network"):
        await home.bgcf(request, Exchange(flow, Root(home.context, 180.0, lambda _response: None)))
    assert home.left == []


async def test_what_enum_names_in_this_network_goes_round_once_at_most() -> None:
    home = Home(ROUTES, enum(f"sip:+4930123@{REALM};user=phone"))
    assert await home.call("tel:+4930123") == 404
    assert home.left == []


async def test_a_call_that_comes_back_to_the_bgcf_ends() -> None:
    home = Home(ROUTES)
    home.returns = True
    assert await home.call("tel:+4930123") == 482
    assert len(home.left) == 1
    assert [each.status for each in home.context.events.recent if isinstance(each, Refused)] == [482]
    home.returns = False
    assert await home.call("tel:+4930123") == 200


@pytest.mark.parametrize(
    ("prefix", "to", "says"),
    [
        ("+49", f"sip:{REALM}", "this network itself"),
        ("+49", BGCF, "this network itself"),
        ("+49", "tel:+49", "no gateway"),
        ("+49", "mgcf.example.net", "no gateway"),
        ("+49x", "sip:mgcf.example.net", "no beginning of a number"),
    ],
)
async def test_routes_that_lead_nowhere_are_said_at_start(prefix: str, to: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Home({prefix: to})


async def test_two_routes_for_one_prefix_are_said_at_start() -> None:
    with pytest.raises(ConfigError, match="two routes"):
        Home({"+49": "sip:a.example", "+4-9": "sip:b.example"})
