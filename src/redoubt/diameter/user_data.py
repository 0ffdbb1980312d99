"""The user profile as XML, both ways: User-Data of SAA and PPR (TS 29.228 Annexes B and E, TS 29.229 6.3.7).

What is read is checked against the schema beside this file, in its size and counts, and in the regular expressions of
its filter criteria (requirement row 111). Trigger points are kept as XML: whoever serves calls evaluates them.
"""

from functools import lru_cache
from importlib.resources import files

from lxml import etree

from redoubt.diameter.cx import (
    IdentityType,
    InitialFilterCriterion,
    PublicIdentity,
    ServiceProfile,
    UserProfile,
)
from redoubt.expressions import ExpressionError, expression
from redoubt.limits import USER_DATA_CRITERIA, USER_DATA_IDENTITIES, USER_DATA_OCTETS, USER_DATA_TRIGGERS
from redoubt.sip.errors import SipError
from redoubt.sip.uri import parse_uri
from redoubt.xml import Element, XmlRefused, children, escaped, parse_xml, text_of

WILDCARDED = (IdentityType.WILDCARDED_PSI, IdentityType.WILDCARDED_IMPU, IdentityType.IMPU_WILDCARD)
_TRUE = ("1", "true")


class UserDataRefused(Exception):
    """A profile that is not taken; `too_much` if it is only too large (DIAMETER_ERROR_TOO_MUCH_DATA)."""

    def __init__(self, why: str, *, too_much: bool = False) -> None:
        super().__init__(why)
        self.too_much = too_much


def build_user_data(profile: UserProfile) -> bytes:
    """The document's octets."""
    pieces = [
        f'<?xml version="1.0" encoding="UTF-8"?><IMSSubscription><PrivateID>{escaped(profile.impi)}</PrivateID>'
    ]
    for part in profile.service_profiles:
        pieces.append("<ServiceProfile>")
        pieces += map(_identity_text, part.identities)
        pieces.append(_authorization_text(part))
        pieces += map(criterion_text, part.criteria)
        if part.shared_criteria:
            numbers = "".join(f"<SharedIFCSetID>{number}</SharedIFCSetID>" for number in part.shared_criteria)
            pieces.append(f"<Extension>{numbers}</Extension>")
        pieces.append("</ServiceProfile>")
    pieces.append("</IMSSubscription>")
    return "".join(pieces).encode("utf-8", "replace")


def parse_user_data(octets: bytes) -> UserProfile:
    """Reads a document of another node. Raises UserDataRefused."""
    if len(octets) > USER_DATA_OCTETS:
        raise UserDataRefused(f"the profile has more than {USER_DATA_OCTETS} octets", too_much=True)
    try:
        root = parse_xml(octets, USER_DATA_OCTETS)
    except XmlRefused as fault:
        raise UserDataRefused(str(fault)) from fault
    try:
        _schema().assertValid(root)
    except etree.DocumentInvalid as fault:
        raise UserDataRefused(f"the profile is not as TS 29.228 Annex E has it: {str(fault)[:300]}") from fault
    parts = tuple([_service_profile(element) for element in root.iterfind("ServiceProfile")])
    if sum(len(part.identities) for part in parts) > USER_DATA_IDENTITIES:
        raise UserDataRefused(f"the profile has more than {USER_DATA_IDENTITIES} identities", too_much=True)
    if sum(len(part.criteria) for part in parts) > USER_DATA_CRITERIA:
        raise UserDataRefused(f"the profile has more than {USER_DATA_CRITERIA} filter criteria", too_much=True)
    return UserProfile(text_of(root[0]), parts)


def check_criteria(criteria: tuple[InitialFilterCriterion, ...]) -> None:
    """What an operator provisions must be readable by those who get it. Raises UserDataRefused."""
    if criteria:
        identity = PublicIdentity("sip:anyone@example.net")
        parse_user_data(build_user_data(UserProfile("anyone", (ServiceProfile((identity,), criteria),))))


# ---- writing


def criterion_text(criterion: InitialFilterCriterion) -> str:
    """An InitialFilterCriteria element; Sh has the same (TS 29.328 Annex C)."""
    marks = "<IncludeRegisterRequest/>" if criterion.register_request else ""
    marks += "<IncludeRegisterResponse/>" if criterion.register_response else ""
    info = f"<ServiceInfo>{escaped(criterion.service_info)}</ServiceInfo>" if criterion.service_info else ""
    part = criterion.profile_part
    return (
        f"<InitialFilterCriteria><Priority>{criterion.priority}</Priority>{criterion.trigger}"
        f"<ApplicationServer><ServerName>{escaped(criterion.server_name)}</ServerName>"
        f"<DefaultHandling>{criterion.default_handling}</DefaultHandling>{info}"
        f"{f'<Extension>{marks}</Extension>' if marks else ''}</ApplicationServer>"
        f"{'' if part is None else f'<ProfilePartIndicator>{part}</ProfilePartIndicator>'}</InitialFilterCriteria>"
    )


