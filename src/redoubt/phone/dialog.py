"""A dialog (RFC 3261 clause 12): identifiers, route set, remote target and both sequence numbers.

It makes the requests of its side and judges those of the other; what they mean is its owner's matter.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, RECORD_ROUTE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.uri import SipUri

NO_CSEQ = -1


@dataclass(slots=True, eq=False)
class Dialog:
    """`local` and `remote` are the addresses with their tags; `local_cseq` is the number last used."""

    call_id: str
    local: NameAddr
    remote: NameAddr
    target: str
    route_set: tuple[NameAddr, ...]
    local_cseq: int
    remote_cseq: int = NO_CSEQ

    @classmethod
    def of_caller(cls, request: Request, response: Response) -> "Dialog":
        """From a 1xx or 2xx with a To tag, at who sent the request (12.1.2)."""
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            target=contact_of(response) or request.uri,
            route_set=tuple(reversed(response.every(RECORD_ROUTE))),
            local_cseq=request.cseq.number,
        )

    @classmethod
    def of_callee(cls, request: Request, local_tag: str, first_cseq: int) -> "Dialog":
        """From a request, at who answers it (12.1.1)."""
        target = contact_of(request)
        if target is None:
            raise SipError(400, "a request that makes a dialog has no Contact", "RFC 3261 8.1.1.8")
        return cls(
            call_id=request.call_id,
            local=request.to.with_param("tag", local_tag),
            remote=request.from_,
            target=target,
            route_set=request.every(RECORD_ROUTE),
            local_cseq=first_cseq,
            remote_cseq=request.cseq.number,
        )

    @property
    def local_tag(self) -> str:
        return self.local.tag or ""

    @property
    def remote_tag(self) -> str:
        return self.remote.tag or ""

    def request(self, method: str, cseq: int | None = None) -> Request:
        """A request of this side (12.2.1.1); ACK takes the number of what it acknowledges."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self._way()
        headers = [("Route", str(route)) for route in routes]
        headers += [
            ("Max-Forwards", "70"),
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        return Request(method, uri, headers)

    def _way(self) -> tuple[str, tuple[NameAddr, ...]]:
        """Request-URI and Route; a strict router at the front gets the Request-URI (12.2.1.1)."""
        if not self.route_set:
            return self.target, ()
        first = self.route_set[0].uri
        if isinstance(first, SipUri) and not first.has("lr"):
            return str(replace(first, headers="")), (*self.route_set[1:], NameAddr.parse(f"<{self.target}>"))
        return self.target, self.route_set

    def belongs(self, request: Request) -> bool:
        """Whether a request of the other side is of this dialog (12.2.2): Call-ID and both tags."""
        return (request.call_id, request.to.tag or "", request.from_.tag or "") == (
            self.call_id,
            self.local_tag,
            self.remote_tag,
        )

    def take(self, request: Request) -> None:
        """Judges the other side's number and takes its new target (12.2.2). ACK repeats a number."""
        if request.method == "ACK":
            return
        if request.cseq.number <= self.remote_cseq:
            raise SipError(500, "a request of the dialog is out of order", "RFC 3261 12.2.2")
        self.remote_cseq = request.cseq.number
        if request.method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"):
            self.refresh_target(request)

    def refresh_target(self, message: Message) -> None:
        """A target refresh request or its 2xx changes where the next ones go."""
        self.target = contact_of(message) or self.target


def contact_of(message: Message) -> str | None:
    """The URI of the first Contact; `*` is none."""
    contact = message.first(CONTACT)
    return str(contact.uri) if isinstance(contact, NameAddr) else None
