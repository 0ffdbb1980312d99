"""Requests that come twice: a node that lost its link sends again, elsewhere, with the T bit (RFC 6733 3, 5.5.4, 6.1).

Known by Origin-Host and End-to-End Identifier. The second of two is answered as the first was; while the first is
still worked on, both wait for the one answer. Answers that only tell something are not kept, nor are those with keys:
such a request is worked on again, which costs an authentication vector at most.
"""

from collections.abc import Callable

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.codec import DiameterMessage, decode
from redoubt.diameter.link import Link

ENTRY_OCTETS = 300  # of the tables' own
KEPT_S = limits.DIAMETER_ANSWERS_KEPT_S
Key = tuple[str, int, int]
Waiting = list[tuple[Link, DiameterMessage]]
_carried = (d.PROXY_INFO.code, d.SESSION_ID.code)


class Duplicates:
    """What was answered within the last minutes, and what is being worked on."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._working: dict[Key, Waiting | None] = {}
        self._answered: dict[Key, tuple[float, bytes]] = {}  # oldest first
        self._octets = 0
        self._began_again: set[Key] = set()  # of both, those of which the repetition came first

    def __len__(self) -> int:
        return len(self._answered)

    def begin(self, key: Key, link: Link, request: DiameterMessage) -> bool:
        """Whether to work on a request: not, if it was answered or is worked on already; then it is taken care of."""
        if not request.is_retransmitted and key not in self._began_again:
            self._working.setdefault(key, None)
            return True
        if key in self._working:
            waiting = self._working[key]
            self._working[key] = [*(waiting or ()), (link, request)][: limits.DIAMETER_DUPLICATES_WAITING]
            return False
        remembered = self._answered.get(key)
        if remembered is not None:
            link.answer(_again(request, decode(remembered[1])))
            return False
        self._working[key] = None
        self._began_again.add(key)
        return True

    def end(self, key: Key, answer: bytes, *, keep: bool) -> None:
        """The answer was sent; whoever asked the same meanwhile gets it too."""
        for link, request in self._working.pop(key, None) or ():
            link.answer(_again(request, decode(answer)))
        if keep:
            now = self._now()
            self._octets -= self._size(key)
            self._answered.pop(key, None)
            self._answered[key] = (now, answer)
            self._octets += len(answer) + ENTRY_OCTETS
            self._forget_old(now)
        else:
            self._began_again.discard(key)

    def _forget_old(self, now: float) -> None:
        answered = self._answered
        while answered:
            oldest = next(iter(answered))
            if self._octets <= limits.DIAMETER_ANSWERS_OCTETS and answered[oldest][0] >= now - KEPT_S:
                return
            self._octets -= self._size(oldest)
            del answered[oldest]
            self._began_again.discard(oldest)

    def _size(self, key: Key) -> int:
        found = self._answered.get(key)
        return len(found[1]) + ENTRY_OCTETS if found is not None else 0


def _again(request: DiameterMessage, answer: DiameterMessage) -> DiameterMessage:
    """The same answer, with this request's identifiers and Proxy-Info (RFC 6733 6.2)."""
    again = request.answer(None)
    again.flags = answer.flags
    again.avps += [avp for avp in answer.avps if avp.vendor or avp.code not in _carried]
    return again
