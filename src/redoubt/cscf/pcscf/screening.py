"""What may not cross the trust edge: headers of the network, and keys (TS 24.229 4.4, 5.2.6)."""

from redoubt.sip.errors import SipError
from redoubt.sip.fields import AUTHORIZATION, PRIVACY, PROXY_REQUIRE, Field
from redoubt.sip.grammar import malformed
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.service import Context

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
# From a phone these are lies: they bill, route and authorise (TS 24.229 4.4, 5.2.6.3).
NETWORK_HEADERS = BILLING_HEADERS | {
    "P-Asserted-Service",
    "P-Associated-URI",
    "P-Called-Party-ID",
    "P-Charge-Info",
    "P-DCS-Billing-Info",
    "P-Refused-URI-List",
    "Path",
    "Record-Route",
    "Service-Route",
}
# To a phone these are none of its business (TS 24.229 5.2.6.3, 5.2.6.4).
HIDDEN_HEADERS = BILLING_HEADERS | {"Server", "Warning"}
CHALLENGES = frozenset(("WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info"))
PROXY_EXTENSIONS = frozenset(("privacy",))  # RFC 3323 4.3


def remove_all(message: Message, names: frozenset[str]) -> None:
    """Removes the headers with these names, at the cost of one pass when there are none."""
    for name in names.intersection([name for name, _ in message.headers]):
        message.remove(name)


def strip_claims(request: Request, context: Context) -> None:
    """Removes what a phone may not say of itself (requirement row 66)."""
    if context.enforces("strip-core-headers"):
        remove_all(request, NETWORK_HEADERS)
        _strip_access_claims(request)
    if (required := request.get("Proxy-Require")) is not None:
        _check_extensions(request, required)


def _strip_access_claims(message: Message) -> None:
    """P-Access-Network-Info that says the network had provided it (TS 24.229 5.2.1)."""
    for line in message.all("P-Access-Network-Info"):
        words = line.lower().replace(" ", "").replace("\t", "")
        if "network-provided" in words or ";np" in words:
            message.remove("P-Access-Network-Info")


def _check_extensions(request: Request, required: str) -> None:
    unknown = [option for option in request.every(PROXY_REQUIRE) if option.lower() not in PROXY_EXTENSIONS]
    if unknown:
        unsupported = (("Unsupported", ", ".join(unknown)),)
        raise SipError(420, f"a phone requires {required}", "RFC 3261 16.3 step 5", unsupported)


def to_phone(response: Response, context: Context) -> None:
    """What the core says among itself leaves every response to a phone; so do keys."""
    remove_all(response, HIDDEN_HEADERS)
    if not CHALLENGES.isdisjoint([name for name, _ in response.headers]) and context.enforces(
        "keys-stay-home"
    ):
        for name in CHALLENGES:
            _remove_keys(response, name)
    hide_identity(response)


def hide_identity(message: Message) -> None:
    """Privacy: id keeps the asserted identity from the one who is not trusted with it (RFC 3325 7)."""
    if not message.has("Privacy"):
        return
    try:
        wanted = message.need(PRIVACY).values
    except SipError:  # who asks for privacy in words that can't be read gets it
        wanted = ("id",)
    if "id" in wanted or "user" in wanted:
        message.remove("P-Asserted-Identity")


def _remove_keys(response: Response, name: str) -> None:
    """ck and ik leave each challenge; one that can't be read is not passed on (TS 24.229 5.2.2, requirement row 13)."""
    parse = Credentials.parse_info if name == "Authentication-Info" else Credentials.parse
    lines = response.all(name)
    if not lines:
        return
    try:
        challenges = [parse(line) for line in lines]
    except SipError:
        response.remove(name)
        return
    field: Field[Credentials] = Field(name, parse)
    response.put(field, *[challenge.without_param("ck", "ik") for challenge in challenges])


def indicate(request: Request, indication: str, context: Context) -> None:
    """Writes `integrity-protected`; what the phone wrote there, in whatever form, goes (TS 24.229 5.2.2, 7.2A.2)."""
    lines = request.all("Authorization")
    if not lines:
        return
    if len(lines) > 1 and len({Credentials.parse(line).param("realm") for line in lines}) != len(lines):
        raise malformed("two Authorization headers for one realm", "RFC 3261 20.7")
    believed = not context.enforces("integrity-flag")
    written = []
    for line in lines:
        credentials = Credentials.parse(line)
        if not (believed and credentials.param("integrity-protected")):
            credentials = credentials.with_param("integrity-protected", indication)
        written.append(credentials)
    request.put(AUTHORIZATION, *written)
