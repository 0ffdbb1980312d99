"""What leaves names nobody inside, and tells a network with one S-CSCF from one with eight by nothing (rows 78, 79)."""

import random
import re

import pytest

from redoubt.sip.message import Message, Request, Response

from .edge import NODES, REALM, Edge, from_partner, invite

TOKEN = re.compile(r"[\w-]{300,}")
HEX = re.compile(r"\b[0-9a-f]{20}\b")
LEAKS = (
    ("Server", "Redoubt/{s}"), ("Warning", '399 {s} "no such user"'), ("User-Agent", "x"), ("Error-Info", "<sip:{s}>"),
)  # fmt: skip


def normalised(message: Message) -> str:
    """With random values all alike."""
    return HEX.sub("HEX", TOKEN.sub("TOKEN", message.to_bytes().decode()))


def leaks(message: Message) -> set[str]:
    """Names and addresses of nodes in a message."""
    shown = message.to_bytes().decode().lower().replace(f"ibcf.{REALM}", "")
    names = {node for node in NODES if node in shown}
    return names | set(re.findall(rf"[\w-]+\.{re.escape(REALM)}", shown)) | set(re.findall(r"[ps]cscf", shown))


class Inside:
    """A network with so many S-CSCFs, each user at any of them; its nodes tell all that they can of themselves."""

    def __init__(self, servers: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.names = [f"scscf{n}.{REALM}" for n in range(1, servers)] + [f"a-server-with-capability-7-and-9.{REALM}"]

    @property
    def server(self) -> str:
        return self.chance.choice(self.names)

    def answers(self, request: Request) -> Response:
        server = self.server
        told = [(name, text.replace("{s}", server)) for name, text in LEAKS]
        if request.method == "REGISTER":
            told += [("Service-Route", f"<sip:orig@{server};lr>"), ("P-Associated-URI", "<sip:alice@home1.net>")]
            told += [("Path", path) for path in request.all("Path")]
            return request.response(200, to_tag="t", headers=tuple(told))
        if request.request_uri.aor == "sip:nobody@home1.net":
            return request.response(404, f"{server} knows nobody", to_tag="t", headers=tuple(told))
        told += [("P-Charging-Vector", f"icid-value=1;icid-generated-at={server};term-ioi=home1.net")]
        told += [("P-Charging-Function-Addresses", f"ccf={server}"), ("History-Info", f"<sip:bob@{server}>;index=1")]
        told += [("Contact", f"<sip:{server}>" if request.method == "SUBSCRIBE" else "<sip:alice@203.0.113.7>")]
        response = request.response(200, to_tag="t", headers=tuple(told))
        passed = [f"<sip:f@pcscf.{REALM};lr>", f"<sip:{server};lr>"]
        response.replace("Record-Route", [*passed, *request.all("Record-Route")])
        return response

    def request(self, method: str, to: str, *headers: tuple[str, str], **more: str) -> Request:
        """A request on its way out, as nodes of this network leave it."""
        server = self.server
        told = [(name, text.replace("{s}", server)) for name, text in LEAKS[:3]]
        told += [("P-Charging-Vector", f"icid-value=1;icid-generated-at={server};orig-ioi=home1.net")]
        told += [("P-Charging-Function-Addresses", f"ccf={server}"), ("P-User-Database", f"<aaa://hss.{REALM}>")]
        if method == "REGISTER":
            told += [("Path", f"<sip:f@pcscf.{REALM};lr>")]
        elif "Route" not in dict(headers):
            told += [("Record-Route", f"<sip:{server};lr>"), ("Record-Route", f"<sip:f@pcscf.{REALM};lr>")]
        request = invite(to, *told, *headers, method=method, **more)
        vias = [f"SIP/2.0/UDP {server}:5072;branch=z9hG4bK1", f"SIP/2.0/UDP pcscf.{REALM};branch=z9hG4bK2"]
        request.replace("Via", [*vias, "SIP/2.0/UDP 203.0.113.7;branch=z9hG4bK3"])
        return request


async def trace(servers: int, hiding: str, seed: int) -> list[Message]:
    """All that leaves a network in a day: calls and messages both ways, visitors, watchers, errors, probes."""
    edge, inside = Edge(hiding=hiding), Inside(servers, seed)
    edge.inside.answers = inside.answers
    left: list[Message] = []
    for method in ("INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "OPTIONS"):
        contact = ("Contact", f"<sip:{inside.server}>" if method == "SUBSCRIBE" else "<sip:alice@203.0.113.7>")
        node = f"<sip:pcscf.{REALM}>;tag=f1" if method == "SUBSCRIBE" else "<sip:alice@home1.net>;tag=f1"
        asserted = ("P-Asserted-Identity", node.removesuffix(";tag=f1"))
        await edge.leave(inside.request(method, "sip:zoe@home2.net", contact, asserted, from_=node))
    route = ("Route", "<sip:Home%20Two@ibcf.home1.net;lr>")
    for method in ("BYE", "NOTIFY", "UPDATE"):
        told = (route, ("Contact", f"<sip:{inside.server}>"))
        await edge.leave(inside.request(method, "sip:zoe@192.0.2.77", *told, to_="<sip:zoe@home2.net>;tag=z"))
    await edge.leave(inside.request("REGISTER", "sip:home2.net"))
    left += edge.outside.came
    for method in ("INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS"):
        left.append(await edge.enter(from_partner("sip:alice@home1.net", method=method)))
    left.append(await edge.enter(from_partner("sip:nobody@home1.net")))
    visited = (("P-Visited-Network-ID", "home2.net"), ("Path", "<sip:p.home2.net;lr>"))
    left.append(await edge.enter(from_partner("sip:home1.net", *visited, method="REGISTER")))
    for name in (inside.server, f"pcscf.{REALM}", f"never-was.{REALM}", "10.0.0.1", "10.99.0.1", "[2001:db8::1]"):
        left.append(await edge.enter(from_partner(f"sip:{name}", method="OPTIONS", to_="<sip:home1.net>")))
    for hops in range(20):
        left.append(await edge.enter(from_partner("sip:alice@home1.net", hops=str(hops))))
    left.append(await edge.enter(from_partner("sip:home1.net", method="OPTIONS")))
    return left


@pytest.mark.parametrize("hiding", ["gcm", "cbc"])
async def test_nothing_that_leaves_names_a_node_or_how_many_there_are(hiding: str) -> None:
    for seed, servers in ((1, 1), (2, 8)):
        for message in await trace(servers, hiding, seed):
            assert not leaks(message), message.to_bytes().decode()


@pytest.mark.parametrize("hiding", ["gcm", "cbc"])
async def test_networks_with_one_and_with_eight_s_cscfs_leave_equal_traces(hiding: str) -> None:
    one = [normalised(message) for message in await trace(1, hiding, seed=1)]
    eight = [normalised(message) for message in await trace(8, hiding, seed=2)]
    assert one == eight and len(one) > 35
    probes = {text for text in eight if "OPTIONS" in text and "404" in text}
    assert len(probes) == 1, "names and addresses of nodes are answered as those that none has"


async def test_texts_and_fragments_that_name_a_node_do_not_leave() -> None:
    edge = Edge()
    told = (
        ("Reason", 'SIP;cause=503;text="SCSCF1.Home1.NET is gone"'), ("Reason", "Q.850;cause=16"),
        ("Call-Info", "<http://tones.home1.net/a>"), ("Alert-Info", "<http://10.0.0.2:80/x>"),
        ("Content-Type", "message/sipfrag"),
    )  # fmt: skip
    body = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP scscf1.home1.net\r\n"
    await edge.leave(invite("sip:zoe@home2.net", *told, method="NOTIFY", body=body))
    left = edge.outside.last
    assert left.all("Reason") == ["Q.850;cause=16"] and left.body == b"SIP/2.0 200 OK\r\n"
    assert not left.has("Call-Info") and not left.has("Alert-Info")


async def test_what_a_partner_sends_back_still_finds_its_node() -> None:
    """Contact, From and Record-Route of a node that watched: the notification reaches it by the tokens alone."""
    edge = Edge()
    node = "<sip:pcscf.home1.net>"
    watch = invite(
        "sip:zoe@home2.net", ("Contact", node), ("P-Asserted-Identity", node), ("Event", "reg"), method="SUBSCRIBE",
        from_=f"{node};tag=w",
    )  # fmt: skip
    edge.outside.answers = lambda request: request.response(
        200, to_tag="z", headers=(("Record-Route", request.get("Record-Route") or ""),)
    )
    answer = await edge.leave(watch)
    assert answer.get("From") == f"{node};tag=w"
    seen = edge.outside.last
    contact, route = (seen.get("Contact") or "").strip("<>"), seen.get("Record-Route") or ""
    notify = from_partner(contact, ("Route", route), method="NOTIFY", to_=seen.get("From") or "")
    answered = await edge.enter(notify)
    assert edge.inside.last.uri == "sip:pcscf.home1.net" and edge.inside.last.get("To") == f"{node};tag=w"
    assert answered.get("To") == seen.get("From"), "the partner gets back what it wrote"


async def test_a_dialog_that_ends_at_another_door_of_this_border_passes_a_partner() -> None:
    """Home One ends dialogs with a third network, and its own visitor's home, Home Two, is between (seed 21)."""
    edge = Edge()
    await edge.leave(invite("sip:zoe@home2.net", ("Record-Route", "<sip:scscf1.home1.net;lr>")))
    (route,) = edge.outside.last.all("Record-Route")
    target = "sip:1234abcd@ibcf.home1.net"
    bye = from_partner(target, ("Route", route), method="BYE", to_="<sip:alice@home1.net>;tag=f1")
    assert (await edge.enter(bye)).status == 200 and edge.inside.last.uri == target


async def test_several_border_nodes_share_the_work() -> None:
    """What one hid the other opens: keys are shared, and nothing of a dialog is kept."""
    first, second = Edge(seed=1), Edge(seed=2)
    routes = [("Record-Route", "<sip:scscf1.home1.net;lr>"), ("Record-Route", "<sip:f@pcscf.home1.net;lr>")]
    await first.leave(invite("sip:zoe@home2.net", *routes))
    (route,) = first.outside.last.all("Record-Route")
    bye = from_partner("sip:alice@203.0.113.7", ("Route", route), method="BYE", to_="<sip:alice@home1.net>;tag=f1")
    assert (await second.enter(bye)).status == 200
    assert second.inside.last.all("Route") == [line for _, line in routes]


async def test_a_changed_token_is_400_with_an_event_and_goes_nowhere() -> None:
    edge = Edge()
    await edge.leave(invite("sip:zoe@home2.net", ("Record-Route", "<sip:scscf1.home1.net;lr>")))
    (route,) = edge.outside.last.all("Record-Route")
    at = route.index("@") - 9
    changed = route[:at] + ("A" if route[at] != "A" else "B") + route[at + 1 :]
    answer = await edge.enter(from_partner("sip:a@b.example", ("Route", changed), method="BYE", to_="<sip:a@b>;tag=1"))
    assert answer.status == 400 and answer.reason == "Bad Request"
    assert not edge.inside.came and "forged, changed or is too old" in edge.refusals()[-1]
    partner = edge.partners.named("Home Two")
    assert partner is not None and "forged" in partner.last_refusal


async def test_a_response_with_a_changed_via_or_record_route_is_put_right() -> None:
    edge = Edge()

    def meddles(request: Request) -> Response:
        response = request.response(200, to_tag="z")
        response.replace("Via", [*response.all("Via")[:1], "SIP/2.0/UDP victim.example;branch=z9hG4bKx"])
        response.replace("Record-Route", ["<sip:evil.example;lr>"])
        response.set("From", "<sip:mallory@home2.net>;tag=f1")
        return response

    edge.outside.answers = meddles
    sent = invite("sip:zoe@home2.net", ("Record-Route", "<sip:scscf1.home1.net;lr>"))
    answer = await edge.leave(sent)
    assert answer.all("Via") == sent.all("Via") and answer.get("From") == sent.get("From")
    assert answer.all("Record-Route")[-1] == "<sip:scscf1.home1.net;lr>"
