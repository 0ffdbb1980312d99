"""What a REGISTER asks for, read once: identities, credentials, contacts (TS 24.229 5.3.1.2, 5.4.1.1).

I-CSCF and S-CSCF read it the same way, so that a malformed one is refused before anyone looks up the user in it.
"""


from msgspec import Struct

from redoubt.events import Check, Fault
from redoubt.limits import IMPU_OCTETS
from redoubt.sip.errors import SipError
from redoubt.sip.fields import AUTHORIZATION, CONTACT, EXPIRES
from redoubt.sip.headers.addresses import STAR, NameAddr
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Request
from redoubt.sip.service import Context, Exchange
from redoubt.sip.uri import OtherUri, SipUri, Uri

NO_CREDENTIALS = Credentials("Digest")


class RegisterRequest(Struct, frozen=True, gc=False):
    """A REGISTER's content. `expires` is the Expires header, None if absent; `star` is Contact: *."""

    impi: str
    impu: str
    credentials: Credentials
    contacts: tuple[NameAddr, ...]
    star: bool
    expires: int | None
    call_id: str
    cseq: int

    @property
    def integrity_protected(self) -> str:
        """What the P-CSCF says of the first hop (TS 24.229 7.2A.2); "" if it says nothing."""
        return (self.credentials.param("integrity-protected") or "").lower()

    @property
    def ends_everything(self) -> bool:
        """Whether all that it says has lifetime zero: a de-registration (TS 24.229 5.4.1.4)."""
        if self.star or not self.contacts:
            return self.star
        for contact in self.contacts:
            asked = contact.expires
            if (self.expires if asked is None else asked) != 0:
                return False
        return True

    @property
    def contact(self) -> str:
        """The contact that a challenge belongs to: the first one's URI."""
        return str(self.contacts[0].uri) if self.contacts else "*"


def read_register(request: Request) -> RegisterRequest:
    """Reads and checks the form; raises SipError 400."""
    impu = public_identity(request.to.uri)
    credentials = request.first(AUTHORIZATION) or NO_CREDENTIALS
    contacts = request.every(CONTACT)
    addresses = tuple([contact for contact in contacts if contact is not STAR and _is_a_phones(contact)])
    star = len(addresses) != len(contacts)
    expires = request.first(EXPIRES)
    if star and (len(contacts) > 1 or expires != 0):
        raise SipError(400, "Contact: * needs Expires: 0 and no other contact", "RFC 3261 10.2.2")
    impi = private_identity(credentials, impu)
    if not _is_utf8(impi):
        raise SipError(400, "the private identity is no UTF-8 text", "RFC 4282 2.1")
    if len(impi) > IMPU_OCTETS or len(impu) > IMPU_OCTETS:
        raise SipError(400, "an identity is longer than any can be", "limits.IMPU_OCTETS")
    cseq = request.cseq
    return RegisterRequest(impi, impu, credentials, addresses, star, expires, request.call_id, cseq.number)


def contact_identity(impi: str, contact: NameAddr) -> str:
    """What makes two contacts the same one: instance and reg-id (RFC 5626 5.1), else the URI (RFC 3261 10.2.4).

    The private identity is part of it: no phone can replace the binding of another one (TS 24.229 5.4.1.2.2).
    """
    instance = contact.param("+sip.instance")
    if instance:
        return f"{impi} {instance} {contact.param('reg-id') or ''}"
    uri = contact.uri
    if not isinstance(uri, SipUri):
        return f"{impi} {uri}"
    transport = uri.param("transport") or ""
    return f"{impi} {uri.aor}:{uri.port or ''};{transport.lower()}"


def public_identity(uri: Uri) -> str:
    """The IMPU that a To, From or asserted identity names (TS 23.003 13.4)."""
    if isinstance(uri, OtherUri):
        raise SipError(400, f"{str(uri)[:60]} is no public user identity", "TS 23.003 13.4")
    return uri.aor


def private_identity(credentials: Credentials, impu: str) -> str:
    """Without an Authorization header, the identity of To without its scheme (TS 24.229 5.4.1.2.1)."""
    return credentials.param("username") or impu.partition(":")[2]


def _is_utf8(text: str) -> bool:
    """Whether text from the wire holds no octets that are not UTF-8; no store and no log takes those."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_a_phones(contact: NameAddr) -> bool:
    """Always true, or SipError 400. That its numbers can be read, the edge has checked."""
    if not isinstance(contact.uri, SipUri):
        raise SipError(400, "a contact of a phone is a SIP URI", "TS 24.229 5.1.1.2")
    return True


def report(
    context: Context,
    register: RegisterRequest,
    step: str,
    rule: str,
    passed: bool,
    expected: str = "",
    seen: str = "",
    fault: Fault = Fault.NONE,
    clause: str = "",
    advice: str = "",
) -> None:
    """Tells what decided in a registration: the material of `redoubt explain`."""
    context.events.emit(
        Check(
            at=context.clock.now(),
            node=context.node,
            call_id=register.call_id,
            step=step,
            rule=rule,
            passed=passed,
            impi=register.impi,
            impu=register.impu,
            expected=expected,
            seen=seen,
            fault=fault,
            clause=clause,
            advice=advice,
        )
    )


def demand_core_peer(context: Context, exchange: Exchange) -> None:
    """I- and S-CSCF take SIP from core nodes only (TS 33.203 Annex J): whoever else gets in is refused."""
    if not exchange.flow.trusted and context.enforces("core-peers"):
        raise SipError(403, "the sender is no node of this network's core", "TS 33.203 Annex J")
