"""What is worth reading in a message at a glance: its label in a ladder, and the headers that make the point."""

from collections.abc import Iterator

from redoubt.sip.errors import SipError
from redoubt.sip.fields import (
    AUTHORIZATION,
    CONTACT,
    EVENT,
    EXPIRES,
    P_ASSERTED_IDENTITY,
    P_ASSOCIATED_URI,
    P_PREFERRED_IDENTITY,
    PATH,
    RACK,
    RSEQ,
    SERVICE_ROUTE,
    SUBSCRIPTION_STATE,
    WWW_AUTHENTICATE,
)
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Message, Request, Response, parse_message
from redoubt.sip.uri import Uri


def label_of(transport: str, text: str) -> str:
    """The words on the arrow: the method, the status, or the Diameter command with its result."""
    words = text.split(None, 3)
    if transport == "cx":
        return " ".join(words[:2]) if len(words) > 1 and words[1].isdigit() else words[0]
    return words[1] if words[0] == "SIP/2.0" else words[0]


def facts_of(transport: str, text: str) -> str:
    """The few headers that decide, in one line."""
    if transport == "cx":
        words = text.partition(" ServerCapabilities")[0].split()
        return " ".join(_short(word) for word in words[2 if label_of(transport, text)[-1:].isdigit() else 1 :])
    try:
        message = parse_message(_with_via(text).encode("utf-8", "surrogateescape"))
        found = [*_of_request(message)] if isinstance(message, Request) else [*_of_response(message)]
    except SipError:
        return "unreadable"
    return ", ".join(["ESP", *found] if transport == "esp" else found)


def _of_request(request: Request) -> Iterator[str]:
    if request.method == "REGISTER":
        yield from _of_register(request)
        return
    if request.to.tag is None:
        yield f"to {_user(request.request_uri)}"
    yield from _identity(request)
    if (event := request.first(EVENT)) is not None:
        state = request.first(SUBSCRIPTION_STATE)
        yield f"event {event.package}" + (f" {state.state}" if state is not None else "")
    if (rack := request.first(RACK)) is not None:
        yield f"RAck {rack.rseq}"
    yield from _body(request)


def _of_register(request: Request) -> Iterator[str]:
    authorization = request.first(AUTHORIZATION)
    if authorization is not None:
        yield _proof(authorization)
        indication = authorization.param("integrity-protected")
        if indication is not None:
            yield f"integrity-protected={indication}"
    if request.has("Security-Client"):
        yield "Security-Client"
    if request.has("Security-Verify"):
        yield "Security-Verify"
    if request.first(EXPIRES) == 0:
        yield "Expires 0"
    if request.has(PATH.name):
        yield "Path"
    if request.has("P-Visited-Network-ID"):
        yield "P-Visited-Network-ID"


def _proof(authorization: Credentials) -> str:
    if authorization.param("auts") is not None:
        return "auts"
    if authorization.param("response"):
        return "response"
    return "empty response" if authorization.param("nonce") else "username only"


def _of_response(response: Response) -> Iterator[str]:
    challenge = response.first(WWW_AUTHENTICATE)
    if challenge is not None:
        keys = [name for name in ("ck", "ik") if challenge.param(name) is not None]
        yield "nonce" + "".join(f", {name}" for name in keys) if keys else "nonce; no ck, no ik"
        yield challenge.param("algorithm") or "MD5"
        if response.has("Security-Server"):
            yield "Security-Server"
        return
    if response.cseq.method == "REGISTER" and response.is_success:
        contact = response.first(CONTACT)
        lifetime = contact.expires if isinstance(contact, NameAddr) else None
        yield "no contact left" if contact is None else f"expires {lifetime} s"
        yield from (field.name for field in (SERVICE_ROUTE, P_ASSOCIATED_URI) if response.has(field.name))
        return
    if (rseq := response.first(RSEQ)) is not None:
        yield f"RSeq {rseq}"
    yield from _identity(response)
    yield f"for {response.cseq.method}"
    yield from _body(response)


def _identity(message: Message) -> Iterator[str]:
    for field, mark in ((P_ASSERTED_IDENTITY, "asserted"), (P_PREFERRED_IDENTITY, "preferred")):
        identity = message.first(field)
        if identity is not None:
            yield f"{mark} {_user(identity.uri)}"


def _body(message: Message) -> Iterator[str]:
    kind = message.get("Content-Type")
    if kind and message.body:
        yield _BODIES.get(kind.partition(";")[0], kind)


_BODIES = {"application/sdp": "SDP", "application/reginfo+xml": "reginfo", "text/plain": "text"}


def _user(uri: Uri) -> str:
    return _short(str(uri))


def _short(text: str) -> str:
    """An identity without its domain, which is the same on every line."""
    return text.removeprefix("sip:").partition("@")[0].partition(".")[0]


def _with_via(text: str) -> str:
    """A message between functions of one process has no Via where none was added, and reads like any other."""
    if "\nVia:" in text:
        return text
    start, end, rest = text.partition("\r\n")
    return f"{start}{end}Via: SIP/2.0/UDP internal.invalid\r\n{rest}"
