"""What may not cross an edge of the trust domain, at Gm and at the border alike (TS 24.229 4.4, RFC 3325)."""

from redoubt.sip.errors import SipError
from redoubt.sip.fields import PRIVACY
from redoubt.sip.message import Message

# They bill, route and authorise: from a phone or a plain SIP network these are lies (TS 24.229 4.4, 5.2.6.3).
BILLING_HEADERS = frozenset(
    (
        "P-Charging-Function-Addresses",
        "P-Charging-Vector",
        "P-Private-Network-Indication",
        "P-Profile-Key",
        "P-Served-User",
        "P-User-Database",
        "P-Visited-Network-ID",
        "Relayed-Charge",
        "Restoration-Info",
    )
)
ASSERTING_HEADERS = frozenset(
    (
        "P-Asserted-Service",
        "P-Associated-URI",
        "P-Called-Party-ID",
        "P-Charge-Info",
        "P-DCS-Billing-Info",
        "P-Refused-URI-List",
    )
)
IDENTITIES = frozenset(("P-Asserted-Identity", "P-Preferred-Identity"))


def remove_all(message: Message, names: frozenset[str]) -> None:
    """Removes the headers with these names."""
    for name in names:
        message.remove(name)


def strip_access_claims(message: Message) -> None:
    """P-Access-Network-Info that says the network had provided it (TS 24.229 5.2.1)."""
    for line in message.all("P-Access-Network-Info"):
        if is_network_provided(line):
            message.remove("P-Access-Network-Info")


def is_network_provided(line: str) -> bool:
    """Whether a P-Access-Network-Info speaks for a network and not for a phone (RFC 7315 4.4)."""
    words = line.lower().replace(" ", "").replace("\t", "")
    return "network-provided" in words or ";np" in words


def wanted_privacy(message: Message) -> frozenset[str]:
    """What Privacy asks for (RFC 3323 4.2). Who asks for it in words that can't be read gets it."""
    if not message.has("Privacy"):
        return frozenset()
    try:
        return frozenset(message.need(PRIVACY).values)
    except SipError:
        return frozenset(("id",))


def hide_identity(message: Message) -> None:
    """Privacy: id keeps the asserted identity from the one who is not trusted with it (RFC 3325 7)."""
    if wanted_privacy(message) & {"id", "user"}:
        message.remove("P-Asserted-Identity")
