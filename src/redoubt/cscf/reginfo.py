"""The reginfo document (RFC 3680 clause 5): built by the S-CSCF, read by P-CSCF, phone and application servers."""


from msgspec import Struct

from redoubt.limits import REGINFO_CONTACTS, REGINFO_REGISTRATIONS, SIP_BODY_OCTETS
from redoubt.sip.errors import SipError
from redoubt.xml import Element, XmlRefused, escaped, parse_xml

MEDIA_TYPE = "application/reginfo+xml"
NAMESPACE = "urn:ietf:params:xml:ns:reginfo"
_STATES = ("init", "active", "terminated")
_ENDINGS = ("expired", "deactivated", "probation", "unregistered", "rejected")
_EVENTS = frozenset(("registered", "created", "refreshed", "shortened", *_ENDINGS))


class ContactInfo(Struct, frozen=True, gc=False):
    """A contact element. `expires` in seconds; None when the contact has ended."""

    id: str
    uri: str
    active: bool
    event: str
    expires: int | None = None
    call_id: str = ""
    cseq: int | None = None


class RegistrationInfo(Struct, frozen=True, gc=False):
    """A registration element: one address of record and its contacts."""

    aor: str
    id: str
    state: str  # init, active, terminated
    contacts: tuple[ContactInfo, ...] = ()


class RegInfo(Struct, frozen=True, gc=False):
    """A whole document. A partial one holds only what changed since the version before."""

    version: int
    full: bool
    registrations: tuple[RegistrationInfo, ...]

    def to_bytes(self) -> bytes:
        """The document's octets."""
        pieces = [
            f'<?xml version="1.0" encoding="UTF-8"?>\n<reginfo xmlns="{NAMESPACE}" version="{self.version}" '
            f'state="{"full" if self.full else "partial"}">'
        ]
        for registration in self.registrations:
            aor, identifier = escaped(registration.aor), escaped(registration.id)
            pieces.append(f'<registration aor="{aor}" id="{identifier}" state="{registration.state}">')
            pieces += map(_contact_text, registration.contacts)
            pieces.append("</registration>")
        pieces.append("</reginfo>\n")
        return "".join(pieces).encode("utf-8", "replace")


def parse_reginfo(octets: bytes) -> RegInfo:
    """Reads a document; raises SipError 400. Elements of other namespaces are passed over (RFC 3680 5.4)."""
    root = _root(octets)
    if root.tag != f"{{{NAMESPACE}}}reginfo":
        raise _bad("the document is no reginfo")
    elements = root.findall(f"{{{NAMESPACE}}}registration")
    if len(elements) > REGINFO_REGISTRATIONS:
        raise _bad("too many registrations")
    state = root.get("state")
    if state not in ("full", "partial"):
        raise _bad("reginfo has no state")
    version = _number(root.get("version"))
    if version is None:
        raise _bad("reginfo has no version")
    return RegInfo(version, state == "full", tuple([_registration(element) for element in elements]))


def _contact_text(contact: ContactInfo) -> str:
    attributes = f'id="{escaped(contact.id)}" state="{"active" if contact.active else "terminated"}"'
    attributes += f' event="{contact.event}"'
    if contact.expires is not None:
        attributes += f' expires="{contact.expires}"'
    if contact.call_id:
        attributes += f' callid="{escaped(contact.call_id)}"'
    if contact.cseq is not None:
        attributes += f' cseq="{contact.cseq}"'
    return f"<contact {attributes}><uri>{escaped(contact.uri)}</uri></contact>"


def _root(octets: bytes) -> Element:
    try:
        return parse_xml(octets, SIP_BODY_OCTETS)
    except XmlRefused as fault:
        raise _bad(str(fault)) from fault


def _registration(element: Element) -> RegistrationInfo:
    contacts = element.findall(f"{{{NAMESPACE}}}contact")
    if len(contacts) > REGINFO_CONTACTS:
        raise _bad("too many contacts")
    state = element.get("state") or ""
    if state not in _STATES:
        raise _bad("a registration has no state")
    aor = _required(element.get("aor"), "aor")
    return RegistrationInfo(
        aor, _required(element.get("id"), "id"), state, tuple([_contact(contact) for contact in contacts])
    )


def _contact(element: Element) -> ContactInfo:
    uri = element.find(f"{{{NAMESPACE}}}uri")
    event = element.get("event") or ""
    if event not in _EVENTS:
        raise _bad("a contact has no event")
    return ContactInfo(
        id=_required(element.get("id"), "id"),
        uri=_required(None if uri is None or uri.text is None else uri.text.strip(), "uri"),
        active=element.get("state") == "active",
        event=event,
        expires=_number(element.get("expires")),
        call_id=element.get("callid") or "",
        cseq=_number(element.get("cseq")),
    )


def _required(text: str | None, what: str) -> str:
    if not text:
        raise _bad(f"{what} is missing")
    return text


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise _bad("a number is none")
    return int(text)


def _bad(why: str) -> SipError:
    return SipError(400, f"reginfo: {why}", "RFC 3680 5")

