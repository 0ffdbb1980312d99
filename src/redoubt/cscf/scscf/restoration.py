"""Registrations that outlive the S-CSCF's memory (TS 23.380 4): the HSS keeps what it takes to serve them.

Each registration tells the HSS its contacts and the way to them; who is asked for a user that it has forgotten gets
them back, and goes on.
"""

import asyncio
from collections.abc import Callable, Iterable

from redoubt.config import SCscfConfig
from redoubt.cscf.registering import contact_identity
from redoubt.cscf.scscf.regevent import RegEvent
from redoubt.cscf.scscf.registrations import Binding, RegisteredSet, Registrations
from redoubt.cscf.scscf.verdicts import report_registered
from redoubt.diameter.cx import (
    Cx,
    HssUnavailable,
    RegisteredContact,
    RestorationInfo,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserProfile,
    WatcherDialog,
)
from redoubt.events import Check
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import print_params
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri, Uri, parse_uri


class Restoration:
    def __init__(
        self,
        context: Context,
        config: SCscfConfig,
        uri: str,
        cx: Cx,
        registrations: Registrations,
        regevent: RegEvent,
        watch: Callable[[], None],
    ) -> None:
        """`watch` sees to it that the end of what came back is noticed."""
        self._context = context
        self._config = config
        self._uri = uri
        self._cx = cx
        self._registrations = registrations
        self._regevent = regevent
        self._watch = watch

    def info(self, impi: str, bindings: Iterable[Binding], found: RegisteredSet | None) -> RestorationInfo:
        """What the HSS is to keep of a private identity that has these bindings, in a set that is there already.

        A first registration has no watchers yet: theirs are kept with the next.
        """
        dialogs = self._regevent.dialogs(found) if found is not None else []
        contacts: list[RegisteredContact] = []
        last = 0.0
        for binding in bindings:
            contacts.append(
                RegisteredContact(
                    *(_contact(binding), binding.path, binding.call_id, binding.cseq),
                    next((one for one in dialogs if one.contact == binding.contact), None),
                    next((one for one in dialogs if _is_on_path(one, binding)), None),
                )
            )
            last = max(last, binding.expires_at)
        left_s = last - asyncio.get_running_loop().time()
        return RestorationInfo(impi, tuple(contacts), round(self._context.clock.now() + left_s))

    def keep(self, impi: str, impu: str, bindings: Iterable[Binding], found: RegisteredSet) -> None:
        """Tells the HSS what changed without a challenge; nobody waits for it."""
        self._context.start(self._tell(impu, self.info(impi, bindings, found)))

    async def recall(self, impu: str) -> RegisteredSet | None:
        """The set of an identity of which nothing is known here; None if it has no registration (TS 23.380 4.3.2)."""
        try:
            answer = await self._cx.server_assignment("", impu, self._uri, ServerAssignmentType.NO_ASSIGNMENT)
        except HssUnavailable:
            return None
        self.take_back(answer)
        return self._registrations.find(impu)

    def take_back(self, answer: ServerAssignmentAnswer, known: Iterable[str] = ()) -> None:
        """Binds what the HSS kept, but contacts that were bound again meanwhile or are about to be (`known`)."""
        profile = answer.profile
        if profile is None or not profile.default_impu:
            return
        before = self._registrations.find(profile.default_impu)
        there = {*known, *(before.bindings if before is not None else ())}
        for info in answer.restoration:
            left_s = info.ends_at - self._context.clock.now() if info.ends_at else self._config.default_expires
            if left_s <= 0:
                continue
            for contact in info.contacts:
                binding = self._binding(profile, info.impi, contact, left_s)
                if binding is None or binding.key in there:
                    continue
                found = self._registrations.add(profile, binding)
                for dialog in (contact.watched_by_phone, contact.watched_by_p_cscf):
                    if dialog is not None:
                        self._regevent.restore(found, dialog, binding.expires_at)
                self._report(binding)
                report_registered(self._context, binding, round(left_s))
        self._watch()

    async def _tell(self, impu: str, info: RestorationInfo) -> None:
        kind = ServerAssignmentType.RE_REGISTRATION
        try:
            await self._cx.server_assignment(info.impi, impu, self._uri, kind, want_profile=False, restoration=info)
        except HssUnavailable:
            return  # the HSS keeps what it had; it learns the rest with the next registration

    def _binding(
        self, profile: UserProfile, impi: str, kept: RegisteredContact, left_s: float
    ) -> Binding | None:
        try:
            contact = NameAddr.parse(kept.contact)
        except SipError as fault:
            self._context.notice("warning", f"the HSS kept a contact of {impi} that can't be read: {fault.why}")
            return None
        return Binding(
            str(contact.uri),
            impi,
            profile.default_impu,
            kept.path,
            contact.q,
            asyncio.get_running_loop().time() + left_s,
            kept.call_id,
            kept.cseq,
            tuple([p for p in contact.params if p[0] not in ("expires", "q")]),
            key=contact_identity(impi, contact),
        )

    def _report(self, binding: Binding) -> None:
        self._context.events.emit(
            Check(
                at=self._context.clock.now(),
                node=self._context.node,
                call_id=binding.call_id,
                step="SAR",
                rule="a registration that this S-CSCF has forgotten comes back from the HSS",
                passed=True,
                impi=binding.impi,
                impu=binding.impu,
                clause="TS 23.380 4.3.2",
            )
        )


def _is_on_path(dialog: WatcherDialog, binding: Binding) -> bool:
    """Whether the watcher is the P-CSCF that the phone registered through."""
    hosts = [_host(NameAddr.parse(path).uri) for path in binding.path]
    return _host(parse_uri(dialog.contact)) in hosts


def _host(uri: Uri) -> str:
    return uri.host if isinstance(uri, SipUri) else ""


def _contact(binding: Binding) -> str:
    q = f";q={binding.q:g}" if binding.q != 1.0 else ""
    return f"<{binding.contact}>{q}{print_params(binding.params)}"
