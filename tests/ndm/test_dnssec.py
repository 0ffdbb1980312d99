"""DNSSEC validated here: chains, proofs that there is nothing, and every way to cheat (RFC 4033 to 4035, RFC 5155)."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import dns.dnssec
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from redoubt.ndm.dns_denial import Denial, Proof
from redoubt.ndm.dns_validation import Validator
from redoubt.ndm.zone import ZoneKey
from redoubt.ndm.zone_answers import Authority
from redoubt.sip.dns_records import LookupFailed
from redoubt.sources import Clock

NOW = 1_800_000_000.0
PARENT, CHILD, ROGUE = (ZoneKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(3))
ZONES = {
    "example.org.": f"""
        @ SOA ns hostmaster 1 3600 600 604800 60
        @ NS ns
        ns A 192.0.2.53
        ims NS ns
        {CHILD.anchor("ims.example.org").replace("ims.example.org. 300 IN", "ims 300")}
        plain NS ns
        www A 192.0.2.80
        *.wild A 192.0.2.99
        a.b.c A 192.0.2.1
        alias CNAME www
        out CNAME www.plain.example.org.
        """,
    "ims.example.org.": """
        @ SOA ns hostmaster 1 3600 600 604800 60
        @ NS ns
        ns A 192.0.2.53
        @ NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.ims.example.org.
        _sips._tcp SRV 10 10 5061 ibcf
        ibcf A 192.0.2.1
        """,
    "plain.example.org.": """
        @ SOA ns hostmaster 1 3600 600 604800 60
        @ NS ns
        ns A 192.0.2.53
        www A 192.0.2.81
        """,
}
Cheat = Callable[[dns.message.Message], None]


def zones(child: ZoneKey = CHILD, at: float = NOW) -> Authority:
    made = []
    for origin, text in ZONES.items():
        lines = "$TTL 300\n" + "\n".join(line.strip() for line in text.splitlines())
        zone = dns.zone.from_text(lines, origin, relativize=False)
        if origin != "plain.example.org.":
            (child if origin.startswith("ims") else PARENT).sign(zone, at)
        made.append(zone)
    return Authority(made)


SIGNED = zones()


def authentic(
    name: str, kind: str, cheat: Cheat | None = None, of: Authority = SIGNED, anchor: ZoneKey = PARENT, at: float = NOW,
    beneath: str = "example.org",
) -> bool:  # fmt: skip
    """Whether the answer is authentic; `cheat` changes each message under way."""

    async def asks(asked: dns.name.Name, wanted: str) -> Any:
        query = dns.message.make_query(asked, wanted, want_dnssec=True)
        message = of.answer(query)
        if not message.answer and wanted != "DS":  # as a resolver would, which these servers are not
            alias = of.answer(dns.message.make_query(asked, "CNAME", want_dnssec=True))
            if alias.answer:
                target = dns.message.make_query(alias.answer[0][0].target, wanted, want_dnssec=True)
                message.answer += [*alias.answer, *of.answer(target).answer]
                message.authority.clear()
        if cheat is not None:
            cheat(message)
        return dns.message.from_wire(message.to_wire())

    async def scene() -> bool:
        anchors = anchors_of(anchor, beneath)
        validator = Validator(Clock(asyncio.get_running_loop(), at), anchors)
        return await validator.is_authentic(await asks(dns.name.from_text(name), kind), asks)

    return asyncio.run(scene())


def anchors_of(key: ZoneKey, zone: str) -> dict[dns.name.Name, list[Any]]:
    name, ttl, rdclass, kind, text = key.anchor(zone).split(None, 4)
    return {dns.name.from_text(name): list(dns.rrset.from_text(name, int(ttl), rdclass, kind, text))}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("www.example.org", "A"), ("alias.example.org", "A"), ("_sips._tcp.ims.example.org", "SRV"),
        ("ims.example.org", "NAPTR"), ("ims.example.org", "DS"), ("ims.example.org", "DNSKEY"),
        ("www.example.org", "AAAA"), ("b.c.example.org", "A"), ("nothing.example.org", "A"), ("x.y.z.example.org", "A"),
        ("ibcf.ims.example.org", "SRV"), ("zzz.ims.example.org", "A"), ("_tcp.ims.example.org", "SRV"),
    ],
)  # fmt: skip
def test_what_there_is_and_that_there_is_nothing_is_proved_from_the_anchor(name: str, kind: str) -> None:
    assert authentic(name, kind)


@pytest.mark.parametrize("name", ["www.plain.example.org", "plain.example.org", "nothing.plain.example.org"])
def test_a_zone_without_keys_is_not_authentic_and_not_wrong_when_its_parent_says_so(name: str) -> None:
    assert not authentic(name, "A")


def test_an_alias_into_a_zone_without_keys_is_not_authentic() -> None:
    assert not authentic("out.example.org", "A")


def test_without_an_anchor_above_it_nothing_is_authentic() -> None:
    assert not authentic("www.example.org", "A", beneath="example.net")


def test_an_anchor_for_the_child_alone_will_do() -> None:
    assert authentic("ibcf.ims.example.org", "A", anchor=CHILD, beneath="ims.example.org")


def put(name: str, kind: str, text: str) -> Cheat:
    """Another value for a record, its signature left as it is."""

    def cheat(message: dns.message.Message) -> None:
        for number, rrset in enumerate(message.answer):
            if str(rrset.name) == name and rrset.rdtype == dns.rdatatype.from_text(kind):
                message.answer[number] = dns.rrset.from_text(rrset.name, rrset.ttl, "IN", kind, text)

    return cheat


def without(*kinds: str) -> Cheat:
    """Records of these kinds are taken away everywhere."""

    def cheat(message: dns.message.Message) -> None:
        wanted = [dns.rdatatype.from_text(kind) for kind in kinds]
        for section in (message.answer, message.authority):
            section[:] = [rrset for rrset in section if rrset.rdtype not in wanted and rrset.covers not in wanted]

    return cheat


def emptied(message: dns.message.Message) -> None:
    """Nothing is there, and nobody proves it."""
    message.answer.clear()


def signed_by_rogue(message: dns.message.Message) -> None:
    """All signatures are made anew with a key of the forger's, which is slipped in beside the true ones."""
    for rrset in list(message.answer):
        if rrset.rdtype == dns.rdatatype.RRSIG:
            message.answer.remove(rrset)
    for rrset in list(message.answer):
        if rrset.rdtype == dns.rdatatype.DNSKEY:
            rrset.add(ROGUE.record)
        signer = dns.name.from_text("ims.example.org" if "ims" in str(rrset.name) else "example.org")
        made = dns.dnssec.sign(
            rrset, ROGUE.private, signer, ROGUE.record, inception=int(NOW) - 9, expiration=int(NOW) + 9
        )
        message.answer.append(dns.rrset.from_rdata(rrset.name, rrset.ttl, made))


