"""`redoubt dns`'s zones and server: what it says, proves, and refuses (RFC 1034, RFC 4035, RFC 8482)."""

import asyncio
from typing import Any

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.config import Config, ConfigError
from redoubt.ndm.zone import ZoneKey, network_zone, number_zone, numbers_in, numbers_of
from redoubt.ndm.zone_answers import Authority
from redoubt.ndm.zone_server import Rates, ZoneServer
from redoubt.network.configuration import from_tree

REALM = "ims.example.org"
NOW = 1_800_000_000.0
KEY = ZoneKey(ec.generate_private_key(ec.SECP256R1()))
PEM = {"certificate": "c.pem", "key": "k.pem", "authority": "a.pem"}
TSIG = dns.tsig.Key("partner.", b"0123456789abcdef0123456789abcdef", dns.tsig.HMAC_SHA256)


def config(**more: Any) -> Config:
    tree: dict[str, Any] = {
        "network": {"realm": REALM},
        "p-cscf": {"listen": ["udp:192.0.2.10:5060", "tcp:192.0.2.10:5060", "udp:[2001:db8::10]:5060"]},
        "ibcf": {"listen": ["tls:192.0.2.1:5061", "tls:192.0.2.2:5062", "udp:0.0.0.0:5060"], **PEM},
    }
    return from_tree(tree | more)


def authority(signed: bool = True) -> Authority:
    zones = [
        network_zone(config(), ["192.0.2.53"], 1),
        number_zone("e164.example", {"+4930123": f"sip:+4930123@{REALM};user=phone"}, ["192.0.2.53"], 1),
    ]
    for zone in zones if signed else ():
        KEY.sign(zone, NOW)
    return Authority(zones)


def asked(of: Authority, name: str, kind: str, proves: bool = False) -> dns.message.Message:
    return of.answer(dns.message.make_query(name, kind, want_dnssec=proves))


def lines(response: dns.message.Message) -> set[str]:
    return {f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {each}" for rrset in response.answer for each in rrset}


def test_partners_find_the_border_phones_the_p_cscf_and_nobody_the_core() -> None:
    zones = authority(signed=False)
    assert lines(asked(zones, REALM, "NAPTR")) == {f'{REALM}. NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.{REALM}.'}
    assert lines(asked(zones, f"_sips._tcp.{REALM}", "SRV")) == {
        f"_sips._tcp.{REALM}. SRV 10 10 5061 ibcf.{REALM}.", f"_sips._tcp.{REALM}. SRV 10 10 5062 2.ibcf.{REALM}.",
    }  # fmt: skip
    assert lines(asked(zones, f"2.ibcf.{REALM}", "A")) == {f"2.ibcf.{REALM}. A 192.0.2.2"}
    assert len(lines(asked(zones, f"pcscf.{REALM}", "NAPTR"))) == 2
    assert lines(asked(zones, f"2.pcscf.{REALM}", "AAAA")) == {f"2.pcscf.{REALM}. AAAA 2001:db8::10"}
    for hidden in ("scscf", "icscf", "hss"):
        assert asked(zones, f"{hidden}.{REALM}", "A").rcode() == dns.rcode.NXDOMAIN


def test_without_a_border_the_entry_is_the_i_cscf() -> None:
    zone = Authority([network_zone(config(ibcf={}), ["192.0.2.53"], 1)])
    assert lines(asked(zone, f"icscf.{REALM}", "A")) == {f"icscf.{REALM}. A 127.0.0.1"}


def test_a_node_outside_the_realm_is_said_to_be() -> None:
    with pytest.raises(ConfigError, match="not below the realm"):
        network_zone(config(ibcf={"uri": "sip:border.example.com", "listen": ["tls:192.0.2.1:5061"], **PEM}), [], 1)


def test_numbers_come_from_the_users_or_from_a_file() -> None:
    users = [["sip:alice@x.example", "tel:+49-30-123"], ["tel:110;phone-context=x.example"]]
    assert numbers_of(users, REALM) == {"+4930123": f"sip:+4930123@{REALM};user=phone"}
    text = "# ours\n+49-30-1 sip:a@b.example  # him\n\n+33 sips:c@d.example"
    assert numbers_in(text, "f") == {"+49301": "sip:a@b.example", "+33": "sips:c@d.example"}
    for wrong in ("4930 sip:a@b.example", "+49", "+49 mailto:a@b.example"):
        with pytest.raises(ConfigError, match="f:1"):
            numbers_in(wrong, "f")


def test_every_answer_is_signed_by_the_key_that_the_anchor_names() -> None:
    zones = authority()
    response = asked(zones, f"_sips._tcp.{REALM}", "SRV", proves=True)
    keys = asked(zones, REALM, "DNSKEY", proves=True)
    apex = dns.name.from_text(REALM)
    dns.dnssec.validate(response.answer[0], response.answer[1], {apex: keys.answer[0]}, now=NOW)
    dns.dnssec.validate(keys.answer[0], keys.answer[1], {apex: keys.answer[0]}, now=NOW)
    ds = dns.dnssec.make_ds(apex, keys.answer[0][0], "SHA256")
    assert KEY.anchor(REALM) == f"{apex} 300 IN DS {ds}"


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "owners"),
    [
        (REALM, "TXT", "NOERROR", {f"{REALM}."}),
        (f"_tcp.{REALM}", "A", "NOERROR", {f"{REALM}."}),
        (f"zzz.{REALM}", "A", "NXDOMAIN", {f"_sip._udp.pcscf.{REALM}.", f"{REALM}."}),
        (f"a.b.{REALM}", "A", "NXDOMAIN", {f"{REALM}.", f"_sips._tcp.{REALM}."}),
    ],
)
def test_that_there_is_nothing_is_proved(name: str, kind: str, rcode: str, owners: set[str]) -> None:
    response = asked(authority(), name, kind, proves=True)
    assert dns.rcode.to_text(response.rcode()) == rcode
    denied = {str(rrset.name) for rrset in response.authority if rrset.rdtype == dns.rdatatype.NSEC}
    assert denied == owners
    assert any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (REALM, "ANY"), (REALM, "AXFR"), (REALM, "IXFR"), (REALM, "RRSIG"), ("example.org", "A"), (".", "NS"),
        ("x.net", "A"),
    ],
)  # fmt: skip
def test_everything_at_once_and_foreign_names_are_refused_in_few_octets(name: str, kind: str) -> None:
    response = asked(authority(), name, kind)
    assert response.rcode() == dns.rcode.REFUSED
    assert not response.answer and not response.authority and not response.additional
    assert not response.flags & dns.flags.RA


