"""The HSS's side of Cx over Diameter: answers UAR, LIR, MAR and SAR, sends RTR and PPR (TS 29.228 6, TS 29.229).

    server = CxServer(context, node, hss, servers, realm, identities)   # answers from now on
    servers.reach = server.client                                      # where RTR and PPR go for a Diameter host

Whether a peer may speak at all is the node's affair. Here it is decided for whom it speaks: an S-CSCF's name belongs to
the Diameter host that it was first heard from, or whose name it bears, so that no CSCF acts in another's name
(requirement row 107).
"""

from collections.abc import Collection
from typing import Protocol

from redoubt.diameter.applications import CX
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import (
    Cx,
    CxClient,
    HssUnavailable,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    RegistrationTermination,
    ResultCode,
    ServerAssignmentAnswer,
    ServerCapabilities,
    UserProfile,
)
from redoubt.diameter.cx_assignment import (
    OUR_FEATURES,
    AssignmentWanted,
    demands_more,
    read_sar,
    write_saa,
)
from redoubt.diameter.cx_frame import LIR, MAR, PPR, RTR, SAR, UAR, answer, result_of
from redoubt.diameter.cx_wire import (
    AKA_SCHEMES,
    read_lir,
    read_mar,
    read_uar,
    write_maa,
    write_ppr,
    write_rtr,
    write_uaa,
)
from redoubt.diameter.dictionary import ORIGIN_HOST, SUPPORTED_FEATURES
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri, parse_uri

ANSWER_TIMEOUT_S = 5.0
CLAUSE = "TS 29.228 6"


class KnowsServers(Protocol):
    """What the server asks of an HSS beyond Cx: where each S-CSCF lives."""

    async def host(self, server_name: str, guess: str) -> str:
        """Its Diameter host, empty if it was never heard from; if it is not `guess`, as the store has it now."""
        ...

    async def learn(self, server_name: str, host: str) -> None:
        """Remembers it, durably if the store works."""
        ...

    async def capabilities(self, impu: str) -> ServerCapabilities | None:
        """By which an S-CSCF is chosen for a user; None if the store failed."""
        ...

    async def registered_impus(self, impi: str) -> tuple[str, ...] | None:
        """One public identity of each set that a private identity has registered; None if the store failed."""
        ...


