"""A P-CSCF that dies and comes back takes its association sets over; phones notice nothing.

What a set is, is written into its slot of the ledger when it is authenticated and whenever its life changes. Attempts
that were still open are not taken over: their phones ask again. Times are wall-clock times here, since a new process
counts its own otherwise.
"""

from asyncio import get_running_loop

from msgspec import DecodeError, Struct, ValidationError, msgpack

from redoubt.gm.admission import Admission
from redoubt.gm.agreement import Agreement, Ends, Mode
from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.gm.allocation import Taken
from redoubt.gm.association_set import AssociationSet, Beginning, PathFailed, PhoneKey
from redoubt.gm.associations import Associations
from redoubt.gm.esp import SEQUENCE_MAX
from redoubt.gm.ledger import SENT, SENT_CLIENT, Ledger, Slot
from redoubt.gm.states import Event, Life, Row, State
from redoubt.secret import Secret
from redoubt.sources import Clock

JUMP = 1024  # sequence numbers left out after a restart, in case the last ones were not yet written
STATES = tuple(State)
PROLONGING = frozenset({Life.GRANT, Life.SHORTEN})  # what changes until when identities are registered
LASTING = frozenset({State.ESTABLISHED, State.IN_USE, State.OLD, State.CLOSING})


class Record(Struct, frozen=True, array_like=True):
    """One set. Security-Client is left out: it counts until the authentication succeeds."""

    impi: str
    contact: str
    suite: tuple[str, str]
    mode: str
    phone: tuple[int, int, int, int]
    network: tuple[int, int, int, int]
    server: str
    keys: tuple[bytes, bytes, bytes]
    address: str
    inner: str
    call_id: str
    nonce: str
    rank: int
    began_at: float
    registered: dict[str, float]


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(Record).decode


def resume(
    ledger: Ledger, associations: Associations, admission: Admission, clock: Clock
) -> list[AssociationSet]:
    """Goes on where a former process ended, and keeps the ledger for the next. Once, before any packet is served."""
    now = get_running_loop().time()
    associations.keep_in(ledger)
    associations.listeners.append(Scribe(clock, now).changed)
    return take_over(ledger, associations, admission, clock, now)


class Scribe:
    """A `Listener` of association sets that keeps their records."""

    def __init__(self, clock: Clock, now: float) -> None:
        """`now` is the loop's time."""
        self._offset_s = clock.now() - now

    def changed(self, about: AssociationSet, before: State, _event: Event, row: Row | None) -> None:
        if row is None or about.state not in LASTING or (row.life is Life.KEEP and before is about.state):
            return
        about.slot.life = STATES.index(about.state), about.ends_at + self._offset_s
        if row.life in PROLONGING:
            about.slot.record = _encode(self._record(about))

    def _record(self, about: AssociationSet) -> Record:
        agreement, keys, offset_s = about.agreement, about.keys, self._offset_s
        phone, network = agreement.phone, agreement.network
        return Record(
            about.phone.key.impi, about.phone.key.contact,
            (agreement.suite.integrity.value, agreement.suite.encryption.value), agreement.mode.value,
            (phone.spi_c, phone.spi_s, phone.port_c, phone.port_s),
            (network.spi_c, network.spi_s, network.port_c, network.port_s), agreement.server,
            (keys.integrity.reveal(), keys.encryption.reveal(), keys.salt.reveal()),
            about.address, about.inner, about.call_id, about.nonce, about.rank, about.began_at + offset_s,
            {impu: until + offset_s for impu, until in about.phone.registered.items()},
        )  # fmt: skip


def take_over(
    ledger: Ledger, associations: Associations, admission: Admission, clock: Clock, now: float
) -> list[AssociationSet]:
    """All sets whose life has not ended. What can't be read or can't be installed is given up, as after the death of
    the machine: its phone registers again.
    """
    taken, offset_s = [], clock.now() - now
    for slot in ledger.taken():
        try:
            is_over = slot.life[1] <= clock.now()
            adopted = None if is_over else _adopt(_decode(slot.record), slot, associations, admission, offset_s)
        except (DecodeError, ValidationError, ValueError, Taken):
            adopted = None
        except PathFailed:
            continue  # the slot went back when the path refused
        if adopted is None:
            ledger.give_back(slot)
        else:
            taken.append(adopted)
    associations.reconcile()
    return taken


def _adopt(
    record: Record, slot: Slot, associations: Associations, admission: Admission, offset_s: float
) -> AssociationSet:
    suite = Suite(Integrity(record.suite[0]), Encryption(record.suite[1]))
    integrity, encryption, salt = (Secret(key) for key in record.keys)
    phone, network = Ends(*record.phone), Ends(*record.network)
    agreement = Agreement(suite, Mode(record.mode), phone, network, "", record.server)
    beginning = Beginning(
        PhoneKey(record.impi, record.contact), agreement, EspKeys(integrity, encryption, salt),
        record.address, record.inner, record.call_id, record.nonce, vouched=True,
    )  # fmt: skip
    number, began_at, ends_at = slot.life[0], record.began_at - offset_s, slot.life[1] - offset_s
    if not (0 <= number < len(STATES) and STATES[number] in LASTING):
        raise ValueError(f"{number} is no state that lasts")
    registered = {impu: until - offset_s for impu, until in record.registered.items()}
    for word in (SENT, SENT_CLIENT):
        slot.words[slot.at + word] = min(slot.start(word) + JUMP, SEQUENCE_MAX)
    return admission.adopt(
        beginning,
        lambda: associations.adopt(beginning, slot, STATES[number], record.rank, began_at, ends_at, registered),
    )
