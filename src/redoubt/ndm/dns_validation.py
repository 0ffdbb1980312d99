"""DNSSEC, validated here from the anchors of [dns] (RFC 4033 to 4035, RFC 6840): what there is, and that there is none.

Three outcomes: proved; not signed, and it is proved that it need not be, or no anchor is above it; and wrong, which is
no answer at all. What must be checked is bounded, so that nobody buys much work with few octets (CVE-2023-50387).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from redoubt import limits
from redoubt.ndm.dns_denial import Denial, Proof
from redoubt.sip.dns_records import LookupFailed
from redoubt.sources import Clock

Asks = Callable[[dns.name.Name, str], Awaitable[dns.message.QueryMessage]]
Anchors = Mapping[dns.name.Name, Sequence[DS | DNSKEY]]
DIGESTS = {2: "SHA256", 4: "SHA384"}  # of DS records; SHA-1 counts no longer (RFC 8624 3.3)


class Validator:
    """Keys that were proved are kept for their TTL, within bounds."""

    def __init__(self, clock: Clock, anchors: Anchors) -> None:
        self._clock = clock
        self._anchors = anchors
        self._keys: dict[dns.name.Name, tuple[float, dns.rrset.RRset | None]] = {}

    async def is_authentic(self, message: dns.message.QueryMessage, asks: Asks) -> bool:
        """Whether all that it says was proved; False where nothing can be. Raises LookupFailed for what is wrong."""
        walk = _Walk(self, asks)
        try:
            chain = message.resolve_chaining()
            sets = [*chain.cnames, *([chain.answer] if chain.answer is not None else [])]
            proved = [await walk.is_proved(each, message.answer, message.authority) for each in sets]
            if chain.answer is None:
                kind = message.question[0].rdtype
                proved.append(await walk.is_denied(chain.canonical_name, kind, message))
        except (dns.exception.DNSException, ValueError) as error:
            raise LookupFailed(f"DNSSEC of {message.question[0].name}: {error}") from error
        return all(proved)

    def has_anchor_above(self, name: dns.name.Name) -> bool:
        return any(name.is_subdomain(anchor) for anchor in self._anchors)

    def anchor_of(self, zone: dns.name.Name) -> Sequence[DS | DNSKEY] | None:
        return self._anchors.get(zone)

    def now(self) -> float:
        return self._clock.now()

    def kept(self, zone: dns.name.Name) -> tuple[bool, dns.rrset.RRset | None]:
        """Whether it is known what the keys of a zone are, and the keys, if it has any."""
        found = self._keys.get(zone)
        if found is None or found[0] < asyncio.get_running_loop().time():
            return False, None
        return True, found[1]

    def keep(self, zone: dns.name.Name, keys: dns.rrset.RRset | None, ttl_s: float) -> None:
        if len(self._keys) >= limits.DNSSEC_ZONES:
            del self._keys[next(iter(self._keys))]
        until = asyncio.get_running_loop().time() + min(max(ttl_s, limits.DNS_CACHE_S[0]), limits.DNS_CACHE_S[1])
        self._keys[zone] = (until, keys)


class _Walk:
    """The validation of one answer, and the questions that it takes."""

    def __init__(self, validator: Validator, asks: Asks) -> None:
        self._validator = validator
        self._asks = asks
        self._asked = 0
        self._checked = 0

    async def is_proved(
        self, records: dns.rrset.RRset, section: Sequence[dns.rrset.RRset], authority: Sequence[dns.rrset.RRset]
    ) -> bool:
        """Whether the zone's key signed the set; False where it has none. Raises LookupFailed."""
        name = records.name
        if not self._validator.has_anchor_above(name):
            return False
        signatures = _signatures(section, name, records.rdtype)
        if not signatures:
            if await self._is_unsigned(name):
                return False
            raise LookupFailed(f"{_words(records)} are not signed, and must be")
        for signature in signatures:
            keys = await self._keys_for(signature, records)
            if keys is None:
                return False
            if not self._is_signed(records, signature, keys):
                continue
            if signature.labels < _labels(name):
                denial = Denial(await self._proofs(authority))
                if not denial.of_expansion(name, signature.labels):
                    raise LookupFailed(f"{_words(records)} come of a wildcard, and nothing proves that they may")
            return True
        raise LookupFailed(f"the signature of {_words(records)} is wrong or not valid now")

    async def is_denied(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType, message: dns.message.QueryMessage
    ) -> bool:
        """Whether it is proved that there is nothing; False where nothing is signed. Raises LookupFailed."""
        if not self._validator.has_anchor_above(name):
            return False
        denial = Denial(await self._proofs(message.authority))
        if denial.of_kind(name, kind) or denial.of_name(name):
            return True
        if await self._is_unsigned(name):
            return False
        raise LookupFailed(f"nothing proves that {name} has no {dns.rdatatype.to_text(kind)} records")

    # ---- keys

    async def _keys_for(self, signature: RRSIG, records: dns.rrset.RRset) -> dns.rrset.RRset | None:
        """Of a signer who may sign that: the zone that the name is in; a DS is the parent's (RFC 4035 5.3.1)."""
        signer, name = signature.signer, records.name
        if not name.is_subdomain(signer) or (records.rdtype == dns.rdatatype.DS and signer == name):
            raise LookupFailed(f"{_words(records)} are signed by {signer}, whose they are not")
        return await self._keys(signer)

    async def _keys(self, zone: dns.name.Name) -> dns.rrset.RRset | None:
        """The zone's keys, from the anchor down; None if it is proved that it has none, or no anchor is above it."""
        known, keys = self._validator.kept(zone)
        if known:
            return keys
        trusted: Sequence[DS | DNSKEY] | None = self._validator.anchor_of(zone)
        if trusted is None:
            trusted = await self._delegated(zone)
        if trusted is None:
            self._validator.keep(zone, None, limits.DNS_NOTHING_S[1])
            return None
        message = await self._ask(zone, "DNSKEY")
        found = _find(message.answer, zone, dns.rdatatype.DNSKEY)
        if found is None or len(found) > limits.DNSSEC_KEYS:
            raise LookupFailed(f"{zone} has no keys that can be used")
        entry = [key for key in cast(Sequence[DNSKEY], found) if _is_trusted(zone, key, trusted)]
        entries = dns.rrset.from_rdata_list(zone, found.ttl, entry) if entry else None
        for signature in _signatures(message.answer, zone, dns.rdatatype.DNSKEY):
            if entries is not None and signature.signer == zone and self._is_signed(found, signature, entries):
                self._validator.keep(zone, found, float(found.ttl))
                return found
        raise LookupFailed(f"the keys of {zone} are not those that its parent, or [dns] anchors, names")

    async def _delegated(self, zone: dns.name.Name) -> Sequence[DS] | None:
        """What the parent says of the zone's keys; None if that it has none."""
        if not self._validator.has_anchor_above(zone):
            return None
        message = await self._ask(zone, "DS")
        found = _find(message.answer, zone, dns.rdatatype.DS)
        if found is None:
            if await self._is_cut_without_keys(zone, message):
                return None
            raise LookupFailed(f"nothing proves that {zone} is not signed")
        if not await self.is_proved(found, message.answer, message.authority):
            return None
        return [each for each in cast(Sequence[DS], found) if each.digest_type in DIGESTS]

    async def _is_unsigned(self, name: dns.name.Name) -> bool:
        """Whether there is a cut without keys between an anchor and the name (RFC 4035 5.2). Raises LookupFailed."""
        above = [name]
        while self._validator.anchor_of(above[-1]) is None:
            above.append(above[-1].parent())
        for zone in reversed(above[:-1]):
            message = await self._ask(zone, "DS")
            found = _find(message.answer, zone, dns.rdatatype.DS)
            if found is not None:
                if not await self.is_proved(found, message.answer, message.authority):
                    return True
            elif await self._is_cut_without_keys(zone, message):
                return True
        return False

    async def _is_cut_without_keys(self, zone: dns.name.Name, message: dns.message.QueryMessage) -> bool:
        denial = Denial(await self._proofs(message.authority))
        types = denial.types_at(zone)
        if types is None:
            return denial.may_be_left_out(zone)
        return dns.rdatatype.NS in types and not types & {dns.rdatatype.SOA, dns.rdatatype.DS}

    # ---- signatures

    async def _proofs(self, authority: Sequence[dns.rrset.RRset]) -> list[Proof]:
        """Those NSEC and NSEC3 records that their zone signed."""
        proofs = []
        for records in authority:
            if records.rdtype not in (dns.rdatatype.NSEC, dns.rdatatype.NSEC3) or len(records) != 1:
                continue
            for signature in _signatures(authority, records.name, records.rdtype):
                keys = await self._keys_for(signature, records)
                is_whole = signature.labels == _labels(records.name)
                if keys is not None and is_whole and self._is_signed(records, signature, keys):
                    proofs.append(Proof(records.name, cast(NSEC | NSEC3, records[0]), signature.signer))
                    break
        return proofs

    def _is_signed(self, records: dns.rrset.RRset, signature: RRSIG, keys: dns.rrset.RRset) -> bool:
        candidates = [
            key for key in cast(Sequence[DNSKEY], keys)
            if key.algorithm == signature.algorithm and dns.dnssec.key_id(key) == signature.key_tag
        ]  # fmt: skip
        self._checked += len(candidates)
        if self._checked > limits.DNSSEC_SIGNATURES or len(candidates) > limits.DNSSEC_KEYS_ALIKE:
            raise LookupFailed("too many signatures would have to be checked")
        alone = dns.rrset.from_rdata_list(records.name, records.ttl, [signature])
        by_zone: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset] = {signature.signer: keys}
        try:
            dns.dnssec.validate(records, alone, by_zone, now=self._validator.now())
        except dns.exception.DNSException:
            return False
        return True

    async def _ask(self, name: dns.name.Name, kind: str) -> dns.message.QueryMessage:
        self._asked += 1
        if self._asked > limits.DNSSEC_QUESTIONS:
            raise LookupFailed("too many questions would have to be asked")
        return await self._asks(name, kind)


