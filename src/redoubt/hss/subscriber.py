"""A subscriber as an operator gives it, checked field by field; what is wrong is said by the field's name.

Identities are made canonical here, so that every table may compare them as text.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from msgspec.structs import replace

from redoubt.aka.milenage import derive_opc
from redoubt.aka.sequence import SQN_BITS, SequenceScheme
from redoubt.aka.tuak import derive_topc
from redoubt.diameter.cx import PublicIdentity, ServerCapabilities, ServiceProfile
from redoubt.diameter.user_data import UserDataRefused, check_criteria
from redoubt.hss.keys import NONCE_OCTETS, Seal
from redoubt.hss.records import NO_CAPABILITIES, ImplicitSet, Provisioned
from redoubt.hss.store import Added, NewPrivate
from redoubt.limits import HSS_IDENTITIES_PER_SUBSCRIPTION, HSS_IDENTITY_OCTETS
from redoubt.secret import Secret
from redoubt.sip.errors import SipError
from redoubt.sip.uri import SipUri, TelUri, parse_uri
from redoubt.sources import Randomness

ALGORITHMS = {"milenage": ((16,), 16), "tuak": ((16, 32), 32)}
"""Octets of K, and of OP and OPc (TOP and TOPc)."""
DEFAULT_AMF = bytes.fromhex("8000")
_WILDCARD_SAFE = re.compile(r"(?:[^()\\!|^$]|\\[.+*?])*")
_KEY_LIKE = re.compile(r"[0-9A-Fa-f]{32,}")
_VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f]*")
_UNBOUNDED = re.compile(r"(?<!\\)[*+{]")


class ProvisioningError(Exception):
    """The operator's fault: which field, what is wrong, what to write instead; never a key that stood out of place."""

    def __init__(self, field: str, why: str) -> None:
        field, why = _KEY_LIKE.sub("...", field), _KEY_LIKE.sub("...", why)
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True, slots=True)
class PrivateIdentity:
    """An IMPI with its card's keys: K, and OPc or OP (TS 33.102, TS 35.206, TS 35.231). `sqn` is the last one used."""

    impi: str
    k: Secret
    opc: Secret | None = None
    op: Secret | None = None
    algorithm: str = "milenage"
    amf: bytes = DEFAULT_AMF
    sqn: int = 0


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An IMS subscription: private identities that share the public ones, which register set by set."""

    privates: tuple[PrivateIdentity, ...]
    sets: tuple[ImplicitSet, ...]
    visited_networks: tuple[str, ...] = ()
    capabilities: ServerCapabilities = NO_CAPABILITIES

    @classmethod
    def simple(cls, private: PrivateIdentity, *impus: str) -> "Subscriber":
        """One private identity, and public ones that register together."""
        profile = ServiceProfile(tuple(PublicIdentity(impu) for impu in impus))
        return cls((private,), (ImplicitSet((profile,)),))


def canonical_impu(impu: str, field: str = "impus") -> str:
    """sip:user@host or tel:+number, as the tables have it. Raises ProvisioningError."""
    if len(impu) > HSS_IDENTITY_OCTETS:
        raise ProvisioningError(field, f"an identity has at most {HSS_IDENTITY_OCTETS} characters")
    try:
        aor = _aor(impu)
    except SipError as fault:
        raise ProvisioningError(field, f"{impu!r} is no URI ({fault.why}); write sip:user@domain") from None
    if not aor:
        raise ProvisioningError(field, f"{impu!r} must be sip:user@domain or tel:+number (TS 23.003 13.4)")
    return aor


@lru_cache(1024)
def _aor(impu: str) -> str:
    """Remembered, for what was checked is checked again when it is stored. Empty: no public identity."""
    uri = parse_uri(impu)
    if not isinstance(uri, SipUri | TelUri) or (isinstance(uri, SipUri) and not uri.user):
        return ""
    return uri.aor


def added(subscriber: Subscriber, seal: Seal, randomness: Randomness) -> Added:
    """The store's form of a subscriber: checked, canonical, keys sealed. Raises ProvisioningError."""
    provisioned, opcs = checked(subscriber)
    privates = tuple(
        _sealed(private, opc, seal, randomness)
        for private, opc in zip(subscriber.privates, opcs, strict=True)
    )
    return Added(provisioned, privates)


def checked(subscriber: Subscriber) -> tuple[Provisioned, list[Secret]]:
    """Its public half, canonical, and the OPc of each private identity. Raises ProvisioningError."""
    if not subscriber.privates:
        raise ProvisioningError("impi", "a subscriber needs a private identity")
    opcs = [_checked_private(private) for private in subscriber.privates]
    return provisioned_of(subscriber, [private.impi for private in subscriber.privates]), opcs


