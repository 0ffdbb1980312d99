"""How registrations end: by the user, by expiry, by the network (TS 24.229 5.4.1.4 to 5.4.1.6, TS 29.228 6.1.3)."""

import asyncio
from collections.abc import Iterable

from redoubt.config import SCscfConfig
from redoubt.cscf.lapses import Alarm
from redoubt.cscf.scscf.regevent import RegEvent
from redoubt.cscf.scscf.registrations import Binding, RegisteredSet, Registrations
from redoubt.diameter.cx import (
    Cx,
    DeregistrationReason,
    HssUnavailable,
    RegistrationTermination,
    ServerAssignmentType,
)
from redoubt.events import Deregistered
from redoubt.sip.service import Context

EXPIRED, UNREGISTERED, DEACTIVATED, REJECTED = "expired", "unregistered", "deactivated", "rejected"


class Deregistration:
    """Takes bindings out, tells the subscribers of registration state, and the HSS when a user's last one went."""

    def __init__(
        self,
        context: Context,
        config: SCscfConfig,
        uri: str,
        cx: Cx,
        registrations: Registrations,
        regevent: RegEvent,
    ) -> None:
        self._context = context
        self._config = config
        self._uri = uri
        self._cx = cx
        self._registrations = registrations
        self._regevent = regevent
        self._alarm = Alarm(self._sweep)

    def watch(self) -> None:
        """After a binding came or changed: sees to it that its end is noticed."""
        self._alarm.set(self._registrations.next_expiry)

    def stop(self) -> None:
        self._alarm.stop()

    async def by_user(self, found: RegisteredSet, bindings: Iterable[Binding], call_id: str) -> None:
        """Expires: 0 of an authenticated user (TS 24.229 5.4.1.4)."""
        removed = self.take_out(found, bindings, "user", UNREGISTERED, call_id)
        await self.tell_hss(found, removed, ServerAssignmentType.USER_DEREGISTRATION)

    async def by_hss(self, request: RegistrationTermination) -> None:
        """RTR (TS 29.228 6.1.3): the HSS knows already. No new S-CSCF to go to means rejected (TS 24.229 5.4.1.5)."""
        permanent = request.reason is DeregistrationReason.PERMANENT_TERMINATION
        ended = {request.impi, *request.associated_impis}
        for found in self._named(request):
            bindings = [b for b in found.bindings.values() if b.impi in ended or (request.impus and not request.impi)]
            self.take_out(found, bindings, "network", REJECTED if permanent else DEACTIVATED)

    async def by_operator(self, impu: str) -> bool:
        """An administrator ends a registration here; False if there is none (TS 24.229 5.4.1.5)."""
        found = self._registrations.find(impu)
        if found is None:
            return False
        removed = self.take_out(found, list(found.bindings.values()), "network", REJECTED)
        await self.tell_hss(found, removed, ServerAssignmentType.ADMINISTRATIVE_DEREGISTRATION)
        return True

    def require_authentication(self, found: RegisteredSet) -> None:
        """Network-initiated re-authentication (TS 33.203 6.1.4, TS 24.229 5.4.1.6): whoever stays silent is out."""
        ends_at = asyncio.get_running_loop().time() + self._config.reg_await_auth
        for binding in found.bindings.values():
            binding.reauthenticate = True
            binding.expires_at = min(binding.expires_at, ends_at)
            self._registrations.reschedule(binding)
        self.watch()
        self._regevent.changed(found, [(binding, "shortened") for binding in found.bindings.values()])

    def take_out(
        self, found: RegisteredSet, bindings: Iterable[Binding], cause: str, event: str, call_id: str = ""
    ) -> list[Binding]:
        """Removes them here and tells the subscribers; those that were there still."""
        removed = [binding for binding in bindings if found.bindings.get(binding.key) is binding]
        for binding in removed:
            self._registrations.remove(found, binding)
            self._context.events.emit(
                Deregistered(
                    at=self._context.clock.now(),
                    node=self._context.node,
                    impi=binding.impi,
                    impu=binding.impu,
                    contact=binding.contact,
                    cause=cause,
                    call_id=call_id,
                )
            )
        if removed:
            self._regevent.changed(found, [(binding, event) for binding in removed])
        return removed

    async def tell_hss(self, found: RegisteredSet, removed: list[Binding], kind: ServerAssignmentType) -> None:
        """SAR for each private identity that has no binding left in the set (TS 29.228 6.1.2.1)."""
        for impi, impu in {binding.impi: binding.impu for binding in removed}.items():
            if not found.bindings_of(impi):
                await self._assign(impi, impu, kind)

    async def _assign(self, impi: str, impu: str, kind: ServerAssignmentType) -> None:
        try:
            answer = await self._cx.server_assignment(impi, impu, self._uri, kind, want_profile=False)
        except HssUnavailable:
            result = "no answer"
        else:
            if answer.result.is_success:
                return
            result = answer.result.name
        self._context.notice(
            "warning",
            f"the HSS did not take note that {impu} of {impi} is gone ({kind.name}): {result}",
            "calls for the user are answered here until the HSS knows",
        )

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        ended: list[tuple[RegisteredSet, Binding]] = []
        for binding in self._registrations.due(now):
            found = self._registrations.set_of(binding)
            if found is not None and self.take_out(found, [binding], "expired", EXPIRED):
                ended.append((found, binding))
        self.watch()
        if ended:
            self._context.start(self._tell_of_expired(ended))

    async def _tell_of_expired(self, ended: list[tuple[RegisteredSet, Binding]]) -> None:
        for found, binding in ended:
            again = self._registrations.find(binding.impu)  # the user may have come back while the HSS was asked
            if again is None or not again.bindings_of(binding.impi):
                await self.tell_hss(found, [binding], ServerAssignmentType.TIMEOUT_DEREGISTRATION)

    def _named(self, request: RegistrationTermination) -> list[RegisteredSet]:
        if not request.impus:
            impis = (request.impi, *request.associated_impis)
            return list(dict.fromkeys(found for impi in impis for found in self._registrations.sets_of(impi)))
        named = [self._registrations.find(impu) for impu in request.impus]
        return list(dict.fromkeys(found for found in named if found is not None))
