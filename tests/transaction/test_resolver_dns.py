"""dnspython as the resolver's driver, against a name server on loopback."""

import asyncio
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from redoubt.sip.resolver import Naptr, Srv
from redoubt.sip.resolver_dns import DnsQueries

ZONE = {
    ("home1.net.", "NAPTR"): [
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.home1.net.',
        '20 50 "u" "E2U+sip" "!^.*$!sip:evil@evil.invalid!" .',
    ],
    ("_sips._tcp.home1.net.", "SRV"): ["1 10 5061 tls.home1.net."],
    ("_sip._udp.home1.net.", "SRV"): ["0 0 0 ."],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from the zone above."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        kind = dns.rdatatype.to_text(question.rdtype)
        records = ZONE.get((str(question.name), kind))
        if records:
            answer.answer.append(dns.rrset.from_text(question.name, 120, "IN", kind, *records))
        self.transport.sendto(answer.to_wire(), address)


async def test_services_are_read_and_what_is_none_is_left_out() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    queries = DnsQueries(["127.0.0.1"], transport.get_extra_info("sockname")[1])
    try:
        assert await queries.naptr("home1.net") == ([Naptr(10, 50, "SIPS+D2T", "_sips._tcp.home1.net.")], 120.0)
        assert await queries.srv("_sips._tcp.home1.net") == ([Srv(1, 10, "tls.home1.net.", 5061)], 120.0)
        assert (await queries.srv("_sip._udp.home1.net"))[0] == []
        assert (await queries.srv("_sip._tcp.nothing.net"))[0] == ()
    finally:
        transport.close()