@pytest.mark.parametrize(
    ("name", "kind", "cheat"),
    [
        ("www.example.org", "A", put("www.example.org.", "A", "203.0.113.66")),
        ("ibcf.ims.example.org", "A", put("ibcf.ims.example.org.", "A", "203.0.113.66")),
        ("ibcf.ims.example.org", "A", without("RRSIG")),
        ("ibcf.ims.example.org", "A", without("DS")),
        ("ibcf.ims.example.org", "A", without("DNSKEY")),
        ("ibcf.ims.example.org", "A", put("ims.example.org.", "DS", f"1 13 2 {'0' * 64}")),
        ("ibcf.ims.example.org", "A", signed_by_rogue),
        ("_sips._tcp.ims.example.org", "SRV", emptied),
        ("ims.example.org", "NAPTR", emptied),
        ("nothing.example.org", "A", without("NSEC")),
        ("www.plain.example.org", "A", without("NSEC")),
    ],
)
def test_what_was_changed_or_taken_away_is_no_answer(name: str, kind: str, cheat: Cheat) -> None:
    with pytest.raises(LookupFailed):
        authentic(name, kind, cheat)


def test_another_key_at_the_child_or_the_anchor_is_no_answer() -> None:
    with pytest.raises(LookupFailed, match="not those that its parent"):
        authentic("ibcf.ims.example.org", "A", of=zones(child=ROGUE))
    with pytest.raises(LookupFailed, match="not those that its parent"):
        authentic("www.example.org", "A", anchor=ROGUE)


@pytest.mark.parametrize("away_s", [-2 * 3600, 15 * 24 * 3600])
def test_signatures_count_in_their_time_only(away_s: float) -> None:
    with pytest.raises(LookupFailed):
        authentic("www.example.org", "A", at=NOW + away_s)


def test_a_denial_of_one_name_denies_no_other() -> None:
    async def replayed(asked: dns.name.Name, wanted: str) -> Any:
        if wanted == "SRV":
            asked_instead = dns.message.make_query("zzz.ims.example.org", "SRV", want_dnssec=True)
            message = SIGNED.answer(asked_instead)
            message.question = dns.message.make_query(asked, wanted).question
            return dns.message.from_wire(message.to_wire())
        query = dns.message.make_query(asked, wanted, want_dnssec=True)
        return dns.message.from_wire(SIGNED.answer(query).to_wire())

    async def scene() -> None:
        validator = Validator(Clock(asyncio.get_running_loop(), NOW), anchors_of(PARENT, "example.org"))
        await validator.is_authentic(await replayed(dns.name.from_text("_sips._tcp.ims.example.org"), "SRV"), replayed)

    with pytest.raises(LookupFailed, match="nothing proves"):
        asyncio.run(scene())


