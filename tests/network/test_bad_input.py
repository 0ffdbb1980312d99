"""Bad input, from the wire: rows 91 to 96 and 100. Each gets an error, an event, and costs nobody's registration."""

import random
import sqlite3
from pathlib import Path

import pytest

from redoubt import limits
from redoubt.events import Bug, Notice, Refused, Registered
from redoubt.hss.store import StoreFailed
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer, ask
from redoubt.secret import Secret

from .calls import AS_SDP, SDP, pair, unharmed
from .client import fresh
from .home import home, subscribers

VECTORS = Path(__file__).parents[1] / "vectors"
TORTURE = sorted((VECTORS / "sip-torture-rfc4475").glob("*.dat")) + sorted(
    (VECTORS / "sip-torture-rfc5118").glob("*.dat")
)


async def test_torture_messages_over_udp_harm_nobody() -> None:
    """Rows 91 and 92: every message of RFC 4475 and RFC 5118."""
    async with home() as net:
        alice, bob = await pair(net)
        stranger = await net.phone("mallory")
        for path in TORTURE:
            stranger.send(path.read_bytes())
            alice.send(path.read_bytes())  # and from a flow that is registered
            await net.settled(0.005)
        await net.settled(0.2)
        assert net.events(Refused)
        await unharmed(net, alice, bob)


async def test_content_length_beyond_a_datagram_is_400() -> None:
    """Row 93: by UDP too."""
    async with home() as net:
        phone = await net.phone("alice")
        request = phone.register()
        phone.send(request.to_bytes().replace(b"Content-Length: 0", b"Content-Length: 10"))
        assert (await phone.final(request)).status == 400


LINE = limits.SIP_LINE_OCTETS
BOUNDS = {
    "line": (("X-Long", "x" * (LINE - 20)), ("X-Long", "x" * (LINE + 1))),
    "lines": ([("X-Many", "x")] * 200, [("X-Many", "x")] * (limits.SIP_HEADER_LINES + 1)),
    "head": ([("X-Big", "x" * 4000)] * 12, [("X-Big", "x" * 4000)] * 20),
}


@pytest.mark.parametrize("bound", BOUNDS)
async def test_what_is_within_bounds_is_served_and_what_is_beyond_is_refused(bound: str) -> None:
    """Row 94, over TCP; the exact bounds are the codec's tests."""
    async with home() as net:
        alice, bob = await pair(net)
        good, bad = (pairs if isinstance(pairs, list) else [pairs] for pairs in BOUNDS[bound])
        stream = await net.stream("carol")
        assert (await stream.ask(stream.register(None, *good))).status == 401
        refused = stream.register(None, *bad)
        stream.send(refused)
        assert (await stream.final(refused)).status in (400, 413, 431, 513)
        await unharmed(net, alice, bob)


@pytest.mark.parametrize(("octets", "expected"), [(limits.SIP_BODY_OCTETS, 401), (limits.SIP_BODY_OCTETS + 1, 413)])
async def test_a_body_has_a_bound(octets: int, expected: int) -> None:
    """Row 94."""
    async with home() as net:
        stream = await net.stream("carol")
        request = stream.register()
        request.add("Content-Type", "application/octet-stream")
        request.body = bytes(octets)
        stream.send(request)
        assert (await stream.final(request)).status == expected


async def test_uri_parameters_have_a_bound() -> None:
    """Row 94."""
    async with home() as net:
        phone = await net.phone("carol")
        many = "".join(f";p{number}=1" for number in range(limits.SIP_URI_PARAMETERS + 1))
        assert (await phone.ask(phone.register(contact=f"<sip:c@127.0.0.1{many}>"))).status in (400, 414)


@pytest.mark.parametrize(
    "name", ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Expires", "Content-Length", "Content-Type", "Event"]
)
async def test_a_header_that_may_occur_once_occurs_once(name: str) -> None:
    """Row 95 (RFC 3261 7.3.1): 400 for the second, compact or not."""
    compact = {"From": "f", "To": "t", "Call-ID": "i", "Content-Length": "l", "Content-Type": "c", "Event": "o"}
    async with home() as net:
        phone = await net.phone("alice")
        for spelling in {name, name.upper(), compact.get(name, name)}:
            request = phone.register()
            if not request.has(name):
                request.add(name, {"Content-Type": "text/plain", "Event": "reg"}.get(name, "0"))
            octets = request.to_bytes()
            value = next(line for line in octets.split(b"\r\n") if line.startswith(name.encode())).partition(b":")[2]
            head, empty, body = octets.partition(b"\r\n\r\n")
            phone.send(head + b"\r\n" + spelling.encode() + b":" + value + empty + body)
        statuses = await phone.statuses(0.1)
        assert statuses and set(statuses) == {400} and not phone.unreadable


