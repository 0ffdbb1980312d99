"""What a P-CSCF knows of its phones outlives its process, beside their associations (redoubt.gm.restart).

Kept is who is registered, with what and on which phone's associations, and which dialogs are confirmed: so calls and
registrations go on as if nothing had been. Requests under way when the process died are repeated by whoever sent them.
"""

from collections.abc import Hashable

from msgspec import DecodeError, Struct, ValidationError, msgpack

from redoubt.cscf.pcscf.bindings import Binding, Bindings
from redoubt.cscf.pcscf.dialogs import Dialog, DialogKey, Dialogs
from redoubt.cscf.pcscf.gm import Gm
from redoubt.gm.association_set import PhoneKey
from redoubt.gm.ledger import Keepsakes
from redoubt.gm.states import Event
from redoubt.sources import Clock


class BindingRecord(Struct, frozen=True, array_like=True, tag="b"):
    """A binding whose phone has associations. Times are wall-clock times."""

    phone: tuple[str, str]
    token: str
    contact: str
    impu: str
    key: str
    impi: str
    instance: str | None
    call_id: str
    cseq: int
    is_ending: bool
    expires_at: float
    service_route: tuple[str, ...]
    associated: tuple[str, ...]


class DialogRecord(Struct, frozen=True, array_like=True, tag="d"):
    """A confirmed dialog of such a binding."""

    key: DialogKey
    owner: tuple[str, str]  # its address of record and key
    routes: tuple[str, ...]
    cseq: int
    lifetime_s: float
    expires_at: float


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(BindingRecord | DialogRecord).decode


class Memory:
    """Writes down what changes in the tables of bindings and dialogs."""

    def __init__(self, keepsakes: Keepsakes, clock: Clock, now: float) -> None:
        """`now` is the loop's time."""
        self._keepsakes = keepsakes
        self._offset_s = clock.now() - now

    def binding(self, binding: Binding) -> None:
        """It is new, or it changed."""
        sender = binding.sender
        if not isinstance(sender, PhoneKey):
            return
        record = BindingRecord(
            (sender.impi, sender.contact), binding.token, binding.contact, binding.impu, binding.key, binding.impi,
            binding.instance, binding.call_id, binding.cseq, binding.is_ending, binding.expires_at + self._offset_s,
            binding.service_route, binding.associated,
        )  # fmt: skip
        self._keepsakes.keep(binding, _encode(record))

    def dialog(self, dialog: Dialog) -> None:
        """It was confirmed or refreshed."""
        owner = dialog.owner
        if dialog.confirmed and isinstance(owner.sender, PhoneKey):
            record = DialogRecord(
                dialog.key, (owner.impu, owner.key), dialog.routes, dialog.cseq, dialog.lifetime_s,
                dialog.expires_at + self._offset_s,
            )  # fmt: skip
            self._keepsakes.keep(dialog, _encode(record))

    def forget(self, thing: Binding | Dialog) -> None:
        self._keepsakes.forget(thing)

    def recall(self, bindings: Bindings, dialogs: Dialogs, gm: Gm) -> list[Binding]:
        """Fills the tables with what a former process kept, and ends associations that nobody is registered on."""
        found: list[DialogRecord] = []
        recalled: list[Binding] = []

        def revive(octets: bytes) -> Hashable | None:
            try:
                record = _decode(octets)
            except (DecodeError, ValidationError):
                return None
            if isinstance(record, DialogRecord):
                found.append(record)
                return None  # until its binding is there
            binding = self._revived(record, bindings, gm)
            recalled.extend([binding] if binding is not None else [])
            return binding

        self._keepsakes.take_over(revive)
        owners = {(each.impu, each.key): each for each in recalled}
        for record in found:
            self._resume(record, owners.get(record.owner), dialogs)
        _end_unused(gm, {each.sender for each in recalled})
        return recalled

    def _revived(self, record: BindingRecord, bindings: Bindings, gm: Gm) -> Binding | None:
        protecting = gm.associations.outgoing(PhoneKey(*record.phone))
        lifetime_s = record.expires_at - self._offset_s - bindings.now()
        if protecting is None or protecting.flow is None or lifetime_s <= 0:
            return None
        binding = Binding(
            record.token, record.contact, record.impu, protecting.flow, record.key, record.impi, record.instance
        )
        binding.call_id, binding.cseq = record.call_id, record.cseq
        binding.learn(record.service_route, record.associated)
        bindings.keep(binding, protecting.flow, lifetime_s)
        binding.is_ending = record.is_ending
        return binding

    def _resume(self, record: DialogRecord, owner: Binding | None, dialogs: Dialogs) -> None:
        if owner is not None:
            dialog = Dialog(record.key, owner, record.routes, record.cseq, True, record.lifetime_s)
            dialogs.add(dialog)
            self.dialog(dialog)


def _end_unused(gm: Gm, registered: set[Hashable]) -> None:
    """A phone whose binding did not last must not think that it is served: its next request goes unanswered, and it
    registers anew.
    """
    for key, phone in list(gm.associations.phones.items()):
        for each in list(phone.sets) if key not in registered else ():
            gm.associations.ended(each, Event.RESTARTED)
