"""A subscriber by named fields: the one description that files, the command line and the REST API share.

`NewSubscriber` is what comes in, with keys; `Profile` the part that may change later (TS 29.228 6.6); `SubscriberView`
what is told, without keys. The JSON schema of the API is made from these types.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from redoubt.aka.sequence import SequenceScheme
from redoubt.diameter.cx import InitialFilterCriterion, PublicIdentity, ServerCapabilities, ServiceProfile
from redoubt.hss.records import ImplicitSet, Provisioned, Subscription
from redoubt.hss.subscriber import (
    PrivateIdentity,
    ProvisioningError,
    Subscriber,
    canonical_impu,
    check_impi,
    provisioned_of,
)
from redoubt.secret import Secret

Impi = Annotated[str, Meta(description="private identity, user@domain (TS 23.003 13.3)")]
Impu = Annotated[str, Meta(description="sip:user@domain or tel:+number (TS 23.003 13.4)")]
Key = Annotated[
    Secret,
    Meta(
        description="hexadecimal digits; 32, or 64 for TUAK; never given back",
        extra_json_schema={"type": "string", "pattern": "^([0-9a-fA-F]{32}|[0-9a-fA-F]{64})$", "writeOnly": True},
    ),
]
Algorithm = Literal["milenage", "tuak"]
Amf = Annotated[str, Meta(pattern="^[0-9a-fA-F]{4}$")]
Sqn = Annotated[str, Meta(pattern="^[0-9a-fA-F]{1,12}$", description="the last one used, hexadecimal")]
Capability = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF, description="an S-CSCF capability number (TS 29.229 6.3.5)")]


class Fields(Struct, rename="kebab", forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Names with hyphens; an unknown one is refused."""


class Card(Fields, frozen=True, kw_only=True):
    """A private identity with what its card holds (TS 33.102, TS 35.206, TS 35.231)."""

    impi: Impi
    k: Key
    opc: Key | None = None
    op: Key | None = None
    algorithm: Algorithm = "milenage"
    amf: Amf = "8000"
    sqn: Sqn = "0"


class Profile(Fields, frozen=True, kw_only=True):
    """What may change while a subscriber lives. `sets` stands for `impus`, `wildcards` and `criteria` where a
    subscription has several sets, or one that the short fields can't say."""

    impus: Annotated[tuple[Impu, ...], Meta(description="register together; default sip:IMPI")] = ()
    barred: Annotated[tuple[Impu, ...], Meta(description="those of `impus` that may do nothing")] = ()
    wildcards: Annotated[tuple[str, ...], Meta(description="like sip:room!.*!@example.org (TS 23.003 13.4A)")] = ()
    criteria: Annotated[tuple[InitialFilterCriterion, ...], Meta(description="TS 29.228 B.2.2")] = ()
    sets: Annotated[
        tuple[tuple[Impu, ...] | ImplicitSet, ...], Meta(description="implicit registration sets (TS 23.228 5.2.1a)")
    ] = ()
    visited_networks: Annotated[tuple[str, ...], Meta(description='where to roam, "*" anywhere')] = ()
    capabilities: tuple[Capability, ...] = ()
    optional_capabilities: tuple[Capability, ...] = ()
    server_names: Annotated[tuple[str, ...], Meta(description="S-CSCFs to prefer (TS 29.229 6.3.4)")] = ()


class NewSubscriber(Profile, frozen=True, kw_only=True):
    """A subscriber to be added: its first private identity stands at the top, more in `private`."""

    impi: Impi
    k: Key
    opc: Key | None = None
    op: Key | None = None
    algorithm: Algorithm = "milenage"
    amf: Amf = "8000"
    sqn: Sqn = "0"
    private: tuple[Card, ...] = ()


class PrivateView(Struct, rename="kebab", frozen=True):
    """A private identity and where its sequence numbers stand (TS 33.102 Annex C)."""

    impi: str
    algorithm: str
    amf: str
    reserved_seq: Annotated[int, Meta(description="every SEQ up to here may be in use")]
    reserved_sqn: Annotated[str, Meta(description="the same as SQN, 12 hexadecimal digits")]
    next_seq: Annotated[int, Meta(description="the SEQ of the next vector")]
    challenged: Annotated[bool, Meta(description="whether a challenge is open, as far as this process knows")]


class SetView(Struct, rename="kebab", frozen=True):
    """An implicit registration set and its registration."""

    impus: tuple[str, ...]
    barred: tuple[str, ...]
    state: Literal["not_registered", "registered", "unregistered"]
    registered: Annotated[tuple[str, ...], Meta(description="private identities with a registration of it")]
    criteria: Annotated[int, Meta(description="how many filter criteria")]


class SubscriberView(Struct, rename="kebab", frozen=True):
    """All that is told of a subscriber: everything but keys."""

    private: tuple[PrivateView, ...]
    sets: tuple[SetView, ...]
    s_cscf: Annotated[str, Meta(description="the assigned S-CSCF; empty: none")]
    candidate: Annotated[str, Meta(description="another S-CSCF that challenges the user now")]
    profile: Profile


