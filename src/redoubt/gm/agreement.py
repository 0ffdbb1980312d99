"""The security agreement (RFC 3329, TS 33.203 clauses 6, 7.2 and Annex H): offers, policy, choice, comparison.

Both ends read each other's mechanisms here. Nothing is kept: what was agreed is a value, which lives with the
association set that it made. A list that an attacker edited is found when its copy comes back protected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from redoubt.gm.algorithms import SOUND_SUITES, Encryption, Integrity, Suite
from redoubt.gm.esp import RESERVED_SPIS
from redoubt.sip.errors import SipError
from redoubt.sip.fields import (
    PROXY_REQUIRE,
    REQUIRE,
    SECURITY_CLIENT,
    SECURITY_SERVER,
    SECURITY_VERIFY,
    SUPPORTED,
    Field,
)
from redoubt.sip.grammar import number, unquote
from redoubt.sip.headers.security import SecurityMechanism
from redoubt.sip.message import Request

MECHANISM = "ipsec-3gpp"
OPTION = "sec-agree"
UNPROTECTED_PORTS = frozenset((5060, 5061))  # a protected port is none of them (TS 33.203 7.1)
Mechanisms = tuple[SecurityMechanism, ...]


class Mode(StrEnum):
    """The `mod` parameter; absent means trans (TS 33.203 Annex H)."""

    TRANSPORT = "trans"
    UDP_TUNNEL = "UDP-enc-tun"  # behind a NAT, Annex M


class Ends(Struct, frozen=True, gc=False):
    """The SPIs and ports of whoever wrote the header: they name its inbound associations (Annex H)."""

    spi_c: int
    spi_s: int
    port_c: int
    port_s: int

    def __post_init__(self) -> None:
        spi_c, spi_s, port_c, port_s = self.spi_c, self.spi_s, self.port_c, self.port_s
        if spi_c == spi_s or not (RESERVED_SPIS <= spi_c < 2**32 and RESERVED_SPIS <= spi_s < 2**32):
            raise ValueError(f"SPIs {spi_c} and {spi_s} are equal or reserved (RFC 4303 2.1)")
        are_ports = 0 < port_c < 65_536 and 0 < port_s < 65_536
        if port_c == port_s or not are_ports or port_c in UNPROTECTED_PORTS or port_s in UNPROTECTED_PORTS:
            raise ValueError(f"ports {port_c} and {port_s} are equal or not for protection (TS 33.203 7.1)")


class Offer(Struct, frozen=True, gc=False):
    """One usable mechanism of a header."""

    suite: Suite
    mode: Mode
    ends: Ends
    q: float = 0.0


class Agreement(Struct, frozen=True, gc=False):
    """What both ends settled for one association set, and the lists that they must repeat, as text."""

    suite: Suite
    mode: Mode
    phone: Ends
    network: Ends
    client: str  # Security-Client as it came
    server: str  # Security-Server as it was sent


# Strongest first. Confidentiality weighs most: SIP carries who calls whom.
STRENGTH = (
    Suite(Integrity.NULL, Encryption.AES_GCM),
    Suite(Integrity.HMAC_SHA_1_96, Encryption.AES_CBC),
    Suite(Integrity.HMAC_MD5_96, Encryption.AES_CBC),
    Suite(Integrity.HMAC_SHA_1_96, Encryption.DES_EDE3_CBC),
    Suite(Integrity.HMAC_MD5_96, Encryption.DES_EDE3_CBC),
    Suite(Integrity.AES_GMAC, Encryption.NULL),
    Suite(Integrity.HMAC_SHA_1_96, Encryption.NULL),
    Suite(Integrity.HMAC_MD5_96, Encryption.NULL),
)


@dataclass(frozen=True, slots=True)
class AgreementPolicy:
    """What one end accepts, best first. `allowed`, and what Security-Server says of each of them before SPIs and ports,
    are worked out once; ValueError when nothing is left.
    """

    preference: tuple[Suite, ...] = STRENGTH
    floor: Suite = STRENGTH[-1]  # nothing weaker, in the order of STRENGTH
    confidentiality: bool = True  # demanded (TS 33.203 5.1.3 leaves it to policy)
    legacy: bool = False  # hmac-md5-96 and des-ede3-cbc, withdrawn in Release 12
    modes: tuple[Mode, ...] = (Mode.TRANSPORT, Mode.UDP_TUNNEL)
    required: bool = True
    allowed: tuple[Suite, ...] = field(init=False, default=())
    listed: dict[Mode, tuple[str, ...]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        lowest = STRENGTH.index(self.floor)
        allowed = tuple(
            suite
            for suite in self.preference
            if suite in SOUND_SUITES
            and STRENGTH.index(suite) <= lowest
            and (suite.is_confidential or not self.confidentiality)
            and (self.legacy or not suite.is_legacy)
        )
        if not allowed or not self.modes:
            raise ValueError("the policy for security agreements leaves no algorithms: lower its floor")
        object.__setattr__(self, "allowed", allowed)
        object.__setattr__(self, "listed", {mode: _listed(allowed, mode) for mode in Mode})

    def mode_for(self, behind_nat: bool) -> Mode | None:
        """A NAT leaves UDP-enc-tun alone (TS 33.203 M.2); None when policy has no mode for that phone."""
        if behind_nat:
            return Mode.UDP_TUNNEL if Mode.UDP_TUNNEL in self.modes else None
        return self.modes[0]


def _listed(allowed: tuple[Suite, ...], mode: Mode) -> tuple[str, ...]:
    return tuple(
        f"{MECHANISM};q={1 - place / 10:.1f};alg={suite.integrity};ealg={suite.encryption};prot=esp;mod={mode}"
        for place, suite in enumerate(allowed, start=1)
    )


def read_offers(mechanisms: Sequence[SecurityMechanism]) -> tuple[Offer, ...]:
    """The usable ipsec-3gpp mechanisms of a header, in its order. What is incomplete or out of range is none."""
    return tuple(offer for mechanism in mechanisms if (offer := _offer(mechanism)) is not None)


def _offer(mechanism: SecurityMechanism) -> Offer | None:
    said = _said(mechanism)
    suite = _SUITES.get((said.get("alg", ""), said.get("ealg", "null")))
    mode = _MODES.get(said.get("mod", Mode.TRANSPORT.value))
    if mechanism.name != MECHANISM or len(said) < len(mechanism.params) or suite is None or mode is None:
        return None
    try:
        ends = Ends(*[number(said.get(name, ""), 2**32 - 1) for name in ("spi-c", "spi-s", "port-c", "port-s")])
        q = float(said.get("q", "0"))
    except (ValueError, SipError):
        return None
    if said.get("prot", "esp") != "esp" or not 0.0 <= q <= 1.0:
        return None
    return Offer(suite, mode, ends, q)


_SUITES = {(suite.integrity.value, suite.encryption.value): suite for suite in SOUND_SUITES}
_MODES = {mode.value.lower(): mode for mode in Mode}


def _said(mechanism: SecurityMechanism) -> dict[str, str]:
    """What its parameters mean: neither case nor quotes do."""
    said = {}
    for name, value in mechanism.params:
        text = value or ""
        said[name] = (unquote(text) if text[:1] == '"' else text).lower()
    return said


# ---- the network's end


def server_list(policy: AgreementPolicy, mode: Mode, ends: Ends | None = None) -> str:
    """Security-Server: all that policy allows, whatever the phone offered (RFC 3329 2.3.1). Without SPIs and ports in a
    refusal: nothing is set up.
    """
    own = ""
    if ends is not None:
        own = f";spi-c={ends.spi_c};spi-s={ends.spi_s};port-c={ends.port_c};port-s={ends.port_s}"
    return ", ".join([mechanism + own for mechanism in policy.listed[mode]])


def client_list(policy: AgreementPolicy, ends: Ends) -> Mechanisms:
    """Security-Client of a phone (TS 33.203 7.2): all that it can do, with its own SPIs and ports."""
    return tuple(_mechanism(suite, mode, ends) for suite in policy.allowed for mode in policy.modes)


def _mechanism(suite: Suite, mode: Mode, ends: Ends) -> SecurityMechanism:
    params = (
        ("alg", suite.integrity.value), ("ealg", suite.encryption.value), ("prot", "esp"), ("mod", mode.value),
        ("spi-c", str(ends.spi_c)), ("spi-s", str(ends.spi_s)),
        ("port-c", str(ends.port_c)), ("port-s", str(ends.port_s)),
    )  # fmt: skip
    return SecurityMechanism(MECHANISM, params)


def written(mechanisms: Mechanisms) -> str:
    """The header's value."""
    return ", ".join(str(mechanism) for mechanism in mechanisms)