# ---- what proofs say, by themselves

ORIGIN = dns.name.from_text("x.org")
KINDS = {"www": ["A"], "a.b": ["SRV"], "sub": ["NS"], "*.wild": ["A"], "alias": ["CNAME"], "": ["SOA", "NS", "A"]}
NAMES = sorted(dns.name.from_text(name, ORIGIN) if name else ORIGIN for name in KINDS)


def bitmap(name: dns.name.Name) -> Any:
    kinds = KINDS["" if name == ORIGIN else name.relativize(ORIGIN).to_text()]
    found = bytearray(32)
    for kind in (dns.rdatatype.from_text(kind) for kind in kinds):
        found[kind // 8] |= 0x80 >> kind % 8
    return ((0, bytes(found).rstrip(b"\0")),)


def plain() -> list[Proof]:
    return [
        Proof(name, NSEC(1, dns.rdatatype.NSEC, NAMES[(place + 1) % len(NAMES)], bitmap(name)), ORIGIN)
        for place, name in enumerate(NAMES)
    ]


def hashed(flags: int = 0) -> list[Proof]:
    """With empty non-terminals, which NSEC3 names (RFC 5155 7.1)."""
    between = {name.parent() for name in NAMES if name.parent().is_subdomain(ORIGIN)} - set(NAMES)
    made = sorted((dns.dnssec.nsec3_hash(name, "aa", 3, 1), name) for name in {*NAMES, *between})
    proofs = []
    for place, (label, name) in enumerate(made):
        following = made[(place + 1) % len(made)][0]
        number = int("".join("0123456789ABCDEFGHIJKLMNOPQRSTUV".index(c) .__format__("05b") for c in following), 2)
        windows = bitmap(name) if name in NAMES else ()
        record = NSEC3(1, dns.rdatatype.NSEC3, 1, flags, 3, b"\xaa", number.to_bytes(20, "big"), windows)
        proofs.append(Proof(dns.name.from_text(label, ORIGIN), record, ORIGIN))
    return proofs


@pytest.mark.parametrize("proofs", [plain(), hashed()], ids=["NSEC", "NSEC3"])
@pytest.mark.parametrize(
    ("name", "kind", "no_kind", "no_name"),
    [
        ("www", "A", False, False), ("www", "AAAA", True, False), ("alias", "AAAA", False, False),
        ("b", "A", True, False), ("zzz", "A", False, True), ("a.a.a", "A", False, True), ("c.b", "A", False, True),
        ("q.wild", "A", False, False), ("q.wild", "SRV", True, False), ("sub", "A", False, False),
        ("sub", "DS", True, False), ("below.sub", "A", False, False), ("0", "A", False, True),
    ],
)  # fmt: skip
def test_all_proofs_of_a_zone_deny_what_is_not_there_and_nothing_else(
    proofs: list[Proof], name: str, kind: str, no_kind: bool, no_name: bool
) -> None:
    random.Random(1).shuffle(proofs)
    denial, asked = Denial(proofs), dns.name.from_text(name, ORIGIN)
    assert denial.of_kind(asked, dns.rdatatype.from_text(kind)) == no_kind
    assert denial.of_name(asked) == no_name


def test_names_of_another_zone_and_unsigned_delegations_are_not_denied() -> None:
    assert not Denial(plain()).of_name(dns.name.from_text("zzz.y.org"))
    assert not Denial(hashed(flags=1)).of_name(dns.name.from_text("zzz", ORIGIN))
    assert Denial(hashed(flags=1)).may_be_left_out(dns.name.from_text("zzz", ORIGIN))
    assert not Denial(hashed()).may_be_left_out(dns.name.from_text("zzz", ORIGIN))


def test_a_wildcard_stands_for_names_that_are_not_there_only() -> None:
    for proofs in (plain(), hashed()):
        assert Denial(proofs).of_expansion(dns.name.from_text("q.wild", ORIGIN), 3)
        assert not Denial(proofs).of_expansion(dns.name.from_text("q.www", ORIGIN), 2)


def test_hashes_that_cost_much_are_not_computed() -> None:
    costly = [Proof(p.owner, p.record.replace(iterations=2000), p.zone) for p in hashed()]
    assert not Denial(costly).of_name(dns.name.from_text("zzz", ORIGIN))
