"""Whether and how a P-CSCF sets up one more temporary set: SPIs, ports, ceilings, and who has to make room.

TS 33.203 7.1, 7.4 and 7.5. An attempt that has proved nothing never costs a set that has (requirement rows 42, 47).
"""

from collections.abc import Callable

from msgspec import Struct

from redoubt.gm.agreement import Agreement, AgreementPolicy, Offer, server_list
from redoubt.gm.algorithms import expand
from redoubt.gm.allocation import Allocator, NothingLeft, Taken
from redoubt.gm.association_set import AssociationSet, Beginning, EndsTaken, PathFailed, Phone, PhoneKey
from redoubt.gm.associations import Associations
from redoubt.gm.half_open import HalfOpen
from redoubt.gm.states import CONFIRMED, TABLE, Event, Row, State
from redoubt.limits import ASSOCIATION_SETS_PER_IMPI, RETRY_AFTER_S
from redoubt.secret import Secret
from redoubt.sip.errors import SipError


class Attempt(Struct, frozen=True, gc=False):
    """A challenge that is about to go to a phone (SM6), and what its REGISTER (SM1) said.

    `over` is the set that carried the REGISTER. `address` is where it came from, `inner` what the phone calls itself:
    another address when a NAT stands between.
    """

    phone: PhoneKey
    address: str
    inner: str
    call_id: str
    nonce: str
    client: str
    offer: Offer
    ck: Secret
    ik: Secret
    over: AssociationSet | None = None


_RETRY = (("Retry-After", str(RETRY_AFTER_S[1])),)
# Who makes room for another set of the same private identity, first to last. All are past their use, or unproven.
_DISPENSABLE = (State.REFUSED, State.CLOSING, State.TEMPORARY, State.OLD)