@pytest.mark.parametrize("octets", [b"\0", b"\r", b"\n", b"\n\n", b"\r\r\n", b"\x7f\0", b"\nEvil: yes"])
async def test_a_control_character_in_a_header_is_refused(octets: bytes) -> None:
    """Row 95: NUL, bare CR, bare LF."""
    async with home() as net:
        alice, bob = await pair(net)
        phone = await net.phone("carol")
        request = phone.register()
        request.add("Subject", "MARK")
        phone.send(request.to_bytes().replace(b"MARK", b"a" + octets + b"b"))
        try:
            assert (await phone.final(request, 0.3)).status == 400
        except TimeoutError:
            pass  # not even answerable
        assert not [event for event in net.events(Registered) if "carol" in event.impu]
        assert net.events(Refused)
        await unharmed(net, alice, bob)


async def test_a_folded_header_is_one_line_to_every_function() -> None:
    """Row 95: folding changes nothing of what the P-CSCF, S-CSCF and HSS read."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        request = phone.register(phone.answer())
        phone.send(request.to_bytes().replace(b",nonce=", b",\r\n nonce=").replace(b"To: <", b"To:\r\n\t<"))
        assert (await phone.final(request)).status == 200


@pytest.mark.parametrize("missing", ["Via", "From", "To", "Call-ID", "CSeq"])
async def test_a_missing_header_is_refused_with_an_event(missing: str) -> None:
    """Bad input: 400 where an answer is possible."""
    async with home() as net:
        alice, bob = await pair(net)
        phone = await net.phone("carol")
        request = phone.register()
        request.remove(missing)
        phone.send(request)
        assert await phone.statuses(0.1) == ([] if missing == "Via" else [400])
        assert not phone.unreadable
        assert net.events(Refused)
        await unharmed(net, alice, bob)


async def test_an_unknown_header_is_carried_to_the_called_phone() -> None:
    """Bad input: unknown is not bad (RFC 3261 16.3); it passes unread."""
    async with home() as net:
        alice, bob = await pair(net)
        alice.send(alice.make("MESSAGE", bob.card.impu, None, ("X-Unheard-Of", 'who; knows="what" <it> is')))
        assert (await bob.request("MESSAGE")).get("X-Unheard-Of") == 'who; knows="what" <it> is'


async def test_an_extension_that_is_required_of_the_proxy_and_not_known_is_420() -> None:
    """RFC 3261 16.3 step 5."""
    extension = "no-such-thing"
    async with home() as net:
        phone = await net.phone("alice")
        answer = await phone.ask(phone.register(None, ("Proxy-Require", extension)))
        assert (answer.status, answer.get("Unsupported")) == (420, extension)


HOSTILE_SDP = {
    "no address": SDP,
    "unspecified": SDP.replace(b"127.0.0.1", b"0.0.0.0"),
    "multicast": SDP.replace(b"127.0.0.1", b"224.0.0.1/127"),
    "a thousand media": SDP + b"m=audio 40000 RTP/AVP 0\r\n" * 1000,
    "no end": b"v=0\r\n" + b"a=" + b"x" * 30_000,
    "binary": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("kind", HOSTILE_SDP)
async def test_hostile_sdp_harms_nobody(kind: str) -> None:
    """Row 100: it is refused, or carried to the called phone as it came; the parser's own tests judge each kind."""
    async with home() as net:
        alice, bob = await pair(net)
        invite = alice.make("INVITE", bob.card.impu, None, AS_SDP, body=HOSTILE_SDP[kind])
        alice.send(invite)
        try:
            bob.respond(await bob.request("INVITE", 0.5), 488)
        except TimeoutError:
            pass
        assert (await alice.final(invite)).status >= 400
        await unharmed(net, alice, bob)


async def test_an_xml_bomb_in_a_message_is_carried_and_never_parsed() -> None:
    """Row 112: what phones send each other is theirs to read."""
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><a>&b;</a>'
    async with home() as net:
        alice, bob = await pair(net)
        alice.send(alice.make("MESSAGE", bob.card.impu, None, ("Content-Type", "application/xml"), body=bomb))
        assert (await bob.request("MESSAGE")).body == bomb
        node = await net.stranger("p-cscf", host="127.0.0.1")
        notify = node.make(
            "NOTIFY", f"sip:pcscf.{net.realm}", None, ("Event", "reg"), ("Subscription-State", "active"),
            ("Content-Type", "application/reginfo+xml"), body=bomb,
        )  # fmt: skip
        assert (await node.ask(notify)).status in (400, 403, 404, 481)
        await unharmed(net, alice, bob)


