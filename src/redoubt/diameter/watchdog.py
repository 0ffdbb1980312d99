"""The watchdog of a Diameter peer: notices within seconds to minutes that it no longer answers (RFC 3539 3.4)."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from redoubt.sources import Randomness

JITTER_S = 2.0  # RFC 3539 3.4.1: between -2 and 2 seconds, so that nodes don't beat in time
ANSWERS_TO_TRUST = 3  # RFC 3539 3.4.1: a peer that was down is trusted again after as many DWAs


class Health(Enum):
    """How far a peer can be relied on. INITIAL and DOWN have no connection."""

    INITIAL = "never connected"
    OKAY = "okay"
    SUSPECT = "does not answer"
    DOWN = "down"
    REOPEN = "back, on trial"


class Sign(Enum):
    """What the watchdog sees."""

    UP = auto()
    LOST = auto()
    DWA = auto()
    LAST_DWA = auto()  # the third since the peer came back
    OTHER = auto()  # any other message
    QUIET = auto()  # Tw ran out, nothing is asked
    UNANSWERED = auto()  # Tw ran out with a DWR unanswered
    UNANSWERED_AGAIN = auto()  # twice, of a peer that is on trial


class Deed(Enum):
    ASK = auto()  # SendWatchdog()
    FAIL_OVER = auto()
    FAIL_BACK = auto()
    CLOSE = auto()  # CloseConnection()
    COUNT = auto()
    MISS = auto()  # NumDWA = -1
    TRY = auto()  # the count begins


class Row(NamedTuple):
    next: Health
    deeds: tuple[Deed, ...]
    clause: str = "RFC 3539 3.4.1"


TABLE: dict[tuple[Health, Sign], Row] = {
    (Health.INITIAL, Sign.UP): Row(Health.OKAY, ()),
    (Health.DOWN, Sign.UP): Row(Health.REOPEN, (Deed.TRY, Deed.ASK)),
    (Health.OKAY, Sign.DWA): Row(Health.OKAY, ()),
    (Health.OKAY, Sign.OTHER): Row(Health.OKAY, ()),
    (Health.OKAY, Sign.QUIET): Row(Health.OKAY, (Deed.ASK,)),
    (Health.OKAY, Sign.UNANSWERED): Row(Health.SUSPECT, (Deed.FAIL_OVER,)),
    (Health.OKAY, Sign.LOST): Row(Health.DOWN, (Deed.FAIL_OVER,)),
    (Health.SUSPECT, Sign.DWA): Row(Health.OKAY, (Deed.FAIL_BACK,)),
    (Health.SUSPECT, Sign.OTHER): Row(Health.OKAY, (Deed.FAIL_BACK,)),
    (Health.SUSPECT, Sign.QUIET): Row(Health.DOWN, (Deed.CLOSE,)),
    (Health.SUSPECT, Sign.UNANSWERED): Row(Health.DOWN, (Deed.CLOSE,)),
    (Health.SUSPECT, Sign.LOST): Row(Health.DOWN, (Deed.FAIL_OVER,)),
    (Health.REOPEN, Sign.DWA): Row(Health.REOPEN, (Deed.COUNT,)),
    (Health.REOPEN, Sign.LAST_DWA): Row(Health.OKAY, (Deed.FAIL_BACK,)),
    (Health.REOPEN, Sign.OTHER): Row(Health.REOPEN, ()),
    (Health.REOPEN, Sign.QUIET): Row(Health.REOPEN, (Deed.ASK,)),
    (Health.REOPEN, Sign.UNANSWERED): Row(Health.REOPEN, (Deed.MISS,)),
    (Health.REOPEN, Sign.UNANSWERED_AGAIN): Row(Health.DOWN, (Deed.CLOSE,)),
    (Health.REOPEN, Sign.LOST): Row(Health.DOWN, (Deed.FAIL_OVER,)),
}


class Watchdog:
    """One peer's. It hears of every message by `heard_at`, which costs the hot path one assignment."""

    def __init__(
        self,
        interval_s: float,
        randomness: Randomness,
        deeds: dict[Deed, Callable[[], None]],
    ) -> None:
        self.health = Health.INITIAL
        self.heard_at = 0.0
        self._interval_s = interval_s
        self._randomness = randomness
        self._deeds = {
            Deed.COUNT: self._count,
            Deed.MISS: self._miss,
            Deed.TRY: self._try,
            Deed.ASK: self._ask,
            Deed.CLOSE: deeds[Deed.CLOSE],
            Deed.FAIL_OVER: deeds[Deed.FAIL_OVER],
            Deed.FAIL_BACK: deeds[Deed.FAIL_BACK],
        }
        self._send = deeds[Deed.ASK]
        self._pending = False
        self._answers = 0
        self._patience_s: float | None = None  # while the peer is probed: instead of Tw
        self._timer: asyncio.TimerHandle | None = None

    def up(self) -> None:
        """The connection is open."""
        self._pending, self._patience_s = False, None
        self.heard_at = asyncio.get_running_loop().time()
        self._see(Sign.UP)
        self._set()

    def lost(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pending = False
        self._see(Sign.LOST)

    def heard(self, *, answer: bool) -> None:
        """A DWA came, or any message of a peer that is not okay."""
        if answer:
            self._pending, self._patience_s = False, None
            self._see(Sign.LAST_DWA if self._answers + 1 >= ANSWERS_TO_TRUST and self._on_trial else Sign.DWA)
        else:
            self._see(Sign.OTHER)

    def probe(self, patience_s: float) -> None:
        """Asks now, out of turn, and waits shortly: whoever does not answer twice that long is taken for gone."""
        if self.health in (Health.INITIAL, Health.DOWN) or self._patience_s is not None:
            return
        self._patience_s = patience_s
        self._ask()
        self._set()

    # ---- inside

    @property
    def _on_trial(self) -> bool:
        return self.health is Health.REOPEN

    def _see(self, sign: Sign) -> None:
        row = TABLE.get((self.health, sign))
        if row is None:
            return  # without a connection there is nothing to conclude
        self.health = row.next
        for deed in row.deeds:
            self._deeds[deed]()

    def _ask(self) -> None:
        self._pending = True
        self._send()

    def _count(self) -> None:
        self._answers += 1

    def _miss(self) -> None:
        self._answers = -1

    def _try(self) -> None:
        self._answers = 0

    def _set(self, wait_s: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.health in (Health.INITIAL, Health.DOWN):
            return
        if wait_s is None and self._patience_s is not None:
            wait_s = self._patience_s
        elif wait_s is None:
            wait_s = self._drawn_s()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(wait_s, self._ran_out, loop.time())

    def _drawn_s(self) -> float:
        draw = int.from_bytes(self._randomness.octets(2), "big") / 0xFFFF
        return self._interval_s - JITTER_S + 2 * JITTER_S * draw

    def _ran_out(self, since: float) -> None:
        """Any message since sets the watchdog anew; of a peer on trial only the DWAs count."""
        self._timer = None
        if self.heard_at > since and not self._on_trial and self._patience_s is None:
            elapsed_s = asyncio.get_running_loop().time() - self.heard_at
            self._set(max(self._drawn_s() - elapsed_s, JITTER_S))
            return
        if not self._pending:
            self._see(Sign.QUIET)
        elif self._on_trial and self._answers < 0:
            self._see(Sign.UNANSWERED_AGAIN)
        else:
            self._see(Sign.UNANSWERED)
        self._set()