def mechanisms_of(value: str) -> Mechanisms:
    """A header's value, read. Raises SipError 400."""
    return SECURITY_SERVER.values((value,)) if value else ()


def asks_for_agreement(request: Request) -> bool:
    """Whether the phone demands one, of whoever ends the request or of a proxy on its way (RFC 3329 2.3.1)."""
    return any(OPTION in _options(request.every(field)) for field in (REQUIRE, PROXY_REQUIRE))


def demanded(request: Request, policy: AgreementPolicy, mode: Mode) -> Mechanisms:
    """Security-Client of a REGISTER, when the phone asks for an agreement as it must (RFC 3329 2.3.1).

    Raises 494 when it only says that it could, 421 when it does not know of agreements at all.
    """
    asks = asks_for_agreement(request)
    offers = request.every(SECURITY_CLIENT)
    if asks and offers:
        return offers
    headers = (("Security-Server", server_list(policy, mode)),)
    if asks or offers or OPTION in _options(request.every(SUPPORTED)):
        raise SipError(494, "the phone offers no agreement where one is demanded", "RFC 3329 2.3.1", headers)
    raise SipError(421, "the phone knows no security agreement", "RFC 3329 2.3.1", (("Require", OPTION), *headers))


def choose(policy: AgreementPolicy, mode: Mode, client: Mechanisms) -> Offer:
    """The first of our own order that the phone offers (TS 33.203 7.2). Raises 494, before home is asked."""
    for suite in policy.allowed:
        for mechanism in client:
            if _names(mechanism, suite, mode) and (offer := _offer(mechanism)) is not None:
                return offer
    offered = ", ".join(f"{offer.suite} {offer.mode}" for offer in read_offers(client))
    raise SipError(
        494,
        f"no common algorithms: offered {offered or 'none'}",
        "TS 33.203 7.2",
        (("Security-Server", server_list(policy, mode)),),
    )


