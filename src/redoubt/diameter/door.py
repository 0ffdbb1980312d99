"""Where connections of others arrive: nobody passes without a CER of a configured peer (RFC 6733 5.3, row 104)."""

from collections.abc import Callable

from redoubt.config import DiameterPeer
from redoubt.diameter import capabilities
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import APPLICATIONS, Command
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.link import Asked, Link
from redoubt.diameter.local import Local
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import Result


class Door:
    """Receives for links whose peer is not known yet (`link.Receiver`)."""

    def __init__(self, local: Local, peers: dict[str, Peer], add: Callable[[DiameterPeer], Peer]) -> None:
        self._local = local
        self._peers = peers
        self._add = add

    def heard(self, link: Link) -> None:
        """Nothing watches a stranger but the table of connections, which ends it after half a minute."""

    def request(self, link: Link, message: DiameterMessage) -> None:
        if message.command != Command.CAPABILITIES_EXCHANGE or message.application:
            link.report(f"command {message.command} before the capabilities exchange", "RFC 6733 5.3")
            link.flow.close()
            return
        try:
            capabilities.check_cer(message)
            peer = self._known(link, message)
            capabilities.check_peer(self._local, peer.config, message, link.flow)
            applications = capabilities.common_applications(self._local, peer.config, message)
        except DiameterError as error:
            self._refuse(link, message, error)
            return
        if self._local.closing:
            link.flow.close()
        elif not peer.arrives(link, message, applications):
            why = f"a second connection of {peer.identity}; the first is asked whether it still lives"
            self._refuse(link, message, DiameterError(Result.ELECTION_LOST, why, "RFC 6733 5.6.4"))

    def base_answer(self, link: Link, message: DiameterMessage) -> None:
        """A stranger was asked nothing."""

    def stray_answer(self, message: DiameterMessage) -> Asked | None:
        return None

    def gone(self, link: Link) -> None:
        """It never was anybody."""

    def _known(self, link: Link, cer: DiameterMessage) -> Peer:
        host = cer.need(d.ORIGIN_HOST)
        peer = self._peers.get(host)
        if peer is not None:
            return peer
        if not self._local.enforces("diameter-peers"):
            realm = cer.need(d.ORIGIN_REALM)
            return self._add(DiameterPeer(identity=host, realm=realm, applications=tuple(APPLICATIONS)))
        self._local.violated(
            "CER",
            "the peer is configured",
            expected=", ".join(sorted(self._peers)) or "no peer at all",
            seen=f"{host} from {link.name}",
            clause="RFC 6733 5.3",
            advice=f'add [[diameter.peers]] with identity = "{host}" if this node belongs to the network',
        )
        raise DiameterError(Result.UNKNOWN_PEER, f"{host} is no peer of this node", "RFC 6733 5.3")

    def _refuse(self, link: Link, cer: DiameterMessage, error: DiameterError) -> None:
        """The CEA says why in a number, and no more."""
        link.report(error.why, error.clause, error.result)
        answer = cer.answer(error.result, error.failed)
        link.answer(capabilities.describe(self._local, answer, link.flow))
        link.flow.close()
