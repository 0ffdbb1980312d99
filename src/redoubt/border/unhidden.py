"""Routes of partners who see this network's nodes by name, where [ibcf] hiding is off (TS 24.229 5.10.3).

Without tokens a Route is the partner's own word. It is held to what the Record-Route of a dialog can have had:
functions that stay in dialogs, never those that only choose where a call goes, at the BGCF at a price.
"""

from dataclasses import dataclass

from redoubt.border.topology import Topology
from redoubt.ndm.partners import Partner, Partners
from redoubt.sip.errors import SipError
from redoubt.sip.fields import ROUTE
from redoubt.sip.message import Request
from redoubt.sip.uri import SipUri, Uri, is_ip_address, parse_uri

ENTRY = "TS 24.229 5.10.3"


@dataclass(frozen=True, slots=True)
class Recorded:
    """URIs of functions of this network: `staying` may stand in a Record-Route, `passing` (BGCF, I-CSCF) never does.

    Other names below the realm may, as of further nodes; at an address or port only what `staying` has there.
    """

    staying: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()

    def demand(self, request: Request, partner: Partner, partners: Partners, topology: Topology) -> None:
        """A request in a dialog, or of a visitor along a Service-Route. Raises SipError 403, 481."""
        uri, routes = request.request_uri, request.every(ROUTE)
        if not routes and not self._stays(uri, topology):
            raise SipError(481, f"{partner.name}: a request in a dialog that has no way here", ENTRY)
        for entry in routes:
            named, _ = topology.named_in(entry.uri) if topology.is_own(entry.uri) else ("", False)
            if named:  # on to a partner, whose own nodes follow
                _demand_joined(partner, partners.named(named))
                return
            if not topology.is_own(entry.uri) and not self._stays(entry.uri, topology):
                raise _astray(partner, entry.uri)
        if isinstance(uri, SipUri) and topology.is_at_node(uri) and not self._stays(uri, topology):
            raise _astray(partner, uri)

    def _stays(self, uri: Uri, topology: Topology) -> bool:
        if not isinstance(uri, SipUri) or uri.has("maddr"):
            return False
        if (uri.host, uri.port) in _places(self.staying):
            return True
        is_name = topology.is_node(uri.host) and not is_ip_address(uri.host) and uri.port is None
        return is_name and uri.host not in [host for host, _ in _places(self.passing)]


def _places(uris: tuple[str, ...]) -> list[tuple[str, int | None]]:
    return [(uri.host, uri.port) for text in uris if isinstance(uri := parse_uri(text), SipUri)]


def _astray(partner: Partner, uri: Uri) -> SipError:
    return SipError(403, f"{partner.name} goes to {str(uri)[:60]}, where no dialog of this network leads", ENTRY)


def _demand_joined(partner: Partner, other: Partner | None) -> None:
    """Calls go through this network between those whom an agreement joins, either way, and back to who sent them."""
    if other is None:
        raise SipError(403, f"{partner.name} goes on to a network without agreement", ENTRY)
    if other is partner or other.name in partner.config.transit_for or partner.name in other.config.transit_for:
        return
    raise SipError(403, f"{partner.name} may not reach {other.name} through this network", ENTRY)
