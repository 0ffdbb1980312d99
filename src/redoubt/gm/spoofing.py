"""Whether a request is from the phone whose association carried it (TS 33.203 7.1; TS 24.229 5.2.2, 5.2.6).

The association has proved who sends and from where. What the request claims of its sender's address must agree: a
phone that names another's would have that one flooded or cut off.
"""

from ipaddress import ip_address

from redoubt.gm.association_set import AssociationSet
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, VIA
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request
from redoubt.sip.uri import SipUri

CLAUSE = "TS 33.203 7.1, TS 24.229 5.2"


def check_sender(carrier: AssociationSet, request: Request) -> None:
    """Where Via and Contact name addresses, these are the phone's, inside or outside a NAT (Annex M); the port of Via
    is a protected one. Raises 403.
    """
    ends = carrier.agreement.phone
    via = request.need(VIA)
    _check(carrier, via.host, "Via")
    if via.port is not None and via.port not in (ends.port_c, ends.port_s):
        raise SipError(403, f"Via names port {via.port}, which is not protected", CLAUSE)
    for contact in request.every(CONTACT):
        if isinstance(contact, NameAddr) and isinstance(contact.uri, SipUri):
            _check(carrier, contact.uri.host, "Contact")


def _check(carrier: AssociationSet, named: str, header: str) -> None:
    """A name, such as that of a GRUU, is no address and says nothing here."""
    own = carrier.address, carrier.inner
    if named in own:  # to the letter, as nearly always
        return
    try:
        address = ip_address(named.strip("[]"))
    except ValueError:
        return
    if address not in [ip_address(host) for host in own]:
        raise SipError(403, f"{header} names {named}, which is not where the association's phone is", CLAUSE)


def check_private_identity(carrier: AssociationSet, impi: str) -> None:
    """An association serves the private identity that was authenticated for it, and no other. Raises 403."""
    if impi != carrier.phone.key.impi:
        raise SipError(403, "the association belongs to another private identity", "TS 33.203 7.1")
