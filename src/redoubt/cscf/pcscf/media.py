"""The access border gateway's control at the P-CSCF (TS 23.228 Annex G, TS 24.229 Annex F): phones behind NATs.

What a phone behind a NAT writes of its media leads nowhere. Its calls go through the relay, which sends media to, and
takes it from, the host that the phone's signalling comes from: never where a description says.
"""

from redoubt import limits
from redoubt.cscf.pcscf.bindings import Bindings
from redoubt.cscf.pcscf.gm import Gm
from redoubt.cscf.pcscf.terminating import Access
from redoubt.media.anchoring import Anchoring, Outsider
from redoubt.media.legs import Side
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request
from redoubt.sip.service import Answer, Exchange, Service
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.transport.flow import Flow


class AccessMedia:
    """The media of phones. `always` anchors that of phones without a NAT too."""

    def __init__(self, anchoring: Anchoring, bindings: Bindings, gm: Gm | None, *, always: bool) -> None:
        self._anchoring = anchoring
        self._bindings = bindings
        self._gm = gm
        self._always = always

    def from_phones(self, next: Service) -> Service:
        """Around the way into the core."""

        def inward(request: Request, exchange: Exchange) -> Answer:
            flow = exchange.origin
            if self._anchors(flow) or self._anchoring.follows(request, Side.OUTSIDE):
                return self._anchoring.inward(next, self._outsider(flow))(request, exchange)
            return next(request, exchange)

        return inward

    def to_phones(self, access: Access) -> Access:
        """Around the way to phones."""
        return _AnchoredAccess(self, access)

    def outward(self, phone: Service, flow: Flow) -> Service:
        """Around the way to the phone at the end of this flow."""

        def outward(request: Request, exchange: Exchange) -> Answer:
            if self._anchors(flow) or self._anchoring.follows(request, Side.INSIDE):
                return self._anchoring.outward(phone, self._outsider(flow))(request, exchange)
            return phone(request, exchange)

        return outward

    def _anchors(self, flow: Flow) -> bool:
        return self._always or self._is_behind_nat(flow)

    def _outsider(self, flow: Flow) -> Outsider:
        host = self._outer(flow)
        who = next((binding.sender for binding in self._bindings.of_flow(flow)), None)
        return Outsider(host, 6 if ":" in host else 4, who, limits.MEDIA_CALLS_PER_PHONE)

    def _outer(self, flow: Flow) -> str:
        """The address that the phone's packets come from, outside of any tunnel."""
        carrier = self._gm.associations.of(flow) if self._gm is not None else None
        return carrier.address if carrier is not None else flow.remote[0]

    def _is_behind_nat(self, flow: Flow) -> bool:
        """Whether the phone calls itself by another address than it comes from."""
        carrier = self._gm.associations.of(flow) if self._gm is not None else None
        if carrier is not None:
            return carrier.inner != carrier.address
        return any(_host(binding.contact) != flow.remote[0] for binding in self._bindings.of_flow(flow))


class _AnchoredAccess:
    """The way to phones, with their media anchored."""

    def __init__(self, media: AccessMedia, access: Access) -> None:
        self._media = media
        self._access = access

    def to(self, flow: Flow) -> Service:
        return self._media.outward(self._access.to(flow), flow)


def _host(contact: str) -> str:
    """The host of a contact, as an address has it; a contact that can't be read has none."""
    try:
        uri = parse_uri(contact)
    except SipError:
        return ""
    return uri.address if isinstance(uri, SipUri) else ""
