"""Where a response goes when the connection that its request came on has closed (RFC 3261 18.2.2).

For core nodes and partners only: a phone is reached over the flow that it registered, or not at all (RFC 5626 5.3).
"""

from redoubt.sip.client_flows import ClientFlows
from redoubt.sip.headers.via import Via
from redoubt.sip.resolver import DEFAULT_PORT, Candidate
from redoubt.sip.service import Context
from redoubt.transport.flow import Flow, FlowFailed, Zone


class WayBack:
    """Sends on the connection; once that is closed, on a new one to the host it came from at the port of the Via."""

    __slots__ = ("_candidate", "_context", "_flow", "_flows", "_waiting")

    def __init__(self, flow: Flow, candidate: Candidate, flows: ClientFlows, context: Context) -> None:
        self._flow = flow
        self._candidate = candidate
        self._flows = flows
        self._context = context
        self._waiting: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Raises FlowFailed when the open connection takes no more; what a new one does comes too late to tell."""
        if not self._flow.is_closed():
            self._flow.send(data)
            return
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self._context.start(self._reconnect())

    async def _reconnect(self) -> None:
        try:
            self._flow = await self._flows.open(self._candidate)
            for data in self._waiting:
                self._flow.send(data)
        except FlowFailed as failure:
            self._context.refused(0, f"a response found no way back: {failure}", "RFC 3261 18.2.2")
        self._waiting.clear()


def way_back(flow: Flow, via: Via, flows: ClientFlows, context: Context) -> Flow:
    """The flow for the responses to a request that came on this connection."""
    name = flows.known_as(flow) or (via.address if flow.zone is Zone.CORE and flow.trusted else "")
    if not name:
        return flow
    candidate = Candidate(flow.transport, flow.remote[0], via.port or DEFAULT_PORT[flow.transport], name)
    send = WayBack(flow, candidate, flows, context).send
    return Flow(flow.transport, flow.local, flow.remote, flow.zone, flow.security, send)
