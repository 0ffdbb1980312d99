"""Why a registration or a call ended as it did: the checks that decided it, read back from the typed events."""

from collections.abc import Iterable
from typing import Any

import msgspec

from redoubt.events import Bug, CallEnded, Check, Deregistered, Event, Fault, Refused, Registered

Evidence = Check | Refused | Bug | Registered | Deregistered | CallEnded
ATTEMPTS_SHOWN = 5


class Attempt(msgspec.Struct, frozen=True):
    """One registration or call: what was checked, in order, and the verdict."""

    call_id: str
    at: float
    impi: str
    impu: str
    checks: list[Check]
    passed: bool
    verdict: str  # one sentence: what happened, where, whose fault
    expected: str
    seen: str
    fault: str
    clause: str
    advice: str
    ended: bool = True  # False while it goes on, as far as this process sees


def attempts(events: Iterable[Event], about: str, most: int = ATTEMPTS_SHOWN) -> list[Attempt]:
    """The last attempts about an IMPU, IMPI or Call-ID, oldest first.

    An HSS by itself hears of no Call-ID: there each refusal stands alone, unless the CSCFs beside it know more.
    """
    evidence = [event for event in events if isinstance(event, Evidence)]
    wanted: dict[str, list[Evidence]] = {}
    for event in evidence:
        if about in _subjects(event):
            wanted.setdefault(_call_id(event), [])
    for event in evidence:
        if (found := wanted.get(_call_id(event))) is not None:
            found.append(event)
    alone = [event for event in wanted.pop("", ()) if about in _subjects(event)]
    if about and not wanted:
        return [_attempt("", [event]) for event in alone[-most:]]
    return [_attempt(call_id, found) for call_id, found in list(wanted.items())[-most:]]


def _subjects(event: Evidence) -> tuple[str, ...]:
    match event:
        case Check():
            return (event.call_id, event.impu, event.impi)
        case Registered() | Deregistered():
            return (event.call_id, event.impu, event.impi)
        case CallEnded():
            return (event.call_id, event.caller, event.callee)
        case _:
            return (event.call_id,)


def _call_id(event: Evidence) -> str:
    return event.call_id


def _attempt(call_id: str, evidence: list[Evidence]) -> Attempt:
    checks = [event for event in evidence if isinstance(event, Check)]
    impi = next((check.impi for check in checks if check.impi), "")
    impu = next((check.impu for check in checks if check.impu), "")
    last_success = max((i for i, event in enumerate(evidence) if _is_success(event)), default=-1)
    deciding = _deciding(evidence[last_success + 1 :])
    facts = _facts(deciding, evidence)
    ended = any(isinstance(event, Registered | Deregistered | CallEnded) for event in evidence)
    return Attempt(
        call_id, evidence[0].at, impi, impu, checks, deciding is None, ended=ended or deciding is not None, **facts
    )


def _deciding(evidence: list[Evidence]) -> Evidence | None:
    """The first failure, but for those after which another way was left, and the refusals that follow from them."""
    before: Evidence | None = None
    for event in evidence:
        gave_up = isinstance(before, Check) and not (before.passed or before.decides)
        follows = gave_up and before is not None and before.node == event.node
        if _is_failure(event) and not (follows and isinstance(event, Refused)):
            return event
        before = event
    return None


def _is_success(event: Evidence) -> bool:
    return isinstance(event, Registered) or (isinstance(event, CallEnded) and event.status < 300)


def _is_failure(event: Evidence) -> bool:
    match event:
        case Check():
            return not event.passed and event.decides
        case Refused() | Bug():
            return True
        case CallEnded():
            return event.status >= 300
        case _:
            return False


def _facts(deciding: Evidence | None, evidence: list[Evidence]) -> dict[str, Any]:
    """The verdict's sentence and columns, from the event that decided."""
    empty = {"expected": "", "seen": "", "fault": Fault.NONE.value, "clause": "", "advice": ""}
    match deciding:
        case None:
            return {**empty, "verdict": _good_news(evidence)}
        case Check():
            return {
                "verdict": f"failed at {deciding.step} in the {deciding.node}: it did not hold that {deciding.rule}",
                "expected": deciding.expected,
                "seen": deciding.seen,
                "fault": deciding.fault.value,
                "clause": deciding.clause,
                "advice": deciding.advice,
            }
        case Refused():
            sentence = (
                f"the {deciding.node} answered {deciding.method or 'a request'} with {deciding.status}: {deciding.why}"
            )
            fault, advice = _REFUSALS.get(deciding.status, (Fault.NONE, ""))
            source = f"from {deciding.source}" if deciding.source else ""
            said = {"clause": deciding.clause, "seen": source, "fault": fault.value, "advice": advice}
            return {**empty, "verdict": sentence, **said}
        case Bug():
            advice = "report it with the traceback that `redoubt status --events` shows"
            return {
                **empty,
                "verdict": f"a fault in the {deciding.node} ended it",
                "fault": Fault.BUG.value,
                "advice": advice,
            }
        case CallEnded():
            what = "call" if deciding.method == "INVITE" else deciding.method
            return {**empty, "verdict": f"the {what} ended with {deciding.status} {deciding.why}".rstrip()}
    raise AssertionError(deciding)


_MALFORMED = (Fault.MESSAGE, "the sender's software must keep to the clause; `redoubt status --events` shows more")
_NO_WAY = (Fault.PEER, "is the next node running and reachable, does DNS know it, is it among the configured routes?")
_REFUSALS = {  # those whose status alone says whose fault it is; others carry a check, or speak for themselves
    **dict.fromkeys((400, 413, 414, 416, 420, 482, 483, 493, 513), _MALFORMED),
    **dict.fromkeys((408, 430, 503, 504), _NO_WAY),
}


def _good_news(evidence: list[Evidence]) -> str:
    for event in reversed(evidence):
        match event:
            case Registered():
                return f"registered {event.impu} at {event.contact} for {event.expires_s} s"
            case Deregistered():
                return f"deregistered {event.impu} ({event.cause})"
            case CallEnded(method="INVITE"):
                return f"{event.caller} and {event.callee} were connected"
            case CallEnded():
                return f"{event.callee} answered the {event.method} of {event.caller} with {event.status} {event.why}"
    return "still going on, every check so far held"
