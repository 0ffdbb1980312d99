"""Shows each Cx command and answer to whoever watches, as a line of a ladder. Keys and responses never appear."""

from redoubt.diameter.cx import (
    Cx,
    CxClient,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    Resynchronisation,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserAuthorizationAnswer,
    UserAuthorizationType,
    UserProfile,
)
from redoubt.events import MessageSeen
from redoubt.sip.service import Context


class TracedCx:
    """A Cx that passes everything on and reports it, for the function that `context` names."""

    def __init__(self, context: Context, cx: Cx) -> None:
        self._context = context
        self._cx = cx

    async def user_authorization(
        self, impi: str, impu: str, visited_network: str, authorization_type: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        self._asked(f"UAR {impi} {impu} {authorization_type.name}")
        answer = await self._cx.user_authorization(impi, impu, visited_network, authorization_type)
        self._answered("UAA", answer.result, answer.server_name or str(answer.capabilities or ""))
        return answer

    async def multimedia_auth(
        self, impi: str, impu: str, server_name: str, count: int, resynchronisation: Resynchronisation | None = None
    ) -> MultimediaAuthAnswer:
        self._asked(f"MAR {impi} {impu} {'with AUTS' if resynchronisation else f'for {count} vector'}")
        answer = await self._cx.multimedia_auth(impi, impu, server_name, count, resynchronisation)
        self._answered("MAA", answer.result, f"{len(answer.vectors)} vector: RAND, AUTN, XRES, CK, IK")
        return answer

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
        self._asked(f"SAR {impi} {impu} {assignment_type.name}")
        answer = await self._cx.server_assignment(
            impi, impu, server_name, assignment_type, want_profile=want_profile, restoration=restoration
        )
        more = [name for name, there in (("profile", answer.profile), ("restoration", answer.restoration)) if there]
        self._answered("SAA", answer.result, "with " + ", ".join(more) if more else "")
        return answer

    async def location_info(self, impu: str, *, originating: bool = False) -> LocationInfoAnswer:
        self._asked(f"LIR {impu}")
        answer = await self._cx.location_info(impu, originating=originating)
        self._answered("LIA", answer.result, answer.server_name)
        return answer

    def _asked(self, text: str) -> None:
        _seen(self._context, self._context.node, "hss", text)

    def _answered(self, command: str, result: ResultCode, more: str) -> None:
        _seen(self._context, "hss", self._context.node, _line(command, result, more))


class TracedCxClient:
    """The same for what the HSS starts, at the S-CSCF that `context` names."""

    def __init__(self, context: Context, client: CxClient) -> None:
        self._context, self._client = context, client

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        about = " ".join((request.impi, *request.impus))
        _seen(self._context, "hss", self._context.node, f"RTR {about} {request.reason.name}")
        result = await self._client.registration_termination(request)
        _seen(self._context, self._context.node, "hss", _line("RTA", result, ""))
        return result

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        _seen(self._context, "hss", self._context.node, f"PPR {profile.impi} {profile.default_impu}")
        result = await self._client.push_profile(profile)
        _seen(self._context, self._context.node, "hss", _line("PPA", result, ""))
        return result


def _line(command: str, result: ResultCode, more: str) -> str:
    return f"{command} {result.value % 10000} {result.name} {more}".rstrip()


def _seen(context: Context, sender: str, receiver: str, text: str) -> None:
    if context.events.tracing:
        context.events.emit(
            MessageSeen(
                at=context.clock.now(), node=context.node, sender=sender, receiver=receiver, transport="cx", text=text
            )
        )