def provisioned_of(subscriber: Subscriber, impis: list[str]) -> Provisioned:
    """Its public half, checked and canonical."""
    sets = tuple(_set(one, impis) for one in subscriber.sets)
    known: set[str] = set()
    for one in sets:
        for identity in one.identities:
            if identity.impu in known:
                raise ProvisioningError("impus", f"{identity.impu} stands there twice")
            known.add(identity.impu)
    if not known:
        raise ProvisioningError("impus", "a subscriber needs a public identity")
    if len(known) > HSS_IDENTITIES_PER_SUBSCRIPTION:
        raise ProvisioningError("impus", f"at most {HSS_IDENTITIES_PER_SUBSCRIPTION} for one subscriber")
    networks = tuple(network.lower() for network in subscriber.visited_networks)
    return Provisioned(sets, networks, subscriber.capabilities)


def _set(one: ImplicitSet, impis: list[str]) -> ImplicitSet:
    for impi in one.impis:
        if impi not in impis:
            raise ProvisioningError("sets", f"{impi} is none of the subscriber's private identities")
    if not one.identities:
        raise ProvisioningError("sets", "a registration set needs a public identity")
    for profile in one.service_profiles:
        try:
            check_criteria(profile.criteria)
        except UserDataRefused as fault:
            raise ProvisioningError("criteria", f"{fault} (TS 29.228 Annex E)") from None
    return ImplicitSet(tuple([_profile(profile) for profile in one.service_profiles]), one.impis)


def _profile(profile: ServiceProfile) -> ServiceProfile:
    identities = tuple([_identity(identity) for identity in profile.identities])
    return profile if identities == profile.identities else replace(profile, identities=identities)


def _identity(identity: PublicIdentity) -> PublicIdentity:
    if identity.wildcard:
        _check_wildcard(identity.wildcard)
        return replace(identity, impu=identity.impu or identity.wildcard)
    impu = canonical_impu(identity.impu)
    return identity if impu == identity.impu else replace(identity, impu=impu)


def _check_wildcard(wildcard: str) -> None:
    """TS 23.003 13.4A; and no expression whose matching could take long: no groups, two repetitions."""
    parts = wildcard.split("!")
    if len(parts) != 3 or not parts[0].startswith(("sip:", "tel:")):
        raise ProvisioningError("wildcard", f"{wildcard!r} must be like sip:room!.*!@example.net")
    if not _WILDCARD_SAFE.fullmatch(parts[1]) or len(_UNBOUNDED.findall(parts[1])) > 2:
        raise ProvisioningError("wildcard", f"{parts[1]!r}: no groups or alternatives, at most two repetitions")
    try:
        re.compile(parts[1])
    except re.error as fault:
        raise ProvisioningError("wildcard", f"{parts[1]!r} is no regular expression: {fault}") from None


def check_impi(impi: str) -> None:
    """Raises ProvisioningError for what is no private identity."""
    user, _, domain = impi.partition("@")
    if not user or not domain or ":" in impi or len(impi) > HSS_IDENTITY_OCTETS or not _VISIBLE.fullmatch(impi):
        raise ProvisioningError("impi", f"{impi!r} must be user@domain, without sip: (TS 23.003 13.3)")


def _checked_private(private: PrivateIdentity) -> Secret:
    check_impi(private.impi)
    if len(private.amf) != 2:
        raise ProvisioningError("amf", "must be 4 hexadecimal digits, such as 8000")
    if not 0 <= private.sqn < 1 << SQN_BITS:
        raise ProvisioningError("sqn", f"must have at most {SQN_BITS} bits")
    return _opc(private)


def _sealed(private: PrivateIdentity, opc: Secret, seal: Seal, randomness: Randomness) -> NewPrivate:
    nonce = randomness.octets(NONCE_OCTETS)
    sealed = seal.close(private.impi, private.k, opc, nonce)
    seq = SequenceScheme().split(private.sqn)[0]
    return NewPrivate(private.impi, private.algorithm, private.amf, sealed, seq)


def _opc(private: PrivateIdentity) -> Secret:
    """OPc (TOPc) as given, or made from OP (TOP), which isn't stored."""
    lengths = ALGORITHMS.get(private.algorithm)
    if lengths is None:
        raise ProvisioningError("algorithm", f"{private.algorithm!r} must be milenage or tuak")
    k_octets, op_octets = lengths
    if len(private.k) not in k_octets:
        wanted = " or ".join(str(2 * octets) for octets in k_octets)
        raise ProvisioningError("k", f"must have {wanted} hexadecimal digits")
    given = [("opc", private.opc), ("op", private.op)]
    present = [(name, value) for name, value in given if value is not None]
    if len(present) != 1:
        raise ProvisioningError("opc", "give either opc or op")
    name, value = present[0]
    if len(value) != op_octets:
        raise ProvisioningError(name, f"must have {2 * op_octets} hexadecimal digits")
    if name == "opc":
        return value
    return derive_topc(private.k, value) if private.algorithm == "tuak" else derive_opc(private.k, value)
