"""The client transactions of a node, by branch and method (RFC 3261 17.1.3), and what goes with an INVITE."""

from collections.abc import Callable
from functools import partial

from redoubt.sip.client_flows import ClientFlows
from redoubt.sip.client_invite import InviteClient
from redoubt.sip.client_noninvite import NonInviteClient
from redoubt.sip.errors import SipError
from redoubt.sip.fields import VIA
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Cancellation, Context
from redoubt.sip.transaction import Surroundings
from redoubt.transport.flow import EspAssociation, Flow

ClientTransaction = InviteClient | NonInviteClient
COPIED_TO_ACK = frozenset(("Route", "From", "Call-ID"))  # RFC 3261 17.1.1.3; To comes from the response
COPIED_TO_CANCEL = frozenset(("Route", "From", "To", "Call-ID"))  # RFC 3261 9.1


class ClientTable:
    """Starts client transactions and hands responses to them."""

    def __init__(self, context: Context, around: Surroundings, flows: ClientFlows) -> None:
        self._context = context
        self._around = around
        self._flows = flows
        self._live: dict[tuple[str, str], ClientTransaction] = {}
        self._by_connection: dict[Flow, set[ClientTransaction]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def dressed(self, request: Request, flow: Flow) -> tuple[Request, str]:
        """The request with a Via of this node on top, and its branch of 80 random bits (RFC 3261 8.1.1.7)."""
        branch = "z9hG4bK" + self._context.randomness.octets(10).hex()
        wire = request.copy()
        wire.push("Via", f"{self._flows.sent_by(flow)};branch={branch};rport")
        return wire, branch

    def invite(
        self,
        wire: Request,
        branch: str,
        data: bytes,
        flow: Flow,
        early: Callable[[Response], None],
        cancelled: Cancellation,
    ) -> InviteClient:
        """Sends an INVITE."""
        companion = InviteCompanion(self, wire, branch, flow, cancelled)
        key = (branch, "INVITE")
        machine = InviteClient(flow, data, self._around, companion, early, partial(self._ended, key))
        self._keep(key, machine)
        machine.start()
        return machine

    def other(
        self, method: str, branch: str, data: bytes, flow: Flow, early: Callable[[Response], None]
    ) -> NonInviteClient:
        """Sends any other request."""
        key = (branch, method)
        machine = NonInviteClient(flow, data, self._around, early, partial(self._ended, key))
        self._keep(key, machine)
        machine.start()
        return machine

    def receive(self, response: Response, flow: Flow) -> bool:
        """Hands a response to its transaction, the top Via removed; False when there is none (RFC 6026 7.2)."""
        machine = self._live.get((response.need(VIA).branch or "", response.cseq.method))
        if machine is None:
            return False
        if not _as_protected(flow, machine.flow) and self._context.enforces("gm-responses"):
            why = "a response to a protected request came without protection, or with another phone's"
            raise SipError(0, why, "TS 33.203 7.1")
        response.pop_first(VIA)
        machine.receive(response)
        return True

    def connection_lost(self, flow: Flow) -> None:
        """What waits for an answer on that connection waits no longer (RFC 3261 17.1.4)."""
        for machine in self._by_connection.pop(flow, ()):
            machine.fail()

    def close(self) -> None:
        for machine in list(self._live.values()):
            machine.fail()
        self._live.clear()

    # ---- inside

    def _keep(self, key: tuple[str, str], machine: ClientTransaction) -> None:
        self._live[key] = machine
        if machine.flow.is_reliable:
            self._by_connection.setdefault(machine.flow, set()).add(machine)

    def _ended(self, key: tuple[str, str]) -> None:
        machine = self._live.pop(key, None)
        if machine is not None and machine.flow.is_reliable:
            waiting = self._by_connection.get(machine.flow)
            if waiting is not None:
                waiting.discard(machine)
                if not waiting:
                    del self._by_connection[machine.flow]


def _as_protected(came: Flow, went: Flow) -> bool:
    """Whether a response is as protected as its request was. Another set of the phone will do: it may be newer."""
    if not isinstance(went.security, EspAssociation):
        return True
    return isinstance(came.security, EspAssociation) and came.security.impi == went.security.impi


class InviteCompanion:
    """The ACK of a failure and the CANCEL, which take their Via, Route and identifiers from the INVITE."""

    __slots__ = ("_branch", "_cancelled", "_flow", "_table", "_wire")

    def __init__(
        self, table: ClientTable, wire: Request, branch: str, flow: Flow, cancelled: Cancellation
    ) -> None:
        self._table = table
        self._wire = wire
        self._branch = branch
        self._flow = flow
        self._cancelled = cancelled

    def ack_of(self, response: Response) -> bytes:
        """RFC 3261 17.1.1.3."""
        ack = self._like_invite("ACK", COPIED_TO_ACK)
        ack.add("To", response.get("To") or "")
        return ack.to_bytes()

    def send_cancel(self) -> None:
        """RFC 3261 9.1; the caller's Reason goes along (RFC 3326 2)."""
        cancel = self._like_invite("CANCEL", COPIED_TO_CANCEL)
        if self._cancelled.reason is not None:
            cancel.add("Reason", self._cancelled.reason)
        self._table.other("CANCEL", self._branch, cancel.to_bytes(), self._flow, lambda _response: None)

    def _like_invite(self, method: str, copied: frozenset[str]) -> Request:
        wire = self._wire
        headers = [("Via", wire.get("Via") or ""), ("Max-Forwards", "70")]
        headers += [pair for pair in wire.headers if pair[0] in copied]
        headers.append(("CSeq", f"{wire.cseq.number} {method}"))
        return Request(method, wire.uri, headers)
