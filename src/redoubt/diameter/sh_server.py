"""The HSS's side of Sh over Diameter: answers UDR, PUR and SNR, sends PNR (TS 29.328 6.1, TS 29.329).

What an application server may see is the operator's word for each peer (`data` in [[diameter.peers]]); the permission
list of TS 29.328 6.2.
"""

from redoubt.config import SH_DATA, DiameterPeer
from redoubt.diameter.applications import SH
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import HssUnavailable
from redoubt.diameter.dictionary import ORIGIN_HOST
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result, ShResult
from redoubt.diameter.sh import Notification, Sh, ShAnswer, ShCode
from redoubt.diameter.sh_wire import (
    PNR,
    PUR,
    UDR,
    read_answer,
    read_pur,
    read_snr,
    read_udr,
    write_answer,
    write_pnr,
)
from redoubt.diameter.user_data import UserDataRefused
from redoubt.sip.service import Context

ANSWER_TIMEOUT_S = 5.0
EVERYTHING = frozenset(SH_DATA.values())


class ShServer:
    """Sh as an application of the HSS's node; satisfies `redoubt.diameter.sh.ShNotified`."""

    def __init__(self, context: Context, node: Node, sh: Sh, realm: str) -> None:
        self._context, self._node, self._sh, self._realm = context, node, sh, realm
        node.serve(SH, self._answer, ("UDR", "PUR", "SNR"))

    async def notify(self, host: str, notification: Notification) -> ShCode:
        """PNR; raises HssUnavailable if the application server can't be reached."""
        message = write_pnr(self._node.new_request(SH, PNR), notification)
        peer = self._node.peers.get(host)
        realm = self._realm if peer is None else peer.realm
        try:
            given = await self._node.request(message, host=host, realm=realm, timeout_s=ANSWER_TIMEOUT_S)
            return read_answer(given).result
        except (DiameterUnavailable, DiameterError, UserDataRefused) as fault:
            what = f"a notification about {notification.impu} did not reach {host}: {fault}"
            self._context.notice("warning", what, "it learns of the change when it asks next")
            raise HssUnavailable(what) from fault

    async def _answer(self, message: DiameterMessage, peer: Peer) -> DiameterMessage:
        host, allowed = message.need(ORIGIN_HOST), allowed_data(peer.config)
        try:
            if message.command == UDR:
                given = await self._sh.pull(host, allowed, read_udr(message))
            elif message.command == PUR:
                given = await self._sh.update(host, allowed, read_pur(message))
            else:
                given = await self._sh.subscribe(host, allowed, read_snr(message))
        except UserDataRefused as fault:
            result = ShResult.ERROR_TOO_MUCH_DATA if fault.too_much else Result.INVALID_AVP_VALUE
            self._context.refused(result, str(fault), "TS 29.328 D", method="PUR", source=host)
            given = ShAnswer(result)
        return write_answer(message, given)


def allowed_data(peer: DiameterPeer) -> frozenset[int]:
    """The permission list of an application server (TS 29.328 6.2): data references."""
    return frozenset([SH_DATA[name] for name in peer.data]) if peer.data else EVERYTHING
