"""Whatever is said at the border, in requests and responses of all kinds: no fault here, and nothing named outside."""

import json
import random
from pathlib import Path

import pytest

from redoubt.config.interconnect import PartnerConfig
from redoubt.events import Bug
from redoubt.sip.errors import SipError
from redoubt.sip.message import MalformedMessage, Request, Response, parse_message
from redoubt.sip.uri import SipUri
from redoubt.sip.validate import check_request
from redoubt.transport.flow import Flow

from .edge import OTHER, Edge, plain, tls
from .test_topology import leaks

VECTORS = Path(__file__).parents[1] / "vectors"
EXAMPLES = json.loads((VECTORS / "sip-examples" / "rfc-example-heads.json").read_text())["vectors"]
HEADS = [str(example["head"]).encode() for example in EXAMPLES]
TORTURE = [path.read_bytes() for path in sorted((VECTORS / "sip-torture-rfc4475").rglob("*.dat"))]
NODES = ("scscf1.home1.net", "pcscf.home1.net", "SCSCF1.Home1.NET", "home2.net", "ibcf.home1.net", "home1.net")


def messages() -> list[Request | Response]:
    found = []
    for octets in (*HEADS, *TORTURE):
        try:
            found.append(parse_message(octets if b"\r\n\r\n" in octets else octets.rstrip() + b"\r\n\r\n"))
        except MalformedMessage:
            continue
    return found


def retold(message: Request | Response, chance: random.Random) -> Request | Response:
    """The same, with hosts of this network and its partner in it, and maybe a line lost or twice."""
    text = message.to_bytes()
    for host in (b"atlanta.example.com", b"biloxi.example.com", b"example.com", b"atlanta.com", b"biloxi.com"):
        text = text.replace(host, chance.choice(NODES).encode())
    lines = text.split(b"\r\n")
    if chance.random() < 0.3:
        lines.insert(chance.randrange(1, len(lines) - 1), chance.choice(lines[1:-2] or lines))
    try:
        return parse_message(b"\r\n".join(lines))
    except MalformedMessage:
        return message


def answering(responses: list[Response], chance: random.Random) -> object:
    def answer(request: Request) -> Response:
        model = retold(chance.choice(responses), chance)
        assert isinstance(model, Response)
        response = request.response(model.status, to_tag=chance.choice([None, "t", "u"]))
        for name, line in model.headers:
            if name not in ("Via", "CSeq", "Content-Type", "Call-ID") or chance.random() < 0.02:
                response.add(name, line) if chance.random() < 0.5 else response.set(name, line)
        return response

    return answer


@pytest.mark.parametrize("mode", ["proxy", "b2bua"])
@pytest.mark.parametrize("kind", ["ims", "sip"])
async def test_no_message_makes_a_fault_or_a_leak(mode: str, kind: str) -> None:
    chance = random.Random(f"{mode}{kind}")
    address = {"security": "none", "addresses": ("198.51.100.0/24",)} if kind == "sip" else {}
    partner = PartnerConfig(
        name="two", domains=(OTHER,), kind=kind, mode=mode, serves_visitors=True, visited_networks=(OTHER,),
        requests_per_s=10**6, sessions=10**6, **address,
    )  # type: ignore[arg-type]  # fmt: skip
    edge = Edge(partners=(partner,))
    flow: Flow = plain() if kind == "sip" else tls(OTHER)
    everything = messages()
    responses = [one for one in everything if isinstance(one, Response)]
    edge.inside.answers = edge.outside.answers = answering(responses, chance)  # type: ignore[assignment]
    for message in [one for one in everything if isinstance(one, Request)] * 2:
        request = retold(message, chance)
        assert isinstance(request, Request)
        try:
            check_request(request)
        except SipError:
            continue
        await _both_ways(edge, request, flow)
    assert len(edge.outside.came) > 40 and len(edge.inside.came) > 10
    assert not [event for event in edge.events if isinstance(event, Bug)]


async def _both_ways(edge: Edge, request: Request, flow: Flow) -> None:
    known = len(edge.outside.came)
    entering = request.copy()
    if request.method == "ACK":
        await edge.acknowledge(request)
        await edge.acknowledge(entering, flow)
    else:
        if request.request_uri.aor.startswith("sip:") and OTHER not in request.uri:
            request.push("Route", f"<sip:{OTHER};lr>")
        await edge.leave(request)
        await edge.enter(entering, flow)
    for left in edge.outside.came[known:]:
        told = left.copy()
        for name in ("To", "Call-ID", "Content-Type"):  # the caller's words, which name whom it calls
            told.remove(name)
        if not isinstance(told.from_.uri, SipUri):
            told.remove("From")
        told.uri, told.body = "sip:x", b""
        assert not leaks(told), told.to_bytes().decode("utf-8", "replace")