def _names(mechanism: SecurityMechanism, suite: Suite, mode: Mode) -> bool:
    """Whether it is worth to be read whole."""
    param = mechanism.param
    return (
        (param("alg") or "").lower() == suite.integrity
        and (param("ealg") or "null").lower() == suite.encryption
        and _MODES.get((param("mod") or Mode.TRANSPORT).lower()) is mode
    )


def check_repeated(agreement: Agreement, request: Request) -> None:
    """The protected REGISTER repeats both lists (TS 33.203 7.2, Annex H). Raises 494: somebody changed one of them."""
    check_verify(agreement.server, request)
    if not _repeats(request, SECURITY_CLIENT, agreement.client):
        raise _mismatch("Security-Client is not the one of the first REGISTER", agreement.server)


def check_verify(server: str, request: Request) -> None:
    """Security-Verify is the Security-Server that was sent (RFC 3329 2.3.1); on a re-registration, that of the set
    which carries the request (TS 24.229 5.1.1.4).
    """
    if not _repeats(request, SECURITY_VERIFY, server):
        raise _mismatch("Security-Verify is not the Security-Server that was sent", server)


def _repeats(request: Request, header: Field[SecurityMechanism], value: str) -> bool:
    if ", ".join(request.all(header.name)) == value:  # to the letter, as nearly always: nothing to be read
        return True
    return same(request.every(header), mechanisms_of(value))


def _mismatch(why: str, server: str) -> SipError:
    return SipError(494, why, "RFC 3329 2.3.1, TS 33.203 7.2", (("Security-Server", server),))


def same(one: Sequence[SecurityMechanism], other: Sequence[SecurityMechanism]) -> bool:
    """Equal in all that means something: case, quotes, blanks and the order of parameters don't."""
    return [_meaning(mechanism) for mechanism in one] == [_meaning(mechanism) for mechanism in other]


def _meaning(mechanism: SecurityMechanism) -> tuple[str, list[tuple[str, str]]]:
    params = [(name, unquote(value).lower() if value is not None else "") for name, value in mechanism.params]
    return mechanism.name, sorted(params)


def strip_agreement(request: Request) -> None:
    """The agreement ends at the P-CSCF: its headers and option tag go no further (TS 24.229 5.2.2.1)."""
    request.remove("Security-Client")
    request.remove("Security-Verify")
    for option_field in (REQUIRE, PROXY_REQUIRE):
        tags = request.every(option_field)
        kept = [tag for tag in tags if tag.lower() != OPTION]
        if len(kept) < len(tags):
            request.put(option_field, *kept)


def _options(tags: Sequence[str]) -> list[str]:
    return [tag.lower() for tag in tags]


# ---- the phone's end


def accept(policy: AgreementPolicy, client: str, server: str) -> Agreement | None:
    """What a phone settles for: the first, by q, of the network's list that it offered itself (RFC 3329 2.3.1). Raises
    SipError 400.
    """
    own = read_offers(mechanisms_of(client))
    for theirs in sorted(read_offers(mechanisms_of(server)), key=lambda offer: -offer.q):
        for mine in own:
            if (mine.suite, mine.mode) == (theirs.suite, theirs.mode) and mine.suite in policy.allowed:
                if {mine.ends.spi_c, mine.ends.spi_s} & {theirs.ends.spi_c, theirs.ends.spi_s}:
                    return None  # all four differ (TS 33.203 7.1): else a packet could be sent back to its sender
                return Agreement(mine.suite, mine.mode, mine.ends, theirs.ends, client, server)
    return None
