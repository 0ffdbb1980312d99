"""A user who is called and has no registration here (TS 24.229 5.4.3.3 step 2, TS 29.228 6.1.2): the HSS is asked.

It keeps this S-CSCF's name for the services of such a user; those run here once there are application servers.
"""

from redoubt.cscf.scscf.registrations import RegisteredSet, Registrations
from redoubt.cscf.scscf.restoration import Restoration
from redoubt.diameter.cx import Cx, HssUnavailable, ResultCode, ServerAssignmentType
from redoubt.sip.service import Context


class Unregistered:
    """Takes on users of whom this S-CSCF knows nothing."""

    def __init__(
        self, context: Context, uri: str, cx: Cx, registrations: Registrations, restoration: Restoration
    ) -> None:
        self._context = context
        self._uri = uri
        self._cx = cx
        self._registrations = registrations
        self._restoration = restoration

    async def is_known(self, impu: str) -> bool:
        """Tells the HSS that the user is served here; False if the HSS has no such user."""
        try:
            answer = await self._cx.server_assignment("", impu, self._uri, ServerAssignmentType.UNREGISTERED_USER)
        except HssUnavailable:
            self._context.notice("warning", f"the HSS could not be asked for the services of {impu}")
            return True
        if answer.restoration:
            self._restoration.take_back(answer)  # it is registered: this S-CSCF had forgotten it (TS 23.380 4.3.3)
        elif answer.result.is_success and (found := self._registrations.find(impu)) is not None:
            await self._take_back(found)
        return answer.result is not ResultCode.USER_UNKNOWN

    async def _take_back(self, found: RegisteredSet) -> None:
        """The user registered while the HSS was asked: it may have heard of that first."""
        for impi, impu in {binding.impi: binding.impu for binding in found.bindings.values()}.items():
            kind = ServerAssignmentType.REGISTRATION
            try:
                await self._cx.server_assignment(impi, impu, self._uri, kind, want_profile=False)
            except HssUnavailable:
                self._context.notice("warning", f"the HSS could not be told that {impu} of {impi} is registered")