KEY_FIELDS = ("impi", "k", "opc", "op", "algorithm", "amf", "sqn")
LIST_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(Profile))
ALL_FIELDS = (*KEY_FIELDS, *LIST_FIELDS, "private")
_NUMBERS = ("capabilities", "optional-capabilities")
_WORDS = ("impus", "barred", "wildcards", "visited-networks", "server-names")
_WHAT_TO_WRITE = {
    "impi": "write user@domain",
    "k": "write the card's K as 32 hexadecimal digits",
    "opc": "write 32 hexadecimal digits (64 for TUAK)",
    "op": "write 32 hexadecimal digits (64 for TUAK)",
    "amf": "write 4 hexadecimal digits, such as 8000",
    "sqn": "write up to 12 hexadecimal digits, the last SQN used",
    "algorithm": "write milenage or tuak",
    "capabilities": "write numbers (TS 29.229 6.3.5)",
    "optional-capabilities": "write numbers (TS 29.229 6.3.5)",
    "sets": "write a list of lists of public identities, or of objects with service_profiles",
    "private": "write a list of objects with impi, k and opc",
}


def secret_of(kind: type[Any], value: Any) -> Any:
    """For msgspec: a key from its hexadecimal digits. What is wrong never repeats them."""
    if kind is not Secret:
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        raise ValueError("must be hexadecimal digits")
    try:
        return Secret(bytes.fromhex(value))
    except ValueError:
        raise ValueError("must be hexadecimal digits") from None


def json_of(text: str | bytes, kind: Any) -> Any:
    """JSON as values of a type; raises msgspec.DecodeError also for what is nested beyond reason."""
    try:
        return msgspec.json.decode(text, type=kind, dec_hook=secret_of)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None


def subscriber_of(fields: Mapping[str, Any]) -> Subscriber:
    """A subscriber from named fields; lists may also be text divided by blanks. Raises ProvisioningError."""
    return subscriber_from(new_subscriber_of(fields))


def new_subscriber_of(fields: Mapping[str, Any]) -> NewSubscriber:
    """The fields as typed values; empty text counts as absent."""
    tidy = {name: _plural(name, value) for name, value in fields.items() if value is not None and value != ""}
    if isinstance(sqn := tidy.get("sqn"), int):
        tidy["sqn"] = f"{sqn:x}"
    try:
        return msgspec.convert(tidy, NewSubscriber, dec_hook=secret_of)
    except msgspec.ValidationError as fault:
        raise refusal_of(str(fault)) from None


def profile_from(fields: Mapping[str, Any]) -> Profile:
    """The changeable part from named fields. Raises ProvisioningError."""
    tidy = {name: _plural(name, value) for name, value in fields.items() if value is not None}
    try:
        return msgspec.convert(tidy, Profile)
    except msgspec.ValidationError as fault:
        raise refusal_of(str(fault)) from None


def refusal_of(fault: str) -> ProvisioningError:
    """The operator's fault in msgspec's words, by the field's name and with what to write."""
    what, _, path = fault.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    named = re.search(r"field `([^`]*)`", what)
    if named is not None:
        field = named[1]
        if "unknown" in what:
            return ProvisioningError(field, f"no such field; there are {', '.join(ALL_FIELDS)}")
        return ProvisioningError(field, f"is missing; {_WHAT_TO_WRITE.get(field, 'write it')}")
    field = re.split(r"[.\[]", path)[0] or "body"
    last = re.split(r"[.\[]", path)[-1]
    wanted = _WHAT_TO_WRITE.get(last) or _WHAT_TO_WRITE.get(field)
    return ProvisioningError(field, f"{what}; {wanted}" if wanted else what)


def subscriber_from(new: NewSubscriber) -> Subscriber:
    """The HSS's form of it. Raises ProvisioningError."""
    check_impi(new.impi)
    privates = (_private(new), *(_private(card) for card in new.private))
    return Subscriber(privates, sets_of(new, new.impi), new.visited_networks, _capabilities(new))


def changed(profile: Profile, subscription: Subscription) -> Provisioned:
    """What a subscription would be with this profile; its private identities stay. Raises ProvisioningError."""
    impis = [record.impi for record in subscription.privates]
    subscriber = Subscriber((), sets_of(profile, impis[0]), profile.visited_networks, _capabilities(profile))
    return provisioned_of(subscriber, impis)


def patched(patch: Mapping[str, Any], before: Subscription) -> Provisioned:
    """JSON merge patch (RFC 7396): what is named is replaced, null takes it back to its default."""
    fields: dict[str, Any] = msgspec.to_builtins(profile_of(before.provisioned, before.privates[0].impi))
    for same, other in (("impus", "sets"), ("sets", "impus")):
        if patch.get(same) is not None:
            fields.pop(other, None)  # either says which public identities there are
    return changed(profile_from({**fields, **patch}), before)


