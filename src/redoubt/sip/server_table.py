"""The server transactions of a node (RFC 3261 17.2.3): which one a request belongs to, and room for new ones."""

from redoubt import limits
from redoubt.sip.headers.via import Via
from redoubt.sip.message import Request
from redoubt.sip.server_invite import InviteServer
from redoubt.sip.server_noninvite import NonInviteServer
from redoubt.sip.transaction import Key, Surroundings
from redoubt.transport.flow import EspAssociation, Flow

ServerTransaction = InviteServer | NonInviteServer
MAGIC_COOKIE = "z9hG4bK"


class ServerTable:
    """Finds and makes server transactions. The source is part of the key, so nobody reaches those of others."""

    def __init__(self, around: Surroundings, limit: int = limits.SERVER_TRANSACTIONS) -> None:
        self._around = around
        self._limit = limit
        self._live: dict[Key, ServerTransaction] = {}
        self._ended = self._forget  # one callable for all

    def __len__(self) -> int:
        return len(self._live)

    def find(self, key: Key) -> ServerTransaction | None:
        return self._live.get(key)

    def add(self, key: Key, method: str, reply: Flow) -> ServerTransaction:
        """A new transaction whose responses go out on `reply`."""
        if len(self._live) >= self._limit:
            self._make_room()
        machine: ServerTransaction
        if method == "INVITE":
            machine = InviteServer(key, reply, self._around, self._ended)
        else:
            machine = NonInviteServer(key, reply, self._around, self._ended)
        self._live[key] = machine
        return machine

    def close(self) -> None:
        self._live.clear()

    def _forget(self, key: Key) -> None:
        self._live.pop(key, None)

    def _make_room(self) -> None:
        """The oldest that are answered end early; those whose answer is awaited are bounded by limits.EXCHANGES."""
        oldest: list[ServerTransaction] = []
        for machine in self._live.values():
            if not machine.awaits_response:
                oldest.append(machine)
                if len(oldest) >= 64:
                    break
        for machine in oldest:
            machine.drop()


def key_of(request: Request, via: Via, flow: Flow, method: str) -> Key:
    """RFC 3261 17.2.3; `method` is INVITE for its ACK and its CANCEL. A connection may change, its host may not."""
    source: object = flow.remote[0] if flow.is_reliable else flow.remote
    if isinstance(flow.security, EspAssociation):  # phones behind several NATs may call themselves the same
        source = (flow.security.impi, source)
    branch = via.branch
    if branch is not None and branch.startswith(MAGIC_COOKIE):
        return (branch, via.host, via.port, method, source)
    cseq = request.cseq  # an RFC 2543 client: 17.2.3 second list; To is left out, as an ACK has another tag
    return (request.call_id, request.get("From"), request.uri, cseq.number, via.host, via.port, branch, method, source)