async def test_a_bomb_in_the_networks_own_notify_is_refused() -> None:
    """Row 112: reginfo with a DTD, inside the P-CSCF's own subscription; nobody loses a registration by it."""
    bomb = b'<!DOCTYPE reginfo [<!ENTITY a "a">]><reginfo version="9" state="full">&a;</reginfo>'
    async with home() as net:
        alice, bob = await pair(net)
        await net.settled()
        assert net.network.p_cscf is not None
        (subscription, *_) = net.network.p_cscf.subscriptions._by_impu.values()
        node = await net.stranger("p-cscf", host="127.0.0.1")
        notify = node.make(
            "NOTIFY", f"sip:pcscf.{net.realm}", None, ("Event", "reg"), ("Subscription-State", "active"),
            ("Content-Type", "application/reginfo+xml"), body=bomb,
        )  # fmt: skip
        notify.set("Call-ID", subscription.call_id)
        notify.set("To", f"<sip:pcscf.{net.realm}>;tag={subscription.from_tag}")
        notify.set("CSeq", "900 NOTIFY")
        answer = await node.ask(notify)
        assert 400 <= answer.status < 500
        await unharmed(net, alice, bob)


async def test_a_stale_nonce_is_challenged_anew() -> None:
    """Bad input: a nonce of long ago, of nobody, of no form."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        for nonce in ("AAAA", "!!", "A" * 400, (await (await net.phone("bob")).challenged()).call_id):
            answer = await phone.ask(phone.register(phone.answer(None, Secret(b"guess")).with_param("nonce", nonce)))
            assert answer.status in (400, 401, 403)
        assert not net.events(Registered)


async def test_a_locked_database_refuses_new_users_and_keeps_the_old() -> None:
    """Bad input: another process holds the store; an error that says so, and all is well when it lets go."""
    async with home({"hss": {"sequence-block": 1}}) as net:
        alice, bob = await pair(net)
        locker = sqlite3.connect(net.directory / net.network.config.hss.database, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        carol = await net.phone("carol")
        assert (await carol.registers()).status in (480, 500, 503, 504)
        assert any(notice.level == "alarm" and notice.advice for notice in net.events(Notice))
        await unharmed(net, alice, bob)
        locker.execute("ROLLBACK")
        locker.close()
        assert (await carol.registers()).status == 200


async def test_a_full_disk_refuses_new_users_and_keeps_the_old() -> None:
    """Bad input: SQLite finds no room; the alarm says what to do."""
    async with home() as net:
        alice, bob = await pair(net)
        writer = net.hss.store._writer  # type: ignore[attr-defined]
        writer.execute("PRAGMA max_page_count = 1")
        new = [f"user{number}" for number in range(400)]
        refused = 0
        for name in new:
            try:
                await net.hss.administration.add(subscribers(net.realm, [name]))
            except StoreFailed as fault:
                refused += 1
                assert str(fault)
                break
        assert refused
        await unharmed(net, alice, bob)
        writer.execute("PRAGMA max_page_count = 1000000")
        assert (await (await net.phone("carol")).registers()).status == 200


async def test_random_octets_harm_nobody() -> None:
    """Row 91: ten thousand mutations are the codec's test; a few hundred come over the wire here."""
    chance = random.Random(7)
    async with home() as net:
        alice, bob = await pair(net)
        stranger = await net.phone("mallory")
        for _ in range(300):
            octets = bytearray(alice.register(call_id=fresh("m")).to_bytes())
            for _ in range(chance.randrange(1, 6)):
                octets[chance.randrange(len(octets))] = chance.randrange(256)
            stranger.send(bytes(octets))
            if chance.random() < 0.1:
                await net.settled(0.001)
        await net.settled(0.1)
        await unharmed(net, alice, bob)


async def test_an_identity_that_is_no_text_is_refused() -> None:
    """Bad input: octets that are no UTF-8 in a user name, and in what events quote of a message."""
    async with home() as net:
        phone = await net.phone("alice")
        request = phone.register(call_id="MARK")
        phone.send(request.to_bytes().replace(b'username="alice', b'username="\xff\xa4'))
        assert await phone.statuses(0.1) == [400]
        phone.send(request.to_bytes().replace(b"MARK", b"\xff\xa4").replace(b"z9hG4bK", b"z9hG4bKx"))
        await net.settled(0.1)
        assert not net.events(Bug)
        path = net.directory / "control"
        server = ControlServer(path, commands(net.network))
        await server.start()
        try:
            told = await ask(path, "status", events=100)
        finally:
            await server.close()
        assert len(told["events"]) >= 2
