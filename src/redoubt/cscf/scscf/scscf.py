"""The S-CSCF (TS 24.229 5.4): hands each request to its procedure, and does what the HSS says (TS 29.228 6)."""

from redoubt.config import AccessPolicy, SCscfConfig
from redoubt.cscf.registering import demand_core_peer, public_identity
from redoubt.cscf.scscf.authentication import Authentication
from redoubt.cscf.scscf.challenges import Challenge
from redoubt.cscf.scscf.deregistration import Deregistration
from redoubt.cscf.scscf.regevent import RegEvent
from redoubt.cscf.scscf.registration import Registration
from redoubt.cscf.scscf.registrations import RegisteredSet, Registrations
from redoubt.cscf.scscf.restoration import Restoration
from redoubt.cscf.scscf.sessions import Sessions
from redoubt.diameter.cx import Cx, RegistrationTermination, ResultCode, UserProfile
from redoubt.ndm.enum import Enum
from redoubt.sip.fields import EVENT, ROUTE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Answer, Context, Exchange, Service
from redoubt.sip.uri import OtherUri, SipUri, Uri, parse_uri


class SCscf:
    """A service, and the client of the HSS (`CxClient`)."""

    def __init__(
        self,
        context: Context,
        config: SCscfConfig,
        realm: str,
        uri: str,
        cx: Cx,
        next: Service,
        access: AccessPolicy = "ipsec",
        enum: Enum | None = None,
        bgcf: str = "",
    ) -> None:
        self._context = context
        self._own = _place(parse_uri(uri))
        self.registrations = Registrations()
        self.regevent = RegEvent(context, uri, next)
        self.authentication = Authentication(context, config, realm, uri, cx, self._challenges_over)
        self.deregistration = Deregistration(context, config, uri, cx, self.registrations, self.regevent)
        self.restoration = Restoration(
            context, config, uri, cx, self.registrations, self.regevent, self.deregistration.watch
        )
        self.registration = Registration(
            context,
            config,
            uri,
            cx,
            self.registrations,
            self.authentication,
            self.deregistration,
            self.restoration,
            self.regevent,
            access,
        )
        self.sessions = Sessions(
            context, config, realm, uri, self.registrations, self.restoration, cx, next, enum, bgcf
        )

    def __call__(self, request: Request, exchange: Exchange) -> Answer:
        """TS 24.229 5.4.1 for REGISTER, 5.4.2 for registration state, 5.4.3 for everything else."""
        demand_core_peer(self._context, exchange)
        if request.method == "REGISTER":
            return self.registration.register(request, exchange)
        originating = self._pop_own_route(request)
        if request.method == "SUBSCRIBE" and request.need(EVENT).package == "reg":
            if request.to.tag is not None and _place(request.request_uri) == self._own:
                return self.regevent.resubscribe(request, exchange)
            if request.to.tag is None:
                found = self._served(request)
                if found is not None:
                    return self.regevent.subscribe(found, request, exchange)
                return self._watch_forgotten(request, exchange, originating)
        if request.to.tag is not None:
            return self.sessions.in_dialog(request, exchange)
        return self._beyond(request, exchange, originating)

    def require_authentication(self, impu: str) -> bool:
        """The network wants the user authenticated anew (TS 33.203 6.1.4); False if nobody is registered so."""
        found = self.registrations.find(impu)
        if found is None:
            return False
        self.deregistration.require_authentication(found)
        return True

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        """RTR (TS 29.228 6.1.3)."""
        for impi in (request.impi, *request.associated_impis):
            for challenge in self.authentication.challenges.of(impi):
                self.authentication.challenges.close(challenge)
                self.authentication.stock.drop(challenge.impi, challenge.impu)
        await self.deregistration.by_hss(request)
        return ResultCode.SUCCESS

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        """PPR (TS 29.228 6.2.2)."""
        founds = [self.registrations.find(identity.impu) for identity in profile.identities]
        found = next((one for one in founds if one is not None), None)
        if found is None:
            return ResultCode.USER_UNKNOWN
        self.registrations.change_profile(found, profile)
        self.regevent.profile_changed(found)
        return ResultCode.SUCCESS

    def table_sizes(self) -> dict[str, int]:
        """Entries by table, for status and for tests that nothing is left."""
        return {
            "registrations": self.registrations.size[0],
            "challenges": len(self.authentication.challenges),
            "subscriptions": len(self.regevent),
        }

    def close(self) -> None:
        """Ends the timers."""
        self.authentication.challenges.stop()
        self.deregistration.stop()
        self.regevent.stop()

    def _challenges_over(self, challenges: list[Challenge]) -> None:
        self._context.start(self.registration.timed_out(challenges))

    def _pop_own_route(self, request: Request) -> bool:
        """Takes our own Route off; true when it is the Service-Route's, or a server's with ;orig (5.4.3.2)."""
        route = request.first(ROUTE)
        if route is None or _place(route.uri) != self._own:
            return False
        request.pop_first(ROUTE)
        uri = route.uri
        return isinstance(uri, SipUri) and (uri.user == "orig" or uri.has("orig"))

    def _served(self, request: Request) -> RegisteredSet | None:
        uri = request.request_uri
        return None if isinstance(uri, OtherUri) else self.registrations.find(public_identity(uri))

    async def _watch_forgotten(self, request: Request, exchange: Exchange, originating: bool) -> Response | None:
        """A SUBSCRIBE to the registration state of a user of whom nothing is known here: the HSS may (TS 23.380)."""
        uri = request.request_uri
        found = None if isinstance(uri, OtherUri) else await self.restoration.recall(public_identity(uri))
        if found is None:
            return await self._beyond(request, exchange, originating)
        return await self.regevent.subscribe(found, request, exchange)

    def _beyond(self, request: Request, exchange: Exchange, originating: bool) -> Answer:
        if originating:
            return self.sessions.originating(request, exchange)
        return self.sessions.terminating(request, exchange)


def _place(uri: Uri) -> tuple[str, int | None]:
    return (uri.host, uri.port) if isinstance(uri, SipUri) else ("", None)
