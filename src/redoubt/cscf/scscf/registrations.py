"""Who is registered at this S-CSCF (TS 24.229 5.4.1): implicit registration sets, and their bindings.

One table, and one queue that is ordered by expiry instead of a timer for each binding. What a registration means for
the HSS and for subscribers of registration state is decided in registration.py and deregistration.py.
"""

from dataclasses import dataclass, field

from redoubt.cscf.lapses import Lapses
from redoubt.diameter.cx import PublicIdentity, UserProfile
from redoubt.expressions import ExpressionError, expression
from redoubt.limits import IMPU_OCTETS
from redoubt.sip.fields import ROUTE
from redoubt.sip.grammar import Params, print_params
from redoubt.sip.uri import SipUri


@dataclass(slots=True, eq=False)
class Binding:
    """A contact address of one private identity, and the way to it."""

    contact: str  # the URI as the phone wrote it
    impi: str
    impu: str  # the identity in the To of its REGISTER
    path: tuple[str, ...]  # Path values, topmost first: the Route towards the phone (RFC 3327 5.4)
    q: float
    expires_at: float  # loop time
    call_id: str
    cseq: int
    params: Params = ()  # of the Contact: +sip.instance, reg-id, feature tags
    reauthenticate: bool = False  # the network asked for a new authentication (TS 33.203 6.1.4)
    key: str = ""  # contact_identity
    queued_at: float = 0.0  # where it stands in the queue of expiries

    def as_contact(self, now: float) -> str:
        """As the Contact of a 200 lists it."""
        q = f";q={self.q:g}" if self.q != 1.0 else ""
        return f"<{self.contact}>;expires={round(self.expires_at - now)}{q}{print_params(self.params)}"


@dataclass(slots=True, eq=False)
class RegisteredSet:
    """An implicit registration set with at least one binding."""

    profile: UserProfile
    bindings: dict[str, Binding] = field(default_factory=dict)  # by contact_identity

    @property
    def default_impu(self) -> str:
        """The first identity that is not barred (TS 24.229 5.4.1.2.2)."""
        return self.profile.default_impu

    @property
    def associated(self) -> tuple[str, ...]:
        """P-Associated-URI values: the set without barred ones, the default first (TS 24.229 5.4.1.2.2)."""
        return tuple([f"<{i.impu}>" for i in self.profile.identities if not i.barred and not i.wildcard])

    def identity(self, impu: str) -> PublicIdentity | None:
        """The identity of the set that this one is, or falls under by its wildcard (TS 23.003 13.4A)."""
        identities = self.profile.identities
        for identity in identities:
            if identity.impu == impu:
                return identity
        return next((i for i in identities if i.wildcard and matches_wildcard(i.wildcard, impu)), None)

    def bindings_of(self, impi: str) -> list[Binding]:
        """What one private identity registered."""
        return [binding for binding in self.bindings.values() if binding.impi == impi]


