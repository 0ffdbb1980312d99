"""The DNS client against name servers on loopback (RFC 3263, RFC 5452, RFC 7858, RFC 8945, requirement row 114)."""

import asyncio
import base64
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.tsig
import pytest
import trustme
from tests.ndm.name_server import NameServer, reply, zone

from redoubt import limits
from redoubt.config.base import ConfigError
from redoubt.config.interconnect import DnsConfig
from redoubt.events import EventStream, Notice
from redoubt.ndm.dns import DnsClient
from redoubt.ndm.dns_exchange import NameServer as At
from redoubt.ndm.dns_servers import MachineDns, dns_of
from redoubt.sip.dns_records import LookupFailed, Naptr, Srv
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

HOME = {
    ("home1.net.", "NAPTR"): [
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.home1.net.',
        '20 50 "u" "E2U+sip" "!^.*$!sip:a@b.net!" .',
    ],
    ("_sips._tcp.home1.net.", "SRV"): ["1 10 5061 tls.home1.net."],
    ("_sip._udp.home1.net.", "SRV"): ["0 0 0 ."],
    ("tls.home1.net.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("tls.home1.net.", "AAAA"): ["2001:db8::1"],
}


def context(*off: str) -> Context:
    clock = Clock(asyncio.get_running_loop())
    return Context("dns", EventStream(), clock, SeededRandomness(1), protections_off=frozenset(off))


def client(*servers: NameServer, off: Iterable[str] = (), **more: Any) -> DnsClient:
    return DnsClient(context(*off), [At("udp", *server.address, **more) for server in servers])


async def test_services_and_addresses_are_read_and_what_is_none_is_left_out() -> None:
    server = await NameServer.open(zone(HOME))
    asking = client(server)
    try:
        found = await asking.naptr("home1.net")
        assert set(found.values) == {
            Naptr(10, 50, "SIPS+D2T", "_sips._tcp.home1.net."),
            Naptr(20, 50, "E2U+sip", ".", "u", "!^.*$!sip:a@b.net!"),
        }
        assert found.ttl_s == 120
        assert (await asking.srv("_sips._tcp.home1.net")).values == (Srv(1, 10, "tls.home1.net.", 5061),)
        assert (await asking.srv("_sip._udp.home1.net")).values == ()
        assert (await asking.srv("_sip._tcp.nothing.net")).values == ()
        assert set((await asking.addresses("tls.home1.net")).values) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    finally:
        asking.close()
        server.close()


async def test_an_answer_is_kept_and_the_same_question_is_under_way_once() -> None:
    server = await NameServer.open(zone(HOME))
    asking = client(server)
    try:
        await asyncio.gather(*(asking.naptr("home1.net") for _ in range(50)))
        await asking.naptr("HOME1.net.")
        await asyncio.gather(*(asking.srv("_sip._tcp.nothing.net") for _ in range(50)))
        assert len(server.asked) == 2
    finally:
        asking.close()
        server.close()


async def test_what_is_too_long_for_udp_comes_by_tcp() -> None:
    server = await NameServer.open(zone(HOME))
    server.stream_only = True
    asking = client(server)
    try:
        assert len((await asking.naptr("home1.net")).values) == 2
        assert len((await asking.srv("_sips._tcp.home1.net")).values) == 1
        assert [transport for transport, _name, _kind in server.asked] == ["udp", "tcp"] * 2
    finally:
        asking.close()
        server.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the usual patience, for what waits in vain."""
    for name in ("DNS_TRY_S", "DNS_SERVER_S"):
        monkeypatch.setattr(limits, name, getattr(limits, name) / 10)


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_fails_is_followed_by_the_next_and_none_left_is_no_answer() -> None:
    broken = await NameServer.open(lambda query: b"\0" * 12)
    works = await NameServer.open(zone(HOME))
    asking, alone = client(broken, works), client(broken)
    try:
        assert len((await asking.naptr("home1.net")).values) == 2
        with pytest.raises(LookupFailed):
            await alone.naptr("home1.net")
    finally:
        for each in (asking, alone, broken, works):
            each.close()


async def test_a_chain_of_names_is_followed_within_one_answer_and_a_circle_is_no_answer() -> None:
    lines = ("a.net. 60 CNAME b.net.", "b.net. 30 CNAME c.net.", "c.net. 90 SRV 1 1 5060 x.net.")
    server = await NameServer.open(lambda query: reply(query, *lines))
    circle = await NameServer.open(lambda query: reply(query, "a.net. 60 CNAME b.net.", "b.net. 60 CNAME a.net."))
    asking, lost = client(server), client(circle)
    try:
        found = await asking.srv("a.net")
        assert found.values == (Srv(1, 1, "x.net.", 5060),)
        assert found.ttl_s == 30
        with pytest.raises(LookupFailed):
            await lost.srv("a.net")
    finally:
        for each in (asking, lost, server, circle):
            each.close()


async def test_port_identifier_and_spelling_are_drawn_for_each_question() -> None:
    server = await NameServer.open(zone(HOME))
    asking = client(server)
    try:
        for number in range(12):
            await asking.srv(f"_sip._udp.somewhere{number}.example.net")
        assert len({port for _host, port in server.sources}) == 12
        assert len(set(server.ids)) == 12
        assert len({name.partition(".example")[0].swapcase() for _t, name, _k in server.asked}) == 12
        assert not any(name.islower() for _transport, name, _kind in server.asked)
    finally:
        asking.close()
        server.close()


@pytest.mark.usefixtures("impatient")
async def test_an_answer_that_spells_the_name_otherwise_does_not_count_and_the_question_goes_by_tcp() -> None:
    def lowered(query: Any) -> Any:
        answer = reply(query)
        answer.question = [type(query.question[0])(query.question[0].name.canonicalize(), 1, query.question[0].rdtype)]
        return answer

    server = await NameServer.open(lowered)
    asking = client(server)
    try:
        with pytest.raises(LookupFailed):
            await asking.srv("_sip._udp.home1.net")
        assert {transport for transport, _name, _kind in server.asked} == {"udp", "tcp"}
        (told,) = [event for event in asking._context.events.recent if isinstance(event, Notice)]
        assert "forges" in told.advice
    finally:
        asking.close()
        server.close()


async def test_the_word_of_a_server_that_others_could_have_changed_is_not_believed() -> None:
    server = await NameServer.open(zone(HOME, flags=dns.flags.AD))
    asking = client(server)
    try:
        assert not (await asking.naptr("home1.net")).authentic
    finally:
        asking.close()
        server.close()


KEY = dns.tsig.Key("partner.", b"0123456789abcdef0123456789abcdef", dns.tsig.HMAC_SHA256)


@pytest.mark.usefixtures("impatient")
async def test_behind_a_shared_key_the_servers_word_counts_and_an_unsigned_answer_does_not() -> None:
    server = await NameServer.open(zone(HOME, flags=dns.flags.AD), keyring=KEY)
    asking, stranger = client(server, key=KEY), client(server, key=dns.tsig.Key("partner.", b"x" * 32))
    try:
        assert (await asking.naptr("home1.net")).authentic
        server.answering = unsigned
        with pytest.raises(LookupFailed):
            await asking.srv("_sips._tcp.home1.net")
        server.keyring = {KEY.name: KEY}
        with pytest.raises(LookupFailed):
            await stranger.naptr("home1.net")
    finally:
        for each in (asking, stranger, server):
            each.close()


def unsigned(query: dns.message.Message) -> bytes:
    """The right answer without the signature that its question has."""
    plain = dns.message.make_query(query.question[0].name, query.question[0].rdtype, id=query.id)
    wire: bytes = zone(HOME, flags=dns.flags.AD)(plain).to_wire()  # type: ignore[union-attr]
    return wire


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made, str(tmp_path / "ca.pem")


def shown(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_behind_tls_the_servers_word_counts_if_it_proves_its_name(authority: tuple[trustme.CA, str]) -> None:
    server = await NameServer.open(zone(HOME, flags=dns.flags.AD), ssl=shown(authority[0], "dns.home1.net"))
    place = f"tls:127.0.0.1:{server.address[1]}"
    asking = dns_of(context(), DnsConfig(servers=(place,), tls_name="dns.home1.net", authority=authority[1]))
    fooled = dns_of(context(), DnsConfig(servers=(place,), tls_name="dns.other.net", authority=authority[1]))
    try:
        assert (await asking.naptr("home1.net")).authentic
        assert (await asking.srv("_sips._tcp.home1.net")).authentic
        with pytest.raises(LookupFailed, match="other"):
            await fooled.naptr("home1.net")
        assert len(server.asked) == 2
        assert {transport for transport, _name, _kind in server.asked} == {"tcp"}
    finally:
        for each in (asking, fooled, server):
            each.close()


async def test_a_connection_that_went_away_is_opened_again(authority: tuple[trustme.CA, str]) -> None:
    server = await NameServer.open(zone(HOME), ssl=shown(authority[0], "127.0.0.1"))
    place = f"tls:127.0.0.1:{server.address[1]}"
    asking = dns_of(context(), DnsConfig(servers=(place,), authority=authority[1]))
    assert isinstance(asking, DnsClient)
    try:
        await asking.naptr("home1.net")
        for each in asking._askings:
            each.close()
        assert (await asking.srv("_sips._tcp.home1.net")).values
    finally:
        asking.close()
        server.close()


async def test_without_servers_the_machines_are_asked_and_nothing_is_authentic() -> None:
    asking = dns_of(context(), DnsConfig())
    assert isinstance(asking, MachineDns)
    found = await asking.addresses("localhost")
    assert "127.0.0.1" in found.values
    assert not found.authentic


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"servers": ("tcp:127.0.0.1:53",)}, "not TRANSPORT:HOST:PORT"),
        ({"servers": ("udp:127.0.0.1:53",), "tsig_name": "k."}, "belong together"),
        ({"servers": ("udp:127.0.0.1:53",), "tsig_name": "k.", "tsig_file": "SHORT"}, "16 octets"),
        ({"servers": ("udp:127.0.0.1:53",), "tsig_name": "k.", "tsig_file": "BAD"}, "no base64"),
        ({"servers": ("udp:127.0.0.1:53",), "tsig_name": "k.", "tsig_file": "OPEN"}, "chmod 600"),
        ({"servers": ("tls:127.0.0.1:853",), "authority": "NONE"}, "authority"),
        ({"anchors": "NONE"}, "anchors"),
        ({"anchors": "BAD"}, "anchors"),
    ],
)
async def test_what_is_wrong_in_the_configuration_is_said_at_start(
    more: dict[str, Any], says: str, tmp_path: Path
) -> None:
    (tmp_path / "SHORT").write_text(base64.b64encode(b"short").decode())
    (tmp_path / "BAD").write_text("no such thing ***")
    (tmp_path / "OPEN").write_text(base64.b64encode(b"x" * 32).decode())
    for name in ("SHORT", "BAD"):
        (tmp_path / name).chmod(0o600)
    written = {
        name: str(tmp_path / value) if name in ("tsig_file", "authority", "anchors") else value
        for name, value in more.items()
    }
    with pytest.raises(ConfigError, match=says):
        dns_of(context(), DnsConfig(**written))


@pytest.mark.parametrize("junk", [b"\xc0\x0c" * 40, bytes(range(256)) * 4, b"\0\x01" * 30])
@pytest.mark.usefixtures("impatient")
async def test_junk_in_an_answer_harms_nobody(junk: bytes) -> None:
    server = await NameServer.open(lambda query: query.id.to_bytes(2, "big") + b"\x81\x80\0\x01\0\x01\0\0\0\0" + junk)
    asking = client(server)
    try:
        with pytest.raises(LookupFailed):
            await asking.naptr("home1.net")
    finally:
        asking.close()
        server.close()
