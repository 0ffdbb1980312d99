"""What a test phone did, for a script (facts) and for a person (a sentence)."""

from dataclasses import dataclass
from typing import Any

from redoubt.aka.isim import MacFailure, SyncFailure
from redoubt.phone.call import Call
from redoubt.phone.registration import RegistrationResult
from redoubt.sip.message import Response


@dataclass(frozen=True, slots=True)
class Done:
    """What a verb did."""

    ok: bool
    facts: dict[str, Any]
    sentence: str


def told_registration(impu: str, asked_s: int, result: RegistrationResult) -> Done:
    """A registration, or with `asked_s` 0 a de-registration."""
    ok = result.registered if asked_s else 200 <= result.status < 300
    facts = {
        "status": result.status,
        "reason": result.reason,
        "expires_s": result.expires_s,
        "network_authenticated": result.network_authentic,
        "challenges": list(result.outcomes),
        "associated": list(result.associated),
        "service_route": list(result.service_route),
        "why": result.why,
    }
    if not ok:
        return Done(False, facts, _not_registered(impu, "registered" if asked_s else "deregistered", result))
    if not asked_s:
        return Done(True, facts, f"{impu} is no longer registered from this phone")
    others = [other for other in result.associated if other != impu]
    also = f" (and with it {', '.join(others)})" if others else ""
    proofs = "; card and network proved themselves to each other" if result.network_authentic else ""
    again = ", after the card had resynchronised the HSS (AUTS)" if SyncFailure.__name__ in result.outcomes else ""
    return Done(True, facts, f"{impu}{also} is registered for {result.expires_s} s{proofs}{again}")


def _not_registered(impu: str, what: str, result: RegistrationResult) -> str:
    """What happened, and the command that says which check decided."""
    next_step = f"`redoubt explain {impu}` says which check decided"
    if MacFailure.__name__ in result.outcomes:
        return (
            f"{impu} is not {what}: the card does not accept the network (MAC of AUTN), so K or OPc of SIM file and"
            f" HSS differ, or that P-CSCF is not the network's; it got no answer and no key; {next_step}"
        )
    why = f" ({result.why})" if result.why else ""
    return f"{impu} is not {what}: the network answers {result.status} {result.reason}{why}; {next_step}"


def described(call: Call) -> dict[str, Any]:
    """A call, for a script."""
    voice = call.voice
    facts = {"other": call.other, "call_id": call.call_id, "status": call.status, "reason": call.reason}
    if (voice := call.voice) is None:
        return facts
    return {**facts, "rtp_packets": {"sent": voice.sent, "received": voice.received, "tones": voice.tones}}


def told_audio(call: Call) -> str:
    """Whether media flowed, for a person."""
    voice = call.voice
    if voice is None or not voice.sent + voice.received:
        return "no media was exchanged"
    if voice.sent and not voice.received:
        return f"{voice.sent} RTP packets went out and nothing was heard: something stops the other side's media"
    return f"{voice.sent} RTP packets went out, {voice.received} came, {voice.tones} with the tone of a test phone"


def told_call(call: Call, talked_s: float) -> Done:
    """A call of this phone's, when it is over."""
    if 200 <= call.status < 300:
        return Done(
            True, described(call), f"{call.other} answered; the call lasted {talked_s:.1f} s; {told_audio(call)}"
        )
    return Done(False, described(call), f"{call.other} {_answer(call.status, call.reason)}; {_explain(call.call_id)}")


def told_message(target: str, response: Response) -> Done:
    """A MESSAGE of this phone's."""
    facts = {"call_id": response.call_id, "status": response.status, "reason": response.reason}
    if response.is_success:
        return Done(True, facts, f"{target} has the message ({response.status} {response.reason})")
    sentence = f"{target} {_answer(response.status, response.reason)}; {_explain(response.call_id)}"
    return Done(False, facts, sentence)


def _answer(status: int, reason: str) -> str:
    return f"{_IN_WORDS.get(status, 'was not reached')}: {status} {reason}"


def _explain(call_id: str) -> str:
    return f"`redoubt explain {call_id}` says which check decided"


_IN_WORDS = {
    404: "is not known",
    408: "did not answer in time",
    480: "is not registered now, or not reachable",
    486: "is busy",
    487: "was no longer called",
    603: "declined",
}