class CxServer:
    """Cx as an application of the HSS's node."""

    def __init__(
        self,
        context: Context,
        node: Node,
        hss: Cx,
        servers: KnowsServers,
        realm: str,
        identities: Collection[str] = (),
    ) -> None:
        """`identities`: hosts and realms of all configured peers, and of those that they speak for."""
        self._context, self._node, self._realm = context, node, realm
        self._hss, self._servers = hss, servers
        self._identities = frozenset(identities)
        self._clients: dict[str, CxClient] = {}
        self._commands = {
            UAR: self._user_authorization,
            MAR: self._multimedia_auth,
            SAR: self._server_assignment,
            LIR: self._location_info,
        }
        node.serve(CX, self._answer)

    def client(self, host: str) -> CxClient:
        """The S-CSCF behind a Diameter host."""
        known = self._clients.get(host)
        if known is None:
            known = self._clients[host] = DistantSCscf(self._context, self._node, host, self._realm)
        return known

    async def _answer(self, message: DiameterMessage, peer: Peer) -> DiameterMessage:
        answered = self._commands.get(message.command)
        if answered is None:
            raise DiameterError(Result.COMMAND_UNSUPPORTED, f"command {message.command} to an HSS", CLAUSE)
        if demands_more(message):
            made = answer(message, ResultCode.FEATURE_UNSUPPORTED)
        else:
            made = await answered(message)
        if message.has(SUPPORTED_FEATURES):
            made.avps.append(OUR_FEATURES)
        return made

    async def _user_authorization(self, message: DiameterMessage) -> DiameterMessage:
        asked = read_uar(message)
        given = await self._hss.user_authorization(
            asked.impi, asked.impu, asked.visited_network, asked.authorization_type
        )
        return write_uaa(message, given)

    async def _location_info(self, message: DiameterMessage) -> DiameterMessage:
        asked = read_lir(message)
        given = await self._hss.location_info(asked.impu, originating=asked.originating)
        if asked.capabilities and given.result.is_success:  # TS 29.228 6.1.4.1
            capabilities = await self._servers.capabilities(asked.impu)
            result = ResultCode.UNABLE_TO_COMPLY if capabilities is None else ResultCode.SUCCESS
            given = LocationInfoAnswer(result, capabilities=capabilities)
        return write_uaa(message, given)

    async def _multimedia_auth(self, message: DiameterMessage) -> DiameterMessage:
        asked = read_mar(message)
        if asked.scheme.lower() not in AKA_SCHEMES:
            return write_maa(message, asked, MultimediaAuthAnswer(ResultCode.AUTH_SCHEME_NOT_SUPPORTED))
        refusal = await self._unless_its_own(message, asked.server_name, "MAR")
        if refusal is not None:
            return write_maa(message, asked, MultimediaAuthAnswer(refusal))
        given = await self._hss.multimedia_auth(
            asked.impi, asked.impu, asked.server_name, asked.count, asked.resynchronisation
        )
        return write_maa(message, asked, given)

    async def _server_assignment(self, message: DiameterMessage) -> DiameterMessage:
        asked = read_sar(message)
        refusal = await self._unless_its_own(message, asked.server_name, "SAR")
        if refusal is not None:
            return write_saa(message, asked, ServerAssignmentAnswer(refusal))
        if len(asked.impus) == 1:
            return write_saa(message, asked, await self._assign(asked, asked.impus[0]))
        impus = asked.impus or await self._servers.registered_impus(asked.impi)
        given = ServerAssignmentAnswer(ResultCode.SUCCESS if impus is not None else ResultCode.UNABLE_TO_COMPLY)
        for impu in impus or ():  # a failure of one is the answer; the others are tried all the same
            one = await self._assign(asked, impu)
            given = one if given.result.is_success else given
        return write_saa(message, asked, given)

    async def _assign(self, asked: AssignmentWanted, impu: str) -> ServerAssignmentAnswer:
        return await self._hss.server_assignment(
            asked.impi,
            impu,
            asked.server_name,
            asked.assignment_type,
            want_profile=asked.want_profile,
            restoration=next(iter(asked.restoration), None),
        )

    async def _unless_its_own(self, message: DiameterMessage, server_name: str, command: str) -> ResultCode | None:
        """None if the sender may use this server name; remembers where it lives."""
        host = message.need(ORIGIN_HOST)
        known = await self._servers.host(server_name, host)
        if known == host:
            return None
        bears = _host_of(server_name)
        taken = next((one for one in (known, bears) if self._is_of_a_peer(one)), "")
        if taken and bears != host and self._context.enforces("diameter-server-name"):
            why = f"{host} speaks for {server_name}, which lives at {taken}"
            self._context.refused(Result.AUTHORIZATION_REJECTED, why, "TS 29.228 6.1.2", method=command, source=host)
            return ResultCode.AUTHORIZATION_REJECTED
        await self._servers.learn(server_name, host)
        return None

    def _is_of_a_peer(self, host: str) -> bool:
        """A host that the operator wrote down, or of a realm that an agent speaks for; who is gone owns nothing."""
        return host in self._identities or any(host.endswith(f".{realm}") for realm in self._identities)


class DistantSCscf:
    """The S-CSCF of another process, as the HSS sees it: RTR and PPR by its Diameter host."""

    def __init__(self, context: Context, node: Node, host: str, realm: str) -> None:
        self._context, self._node, self._host, self._realm = context, node, host, realm

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        return await self._told(write_rtr(self._node.new_request(CX, RTR), request), "RTR", request.impi)

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        return await self._told(write_ppr(self._node.new_request(CX, PPR), profile), "PPR", profile.impi)

    async def _told(self, message: DiameterMessage, command: str, impi: str) -> ResultCode:
        try:
            given = await self._node.request(message, host=self._host, realm=self._realm, timeout_s=ANSWER_TIMEOUT_S)
            result = result_of(given)
        except (DiameterUnavailable, DiameterError) as fault:
            what = f"{command} for {impi} did not reach the S-CSCF at {self._host}: {fault}"
            self._context.notice("warning", what, "its registrations end by themselves, or when it asks the HSS next")
            raise HssUnavailable(what) from fault
        return ResultCode.UNABLE_TO_COMPLY if result is None else result


def _host_of(server_name: str) -> str:
    uri = parse_uri(server_name)
    return uri.host if isinstance(uri, SipUri) else ""