def profile_of(provisioned: Provisioned, impi: str) -> Profile:
    """The reverse of `changed`: in short fields where they can say it, else with whole sets."""
    capabilities = provisioned.capabilities
    rest: dict[str, Any] = {
        "visited_networks": provisioned.visited_networks,
        "capabilities": capabilities.mandatory,
        "optional_capabilities": capabilities.optional,
        "server_names": capabilities.server_names,
    }
    first = provisioned.sets[0]
    identities = [identity for one in provisioned.sets for identity in one.identities]
    groups = tuple(tuple(i.impu for i in one.identities if not i.wildcard) for one in provisioned.sets)
    short = Profile(
        impus=groups[0] if len(groups) == 1 else (),
        sets=groups if len(groups) > 1 else (),
        barred=tuple(i.impu for i in identities if i.barred),
        wildcards=tuple(i.wildcard for i in identities if i.wildcard),
        criteria=first.service_profiles[0].criteria if first.service_profiles else (),
        **rest,
    )
    try:
        same = provisioned_of(Subscriber((), sets_of(short, impi)), [impi]).sets == provisioned.sets
    except ProvisioningError:
        same = False
    return short if same else Profile(sets=provisioned.sets, **rest)


def view(subscription: Subscription) -> SubscriberView:
    """What is told of it."""
    assignment, provisioned = subscription.assignment, subscription.provisioned
    scheme = SequenceScheme()
    privates = tuple(
        PrivateView(
            impi=one.impi,
            algorithm=one.algorithm,
            amf=one.amf.hex(),
            reserved_seq=one.reserved_seq,
            reserved_sqn=f"{scheme.join(one.reserved_seq, scheme.indices - 1):012x}",
            next_seq=one.next_seq,
            challenged=one.pending,
        )
        for one in subscription.privates
    )
    sets = tuple(
        SetView(
            impus=tuple(identity.impu for identity in one.identities),
            barred=tuple(identity.impu for identity in one.identities if identity.barred),
            state=registration.state.name.lower(),  # type: ignore[arg-type]  # the names of RegistrationState
            registered=registration.impis,
            criteria=sum(len(profile.criteria) for profile in one.service_profiles),
        )
        for one, registration in zip(provisioned.sets, assignment.sets, strict=True)
    )
    profile = profile_of(provisioned, subscription.privates[0].impi)
    return SubscriberView(privates, sets, assignment.server_name, assignment.candidate, profile)


def described(subscription: Subscription) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    told: dict[str, Any] = msgspec.to_builtins(view(subscription))
    return told


def sets_of(profile: Profile, impi: str) -> tuple[ImplicitSet, ...]:
    """The implicit registration sets that the short fields, or `sets`, describe."""
    barred = {canonical_impu(impu, "barred") for impu in profile.barred}
    criteria = tuple(sorted(profile.criteria, key=lambda one: one.priority))
    field = "sets" if profile.sets else "impus"
    groups = profile.sets or (profile.impus or (f"sip:{impi}",),)
    wildcards = tuple(PublicIdentity("", wildcard=text) for text in profile.wildcards)
    made: list[ImplicitSet] = []
    for group in groups:
        if isinstance(group, ImplicitSet):
            made.append(_with_barred(group, barred))
            continue
        impus = [canonical_impu(impu, field) for impu in group]
        identities = tuple(PublicIdentity(impu, impu in barred) for impu in impus)
        made.append(ImplicitSet((ServiceProfile(identities + (() if made else wildcards), criteria),)))
    unknown = barred - {identity.impu for one in made for identity in one.identities}
    if unknown:
        raise ProvisioningError("barred", f"{min(unknown)} is none of the subscriber's public identities")
    return tuple(made)


def _with_barred(one: ImplicitSet, barred: set[str]) -> ImplicitSet:
    if not barred:
        return one
    replace = msgspec.structs.replace
    profiles = tuple(
        replace(
            profile,
            identities=tuple(
                replace(identity, barred=True) if identity.impu in barred else identity
                for identity in profile.identities
            ),
        )
        for profile in one.service_profiles
    )
    return replace(one, service_profiles=profiles)


def _private(card: Card | NewSubscriber) -> PrivateIdentity:
    amf, sqn = bytes.fromhex(card.amf), int(card.sqn, 16)
    return PrivateIdentity(card.impi, card.k, card.opc, card.op, card.algorithm, amf, sqn)


def _capabilities(profile: Profile) -> ServerCapabilities:
    return ServerCapabilities(profile.capabilities, profile.optional_capabilities, profile.server_names)


def _plural(name: str, value: Any) -> Any:
    """Text divided by blanks as a list, numbers as numbers, JSON in a cell of CSV as what it says."""
    if not isinstance(value, str) or name not in (*LIST_FIELDS, "private"):
        return value
    if name in _WORDS and not value.lstrip().startswith("["):
        return value.split()
    if name in _NUMBERS and not value.lstrip().startswith("["):
        return [int(word) if word.isdecimal() and len(word) <= 10 else word for word in value.split()]
    try:
        return json_of(value, Any)
    except msgspec.DecodeError:
        raise ProvisioningError(name, "must be a list in JSON") from None
