"""What strict handsets check in a NOTIFY of their registration (RFC 3261 12.2.1.1, RFC 6665 4.1.3, RFC 3680 5).

They answer 200 to one that is wrong, and end their registration a little later (siphon-sip#140): who looks at
responses alone sees nothing wrong.
"""

from redoubt.cscf.reginfo import RegInfo, parse_reginfo
from redoubt.sip.errors import SipError
from redoubt.sip.fields import EVENT, SUBSCRIPTION_STATE
from redoubt.sip.message import Request
from redoubt.sip.uri import SipUri, Uri, parse_uri

STATES = ("active", "pending", "terminated")


def fault_of(notify: Request, subscribe: Request, own: Uri, last_version: int) -> str:
    """What is wrong with a NOTIFY that answers `subscribe`; empty if nothing is. `own` is the phone's contact."""
    try:
        return _fault_of_dialog(notify, subscribe) or _fault_of_news(notify, own, last_version)
    except SipError as fault:
        return fault.why


def _fault_of_dialog(notify: Request, subscribe: Request) -> str:
    """From and To are those of the SUBSCRIBE turned round, not the contact (RFC 3261 12.2.1.1)."""
    if str(notify.from_.uri) != str(subscribe.to.uri):
        return f"From is {notify.from_.uri}, and not {subscribe.to.uri}"
    if str(notify.to.uri) != str(subscribe.from_.uri):
        return f"To is {notify.to.uri}, and not {subscribe.from_.uri}"
    if notify.to.tag != subscribe.from_.tag:
        return "the tag of To is not the one of the SUBSCRIBE"
    if notify.need(EVENT).package != "reg":
        return "Event is not reg"
    state = notify.need(SUBSCRIPTION_STATE).state
    return "" if state in STATES else f"Subscription-State is {state}"


def _fault_of_news(notify: Request, own: Uri, last_version: int) -> str:
    if not notify.body:
        return ""
    news = parse_reginfo(notify.body)
    if news.version == last_version:
        return f"version {news.version} comes a second time"
    if news.full and notify.need(SUBSCRIPTION_STATE).state == "active" and not _names(news, own):
        return "the contact of this phone is missing"
    return ""


def _names(news: RegInfo, own: Uri) -> bool:
    contacts = (parse_uri(contact.uri) for registration in news.registrations for contact in registration.contacts)
    return any(isinstance(uri, SipUri) and uri.matches(own) for uri in contacts)
