"""The phone's end of Gm: what it offers, its association sets, their paths (TS 24.229 5.1.1, TS 33.203 6, 7)."""

import socket
from dataclasses import dataclass, field, replace

from redoubt.aka.isim import Success
from redoubt.config import GmPath
from redoubt.gm.agreement import (
    OPTION,
    AgreementPolicy,
    Ends,
    Mechanisms,
    Mode,
    accept,
    client_list,
    read_offers,
    written,
)
from redoubt.gm.algorithms import expand
from redoubt.gm.association_set import AssociationSet, Beginning, PathFailed, PhoneKey, Role
from redoubt.gm.associations import Associations
from redoubt.gm.paths import Carrier, Lacking, Paths, carrier_for
from redoubt.gm.reports import Reports
from redoubt.gm.set_streams import SetStreams, Voucher
from redoubt.gm.states import Event, State
from redoubt.gm.udp_tunnel import PORT, open_udp_tunnel
from redoubt.phone.challenge import UnanswerableChallenge
from redoubt.phone.offers import OfferStyle
from redoubt.sip.fields import SECURITY_SERVER
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context
from redoubt.transport.flow import Flow, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.ports import is_free
from redoubt.transport.udp import OnDatagram

FIRST_PORT = 10_000
SERVES = frozenset({State.ANSWERED, State.ESTABLISHED, State.IN_USE, State.OLD, State.CLOSING})


@dataclass(frozen=True, slots=True)
class GmOptions:
    """What a phone can do: its algorithms, and the P-CSCF's port for ESP in UDP. `server_port` is the phone's own
    protected one, which it may have kept; 0: any. `path` is what carries transport mode, if anything does; the modes of
    `policy` follow from it.
    """

    policy: AgreementPolicy = field(default_factory=AgreementPolicy)
    port: int = PORT
    server_port: int = 0
    path: GmPath = "user-space"


