"""The authentication centre: vectors, sequence numbers by TS 33.102 Annex C.3, resynchronisation, ceilings.

It plans which sequence numbers a MAR takes and what must be reserved on the disk before; the HSS writes, then
makes the vectors. So a number is never used twice, whatever crashes when.
"""

from collections import OrderedDict

from msgspec import Struct

from redoubt.aka.algorithm import SQN_OCTETS, AuthenticationFunctions, exclusive_or
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SQN_BITS, SequenceExhausted, SequenceScheme
from redoubt.aka.tuak import Tuak
from redoubt.aka.vector import make_vector, sqn_of_auts
from redoubt.diameter.cx import AuthenticationVector, Resynchronisation
from redoubt.hss.keys import Seal
from redoubt.hss.records import PrivateRecord
from redoubt.limits import HSS_ALGORITHMS_CACHED, HSS_UNANSWERED_VECTORS
from redoubt.sources import Randomness

WINDOW_S = 60.0
"""How long an unanswered vector counts against its private identity (requirement row 110)."""


class Plan(Struct, frozen=True, gc=False):
    """SEQ numbers `first` to `first + count - 1`, under the index of the asking S-CSCF; `reserved` is to be stored."""

    first: int
    count: int
    index: int
    reserved: int


class AuthenticationCentre:
    """Holds no subscriber's state but a bounded cache of key schedules; counters stand in the records."""

    def __init__(
        self, seal: Seal, randomness: Randomness, sequence_block: int, scheme: SequenceScheme | None = None
    ) -> None:
        self._seal = seal
        self._randomness = randomness
        self._block = sequence_block
        self._scheme = scheme or SequenceScheme()
        self._functions: OrderedDict[str, tuple[bytes, AuthenticationFunctions]] = OrderedDict()
        self._window_start = 0.0
        self._unanswered = 0

    def functions(self, record: PrivateRecord) -> AuthenticationFunctions:
        """The algorithm set under the subscriber's keys; raises NotSealedHere."""
        known = self._functions.get(record.impi)
        if known is not None and known[0] == record.sealed:
            self._functions.move_to_end(record.impi)
            return known[1]
        k, opc = self._seal.open(record.impi, record.sealed)
        made: AuthenticationFunctions = Tuak(k, opc) if record.algorithm == "tuak" else Milenage(k, opc)
        self._functions[record.impi] = (record.sealed, made)
        if len(self._functions) > HSS_ALGORITHMS_CACHED:
            self._functions.popitem(last=False)
        return made

    def granted(self, record: PrivateRecord, wanted: int, ceiling: int, now: float) -> int:
        """How many vectors may be fetched now; 0 beyond the ceiling of this user or of all."""
        if now - record.window_start >= WINDOW_S:
            record.window_start, record.fetched = now, 0
        if now - self._window_start >= WINDOW_S:
            self._window_start, self._unanswered = now, 0
        return max(0, min(wanted, ceiling - record.fetched, HSS_UNANSWERED_VECTORS - self._unanswered))

    def fetched(self, record: PrivateRecord, count: int) -> None:
        record.fetched += count
        self._unanswered += count

    def answered(self, record: PrivateRecord) -> None:
        """The genuine card showed itself: its unanswered vectors no longer count."""
        self._unanswered = max(0, self._unanswered - record.fetched)
        record.fetched = 0

    def sqn_of_card(self, record: PrivateRecord, sent: Resynchronisation, *, check_mac: bool) -> int | None:
        """SQN_MS, if the AUTS is the card's own (TS 33.102 6.3.5)."""
        functions = self.functions(record)
        if check_mac or len(sent.auts) < SQN_OCTETS:
            return sqn_of_auts(functions, sent.rand, sent.auts)
        return int.from_bytes(exclusive_or(sent.auts[:SQN_OCTETS], functions.f5_star(sent.rand)), "big")

    def plan(self, record: PrivateRecord, server: int, count: int, sqn_ms: int | None) -> Plan:
        """The next `count` numbers, after the card's if it is out of range.

        One index an S-CSCF, so that each uses its vectors in order (TS 33.102 C.1.2); SEQ rises over all of them, so
        that a card takes any that comes next.
        Raises SequenceExhausted, and NotSealedHere before anything is reserved for keys that can't be used.
        """
        self.functions(record)
        first, reserved = record.next_seq, record.reserved_seq
        if sqn_ms is not None:
            sqn_he = self._scheme.join(first - 1, 0)
            if self._scheme.resynchronised(sqn_he, sqn_ms) != sqn_he:
                first = reserved = self._scheme.split(sqn_ms)[0] + 1
                reserved -= 1
        last = first + count - 1
        end = (1 << SQN_BITS) // self._scheme.indices - 1
        if last > end:
            raise SequenceExhausted(f"{record.impi} has used its {end} sequence numbers")
        if last > reserved:
            reserved = min(max(first - 1 + self._block, last), end)
        return Plan(first, count, server % self._scheme.indices, reserved)

    def vectors(self, record: PrivateRecord, plan: Plan) -> tuple[AuthenticationVector, ...]:
        """Spends the planned numbers, which are reserved on the disk by now."""
        record.next_seq, record.reserved_seq = plan.first + plan.count, plan.reserved
        functions = self.functions(record)
        sqns = [self._scheme.join(seq, plan.index) for seq in range(plan.first, plan.first + plan.count)]
        return tuple([make_vector(functions, self._randomness.octets(16), sqn, record.amf) for sqn in sqns])
