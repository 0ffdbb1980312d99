"""What may not cross the trust edge: headers of the network, and keys (TS 24.229 4.4, 5.2.6)."""

from redoubt.cscf.trust import (
    ASSERTING_HEADERS,
    BILLING_HEADERS,
    IDENTITIES,
    hide_identity,
    remove_all,
    strip_access_claims,
)
from redoubt.sip.errors import SipError
from redoubt.sip.fields import (
    AUTHENTICATION_INFO,
    AUTHORIZATION,
    PROXY_AUTHENTICATE,
    PROXY_REQUIRE,
    WWW_AUTHENTICATE,
    Field,
)
from redoubt.sip.grammar import malformed
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Message, Request
from redoubt.sip.service import Context

# From a phone these are lies: they bill, route and authorise (TS 24.229 4.4, 5.2.6.3).
NETWORK_HEADERS = BILLING_HEADERS | ASSERTING_HEADERS | {"Path", "Record-Route", "Service-Route"}
# To a phone these are none of its business (TS 24.229 5.2.6.3, 5.2.6.4).
HIDDEN_HEADERS = BILLING_HEADERS | {"Server", "Warning"}
CHALLENGES = (WWW_AUTHENTICATE, PROXY_AUTHENTICATE, AUTHENTICATION_INFO)
PROXY_EXTENSIONS = frozenset(("privacy",))  # RFC 3323 4.3

# What each way of a message is searched for, in one pass.
OF_A_PHONE = NETWORK_HEADERS | IDENTITIES | {"P-Access-Network-Info", "Proxy-Require"}
FOR_A_PHONE = HIDDEN_HEADERS | {field.name for field in CHALLENGES} | {"Privacy", "P-Called-Party-ID", "Route"}


def strip_claims(request: Request, context: Context) -> frozenset[str]:
    """Removes what a phone may not say of itself (requirement row 66). Tells which identity headers it wrote."""
    found = request.present(OF_A_PHONE)
    if not found:
        return found
    if context.enforces("strip-core-headers"):
        remove_all(request, found & NETWORK_HEADERS)
        strip_access_claims(request)
    if "Proxy-Require" in found:
        _check_extensions(request)
    return found & IDENTITIES


def _check_extensions(request: Request) -> None:
    """Proxy-Require of what no function here does (RFC 3261 16.3 step 5)."""
    unknown = [option for option in request.every(PROXY_REQUIRE) if option.lower() not in PROXY_EXTENSIONS]
    if unknown:
        unsupported = (("Unsupported", ", ".join(unknown)),)
        raise SipError(420, f"a phone requires {unsupported[0][1][:60]}", "RFC 3261 16.3 step 5", unsupported)


def to_phone(message: Message, context: Context) -> frozenset[str]:
    """What the core says among itself leaves every message to a phone; so do keys. Tells what there was."""
    found = message.present(FOR_A_PHONE)
    if found:
        remove_all(message, found & HIDDEN_HEADERS)
        if context.enforces("keys-stay-home"):
            for field in CHALLENGES:
                if field.name in found:
                    _remove_keys(message, field)
        if "Privacy" in found:
            hide_identity(message)
    return found


def _remove_keys(response: Message, field: Field[Credentials]) -> None:
    """ck and ik leave each challenge; one that can't be read is not passed on (TS 24.229 5.2.2, requirement row 13)."""
    try:
        challenges = response.every(field)
    except SipError:
        response.remove(field.name)
        return
    response.put(field, *[challenge.without_param("ck", "ik") for challenge in challenges])


def indicate(request: Request, indication: str, context: Context) -> None:
    """Writes `integrity-protected`; what the phone wrote there, in whatever form, goes (TS 24.229 5.2.2, 7.2A.2)."""
    every = request.every(AUTHORIZATION)
    if not every:
        return
    if len(every) > 1 and len({credentials.param("realm") for credentials in every}) != len(every):
        raise malformed("two Authorization headers for one realm", "RFC 3261 20.7")
    believed = not context.enforces("integrity-flag")
    written = []
    for credentials in every:
        if not (believed and credentials.param("integrity-protected")):
            credentials = credentials.with_param("integrity-protected", indication)
        written.append(credentials)
    request.put(AUTHORIZATION, *written)
