"""Calls to numbers (TS 24.229 5.4.3.2): a user of this network, else whom ENUM names, else by the BGCF out of it.

Whether a user has the number, the I-CSCF finds out from the HSS. ENUM is asked once for a request, and what it says
goes the way of any SIP URI: no number leads round in circles here.
"""

from collections.abc import Callable

from redoubt.cscf.numbers import called_number
from redoubt.events import Check, Fault
from redoubt.ndm.enum import Enum, EnumAnswer, is_international
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, OnResponse, Service, forward
from redoubt.sip.uri import SipUri, TelUri, Uri

CLAUSE = "TS 24.229 5.4.3.2"
WAYS = (
    "`redoubt subscriber list` has this network's numbers; [dns] enum-roots says where others are found,"
    " [[bgcf.routes]] where numbers leave"
)


class Breakout:
    """Without ENUM and BGCF (an empty URI) the numbers of this network are all that there are. `is_served` says whether
    an identity is registered at this S-CSCF: what happens to a call to such a user is not for others to mend.
    """

    def __init__(
        self,
        context: Context,
        realm: str,
        enum: Enum | None,
        bgcf: str,
        next: Service,
        is_served: Callable[[str], bool],
    ) -> None:
        self._context = context
        self._realm = realm.lower()
        self._enum = enum
        self._bgcf = f"<{bgcf};lr>" if bgcf else ""
        self._to_icscf = f"<sip:{realm};lr>"
        self._next = next
        self._is_served = is_served

    def concerns(self, request: Request) -> bool:
        """Whether the request is to a number of this network's own choosing, and nobody routed it yet."""
        uri = request.request_uri
        is_number = isinstance(uri, TelUri) or (self._is_own(uri) and bool(called_number(uri)))
        return is_number and not request.has("Route")

    async def send(self, request: Request, exchange: Exchange, on_response: OnResponse) -> Response | None:
        """Each way that is left, until one knows the number."""
        number = called_number(request.request_uri)
        to_user = request.copy()
        to_user.push("Route", self._to_icscf)
        response = await forward(self._next, to_user, exchange, self._context.node, on_response)
        if response is None or response.status != 404 or self._is_served(f"tel:{number}"):
            return response
        found = await self._looked_up(request, number)
        if found is not None:
            request.uri = str(found)
            return await forward(self._next, request, exchange, self._context.node, on_response)
        if self._bgcf:
            request.push("Route", self._bgcf)
            return await forward(self._next, request, exchange, self._context.node, on_response)
        self._check(request, "a way leads to the number", "neither a user nor ENUM nor a route", WAYS)
        return response

    async def _looked_up(self, request: Request, number: str) -> SipUri | None:
        if self._enum is None or not is_international(number):
            return None
        answer = await self._enum.find(number)
        self._check(request, "ENUM knows the number", *_told(answer), decides=False)
        return answer.uri

    def _is_own(self, uri: Uri) -> bool:
        return isinstance(uri, SipUri) and uri.host == self._realm

    def _check(self, request: Request, rule: str, found: str, advice: str, decides: bool = True) -> None:
        context = self._context
        context.events.emit(
            Check(
                at=context.clock.now(), node=context.node, call_id=request.call_id, step=request.method, rule=rule,
                passed=not advice, impu=str(request.uri), seen=found, clause=CLAUSE, advice=advice,
                fault=Fault.POLICY if advice else Fault.NONE, decides=decides,
            )
        )  # fmt: skip


def _told(answer: EnumAnswer) -> tuple[str, str]:
    """What was seen, and advice when that was no way."""
    if answer.uri is not None:
        return str(answer.uri), ""
    if answer.faults:
        return answer.why, "whoever writes these NAPTR records must mend them; the number counts as unknown"
    return "no record", "if ENUM shall know the number, give it a NAPTR record under one of [dns] enum-roots"
