"""What a probe from outside would count or read: hops, phrases, who answers (requirement rows 72 to 74, 78).

A partner that sends Max-Forwards 1, 2, 3... is answered by the border each time, as if nothing were behind it; what
leaves has counted tens of hops; errors have the words of the standard and no others; OPTIONS to the border is answered
by it, and says what the agreement says.
"""

from redoubt.border.topology import Topology
from redoubt.limits import BORDER_HOPS_INSIDE, MAX_BREADTH
from redoubt.ndm.partners import Partner
from redoubt.sip import fields
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request, Response
from redoubt.sip.reasons import REASONS
from redoubt.sip.service import MAX_FORWARDS_DEFAULT, Context
from redoubt.sip.uri import SipUri

HOPS_COUNTED = 10  # what leaves tells of its way so far whether it is below 10, 20, ... hops, and no more


def is_for_border(request: Request, realm: str, topology: Topology) -> bool:
    """OPTIONS that asks the network and no user (RFC 3261 11): an inner node is never the one that answers."""
    uri = request.request_uri
    if request.method != "OPTIONS" or not isinstance(uri, SipUri) or uri.user is not None:
        return False
    return uri.host in (realm, topology.own)


def abilities(request: Request, partner: Partner, context: Context) -> Response:
    """The answer to OPTIONS: the same for every network of this kind."""
    allow = ", ".join(partner.config.methods)
    headers = (("Allow", allow), ("Accept", "application/sdp"), ("Supported", "path, timer, 100rel"))
    return request.response(200, to_tag=context.tag(), headers=headers)


def demand_hops(request: Request, context: Context) -> None:
    """A request that might end on its way inside ends here; how far it would come nobody learns. Raises 483.

    And it may become no more branches than any (RFC 5393 5.3.3).
    """
    if not context.enforces("border-probe"):
        return
    hops = request.first(fields.MAX_FORWARDS)
    if hops is not None and hops < BORDER_HOPS_INSIDE:
        raise SipError(483, f"Max-Forwards is {hops}: too few for the way inside", "RFC 3261 16.3")
    if hops is None or hops > MAX_FORWARDS_DEFAULT:
        request.put(fields.MAX_FORWARDS, MAX_FORWARDS_DEFAULT)
    breadth = request.first(fields.MAX_BREADTH)
    if breadth is not None and breadth > MAX_BREADTH:
        request.put(fields.MAX_BREADTH, MAX_BREADTH)


def blur_hops(request: Request, context: Context) -> None:
    """Rounded down: loops still end."""
    hops = request.first(fields.MAX_FORWARDS)
    if hops is not None and context.enforces("border-probe"):
        request.put(fields.MAX_FORWARDS, hops - hops % HOPS_COUNTED)


def standard_words(response: Response, context: Context) -> None:
    """A reason phrase of the standard: that of a node inside may name it (requirement row 78)."""
    if context.enforces("border-probe"):
        response.reason = REASONS.get(response.status, "")