async def asks(server: ZoneServer, address: Any, wire: bytes, tcp: bool = False) -> bytes:
    if tcp:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.close()
        return answer
    loop, arrived = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    class One(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _source: Any) -> None:
            arrived.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(One, remote_addr=address)
    transport.sendto(wire)
    try:
        return await asyncio.wait_for(arrived, 2)
    finally:
        transport.close()


async def test_what_is_too_long_for_a_datagram_is_cut_and_whole_by_tcp() -> None:
    server = ZoneServer(authority())
    address = await server.listen("127.0.0.1", 0)
    try:
        query = dns.message.make_query(f"zzz.{REALM}", "A", want_dnssec=True, payload=512).to_wire()
        short = dns.message.from_wire(await asks(server, address, query))
        assert short.flags & dns.flags.TC
        whole = dns.message.from_wire(await asks(server, address, query, tcp=True))
        assert not whole.flags & dns.flags.TC
        assert len(whole.authority) > 2
    finally:
        server.close()


async def test_with_a_shared_key_both_sides_sign_and_a_wrong_key_is_told() -> None:
    server = ZoneServer(authority(), {TSIG.name: TSIG}, signed_only=True)
    address = await server.listen("127.0.0.1", 0)
    try:
        query = dns.message.make_query(REALM, "NAPTR")
        query.use_tsig(TSIG)
        wire = await asks(server, address, query.to_wire())
        assert dns.message.from_wire(wire, keyring=TSIG, request_mac=query.mac).had_tsig
        wrong = dns.message.make_query(REALM, "NAPTR")
        wrong.use_tsig(dns.tsig.Key("partner.", b"another key, another key, another", dns.tsig.HMAC_SHA256))
        assert dns.message.from_wire(await asks(server, address, wrong.to_wire())).rcode() == dns.rcode.NOTAUTH
        plain = dns.message.make_query(REALM, "NAPTR").to_wire()
        assert dns.message.from_wire(await asks(server, address, plain)).rcode() == dns.rcode.REFUSED
    finally:
        server.close()


@pytest.mark.parametrize("junk", [b"", b"\0" * 11, b"\0" * 12, b"\xff" * 40, bytes(range(200))])
async def test_junk_gets_a_header_or_nothing(junk: bytes) -> None:
    response = ZoneServer(authority(signed=False)).answered(junk, by_datagram=True)
    assert response is None or len(response) == 12


def test_a_source_gets_so_many_answers_a_second_and_others_are_not_concerned() -> None:
    rates = Rates(10)
    verdicts = [rates.judge(f"192.0.2.{number % 250}", 0.0) for number in range(100)]
    assert verdicts.count("answer") == 10
    assert verdicts.count("slip") == verdicts.count("drop") == 45
    assert rates.judge("198.51.100.1", 0.0) == "answer"
    assert rates.judge("192.0.2.1", 1.0) == "answer"


async def test_an_attacker_who_forges_a_victims_address_sends_more_than_arrives_there() -> None:
    server = ZoneServer(authority())
    query = dns.message.make_query(f"zzz.{REALM}", "A", want_dnssec=True, payload=4096).to_wire()
    unlimited = len(server.answered(query, by_datagram=True) or b"")
    arrives = sum(len(server.answered_to("192.0.2.7", query) or b"") for _ in range(10_000))
    assert unlimited > 5 * len(query)
    assert unlimited <= 1232
    assert arrives < 10_000 * len(query)
