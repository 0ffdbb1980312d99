"""Open challenges and unused vectors (TS 33.203 6.1.1, TS 24.229 5.4.1.2.1): each vector is sent once, each nonce
answered once, and nothing of either outlives its timer.

Challenges end in the order in which they began, as reg-await-auth is one constant: one timer serves them all.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from redoubt.cscf.lapses import Alarm
from redoubt.diameter.cx import AuthenticationVector
from redoubt.limits import CHALLENGES_OPEN, CHALLENGES_PER_USER, VECTORS_STOCKED


@dataclass(slots=True, eq=False)
class Challenge:
    """A 401 that waits for its answer."""

    nonce: str
    impi: str
    impu: str
    contact: str
    call_id: str
    vector: AuthenticationVector
    protected: bool  # its REGISTER came on a protected first hop
    deadline: float
    decoy: bool = False  # for a user that does not exist: nothing answers it
    resynchronised: bool = False  # it follows an AUTS


class Challenges:
    """Found by nonce; one for each private identity and contact (TS 24.229 5.4.1)."""

    def __init__(self, on_timeout: Callable[[list[Challenge]], None]) -> None:
        self._on_timeout = on_timeout
        self._protected: OrderedDict[str, Challenge] = OrderedDict()
        self._unprotected: OrderedDict[str, Challenge] = OrderedDict()
        self._by_user: dict[str, dict[str, Challenge]] = {}
        self._alarm = Alarm(self._sweep)

    def __len__(self) -> int:
        return len(self._protected) + len(self._unprotected)

    def open(self, challenge: Challenge) -> Challenge | None:
        """Starts reg-await-auth. Returns the same contact's older challenge, which ends; so do the oldest of many."""
        mine = self._by_user.setdefault(challenge.impi, {})
        older = mine.get(challenge.contact)
        if older is not None:
            self.close(older)
        elif len(mine) >= CHALLENGES_PER_USER:
            self.close(next((c for c in mine.values() if not c.protected), next(iter(mine.values()))))
        if len(self) >= CHALLENGES_OPEN:  # who is protected has proved something; strangers push out strangers
            queue = self._unprotected or self._protected
            self.close(next(iter(queue.values())))
        self._by_user.setdefault(challenge.impi, mine)[challenge.contact] = challenge
        self._queue_of(challenge)[challenge.nonce] = challenge
        self._alarm.set(challenge.deadline)
        return older

    def find(self, nonce: str) -> Challenge | None:
        """The open challenge with this nonce."""
        return self._unprotected.get(nonce) or self._protected.get(nonce)

    def close(self, challenge: Challenge) -> None:
        """Answered, replaced or over: its keys are dropped with it."""
        self._queue_of(challenge).pop(challenge.nonce, None)
        mine = self._by_user.get(challenge.impi)
        if mine is not None and mine.get(challenge.contact) is challenge:
            del mine[challenge.contact]
            if not mine:
                del self._by_user[challenge.impi]

    def of(self, impi: str) -> list[Challenge]:
        """The open ones of a private identity."""
        return list(self._by_user.get(impi, {}).values())

    def is_pending(self, impi: str, impu: str) -> bool:
        """Whether a registration of this pair waits for an answer."""
        return any(challenge.impu == impu for challenge in self._by_user.get(impi, {}).values())

    def stop(self) -> None:
        """Ends the timer."""
        self._alarm.stop()

    def _queue_of(self, challenge: Challenge) -> OrderedDict[str, Challenge]:
        return self._protected if challenge.protected else self._unprotected

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        over: list[Challenge] = []
        for queue in (self._protected, self._unprotected):
            while queue and (challenge := next(iter(queue.values()))).deadline <= now:
                self.close(challenge)
                over.append(challenge)
            if queue:
                self._alarm.set(next(iter(queue.values())).deadline)
        if over:
            self._on_timeout(over)


class VectorStock:
    """Vectors that came in one answer of the HSS: first in, first out (TS 33.203 6.1.1).

    Kept for the pair that they were fetched for: one subscriber's vector never serves another identity.
    """

    def __init__(self) -> None:
        self._vectors: OrderedDict[tuple[str, str], deque[AuthenticationVector]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def take(self, impi: str, impu: str) -> AuthenticationVector | None:
        """The next one, never to be had again."""
        vectors = self._vectors.get((impi, impu))
        if not vectors:
            return None
        vector = vectors.popleft()
        if not vectors:
            del self._vectors[impi, impu]
        return vector

    def put(self, impi: str, impu: str, vectors: tuple[AuthenticationVector, ...]) -> None:
        """What an answer brought beyond the one that is used now."""
        if not vectors:
            return
        if len(self._vectors) >= VECTORS_STOCKED:
            self._vectors.popitem(last=False)
        self._vectors.setdefault((impi, impu), deque()).extend(vectors)

    def drop(self, impi: str, impu: str) -> None:
        """After an AUTS all that was fetched is stale (TS 33.102 6.3.5)."""
        self._vectors.pop((impi, impu), None)