def _find(section: Sequence[dns.rrset.RRset], name: dns.name.Name, kind: int) -> dns.rrset.RRset | None:
    return next((each for each in section if each.name == name and each.rdtype == kind), None)


def _signatures(section: Sequence[dns.rrset.RRset], name: dns.name.Name, kind: int) -> list[RRSIG]:
    return [
        signature
        for each in section
        if each.name == name and each.rdtype == dns.rdatatype.RRSIG and each.covers == kind
        for signature in list(cast(Sequence[RRSIG], each))[: limits.DNSSEC_KEYS_ALIKE]
    ]


def _is_trusted(zone: dns.name.Name, key: DNSKEY, trusted: Sequence[DS | DNSKEY]) -> bool:
    for each in trusted:
        if isinstance(each, DNSKEY):
            if each == key:
                return True
        elif (
            each.key_tag == dns.dnssec.key_id(key)
            and each.digest_type in DIGESTS
            and dns.dnssec.make_ds(zone, key, DIGESTS[each.digest_type], validating=True) == each
        ):
            return True
    return False


def _labels(name: dns.name.Name) -> int:
    """Without the root and a wildcard's star (RFC 4034 3.1.3)."""
    return len(name.labels) - 1 - (name.labels[0] == b"*")


def _words(records: dns.rrset.RRset) -> str:
    return f"the {dns.rdatatype.to_text(records.rdtype)} records of {records.name}"
