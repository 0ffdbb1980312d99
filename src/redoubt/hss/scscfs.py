"""The S-CSCFs as the HSS reaches them: in this process, or at the Diameter host where each was heard from.

Satisfies `redoubt.diameter.cx_server.KnowsServers`: a store that fails is said to be so by the HSS, at the command that
it fails for.
"""

from collections.abc import Callable

from redoubt.diameter.cx import (
    CxClient,
    HssUnavailable,
    RegistrationTermination,
    ResultCode,
    ServerCapabilities,
    UserProfile,
)
from redoubt.hss.servers import Servers
from redoubt.hss.store import StoreFailed
from redoubt.hss.subscriptions import Subscriptions


class SCscfs:
    """`reach` gives the S-CSCF behind a Diameter host; None while this HSS speaks no Diameter."""

    def __init__(self, servers: Servers, subscriptions: Subscriptions) -> None:
        self._servers, self._subscriptions = servers, subscriptions
        self._here: dict[str, CxClient] = {}
        self.reach: Callable[[str], CxClient] | None = None

    def attach(self, server_name: str, client: CxClient) -> None:
        """An S-CSCF of this process."""
        self._here[server_name] = client

    def get(self, server_name: str) -> CxClient | None:
        """Where RTR and PPR for this S-CSCF go; it raises HssUnavailable if it can't be reached."""
        here = self._here.get(server_name)
        if here is not None or self.reach is None or not server_name:
            return here
        return _Elsewhere(server_name, self._servers, self.reach)

    async def names(self) -> frozenset[str]:
        """Those that `get` has a way to, whichever HSS process heard from them."""
        if self.reach is None:
            return frozenset(self._here)
        return await self._servers.heard_from() | self._here.keys()

    async def host(self, server_name: str, guess: str) -> str:
        known = self._servers.host(server_name)
        if known == guess:
            return known
        try:
            return await self._servers.host_now(server_name)
        except StoreFailed:
            return known

    async def learn(self, server_name: str, host: str) -> None:
        try:
            await self._servers.learn(server_name, host)
        except StoreFailed:
            pass  # learnt with the next command

    async def capabilities(self, impu: str) -> ServerCapabilities | None:
        try:
            found = (await self._subscriptions.find("", impu)).of_impu
        except StoreFailed:
            return None
        return None if found is None else found.provisioned.capabilities

    async def registered_impus(self, impi: str) -> tuple[str, ...] | None:
        try:
            found = (await self._subscriptions.find(impi, "")).of_impi
        except StoreFailed:
            return None
        if found is None:
            return ()
        states = zip(found.provisioned.sets, found.assignment.sets, strict=True)
        return tuple([one.identities[0].impu for one, state in states if impi in state.impis])


class _Elsewhere:
    """An S-CSCF of another process: where it lives is looked up when there is something to say."""

    def __init__(self, server_name: str, servers: Servers, reach: Callable[[str], CxClient]) -> None:
        self._server_name, self._servers, self._reach = server_name, servers, reach

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        return await (await self._client()).registration_termination(request)

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        return await (await self._client()).push_profile(profile)

    async def _client(self) -> CxClient:
        try:
            host = await self._servers.host_now(self._server_name)
        except StoreFailed as fault:
            raise HssUnavailable(str(fault)) from fault
        if not host:
            raise HssUnavailable(f"{self._server_name} was never heard from over Diameter")
        return self._reach(host)


async def told(client: CxClient, termination: RegistrationTermination) -> None:
    """An RTR that nobody waits for. What an S-CSCF that can't be reached does next with the user is refused."""
    try:
        await client.registration_termination(termination)
    except HssUnavailable:
        pass  # whoever tried has reported it
