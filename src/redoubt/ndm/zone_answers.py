"""What an authoritative server says to a question about its zones, with the proofs of DNSSEC (RFC 1034 4.3.2, RFC 4035
3.1). Nothing about other names, nothing for which it would have to ask, and never everything that there is (RFC 8482).
"""

from bisect import bisect_right
from collections.abc import Sequence

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone

from redoubt import limits

REFUSED = frozenset((dns.rdatatype.RRSIG, *range(128, 256)))  # ANY, AXFR: kinds that are no records (RFC 6895 3.1)


class Authority:
    """The zones of this server; each is signed, or none of its answers can be proved."""

    def __init__(self, zones: Sequence[dns.zone.Zone]) -> None:
        self._zones = [_Content(zone) for zone in zones]

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The response owed for any question."""
        response = dns.message.make_response(query, our_payload=limits.DNS_UDP_OCTETS)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return response
        question = query.question[0]
        zone = self._zone_of(question.name, question.rdtype)
        if zone is None or question.rdclass != dns.rdataclass.IN or question.rdtype in REFUSED:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        zone.fill(response, question.name, question.rdtype, bool(query.ednsflags & dns.flags.DO))
        return response

    def _zone_of(self, name: dns.name.Name, kind: int) -> "_Content | None":
        """The one that the name is in; what a zone's keys are, the one above says if it is here (RFC 4035 3.1.4.1)."""
        holding = [zone for zone in self._zones if name.is_subdomain(zone.origin)]
        if kind == dns.rdatatype.DS:
            holding = [zone for zone in holding if zone.origin != name] or holding
        return max(holding, key=lambda zone: len(zone.origin), default=None)


class _Content:
    """One zone, and its names in canonical order, by which NSEC says what is not there (RFC 4034 6.1)."""

    def __init__(self, zone: dns.zone.Zone) -> None:
        assert zone.origin is not None
        self._zone = zone
        self.origin = zone.origin
        self._names = sorted(zone.nodes)
        self._above = {name for full in self._names for name in _ancestors(full, self.origin)}

    def fill(
        self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType, proves: bool
    ) -> None:
        """The records of that name and kind, or the proof that there are none."""
        if self._put(response.answer, name, kind, proves):
            return
        self._put(response.authority, self.origin, dns.rdatatype.SOA, proves)
        exists = name in self._above
        if not exists:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if proves:
            self._deny(response, name, exists)

    def _put(
        self, section: list[dns.rrset.RRset], name: dns.name.Name, kind: dns.rdatatype.RdataType, proves: bool
    ) -> bool:
        found = self._zone.get_rdataset(name, kind)
        if found is None:
            return False
        section.append(_rrset(name, found))
        signatures = self._zone.get_rdataset(name, dns.rdatatype.RRSIG, kind) if proves else None
        if signatures is not None:
            section.append(_rrset(name, signatures))
        return True

    def _deny(self, response: dns.message.Message, name: dns.name.Name, exists: bool) -> None:
        """RFC 4035 3.1.3: the name's own NSEC, or those that leave no place for it and for a wildcard."""
        covering = [self._at_or_before(name)]
        if not exists:
            closest = next(above for above in _ancestors(name, self.origin) if above in self._above)
            covering.append(self._at_or_before(dns.name.from_text("*", closest)))
        for owner in dict.fromkeys(covering):
            self._put(response.authority, owner, dns.rdatatype.NSEC, True)

    def _at_or_before(self, name: dns.name.Name) -> dns.name.Name:
        return self._names[max(bisect_right(self._names, name) - 1, 0)]


def _rrset(name: dns.name.Name, records: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, records.ttl, list(records))


def _ancestors(name: dns.name.Name, origin: dns.name.Name) -> list[dns.name.Name]:
    """The name and all above it, down to the zone's own."""
    found = [name]
    while len(found[-1]) > len(origin):
        found.append(found[-1].parent())
    return found
