"""Who is registered through this P-CSCF, from which flow and with what (TS 24.229 5.2.2, the 200)."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redoubt.cscf.lapses import Ends
from redoubt.cscf.pcscf.gm import Gm, sender_of
from redoubt.gm.association_set import PhoneKey
from redoubt.sip.grammar import split_list
from redoubt.sip.headers.addresses import NameAddr
from redoubt.transport.flow import EspAssociation, Flow

if TYPE_CHECKING:
    from redoubt.cscf.pcscf.dialogs import Dialog
    from redoubt.cscf.pcscf.restart import Memory


@dataclass(slots=True, eq=False)
class Binding:
    """One contact of one phone. `associated` and `service_route` are header lines as the S-CSCF wrote them."""

    token: str  # of the Path that it was registered with; contacts of one REGISTER have it in common
    contact: str  # the URI as the phone wrote it
    impu: str  # the address of record that was registered
    flow: Flow  # that it was registered over; of a phone with associations only the way that its last REGISTER came
    key: str = ""  # contact_identity: phones that share an identity may have one address, behind different NATs
    impi: str = ""  # the private identity that registered
    instance: str | None = None  # +sip.instance, if the phone has one
    sender: Hashable = None  # whose requests are this phone's: its `PhoneKey`, else what `gm.sender_of` says
    call_id: str = ""  # of the last REGISTER that was accepted, with its CSeq
    cseq: int = 0
    is_ending: bool = False  # the network ended the registration; the phone may still hear of it
    has_left: bool = False  # the table: what its calls still hear makes nothing new
    expires_at: float = 0.0  # loop time
    queued_at: float = 0.0  # where it stands in the queue of expiries
    service_route: tuple[str, ...] = ()
    associated: tuple[str, ...] = ()
    dialogs: dict["Dialog", None] = field(default_factory=dict)
    _identities: tuple[NameAddr, ...] | None = None

    @property
    def identities(self) -> tuple[NameAddr, ...]:
        """The identities that the phone may claim, the default first (TS 24.229 5.2.2: P-Associated-URI)."""
        if self._identities is None:
            texts = [text for line in self.associated for text in split_list(line)] or [f"<{self.impu}>"]
            self._identities = tuple([NameAddr.parse(text) for text in texts])
        return self._identities

    @property
    def default_identity(self) -> NameAddr:
        return self.identities[0]

    def owns(self, identity: NameAddr) -> NameAddr | None:
        """The registered form of an identity, or None if it is not of this set."""
        wanted = identity.uri.aor
        for known in self.identities:
            if known.uri.aor == wanted:
                return known
        return None

    def learn(self, service_route: tuple[str, ...], associated: tuple[str, ...]) -> None:
        """What a 200 to a REGISTER says replaces what an earlier one said."""
        self.service_route = service_route
        if associated != self.associated:
            self.associated = associated
            self._identities = None


class Bindings:
    """The table. `ended` hears of each binding after it left."""

    def __init__(self, ended: Callable[[Binding], None], gm: Gm | None = None) -> None:
        self._ended = ended
        self._gm = gm
        self.memory: Memory | None = None
        self._by_key: dict[tuple[str, str], Binding] = {}  # (impu, contact_identity)
        self._by_token: dict[str, tuple[Binding, ...]] = {}  # mostly one
        self._by_sender: dict[Hashable, list[Binding]] = {}
        self._by_impu: dict[str, tuple[Binding, ...]] = {}  # mostly one
        self._expiries: Ends[Binding] = Ends(self.remove)

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def without_ipsec(self) -> int:
        """How many are of phones that nothing protects."""
        return sum(not isinstance(binding.sender, PhoneKey) for binding in self._by_key.values())

    def now(self) -> float:
        """Loop time, in which lifetimes are counted."""
        return asyncio.get_running_loop().time()

    def find(self, impu: str, key: str) -> Binding | None:
        """The binding of an identity at one contact of one phone, as `contact_identity` tells them apart."""
        return self._by_key.get((impu, key))

    def of_flow(self, flow: Flow) -> list[Binding]:
        """The bindings that were registered over this flow, or over any association of its phone: who its sender is."""
        return self._by_sender.get(self._sender(flow), [])

    def way_to(self, binding: Binding) -> Flow | None:
        """What a phone is reached on: the flow that it registered over, or the association that is in use."""
        if self._gm is not None and isinstance(binding.sender, PhoneKey):
            return self._gm.way_to(binding.sender)
        return None if binding.flow.is_closed() else binding.flow

    def of_token(self, token: str, contact: str = "") -> Binding | None:
        """The binding that a Path or Record-Route names: of several, the one with this contact, or any."""
        named = self._by_token.get(token)
        if named is None:
            return None
        return next((one for one in named if one.contact == contact), named[0])

    def of_impu(self, impu: str) -> list[Binding]:
        return list(self._by_impu.get(impu, ()))

    def keep(self, binding: Binding, flow: Flow, lifetime_s: float) -> None:
        """Adds the binding, or refreshes it, maybe from another flow."""
        sender = self._sender(flow)
        mates = self._by_sender.setdefault(sender, [])
        if binding not in mates:
            self._leave_flow(binding)
            mates.append(binding)
        binding.flow, binding.sender = flow, sender
        flow.kept = True  # the connection of an authenticated phone is not the one to go (requirement row 96)
        binding.is_ending = False
        self._by_key[binding.impu, binding.key] = binding
        binding.has_left = False
        _add(self._by_token, binding.token, binding)
        _add(self._by_impu, binding.impu, binding)
        self.shorten(binding, lifetime_s)

    def rename(self, binding: Binding, token: str) -> None:
        """The S-CSCF knows the binding by another Path from now on."""
        if binding in self._by_token.get(binding.token, ()):
            _take(self._by_token, binding.token, binding)
            _add(self._by_token, token, binding)
        binding.token = token

    def shorten(self, binding: Binding, lifetime_s: float) -> None:
        """Sets the time that is left."""
        binding.expires_at = self.now() + lifetime_s
        self._expiries.put(binding)
        if self.memory is not None:
            self.memory.binding(binding)

    def demand_authentication(self, binding: Binding, within_s: float) -> None:
        """The network gives the phone so long to authenticate anew (TS 33.203 6.1.4)."""
        self.shorten(binding, within_s)
        if self._gm is not None and isinstance(binding.sender, PhoneKey):
            self._gm.shortened(binding.sender, within_s)

    def end(self, binding: Binding, after_s: float) -> None:
        """The network ended the registration: nothing new starts here, and soon the binding goes."""
        binding.is_ending = True
        if binding in self._by_token.get(binding.token, ()):
            self.shorten(binding, after_s)

    def remove(self, binding: Binding) -> None:
        """The binding ended, however. Twice is once."""
        if binding not in self._by_token.get(binding.token, ()):
            return
        _take(self._by_token, binding.token, binding)
        _take(self._by_impu, binding.impu, binding)
        self._by_key.pop((binding.impu, binding.key), None)
        binding.has_left = True
        self._leave_flow(binding)
        self._expiries.discard(binding)
        if self.memory is not None:
            self.memory.forget(binding)
        self._end_associations(binding)
        self._ended(binding)

    def clear(self) -> None:
        """Forgets all, without telling anyone."""
        for table in (self._by_key, self._by_token, self._by_sender, self._by_impu):
            table.clear()
        self._expiries.clear()

    def _leave_flow(self, binding: Binding) -> None:
        mates = self._by_sender.get(binding.sender, [])
        if binding in mates:
            mates.remove(binding)
            if not mates:
                del self._by_sender[binding.sender]
                binding.flow.kept = False

    def _end_associations(self, binding: Binding) -> None:
        """When an identity has no other binding at the phone, its registration ended there (TS 24.229 5.2.5)."""
        if self._gm is None or not isinstance(binding.sender, PhoneKey):
            return
        if all(mate.impu != binding.impu for mate in self._by_sender.get(binding.sender, ())):
            self._gm.deregistered(binding.sender, binding.impu)

    def _sender(self, flow: Flow) -> Hashable:
        if self._gm is not None and isinstance(flow.security, EspAssociation):
            return self._gm.sender(flow)
        return sender_of(flow)


def _add(rows: dict[str, tuple[Binding, ...]], key: str, binding: Binding) -> None:
    siblings = rows.get(key, ())
    if binding not in siblings:
        rows[key] = (*siblings, binding)


def _take(rows: dict[str, tuple[Binding, ...]], key: str, binding: Binding) -> None:
    siblings = tuple([other for other in rows[key] if other is not binding])
    if siblings:
        rows[key] = siblings
    else:
        del rows[key]
