"""Proofs that something is not there: NSEC (RFC 4034 4, RFC 4035 5.4, RFC 6840 4) and NSEC3 (RFC 5155 8).

The records that come in here have been validated; what is left to ask is what they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import dns.dnssec
import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from redoubt import limits

OPT_OUT = 1  # flag of NSEC3: unsigned delegations are left out (RFC 5155 6)
SHA1 = 1  # the one hash of NSEC3
DS, NS, SOA, CNAME, DNAME = (
    dns.rdatatype.DS, dns.rdatatype.NS, dns.rdatatype.SOA, dns.rdatatype.CNAME, dns.rdatatype.DNAME
)  # fmt: skip
_BASE32 = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUV", bytes(range(32)))


@dataclass(frozen=True, slots=True)
class Proof:
    """One validated NSEC or NSEC3 record, and the zone whose key signed it."""

    owner: dns.name.Name
    record: NSEC | NSEC3
    zone: dns.name.Name

    @property
    def following(self) -> dns.name.Name:
        """The next name of the zone; of its last one the zone itself."""
        return cast(dns.name.Name, self.record.next)

    @property
    def leaves_out(self) -> bool:
        """Whether unsigned delegations may lie where it says that nothing is."""
        return isinstance(self.record, NSEC3) and bool(self.record.flags & OPT_OUT)

    @property
    def types(self) -> frozenset[int]:
        """The kinds of records that its name has."""
        return frozenset(
            window * 256 + place * 8 + bit
            for window, bitmap in self.record.windows
            for place, octet in enumerate(bitmap)
            for bit in range(8)
            if octet & (0x80 >> bit)
        )


class Denial:
    """What a set of proofs leaves no place for."""

    def __init__(self, proofs: Sequence[Proof]) -> None:
        self._plain = [each for each in proofs if isinstance(each.record, NSEC)]
        self._hashed = [each for each in proofs if isinstance(each.record, NSEC3) and _is_bounded(each.record)]
        self._hashes: dict[tuple[dns.name.Name, bytes, int], bytes] = {}

    def of_kind(self, name: dns.name.Name, kind: int) -> bool:
        """The name is there, or stands above names that are, and has no records of the kind; nor has a wildcard."""
        types = self.types_at(name)
        if types is not None:
            return _lacks(types, kind)
        if any(self._covers(each, name) and each.following.is_subdomain(name) for each in self._plain):
            return True
        closest = self._closest(name)
        if closest is None or closest == name or not self._is_covered(_next_closer(name, closest)):
            return False
        wild = self.types_at(dns.name.from_text("*", closest))
        return wild is not None and _lacks(wild, kind)

    def of_name(self, name: dns.name.Name) -> bool:
        """There is no such name, and no wildcard in whose stead it would be."""
        closest = self._closest(name)
        if closest is None or closest == name:
            return False
        return self._is_covered(_next_closer(name, closest)) and self._is_covered(dns.name.from_text("*", closest))

    def of_expansion(self, name: dns.name.Name, labels: int) -> bool:
        """The name is not there, so that a wildcard below so many labels may stand for it (RFC 4035 5.3.4)."""
        return self._is_covered(dns.name.Name(name.labels[-(labels + 2) :]))

    def types_at(self, name: dns.name.Name) -> frozenset[int] | None:
        """The kinds of records at a name that is there, as the zone above a cut sees it; None without a proof."""
        for each in self._plain:
            if each.owner == name and name.is_subdomain(each.zone):
                return each.types
        for each in self._hashed:
            if name.is_subdomain(each.zone) and _label(each) == self._hash(each, name):
                return each.types
        return None

    def may_be_left_out(self, name: dns.name.Name) -> bool:
        """Whether the name may be an unsigned delegation that NSEC3 says nothing of (RFC 5155 8.6)."""
        return any(each.leaves_out and self._covers_hash(each, name) for each in self._hashed)

    # ---- inside

    def _closest(self, name: dns.name.Name) -> dns.name.Name | None:
        """The longest name above it that is proved to be there (RFC 5155 8.3)."""
        for each in self._plain:
            if self._covers(each, name):
                return max((_common(name, other) for other in (each.owner, each.following)), key=len)
        above = name
        while above != dns.name.root and self._hashed:
            above = above.parent()
            types = self.types_at(above)
            if types is not None:
                return None if _leads_away(types) else above
        return None

    def _is_covered(self, name: dns.name.Name) -> bool:
        if any(self._covers(each, name) for each in self._plain):
            return True
        return any(not each.leaves_out and self._covers_hash(each, name) for each in self._hashed)

    def _covers(self, proof: Proof, name: dns.name.Name) -> bool:
        """Strictly between the two names. One above a cut says nothing of what is below it (RFC 6840 4.1)."""
        owner, following = proof.owner, proof.following
        if not name.is_subdomain(proof.zone):
            return False
        if name.is_subdomain(owner) and _leads_away(proof.types):
            return False
        return bool(owner < name) and (bool(name < following) or following == proof.zone)

    def _covers_hash(self, proof: Proof, name: dns.name.Name) -> bool:
        if not name.is_subdomain(proof.zone):
            return False
        first, wanted, last = _label(proof), self._hash(proof, name), cast(bytes, proof.record.next)
        return first < wanted < last if first < last else not last <= wanted <= first

    def _hash(self, proof: Proof, name: dns.name.Name) -> bytes:
        assert isinstance(proof.record, NSEC3)
        key = (name, proof.record.salt, proof.record.iterations)
        if key not in self._hashes:
            self._hashes[key] = _octets(dns.dnssec.nsec3_hash(*key, SHA1).encode())
        return self._hashes[key]


def _lacks(types: frozenset[int], kind: int) -> bool:
    """Neither the kind nor an alias, and said by the side of the zone cut that knows (RFC 6840 4.1)."""
    if kind in types or CNAME in types:
        return False
    return SOA not in types if kind == DS else NS not in types or SOA in types


def _leads_away(types: frozenset[int]) -> bool:
    """A delegation or a DNAME: what is below is not this zone's to deny (RFC 6840 4.1)."""
    return (NS in types and SOA not in types) or DNAME in types


def _next_closer(name: dns.name.Name, closest: dns.name.Name) -> dns.name.Name:
    return dns.name.Name(name.labels[-(len(closest.labels) + 1) :])


def _common(one: dns.name.Name, other: dns.name.Name) -> dns.name.Name:
    _relation, _order, labels = one.fullcompare(other)
    return dns.name.Name(one.labels[-labels:])


def _is_bounded(record: NSEC3) -> bool:
    """RFC 9276 3.2: what costs more than it is worth is not looked at."""
    return bool(record.algorithm == SHA1 and record.iterations <= limits.DNSSEC_ITERATIONS)


def _label(proof: Proof) -> bytes:
    return _octets(proof.owner.labels[0].upper())


def _octets(label: bytes) -> bytes:
    """Base32 with extended alphabet (RFC 4648 7); b"" for what is none."""
    if len(label) != 32 or label.strip(b"0123456789ABCDEFGHIJKLMNOPQRSTUV"):
        return b""
    number = 0
    for digit in label.translate(_BASE32):
        number = number << 5 | digit
    return number.to_bytes(20, "big")