class PhoneGm:
    """One phone's access security. Nothing leaves it in the clear but REGISTER (TS 33.203 7.1)."""

    def __init__(
        self, context: Context, impi: str, instance: str, options: GmOptions, style: OfferStyle | None = None
    ) -> None:
        self._context = context
        self._options = options
        self._style = style
        self._policy = style.policy(options.policy) if style is not None else options.policy
        self._key = PhoneKey(impi, instance)
        self._here = self._there = ""
        self._paths = Paths()
        self._streams = SetStreams()
        self._lacks = "it was told to have ESP in UDP alone"
        self._associations: Associations | None = None
        self.port = 0  # the protected server port, which stays (TS 33.203 7.1)

    async def open(self, here: str, there: str, receive: OnDatagram) -> None:
        """Opens the ways between the phone's address and the P-CSCF's. Raises OSError, and Lacking when this machine
        has not the one that was asked for.
        """
        context, paths = self._context, self._paths
        self._here, self._there = here, there
        self._associations = associations = Associations(Role.PHONE, paths)
        listen = Listen("udp", here, 0, Zone.ACCESS)
        paths.add_tunnel(
            here, await open_udp_tunnel(Role.PHONE, listen, here, context.randomness, receive, self._options.port)
        )
        self.port = self._options.server_port or self._port(0)
        self._open_carrier(receive)
        self._policy = replace(self._policy, modes=paths.modes)
        reports = Reports(context.node, context.events, context.clock)
        associations.listeners += [reports.changed, self._streams.changed]
        paths.report_to(associations.received, lambda worn: associations.ended(worn, Event.EXHAUSTED), reports.refused)

    def _open_carrier(self, receive: OnDatagram) -> None:
        """Transport mode, where it was asked for; `auto` can do without, and has to on the P-CSCF's own machine."""
        wanted = self._options.path
        if wanted == "user-space":
            return
        if wanted == "auto" and self._here == self._there:
            self._lacks = "it is on the P-CSCF's own machine"
            return
        try:
            carrier = carrier_for(wanted, [self._here])
            if not self._options.server_port and carrier is Carrier.KERNEL and not is_free(self._here, self.port):
                self.port = self._port(0)
            self._paths.add_carrier(carrier, Role.PHONE, self._here, [self.port], self._context.randomness, receive)
        except Lacking as lacking:
            if wanted != "auto":
                raise
            self._lacks = f"this machine lacks it. {lacking}"

    def close(self) -> None:
        if self._associations is not None:
            self._associations.close()
        self._paths.close()

    @property
    def associations(self) -> Associations:
        assert self._associations is not None, "the phone is not open"
        return self._associations

    async def call(self, carrier: AssociationSet) -> tuple[socket.socket, Voucher] | None:
        """A TCP connection inside a set, and who vouches for it; None where its path has no TCP. Raises OSError."""
        streams = self._paths.stream_of(carrier)
        if streams is None:
            return None
        ends = carrier.agreement
        made = await streams.call(ends.phone.port_c, (carrier.address, ends.network.port_s))
        return made, self._streams.voucher(streams)

    def renumber(self) -> None:
        """Another server port, for a phone without associations."""
        self.port = self._port(0)

    # ---- registration

    def carrier(self) -> AssociationSet | None:
        """What requests are sent on: the newest set that was confirmed (TS 24.229 5.1.1.5.1)."""
        return self.associations.outgoing(self._key)

    def offer(self, request: Request, carrier: AssociationSet | None) -> str:
        """SM1, also on an older association (TS 24.229 5.1.1.2.2, 5.1.1.4.2): asks for a new set. Security-Client."""
        offers = self._offers(Ends(*self._spis(), self._port(self.port), self.port))
        client = self._style.written(offers) if self._style is not None else written(offers)
        self._write(request, client, carrier)
        return client

    def repeat(self, request: Request, made: AssociationSet) -> None:
        """SM7: both lists once more, now protected (TS 33.203 7.2)."""
        self._write(request, made.agreement.client, made)

    def keyed(
        self, client: str, response: Response, keys: Success, nonce: str, carrier: AssociationSet | None
    ) -> AssociationSet:
        """The set that the challenge keys, ready before the answer leaves. Raises UnanswerableChallenge."""
        agreement = accept(self._policy, client, ", ".join(response.all(SECURITY_SERVER.name)))
        if agreement is None:
            raise UnanswerableChallenge("the P-CSCF offers no security agreement that this phone accepts")
        if agreement.mode not in self._policy.modes:
            raise UnanswerableChallenge(f"the P-CSCF chose {agreement.mode}, which has no way here: {self._lacks}")
        beginning = Beginning(
            self._key, agreement, expand(agreement.suite, keys.ck, keys.ik), self._there, self._here,
            response.call_id, nonce, carrier is not None,
        )  # fmt: skip
        try:
            return self.associations.begin(beginning)
        except PathFailed as failure:
            raise UnanswerableChallenge(str(failure)) from failure

    def registered(self, carrier: AssociationSet, impu: str, expires_s: int) -> bool:
        """A 200 came on it. False: it ended meanwhile."""
        return self.associations.registered(carrier, impu, expires_s)

    def failed(self, made: AssociationSet) -> None:
        self.associations.failed(made)

    def concluded(self, made: AssociationSet) -> None:
        """A 200 came on it that ended the registration."""
        self.associations.concluded(made)

    def deregistered(self) -> None:
        self.associations.deregistered(self._key)

    def shortened(self, within_s: float) -> None:
        self.associations.shortened(self._key, within_s)

    def is_left_with(self, response: Response) -> bool:
        """Whether a 494 is about SPIs or ports, which others may be free of: it lists what this phone can do."""
        ours = {offer.suite for offer in read_offers(self._offers(Ends(256, 257, 1, 2)))}
        listed = {f"{one.param('alg')}/{one.param('ealg')}" for one in response.every(SECURITY_SERVER)}
        return any(str(suite) in listed for suite in ours)

    def why_refused(self, response: Response) -> str:
        """What a 494 means for the user of a phone without transport mode."""
        listed = {one.param("mod") or Mode.TRANSPORT.value for one in response.every(SECURITY_SERVER)}
        if response.status != 494 or listed != {Mode.TRANSPORT.value} or Mode.TRANSPORT in self._policy.modes:
            return ""
        return f"the P-CSCF wants transport mode, for which this phone has no way: {self._lacks}"

    def serves(self, flow: Flow) -> bool:
        """Whether a request that came on this flow is the P-CSCF's (TS 24.229 5.1.1.2)."""
        carrier = self.associations.of(flow)
        return carrier is not None and carrier.state in SERVES

    # ---- inside

    def _write(self, request: Request, client: str, carrier: AssociationSet | None) -> None:
        request.add("Require", OPTION)
        request.add("Proxy-Require", OPTION)
        request.add("Security-Client", client)
        if carrier is not None:
            request.add("Security-Verify", carrier.agreement.server)

    def _offers(self, ends: Ends) -> Mechanisms:
        if self._style is not None:
            return self._style.mechanisms(self._policy.modes, ends)
        return client_list(self._policy, ends)

    def _spis(self) -> tuple[int, int]:
        """Random, never reserved, none that a living set has."""
        living = [each.agreement.phone for each in self.associations.sets.values()]
        return (self._style or _OWN).spi_pair(self._draw, {spi for ends in living for spi in (ends.spi_c, ends.spi_s)})

    def _port(self, server_port: int) -> int:
        """A client port beside that server port, or with 0 another server port, that is nobody's on this host."""
        taken = {each.agreement.phone.port_c for each in self.associations.sets.values()} | {self.port}
        while True:
            port = (self._style or _OWN).port(self._draw, server_port, taken)
            if self._paths.may_have(port):
                return port
            taken.add(port)

    def _draw(self) -> int:
        return int.from_bytes(self._context.randomness.octets(4), "big")


_OWN = OfferStyle((), ports=(FIRST_PORT, 65_536))