class Admission:
    """The P-CSCF's side of setting up."""

    def __init__(
        self,
        associations: Associations,
        allocator: Allocator,
        policy: AgreementPolicy,
        half_open: HalfOpen | None = None,
    ) -> None:
        self._associations = associations
        self._allocator = allocator
        self._policy = policy
        self._half_open = half_open if half_open is not None else HalfOpen()
        self._of_impi: dict[str, list[AssociationSet]] = {}
        self._heard_packets: dict[AssociationSet, int] = {}  # of phones beside another: at that one's last success
        associations.listeners.append(self._heard)

    @property
    def half_open(self) -> int:
        return len(self._half_open)

    def prepare(self, attempt: Attempt) -> AssociationSet:
        """The temporary set of a challenge; its agreement's `server` goes into the 401. Raises SipError; at most
        attempts that this one replaces, and sets past their use, are gone then.
        """
        over = attempt.over
        if over is not None and over.phone.key.impi != attempt.phone.impi:
            raise SipError(403, "the association belongs to another private identity", "TS 33.203 7.1")
        if over is not None and not over.carries_requests:
            raise SipError(403, "the association that carried the request has ended", "TS 33.203 7.4")
        phone = over.phone.key if over is not None else self._known_as(attempt)
        self._replace_earlier(phone, attempt)
        self._make_room(phone.impi, over)
        if over is None and (last := self._half_open.in_the_way(attempt.address)) is not None:
            self._associations.ended(last, Event.EVICTED)
        agreement = self._agree(phone.impi, attempt)
        beginning = Beginning(
            phone, agreement, expand(agreement.suite, attempt.ck, attempt.ik),
            attempt.address, attempt.inner, attempt.call_id, attempt.nonce, _vouches(over),
            _rank_of(over),
        )  # fmt: skip
        try:
            begun = self._associations.begin(beginning)
        except PathFailed as failure:
            self._allocator.release(
                phone.impi, attempt.address, agreement.network, agreement.phone, attempt.inner
            )
            if isinstance(failure, EndsTaken) and over is not None and over.state in (State.TEMPORARY, State.ANSWERED):
                why = f"a second challenge under the SPIs of the first: the phone has to begin anew ({failure})"
                raise SipError(403, why, "TS 33.203 7.3") from failure
            if isinstance(failure, EndsTaken):
                raise self._taken(attempt.offer, str(failure)) from failure
            raise SipError(503, str(failure), "TS 33.203 7.1", _RETRY) from failure
        self._of_impi.setdefault(phone.impi, []).append(begun)
        if over is None:
            self._half_open.add(begun)
        return begun

    def adopt(self, beginning: Beginning, enter: Callable[[], AssociationSet]) -> AssociationSet:
        """A set of a former process: its SPIs and ports are its own again. Raises Taken and PathFailed."""
        impi, address, inner = beginning.phone.impi, beginning.address, beginning.inner
        agreement = beginning.agreement
        self._allocator.adopt(impi, address, agreement.network, agreement.phone, inner)
        try:
            adopted = enter()
        except PathFailed:
            self._allocator.release(impi, address, agreement.network, agreement.phone, inner)
            raise
        self._of_impi.setdefault(impi, []).append(adopted)
        return adopted

    # ---- inside

    def _known_as(self, attempt: Attempt) -> PhoneKey:
        """A phone that forgot everything may name another contact; its address and server port are still its own."""
        for each in self._of_impi.get(attempt.phone.impi, ()):
            if each.address == attempt.address and each.agreement.phone.port_s == attempt.offer.ends.port_s:
                return each.phone.key
        return attempt.phone

    def _replace_earlier(self, phone: PhoneKey, attempt: Attempt) -> None:
        """A phone has one attempt at a time (TS 24.229 5.4.1.2.1). Only the address that began one replaces it: anybody
        may begin another in the phone's name.
        """
        for each in list(self._of_impi.get(phone.impi, ())):
            same = each.phone.key == phone and each.address == attempt.address
            if same and each.state in (State.TEMPORARY, State.REFUSED):
                self._associations.ended(each, Event.REPLACED)

    def _make_room(self, impi: str, over: AssociationSet | None) -> None:
        """At most six associations a direction for a private identity, two of them a set's (TS 33.203 7.4). What still
        serves an INVITE goes last, and never for a stranger.
        """
        held = self._of_impi.get(impi, [])
        while len(held) >= ASSOCIATION_SETS_PER_IMPI:
            candidates = [each for each in held if each.state in _DISPENSABLE and each is not over]
            if over is None:
                candidates = [each for each in candidates if not each.pending]
            if not candidates:
                raise SipError(
                    503, "the private identity has all the associations it may have", "TS 33.203 7.4", _RETRY
                )
            first = min(candidates, key=lambda one: (one.pending > 0, _DISPENSABLE.index(one.state), one.number))
            self._associations.ended(first, Event.EVICTED)
            held = self._of_impi.get(impi, [])

    def _agree(self, impi: str, attempt: Attempt) -> Agreement:
        """Raises 494 or 503 when SPIs or ports can't be had."""
        offer, over = attempt.offer, attempt.over
        keep = over.agreement.network.port_s if over is not None else None
        try:
            ours = self._allocator.allocate(impi, attempt.address, offer.ends, attempt.inner, keep)
        except Taken as taken:
            raise self._taken(offer, str(taken)) from taken
        except NothingLeft as nothing:
            raise SipError(503, str(nothing), "TS 33.203 7.1", _RETRY) from nothing
        server = server_list(self._policy, offer.mode, ours)
        return Agreement(offer.suite, offer.mode, offer.ends, ours, attempt.client, server)

    def _taken(self, offer: Offer, why: str) -> SipError:
        """The phone may try others at once. The list names no SPIs: nothing is set up."""
        refusal = (("Security-Server", server_list(self._policy, offer.mode)),)
        return SipError(494, why, "TS 33.203 7.1", refusal)

    def _leave_room(self, proved: AssociationSet) -> None:
        """An attempt of whoever has the card must find a place, or a card that was in three phones, or in one whose
        contact changed, would be locked out for as long as those are registered. So a phone that proves itself
        displaces the one that did so longest ago; one that only renews its proof, one that was silent meanwhile.
        """
        beside = [each for each in self._of_impi.get(proved.phone.key.impi, ()) if each.phone is not proved.phone]
        if not beside:
            return
        own = sum(each.state in CONFIRMED for each in proved.phone.sets) if proved.vouched else 1
        for phone in sorted({each.phone for each in beside}, key=_proved_at):
            held = sum(each.state in CONFIRMED for each in beside)
            if own + held < ASSOCIATION_SETS_PER_IMPI:
                break
            if not proved.vouched or self._is_silent(phone):
                for each in list(phone.sets):
                    if (each.state, Event.DISPLACED) in TABLE:
                        self._associations.ended(each, Event.DISPLACED)
        for each in beside:
            if each.state is not State.ENDED:
                self._heard_packets[each] = self._associations.usage(each).received_packets

    def _is_silent(self, phone: Phone) -> bool:
        """Nothing came from it since another phone of its private identity last proved itself."""
        heard, usage = self._heard_packets, self._associations.usage
        return all(heard.get(each) == usage(each).received_packets for each in phone.sets if each.state in CONFIRMED)

    def _heard(self, changed: AssociationSet, before: State, event: Event, _row: Row | None) -> None:
        if before is State.TEMPORARY and changed.state is not State.TEMPORARY:
            self._half_open.discard(changed)
        if event is Event.AUTHENTICATED and changed.state is State.ESTABLISHED:
            self._leave_room(changed)
        if changed.state is State.ENDED and before is not State.ENDED:
            self._release(changed)

    def _release(self, gone: AssociationSet) -> None:
        self._heard_packets.pop(gone, None)
        held = self._of_impi[gone.phone.key.impi]
        held.remove(gone)
        if not held:
            del self._of_impi[gone.phone.key.impi]
        agreement = gone.agreement
        self._allocator.release(
            gone.phone.key.impi, gone.address, agreement.network, agreement.phone, gone.inner
        )


def _proved_at(phone: Phone) -> int:
    """The last of its sets' authentications, in their order."""
    return max((each.rank for each in phone.sets), default=0)


def _vouches(over: AssociationSet | None) -> bool:
    """Whether the attempt goes back to a phone that was registered: another challenge to an answer (TS 33.203 6.1.3)
    is as good as the first one was.
    """
    return over is not None and (over.vouched or over.state not in (State.TEMPORARY, State.ANSWERED))


def _rank_of(over: AssociationSet | None) -> int | None:
    """Of the set that the phone began on; another challenge to an answer goes back to where the first began."""
    if over is None:
        return None
    return over.over_rank if over.state in (State.TEMPORARY, State.ANSWERED) else over.rank