class Registrations:
    """All registered sets, found by any of their identities."""

    def __init__(self) -> None:
        self._by_impu: dict[str, RegisteredSet] = {}
        self._by_impi: dict[str, tuple[RegisteredSet, ...]] = {}
        self._wildcarded: list[RegisteredSet] = []
        self._expiries: Lapses[Binding] = Lapses()
        self._sets = 0

    @property
    def size(self) -> tuple[int, int]:
        """Sets and bindings held: both zero when nobody is registered."""
        return self._sets, len(self._expiries)

    def find(self, impu: str) -> RegisteredSet | None:
        """The set of an identity, distinct ones before wildcarded ones (TS 29.228 6.1.4)."""
        found = self._by_impu.get(impu)
        if found is None and self._wildcarded:
            return next((s for s in self._wildcarded if s.identity(impu) is not None), None)
        return found

    def contacts(self, impu: str, now: float) -> list[Binding]:
        """The live bindings of an identity, best q first. Whether a barred one is served is the caller's rule."""
        found = self.find(impu)
        if found is None:
            return []
        live = [binding for binding in found.bindings.values() if binding.expires_at > now]
        return live if len(live) < 2 else sorted(live, key=lambda binding: -binding.q)

    def sets_of(self, impi: str) -> tuple[RegisteredSet, ...]:
        """Every set in which the private identity has a binding."""
        return self._by_impi.get(impi, ())

    def set_of(self, binding: Binding) -> RegisteredSet | None:
        """The set that holds this very binding."""
        return next((s for s in self.sets_of(binding.impi) if s.bindings.get(binding.key) is binding), None)

    def add(self, profile: UserProfile, binding: Binding) -> RegisteredSet:
        """Puts a binding in, in the place of the one with the same key."""
        found = self._by_impu.get(profile.identities[0].impu)
        if found is None:
            found = RegisteredSet(profile)
            self._sets += 1
            self._index(found)
        elif found.profile is not profile:
            self.change_profile(found, profile)
        earlier = found.bindings.get(binding.key)
        if earlier is not None:
            self._expiries.discard(earlier)
        found.bindings[binding.key] = binding
        sets = self._by_impi.get(binding.impi, ())
        if found not in sets:
            self._by_impi[binding.impi] = (*sets, found)
        self._expiries.put(binding)
        return found

    def reschedule(self, binding: Binding) -> None:
        """After its expires_at was changed."""
        self._expiries.put(binding)

    def remove(self, found: RegisteredSet, binding: Binding) -> None:
        """Takes a binding out, and the set with its last one."""
        if found.bindings.get(binding.key) is not binding:
            return
        del found.bindings[binding.key]
        self._expiries.discard(binding)
        if not found.bindings_of(binding.impi):
            left = tuple([s for s in self._by_impi[binding.impi] if s is not found])
            if left:
                self._by_impi[binding.impi] = left
            else:
                del self._by_impi[binding.impi]
        if not found.bindings:
            self._sets -= 1
            self._drop(found)

    def change_profile(self, found: RegisteredSet, profile: UserProfile) -> None:
        """What the HSS pushed, or answered to a later registration (TS 29.228 6.2.2)."""
        self._drop(found)
        found.profile = profile
        self._index(found)

    @property
    def next_expiry(self) -> float | None:
        """Loop time at which `due` may have something."""
        return self._expiries.next_at

    def due(self, now: float) -> list[Binding]:
        """The bindings whose time has come; they stay in their sets until they are removed."""
        return self._expiries.due(now)

    def _index(self, found: RegisteredSet) -> None:
        for identity in found.profile.identities:
            self._by_impu[identity.impu] = found
        if any(identity.wildcard for identity in found.profile.identities):
            self._wildcarded.append(found)

    def _drop(self, found: RegisteredSet) -> None:
        for identity in found.profile.identities:
            if self._by_impu.get(identity.impu) is found:
                del self._by_impu[identity.impu]
        if found in self._wildcarded:
            self._wildcarded.remove(found)


def matches_wildcard(wildcard: str, impu: str) -> bool:
    """Whether an identity falls under `sip:room!.*!@example`, another node's expression (TS 23.003 13.4A)."""
    before, mark, rest = wildcard.partition("!")
    inside, closed, after = rest.rpartition("!")
    end = len(impu) - len(after)
    if not mark or not closed or len(impu) > IMPU_OCTETS or end < len(before):
        return False
    if not impu.startswith(before) or not impu.endswith(after):
        return False
    try:
        return expression(inside).covers(impu[len(before) : end])
    except ExpressionError:
        return False


def way_of(path: tuple[str, ...]) -> tuple[str, str]:
    """Into which network a Path leads: its hop next to here, a P-CSCF of ours, or our border and the partner's name.

    What stands further on is another network's word. The user of a P-CSCF's entry is a flow of one phone (RFC 5626).
    """
    uri = ROUTE.parse(path[0]).uri if path else None
    if not isinstance(uri, SipUri):
        return "", ""
    return uri.host, "" if uri.has("ob") else uri.user or ""
