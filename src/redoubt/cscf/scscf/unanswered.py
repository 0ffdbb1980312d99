"""Why a call found nobody who took it, by its final response: whose doing, the clause, what to try (RFC 3261 21)."""

from typing import NamedTuple

from redoubt.events import Fault


class Unanswered(NamedTuple):
    """The verdict's words for one status."""

    fault: Fault
    clause: str
    advice: str


_NOT_HERE = "the called phone may be switched off or out of reach: see when it registered last"
_OTHERWISE = Unanswered(Fault.CALLEE, "RFC 3261 16.7", "the called phone answered so: look for the reason there")
_BY_STATUS = {
    404: Unanswered(Fault.CALLEE, "RFC 3261 21.4.5", "the called phone does not know this user: register it anew"),
    408: Unanswered(Fault.CALLEE, "RFC 3261 21.4.9", _NOT_HERE),
    480: Unanswered(Fault.CALLEE, "RFC 3261 21.4.18", _NOT_HERE),
    486: Unanswered(Fault.CALLEE, "RFC 3261 21.4.24", "the called user is busy: call later"),
    487: Unanswered(Fault.NONE, "RFC 3261 21.4.25", "nothing: the caller gave up before anybody answered"),
    488: Unanswered(Fault.CALLEE, "RFC 3261 21.4.26", "the phones have no codec or medium in common"),
    600: Unanswered(Fault.CALLEE, "RFC 3261 21.6.1", "the called user is busy on every phone: call later"),
    603: Unanswered(Fault.CALLEE, "RFC 3261 21.6.2", "the called user does not want this call"),
}


def reason_of(status: int) -> Unanswered:
    """What to say of a final response that is no success."""
    return _BY_STATUS.get(status, _OTHERWISE)
