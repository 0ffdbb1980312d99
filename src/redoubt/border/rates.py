"""How much a partner may ask for: new transactions a second, and calls at one time (requirement row 98).

What is beyond gets 503 with Retry-After. Requests inside dialogs and emergency calls are the last to be shed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from redoubt.cscf.lapses import Ends, is_gone
from redoubt.limits import DIALOG_LIFETIME_S, RETRY_AFTER_S
from redoubt.ndm.partners import Partner
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_ASSERTED_IDENTITY, SESSION_EXPIRES
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context
from redoubt.sip.uri import OtherUri

CLAUSE = "RFC 7339 5.10.1"

# How far beyond its rate a partner's requests of a kind go, as a part of that rate.
INITIAL, IN_DIALOG, EMERGENCY = 0.0, 0.25, 1.0


def excess_of(request: Request) -> float:
    """Emergency is what calls a service (RFC 5031), whoever marks it otherwise."""
    if request.to.tag is not None:
        return IN_DIALOG
    uri = request.request_uri
    return EMERGENCY if isinstance(uri, OtherUri) and uri.aor.startswith("urn:service:sos") else INITIAL


@dataclass(slots=True)
class Bucket:
    """What a partner has left of its rate."""

    left: float
    at: float


@dataclass(slots=True, eq=False)
class Call:
    """A session with a partner, from INVITE to BYE; its end is known at last by silence."""

    key: tuple[str, str, str]  # the partner's name, the Call-ID there, the caller's tag
    callers: frozenset[str] = frozenset()  # whom this network or the partner asserted when it began
    expires_at: float = 0.0
    queued_at: float = 0.0


def _key(request: Request, partner: Partner, tag: str | None = None) -> tuple[str, str, str]:
    """A call, by the tag of From; by that of To for what the callee sends."""
    return partner.name, request.call_id, tag or request.from_.tag or ""


def _of_no_call(_response: Response) -> None:
    """Nothing is counted."""


class Rates:
    """Of one border node; each counts what it sees."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._buckets: dict[str, Bucket] = {}
        self._calls: dict[tuple[str, str, str], Call] = {}
        self._of: dict[str, int] = {}
        self._silences: Ends[Call] = Ends(self._over)

    def __len__(self) -> int:
        """Calls that are counted."""
        return len(self._calls)

    def callers(self, request: Request, partner: Partner) -> frozenset[str]:
        """Who called, of a call with the partner that stands, which it may send back, forwarded."""
        call = self._calls.get(_key(request, partner))
        return frozenset() if call is None else call.callers

    def calls_with(self, partner: Partner) -> int:
        return self._of.get(partner.name, 0)

    def close(self) -> None:
        """No timer is left."""
        self._silences.clear()

    def admit(self, request: Request, partner: Partner) -> None:
        """A request of the partner. Raises SipError 503 beyond its rate."""
        rate = float(partner.config.requests_per_s)
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.get(partner.name)
        if bucket is None:
            bucket = self._buckets[partner.name] = Bucket(rate, now)
        bucket.left = min(rate, bucket.left + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.left - 1 < -rate * excess_of(request) and self._context.enforces("border-rate"):
            raise self._busy(f"{partner.name} sends more than {rate:.0f} requests a second (`requests-per-s`)")
        bucket.left -= 1

    def begin(self, request: Request, partner: Partner) -> Callable[[Response], None]:
        """A call, either way; what it returns hears of its responses. Raises SipError 503 when there are too many."""
        key = _key(request, partner)
        known = key in self._calls
        full = self.calls_with(partner) >= partner.config.sessions
        if full and not known and excess_of(request) == INITIAL and self._context.enforces("border-rate"):
            raise self._busy(f"{partner.config.sessions} calls with {partner.name} stand (`sessions`)")
        call = self._calls.get(key) or self._keep(key, request)
        call.expires_at = asyncio.get_running_loop().time() + DIALOG_LIFETIME_S
        self._silences.put(call)

        def heard(response: Response) -> None:
            if response.status >= 300 and not known:
                self._over(call)
            elif response.is_success:
                self._live(call, response)

        return heard

    def goes_on(self, request: Request, partner: Partner) -> Callable[[Response], None]:
        """A request inside a call; what it returns hears of its responses."""
        call = self._calls.get(_key(request, partner)) or self._calls.get(_key(request, partner, request.to.tag))
        if call is None:
            return _of_no_call
        ends = request.method == "BYE"

        def heard(response: Response) -> None:
            over = ends and response.is_final and response.status not in (401, 407)
            if over or is_gone(request.method, response.status):
                self._over(call)
            elif response.is_success:
                self._live(call, response)

        return heard

    def _live(self, call: Call, response: Response) -> None:
        """Who agrees on a session timer is heard of before half of it is over (RFC 4028 7.2, 10)."""
        try:
            timer = response.first(SESSION_EXPIRES)
        except SipError:
            timer = None
        lifetime_s = DIALOG_LIFETIME_S if timer is None else min(2.0 * max(timer.seconds, 90), DIALOG_LIFETIME_S)
        call.expires_at = asyncio.get_running_loop().time() + lifetime_s
        self._silences.put(call)

    def _keep(self, key: tuple[str, str, str], request: Request) -> Call:
        callers = frozenset([asserted.uri.aor for asserted in request.every(P_ASSERTED_IDENTITY)])
        call = self._calls[key] = Call(key, callers)
        self._of[key[0]] = self._of.get(key[0], 0) + 1
        return call

    def _over(self, call: Call) -> None:
        if self._calls.get(call.key) is not call:
            return
        del self._calls[call.key]
        self._of[call.key[0]] -= 1
        self._silences.discard(call)

    def _busy(self, why: str) -> SipError:
        low, high = RETRY_AFTER_S
        after_s = low + self._context.randomness.octets(1)[0] % (high - low + 1)
        return SipError(503, why, CLAUSE, (("Retry-After", str(after_s)),))
