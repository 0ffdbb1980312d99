"""Redirections by partners (RFC 3261 21.3): who is called instead is the caller's network's to decide.

A 3xx from outside may point anywhere, at numbers that cost or at a thousand targets. What points at the partner itself
is passed on; the rest is taken out, and with nothing left the callee is unavailable.
"""

from redoubt.ndm.partners import Partner
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Response
from redoubt.sip.reasons import REASONS
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri

TARGETS = 4  # that are handed on: more is amplification


def judge(response: Response, partner: Partner, context: Context) -> None:
    """A response of the partner."""
    if not 300 <= response.status < 400 or not context.enforces("border-redirect"):
        return
    try:
        contacts = response.every(CONTACT)
    except SipError:
        contacts = ()
    kept = [contact for contact in contacts if isinstance(contact, NameAddr) and _is_of(contact, partner)][:TARGETS]
    if len(kept) < len(contacts) or not kept:
        why = f"{partner.name} redirects a call to somebody who is not its own, or to too many"
        context.refused(response.status, why, "RFC 3261 21.3", call_id=response.call_id)
    if kept:
        response.put(CONTACT, *kept)
        return
    response.status, response.reason = 480, REASONS[480]
    response.remove("Contact")
    response.body = b""
    response.remove("Content-Type")


def _is_of(contact: NameAddr, partner: Partner) -> bool:
    uri = contact.uri
    return isinstance(uri, SipUri) and not uri.headers and partner.has(uri.host)
