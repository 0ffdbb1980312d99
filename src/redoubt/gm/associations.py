"""Association sets of one end of Gm: which there are, what protects what, and when each ends.

Every change of state is a row of `states.TABLE`. The rules that concern several sets of one phone are here: which one
protects what is sent, what a registration prolongs, what a new authentication does to the older sets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redoubt.gm.algorithms import EspKeys
from redoubt.gm.association_set import AssociationSet, Beginning, Path, PathFailed, Phone, PhoneKey, Role, Usage
from redoubt.gm.deadlines import Deadlines
from redoubt.gm.ledger import Ledger, Slot
from redoubt.gm.states import CONFIRMED, TABLE, Event, Life, Row, State
from redoubt.secret import Secret
from redoubt.transport.flow import EspAssociation, Flow

REG_AWAIT_AUTH_S = 240.0  # TS 24.229 7.8
GRACE_S = 30.0  # TS 24.229 5.2.2.2: a set outlives the registration by this
LINGER_S = 128.0  # 64*T1 with the T1 of Gm, 2 s (TS 24.229 7.7): any transaction but an INVITE is over by then
PENDING_S = 900.0  # and this is how long an older set waits for INVITEs: nobody lets a phone ring for longer
FORGOTTEN = EspKeys(Secret(b""), Secret(b""), Secret(b""))
T = TypeVar("T")
_REGISTERED_ON = CONFIRMED | {State.OLD, State.CLOSING}  # sets that a phone authenticated on


Listener = Callable[[AssociationSet, State, Event, Row | None], None]
"""Hears of each event: the set as it is now, its state before, and the row, or None where the table has none."""


class Associations:
    """The sets of one end. All times are the running loop's."""

    def __init__(self, role: Role, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger: Ledger | None = None
        self._role = role
        self._path = path
        self._numbers = 0
        self._ranks = 0
        self.sets: dict[int, AssociationSet] = {}
        self.phones: dict[PhoneKey, Phone] = {}
        self.listeners: list[Listener] = []
        self._deadlines = Deadlines(self._due)

    # ---- questions

    def of(self, flow: Flow) -> AssociationSet | None:
        """The set whose flow this is, while it lives."""
        security = flow.security
        return self.sets.get(security.number) if isinstance(security, EspAssociation) else None

    def outgoing(self, key: PhoneKey) -> AssociationSet | None:
        """The set that protects what is sent now. None means unreachable, never unprotected."""
        phone = self.phones.get(key)
        confirmed = [each for each in phone.sets if each.state in CONFIRMED] if phone else []
        newest = max(confirmed, key=_rank, default=None)
        if self._role is Role.PHONE:
            return newest
        in_use = next((each for each in confirmed if each.state is State.IN_USE), None)
        if in_use is not None and in_use.ends_at - self._loop.time() < LINGER_S:
            return newest  # a transaction that begins now could outlive the older one
        return in_use

    def usage(self, living: AssociationSet) -> Usage:
        """What a living set has carried and refused."""
        return self._path.usage(living)

    def pending(self, key: PhoneKey, call_id: str) -> AssociationSet | None:
        """The set of the challenge that this Call-ID has open."""
        sets = self.phones[key].sets if key in self.phones else []
        return next((each for each in sets if _is_open(each) and each.call_id == call_id), None)

    def counts_as_protected(self, flow: Flow, nonce: str) -> bool:
        """integrity-protected of a REGISTER that names this nonce (TS 33.203 6.1.5): an answer to a challenge counts on
        the set of that challenge alone, any other REGISTER on the set of the latest success alone.
        """
        carrier = self.of(flow)
        if carrier is None:
            return False
        sets = carrier.phone.sets
        answered = next((each for each in sets if nonce and _is_open(each) and each.nonce == nonce), None)
        if answered is not None:
            return carrier is answered
        latest = max((each for each in sets if each.state in CONFIRMED), key=_rank, default=None)
        return carrier is latest

    # ---- what happens

    def begin(self, beginning: Beginning) -> AssociationSet:
        """A temporary set, ready for packets before the 401 leaves or its answer does (TS 33.203 7.2)."""
        now = self._loop.time()
        begun = self._new(beginning, now, self._ledger.claim() if self._ledger is not None else Slot())
        begun.ends_at = now + REG_AWAIT_AUTH_S
        self._enter(begun)
        return begun

    def adopt(
        self, beginning: Beginning, slot: Slot, state: State, rank: int, began_at: float, ends_at: float,
        registered: dict[str, float],
    ) -> AssociationSet:  # fmt: skip
        """A set of a former process, as its slot tells. Times are this loop's. Raises PathFailed."""
        adopted = self._new(beginning, began_at, slot)
        adopted.state, adopted.rank, adopted.ends_at = state, rank, ends_at
        self._ranks = max(self._ranks, rank)
        self._enter(adopted)
        lasting = adopted.phone.registered
        for impu, until in registered.items():
            lasting[impu] = max(until, lasting.get(impu, until))
        return adopted

    def reconcile(self) -> None:
        """After sets were adopted: a process may have died between the two halves of a change."""
        for phone in list(self.phones.values()):
            self._settle(phone)
            newest = max((each for each in phone.sets if each.state is State.IN_USE), key=_rank, default=None)
            if newest is not None:
                self._supersede(newest)

    def received(self, carrier: AssociationSet) -> None:
        """An authentic packet came. Paths need only say so in the states of WAITS_FOR_MESSAGE."""
        first_use = carrier.state is State.ESTABLISHED
        self._apply(carrier, Event.MESSAGE)
        if first_use:
            self._supersede(carrier)

    def registered(self, carrier: AssociationSet, impu: str, expires_s: float) -> bool:
        """A 200 to a REGISTER that came, or was sent, on this set. False: the set is no more, the 200 has no way."""
        phone, now = carrier.phone, self._loop.time()
        if carrier.state is State.ANSWERED:
            phone.registered[impu] = now + expires_s + GRACE_S
            self._authenticated(carrier)
            return True
        lasting = [each for each in phone.sets if each.state in CONFIRMED]
        if not lasting and carrier.state is State.CLOSING:
            lasting = [carrier]
            if not carrier.rank:  # its authentication ended a registration, and now it carries one
                self._succeeded(carrier)
        if not lasting or carrier.state not in _REGISTERED_ON:
            return False
        phone.registered[impu] = now + expires_s + GRACE_S
        for each in lasting:
            self._apply(each, Event.REFRESHED, max(each.ends_at, self._granted(phone)))
        return True

    async def serve(self, flow: Flow, answer: Awaitable[T]) -> T:
        """Awaits the answer to an INVITE on this flow, which may ring for longer than an older set lingers: its set
        lasts for so long (TS 33.203 7.4).
        """
        carrier = self.of(flow)
        if carrier is None:
            return await answer
        carrier.pending += 1
        try:
            return await answer
        finally:
            carrier.pending -= 1
            if carrier.state is State.OLD and not carrier.pending:
                self._apply(carrier, Event.COMPLETED)

    def failed(self, carrier: AssociationSet) -> None:
        """The authentication was refused; call it once the answer has left. Only this attempt's set goes (7.3)."""
        if _is_open(carrier):
            self._apply(carrier, Event.FAILED)

    def concluded(self, carrier: AssociationSet) -> None:
        """The authentication succeeded and ended a registration: its set has served (TS 24.229 5.1.1.6)."""
        if carrier.state is State.ANSWERED:
            self._apply(carrier, Event.CONCLUDED)

    def deregistered(self, key: PhoneKey, impu: str | None = None) -> None:
        """One identity's registration ended, or all did; call it once the 200 or NOTIFY has left (TS 24.229 5.2.5)."""
        phone = self.phones.get(key)
        if phone is None:
            return
        now = self._loop.time()
        left = {name: until for name, until in phone.registered.items() if name != impu and until > now}
        phone.registered = left if impu is not None else {}
        if phone.registered:
            return
        for each in list(phone.sets):
            if (each.state, Event.DEREGISTERED) in TABLE:
                self._apply(each, Event.DEREGISTERED)

    def shortened(self, key: PhoneKey, within_s: float) -> None:
        """The network wants the phone to authenticate within this time (TS 33.203 6.1.4)."""
        phone = self.phones.get(key)
        if phone is None:
            return
        until = self._loop.time() + within_s
        phone.registered = {name: min(end, until) for name, end in phone.registered.items()}
        for each in list(phone.sets):
            if (each.state, Event.SHORTENED) in TABLE:
                self._apply(each, Event.SHORTENED, until)

    def ended(self, gone: AssociationSet, event: Event) -> None:
        """A set that an event of its own ends: REPLACED, EVICTED, EXHAUSTED."""
        self._apply(gone, event)
        self._settle(gone.phone)

    def keep_in(self, ledger: Ledger) -> None:
        """Sets get their slots from this ledger from now on."""
        self._ledger = ledger

    def leave(self) -> None:
        """This process stops and the next one goes on with the sets: nothing of them is ended."""
        self._deadlines.clear()

    def close(self) -> None:
        """Ends all sets, as a process that stops."""
        for each in list(self.sets.values()):
            each.state = State.ENDED
            self._remove(each)
        self._deadlines.clear()

    # ---- inside

    def _new(self, beginning: Beginning, now: float, slot: Slot) -> AssociationSet:
        phone = self.phones.get(beginning.phone) or Phone(beginning.phone)
        self._numbers += 1
        return AssociationSet(
            self._numbers, phone, beginning.agreement, beginning.keys, beginning.address, beginning.inner,
            beginning.call_id, beginning.nonce, beginning.vouched, now, now, beginning.over_rank, slot=slot,
        )  # fmt: skip

    def _enter(self, new: AssociationSet) -> None:
        try:
            new.flow = self._path.install(new)
        except PathFailed:
            self._give_back(new.slot)
            raise
        self.phones[new.phone.key] = new.phone
        new.phone.sets.append(new)
        self.sets[new.number] = new
        self._deadlines.put(new.number, new.ends_at)

    def _give_back(self, slot: Slot) -> None:
        if self._ledger is not None:
            self._ledger.give_back(slot)

    def _authenticated(self, carrier: AssociationSet) -> None:
        """TS 24.229 5.2.2.2, 200 (OK). A phone that began without protection has lost or left the older sets, which end
        at once (TS 33.203 7.4.1, 7.5); otherwise they go on until the new one is used. A phone begins on the newest
        set that it has (TS 24.229 5.1.1.5.1): a newer one of ours is of an attempt whose 200 it never saw.
        """
        phone = carrier.phone
        until = self._granted(phone)
        if carrier.vouched:
            until = max([until, *(each.ends_at for each in phone.sets if each.state in CONFIRMED)])
        self._succeeded(carrier)
        self._apply(carrier, Event.AUTHENTICATED, until)
        if not carrier.vouched:
            for each in list(phone.sets):
                if each is not carrier and (each.state, Event.RESTARTED) in TABLE:
                    self._apply(each, Event.RESTARTED)
        elif carrier.over_rank is not None:
            for each in list(phone.sets):
                if each is not carrier and each.state in CONFIRMED and each.rank > carrier.over_rank:
                    self._apply(each, Event.SUPERSEDED)
        self._settle(phone)

    def _succeeded(self, carrier: AssociationSet) -> None:
        self._ranks += 1
        carrier.rank = self._ranks

    def _granted(self, phone: Phone) -> float:
        return max(phone.registered.values())

    def _supersede(self, carrier: AssociationSet) -> None:
        """The set is in use now; older ones keep pending transactions only."""
        for each in list(carrier.phone.sets):
            if each.rank < carrier.rank and each.state in CONFIRMED:
                self._apply(each, Event.SUPERSEDED)

    def _settle(self, phone: Phone) -> None:
        """When nothing older protects the phone, the newest confirmed set does (TS 33.203 7.4.2)."""
        confirmed = [each for each in phone.sets if each.state in CONFIRMED]
        if not confirmed:
            phone.registered = {}  # whatever the registrar thinks: there is no protected way to the phone
        if confirmed and not any(each.state is State.IN_USE for each in confirmed):
            newest = max(confirmed, key=_rank)
            self._apply(newest, Event.ALONE)
            self._supersede(newest)

    def _apply(self, changing: AssociationSet, event: Event, until: float = 0.0) -> None:
        before = changing.state
        row = TABLE.get((before, event))
        if row is not None:
            changing.state = row.state
            if row.life is not Life.KEEP:
                changing.ends_at = self._life(changing, row.life, until)
            if row.state is State.ENDED:
                self._remove(changing)
            elif row.life is not Life.KEEP:
                self._deadlines.put(changing.number, changing.ends_at)
        for listener in self.listeners:
            listener(changing, before, event, row)

    def _life(self, changing: AssociationSet, life: Life, until: float) -> float:
        now, ends_at = self._loop.time(), changing.ends_at
        match life:
            case Life.ANSWER:
                return max(ends_at, now + LINGER_S)
            case Life.GRANT:
                return until
            case Life.SHORTEN:
                return min(ends_at, until)
            case Life.PENDING if changing.pending:
                return now + PENDING_S
            case Life.LINGER | Life.PENDING:
                return min(ends_at, now + LINGER_S)
            case Life.END:
                return now
            case _:
                return ends_at

    def _remove(self, gone: AssociationSet) -> None:
        self._deadlines.drop(gone.number)
        self._path.remove(gone)
        self._give_back(gone.slot)
        gone.slot = Slot()
        gone.keys, gone.flow = FORGOTTEN, None  # whoever has the flow still finds it closed
        del self.sets[gone.number]
        gone.phone.sets.remove(gone)
        if not gone.phone.sets:
            del self.phones[gone.phone.key]

    def _due(self, number: int) -> None:
        """Early where a life was prolonged: then it looks again, so that prolonging costs nothing."""
        living = self.sets[number]
        if self._loop.time() < living.ends_at:
            self._deadlines.put(number, living.ends_at)
            return
        newer = any(each.rank > living.rank and each.state in CONFIRMED for each in living.phone.sets)
        if living.pending and newer and living.state in CONFIRMED:
            self._apply(living, Event.SUPERSEDED)
        else:
            self._apply(living, Event.LIFE_ENDED)
        self._settle(living.phone)


def _rank(each: AssociationSet) -> int:
    return each.rank


def _is_open(each: AssociationSet) -> bool:
    return each.state in (State.TEMPORARY, State.ANSWERED)
