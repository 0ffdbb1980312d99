"""Sh over Diameter as an application server has it: asks the HSS, and is told by it (TS 29.328 6.1).

    sh = ShOverDiameter(context, node, realm)
    sh.attach(server, {"hss.home.net"})        # notifications of these hosts are taken
"""

from collections.abc import Collection
from typing import Protocol

from redoubt.diameter.applications import SH
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import HssUnavailable
from redoubt.diameter.dictionary import ORIGIN_HOST
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.diameter.sh import Notification, Pull, ShAnswer, ShCode, Subscribe, Update
from redoubt.diameter.sh_wire import (
    PUR,
    SNR,
    UDR,
    read_answer,
    read_pnr,
    write_answer,
    write_pur,
    write_snr,
    write_udr,
)
from redoubt.diameter.user_data import UserDataRefused
from redoubt.sip.service import Context

ANSWER_TIMEOUT_S = 5.0


class TakesNotifications(Protocol):
    """What an application server offers."""

    async def notified(self, notification: Notification) -> ShCode: ...


class ShOverDiameter:
    """The HSS at the other end. Every method raises HssUnavailable if it gives no answer that can be read."""

    def __init__(self, context: Context, node: Node, realm: str) -> None:
        self._context, self._node, self._realm = context, node, realm
        self._server: TakesNotifications | None = None
        self._hss_hosts: frozenset[str] = frozenset()

    def attach(self, server: TakesNotifications, hss_hosts: Collection[str]) -> None:
        """Notifications of these hosts go to `server`, of others they are refused."""
        self._server, self._hss_hosts = server, frozenset(hss_hosts)
        self._node.serve(SH, self._told, ("PNR",))

    async def pull(self, asked: Pull) -> ShAnswer:
        return await self._ask(write_udr(self._node.new_request(SH, UDR), asked))

    async def update(self, asked: Update) -> ShAnswer:
        return await self._ask(write_pur(self._node.new_request(SH, PUR), asked))

    async def subscribe(self, asked: Subscribe) -> ShAnswer:
        return await self._ask(write_snr(self._node.new_request(SH, SNR), asked))

    async def _ask(self, message: DiameterMessage) -> ShAnswer:
        try:
            return read_answer(
                await self._node.request(message, realm=self._realm, timeout_s=ANSWER_TIMEOUT_S)
            )
        except (DiameterUnavailable, DiameterError, UserDataRefused) as fault:
            raise HssUnavailable(f"Sh: {fault}") from fault

    async def _told(self, message: DiameterMessage, _peer: Peer) -> DiameterMessage:
        host = message.need(ORIGIN_HOST)
        if host not in self._hss_hosts or self._server is None:
            why = f"{host} is none of the HSSs of this application server"
            self._context.refused(Result.AUTHORIZATION_REJECTED, why, "TS 29.328 6.1.4", method="PNR", source=host)
            return write_answer(message, ShAnswer(Result.AUTHORIZATION_REJECTED))
        try:
            result = await self._server.notified(read_pnr(message))
        except UserDataRefused as fault:
            self._context.refused(Result.INVALID_AVP_VALUE, str(fault), "TS 29.328 D", method="PNR", source=host)
            result = Result.INVALID_AVP_VALUE
        return write_answer(message, ShAnswer(result))
