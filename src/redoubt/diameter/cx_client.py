"""Cx over Diameter as a CSCF has it: the HSS of another process, which may be anybody's (TS 29.228 6, TS 29.229).

    cx = CxOverDiameter(context, node, realm)        # satisfies redoubt.diameter.cx.Cx
    cx.attach(scscf, {"hss.home.net"})               # RTR and PPR from these hosts are answered by this S-CSCF
"""

from collections.abc import Collection

from redoubt.diameter.applications import CX
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import (
    CxClient,
    HssUnavailable,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    RestorationInfo,
    ResultCode,
    Resynchronisation,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserAuthorizationAnswer,
    UserAuthorizationType,
)
from redoubt.diameter.cx_assignment import AssignmentWanted, read_saa, write_sar
from redoubt.diameter.cx_frame import LIR, MAR, PPR, RTR, SAR, UAR, answer, result_of
from redoubt.diameter.cx_wire import (
    LocationQuestion,
    UserAuthorization,
    VectorsWanted,
    read_lia,
    read_maa,
    read_ppr,
    read_rtr,
    read_uaa,
    write_lir,
    write_mar,
    write_uar,
)
from redoubt.diameter.dictionary import ORIGIN_HOST, RESULT_CODE
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.diameter.user_data import UserDataRefused
from redoubt.sip.service import Context

ANSWER_TIMEOUT_S = 8.0  # two questions in turn stay below timer F (32 s), and TCP may repeat a segment thrice


class CxOverDiameter:
    """The HSS at the other end of a node's connections."""

    def __init__(self, context: Context, node: Node, realm: str) -> None:
        self._context, self._node, self._realm = context, node, realm
        self._client: CxClient | None = None
        self._hss_hosts: frozenset[str] = frozenset()

    def attach(self, client: CxClient, hss_hosts: Collection[str]) -> None:
        """RTR and PPR of these hosts go to `client`; of others they are refused (requirement row 107)."""
        self._client = client
        self._hss_hosts = frozenset(hss_hosts)
        self._node.serve(CX, self._told)

    async def user_authorization(
        self, impi: str, impu: str, visited_network: str, authorization_type: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        asked = UserAuthorization(impi, impu, visited_network, authorization_type)
        given, result = await self._ask("UAR", write_uar(self._new(UAR), asked))
        try:
            return read_uaa(given, result)
        except DiameterError as fault:
            raise self._unreadable("UAA", fault) from fault

    async def multimedia_auth(
        self, impi: str, impu: str, server_name: str, count: int, resynchronisation: Resynchronisation | None = None
    ) -> MultimediaAuthAnswer:
        asked = VectorsWanted(impi, impu, server_name, count, resynchronisation=resynchronisation)
        given, result = await self._ask("MAR", write_mar(self._new(MAR), asked))
        try:
            return read_maa(given, result)
        except DiameterError as fault:
            raise self._unreadable("MAA", fault) from fault

    async def server_assignment(
        self,
        impi: str,
        impu: str,
        server_name: str,
        assignment_type: ServerAssignmentType,
        *,
        want_profile: bool = True,
        restoration: RestorationInfo | None = None,
    ) -> ServerAssignmentAnswer:
        kept = () if restoration is None else (restoration,)
        asked = AssignmentWanted(impi, (impu,), server_name, assignment_type, want_profile, kept, restores=True)
        given, result = await self._ask("SAR", write_sar(self._new(SAR), asked))
        try:
            return read_saa(given, result)
        except DiameterError as fault:
            raise self._unreadable("SAA", fault) from fault
        except UserDataRefused as fault:
            return await self._profile_refused(asked, fault)

    async def location_info(self, impu: str, *, originating: bool = False) -> LocationInfoAnswer:
        given, result = await self._ask("LIR", write_lir(self._new(LIR), LocationQuestion(impu, originating)))
        try:
            return read_lia(given, result)
        except DiameterError as fault:
            raise self._unreadable("LIA", fault) from fault

    def _new(self, command: int) -> DiameterMessage:
        return self._node.new_request(CX, command)

    async def _ask(self, command: str, message: DiameterMessage) -> tuple[DiameterMessage, ResultCode]:
        try:
            given = await self._node.request(message, realm=self._realm, timeout_s=ANSWER_TIMEOUT_S)
            result = result_of(given)
        except DiameterUnavailable as fault:
            raise HssUnavailable(f"{command}: {fault}") from fault
        except DiameterError as fault:
            raise self._unreadable(command, fault) from fault
        if result is not None:
            return given, result
        code = given.first(RESULT_CODE)
        self._context.notice("warning", f"the HSS answered {command} with {code or 'a result of another vendor'}")
        if given.is_error:  # nobody could deliver it (RFC 6733 7.1.3)
            raise HssUnavailable(f"{command}: the answer was {code}")
        return given, ResultCode.UNABLE_TO_COMPLY

    def _unreadable(self, command: str, fault: DiameterError) -> HssUnavailable:
        self._context.refused(fault.result, f"the answer of the HSS: {fault.why}", fault.clause, method=command)
        return HssUnavailable(f"{command}: {fault.why}")

    async def _profile_refused(self, asked: AssignmentWanted, fault: UserDataRefused) -> ServerAssignmentAnswer:
        """The assignment is given back; the user is not served on half a profile (TS 29.228 6.1.2.1, 6.5.2)."""
        result = ResultCode.TOO_MUCH_DATA if fault.too_much else ResultCode.NOT_SUPPORTED_USER_DATA
        self._context.refused(result % 10_000, f"the profile of {asked.impus[0]}: {fault}", "TS 29.228 B", method="SAA")
        if asked.assignment_type in (ServerAssignmentType.REGISTRATION, ServerAssignmentType.UNREGISTERED_USER):
            kind = ServerAssignmentType.DEREGISTRATION_TOO_MUCH_DATA
            back = AssignmentWanted(asked.impi, asked.impus, asked.server_name, kind, want_profile=False)
            await self._ask("SAR", write_sar(self._new(SAR), back))
        return ServerAssignmentAnswer(result)

    async def _told(self, message: DiameterMessage, peer: Peer) -> DiameterMessage:
        """RTR and PPR of the HSS."""
        host = message.need(ORIGIN_HOST)
        command = CX.command_name(message.command)
        if self._client is None or message.command not in (RTR, PPR):
            raise DiameterError(Result.COMMAND_UNSUPPORTED, f"{command} to a CSCF", "TS 29.229 6.1")
        if host not in self._hss_hosts and self._context.enforces("diameter-hss"):
            why = f"{host} is none of the HSSs of this network"
            self._context.refused(Result.AUTHORIZATION_REJECTED, why, "TS 29.228 6.1.3", method=command, source=host)
            return answer(message, ResultCode.AUTHORIZATION_REJECTED)
        if message.command == RTR:
            return answer(message, await self._client.registration_termination(read_rtr(message)))
        try:
            profile = read_ppr(message)
        except UserDataRefused as fault:
            result = ResultCode.TOO_MUCH_DATA if fault.too_much else ResultCode.NOT_SUPPORTED_USER_DATA
            self._context.refused(result % 10_000, f"a profile: {fault}", "TS 29.228 B", method="PPR", source=host)
            return answer(message, result)
        return answer(message, await self._client.push_profile(profile))