def _identity_text(identity: PublicIdentity) -> str:
    """A wildcard is in the element of its kind; Identity has it too, for readers of Release 7 and before."""
    kind = identity.identity_type
    if identity.wildcard and kind not in WILDCARDED:
        kind = IdentityType.WILDCARDED_IMPU
    wildcard = escaped(identity.wildcard)
    innermost = f"<Extension><WildcardedIMPU>{wildcard}</WildcardedIMPU></Extension>"
    inner = f"<DisplayName>{escaped(identity.display_name)}</DisplayName>" if identity.display_name else ""
    if identity.alias_group:
        inner += f"<AliasIdentityGroupID>{escaped(identity.alias_group)}</AliasIdentityGroupID>"
    outer = "" if kind is IdentityType.PUBLIC_USER_IDENTITY else f"<IdentityType>{kind.value}</IdentityType>"
    if kind is IdentityType.WILDCARDED_PSI:
        outer += f"<WildcardedPSI>{wildcard}</WildcardedPSI>"
    elif wildcard:
        inner += innermost
    outer += f"<Extension>{inner}</Extension>" if inner else ""
    return (
        f"<PublicIdentity>{'<BarringIndication>1</BarringIndication>' if identity.barred else ''}"
        f"<Identity>{escaped(identity.impu)}</Identity>"
        f"{f'<Extension>{outer}</Extension>' if outer else ''}</PublicIdentity>"
    )


def _authorization_text(part: ServiceProfile) -> str:
    if part.media_profile is None and not part.service_ids:
        return ""
    media = part.media_profile
    text = "" if media is None else f"<SubscribedMediaProfileId>{media}</SubscribedMediaProfileId>"
    if part.service_ids:
        services = "".join(f"<ServiceId>{escaped(service)}</ServiceId>" for service in part.service_ids)
        text += f"<Extension><ListOfServiceIds>{services}</ListOfServiceIds></Extension>"
    return f"<CoreNetworkServicesAuthorization>{text}</CoreNetworkServicesAuthorization>"


# ---- reading


@lru_cache(1)
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.fromstring(files(__package__).joinpath("user_data.xsd").read_bytes()))


def _service_profile(element: Element) -> ServiceProfile:
    inside = children(element)
    authorization = children(inside.get("CoreNetworkServicesAuthorization"))
    services = children(authorization.get("Extension")).get("ListOfServiceIds")
    media = text_of(authorization.get("SubscribedMediaProfileId"))
    extension = inside.get("Extension")
    return ServiceProfile(
        tuple([_identity(child) for child in element if child.tag == "PublicIdentity"]),
        tuple([read_criterion(child) for child in element if child.tag == "InitialFilterCriteria"]),
        tuple([int(text_of(child)) for child in _all_of(extension, "SharedIFCSetID")]),
        int(media) if media else None,
        tuple([text_of(child) for child in _all_of(services, "ServiceId")]),
    )


def _all_of(element: Element | None, name: str) -> list[Element]:
    return [] if element is None else [child for child in element if child.tag == name]


def _identity(element: Element) -> PublicIdentity:
    inside = children(element)
    first = children(inside.get("Extension"))
    second = children(first.get("Extension"))
    third = children(second.get("Extension"))
    identity = text_of(inside["Identity"])
    kind = IdentityType(int(text_of(first.get("IdentityType"), "0")))
    wildcard = text_of(first.get("WildcardedPSI")) or text_of(third.get("WildcardedIMPU"))
    if kind in WILDCARDED and not wildcard and "!" in identity:
        wildcard = identity  # as Release 7 wrote it
    _check_wildcard(wildcard)
    return PublicIdentity(
        identity if wildcard == identity else _canonical(identity),
        text_of(inside.get("BarringIndication")) in _TRUE,
        text_of(second.get("DisplayName")),
        wildcard,
        kind,
        text_of(second.get("AliasIdentityGroupID")),
    )


def _check_wildcard(wildcard: str) -> None:
    """Between exclamation marks stands an extended regular expression (TS 23.003 13.4A, 13.5)."""
    if not wildcard:
        return
    _before, mark, rest = wildcard.partition("!")
    inside, closed, _after = rest.rpartition("!")
    if not mark or not closed:
        raise UserDataRefused(f"{wildcard[:80]!r} is no wildcarded identity")
    _check_expression(inside)


def _canonical(identity: str) -> str:
    """As tables compare it."""
    try:
        return parse_uri(identity).aor
    except SipError as fault:
        raise UserDataRefused(f"{identity[:80]!r} is no public identity: {fault.why}") from fault


def read_criterion(element: Element) -> InitialFilterCriterion:
    """An InitialFilterCriteria element that a schema has seen. Raises UserDataRefused."""
    inside = children(element)
    server = children(inside["ApplicationServer"])
    marks = children(server.get("Extension"))
    trigger = inside.get("TriggerPoint")
    part = text_of(inside.get("ProfilePartIndicator"))
    if trigger is not None:
        _check_trigger(trigger)
    return InitialFilterCriterion(
        int(text_of(inside["Priority"])),
        text_of(server["ServerName"]),
        int(text_of(server.get("DefaultHandling"), "0")),
        "" if trigger is None else etree.tostring(trigger, encoding="unicode", with_tail=False),
        int(part) if part else None,
        text_of(server.get("ServiceInfo")),
        "IncludeRegisterRequest" in marks,
        "IncludeRegisterResponse" in marks,
    )


def _check_trigger(trigger: Element) -> None:
    conditions = _all_of(trigger, "SPT")
    if len(conditions) > USER_DATA_TRIGGERS:
        raise UserDataRefused(f"a trigger point has more than {USER_DATA_TRIGGERS} conditions", too_much=True)
    for condition in conditions:
        for child in condition:
            if child.tag == "RequestURI":
                _check_expression(text_of(child))
            elif child.tag in ("SIPHeader", "SessionDescription"):
                for part in child:
                    if part.tag in ("Header", "Line", "Content"):
                        _check_expression(text_of(part))


def _check_expression(text: str) -> None:
    try:
        expression(text)
    except ExpressionError as fault:
        raise UserDataRefused(f"the expression {text[:80]!r} is refused: {fault}") from fault
