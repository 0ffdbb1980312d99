"""What `redoubt explain` and the console learn of registrations at the S-CSCF: each verdict with clause and advice."""

from redoubt.cscf.registering import RegisterRequest, report
from redoubt.cscf.scscf.authentication import Outcome
from redoubt.cscf.scscf.challenges import Challenge
from redoubt.cscf.scscf.registrations import Binding
from redoubt.events import Check, Fault, Registered
from redoubt.sip.service import Context

_FAILURES = {
    Outcome.WRONG_RESPONSE: (
        "the response matches XRES",
        "another response",
        Fault.SIM_KEY,
        "TS 33.203 6.1.2.1",
        "K or OPc of SIM and HSS differ, or the phone computes another algorithm",
    ),
    Outcome.NETWORK_REFUSED: (
        "the phone accepts AUTN",
        "an empty response without auts: MAC failure",
        Fault.SIM_KEY,
        "TS 33.203 6.1.2.2",
        "K, OPc or AMF of SIM and HSS differ: the SIM does not believe that this is its network",
    ),
    Outcome.OUT_OF_STEP: (
        "the sequence numbers agree after resynchronisation",
        "AUTS again",
        Fault.SEQUENCE_NUMBER,
        "TS 33.203 6.1.3",
        "the SIM is also used with another HSS, or the HSS could not store the number",
    ),
}


def report_registered(context: Context, binding: Binding, lifetime_s: int) -> None:
    context.events.emit(
        Registered(
            at=context.clock.now(),
            node=context.node,
            impi=binding.impi,
            impu=binding.impu,
            contact=binding.contact,
            expires_s=lifetime_s,
            call_id=binding.call_id,
        )
    )


def report_resynchronisation(context: Context, register: RegisterRequest) -> None:
    report(
        context,
        register,
        "SM9",
        "the SIM takes the sequence number, or says where it stands",
        True,
        seen="AUTS: the HSS sets its number by it and gives a fresh vector",
        fault=Fault.SEQUENCE_NUMBER,
        clause="TS 33.203 6.1.3",
    )


def report_silence(context: Context, challenge: Challenge, lifetime_s: int) -> None:
    context.events.emit(
        Check(
            at=context.clock.now(),
            node=context.node,
            call_id=challenge.call_id,
            step="SM7",
            rule="the phone answers the challenge in time",
            passed=False,
            impi=challenge.impi,
            impu=challenge.impu,
            expected=f"an answer within {lifetime_s} s",
            seen="none",
            fault=Fault.TIMER,
            clause="TS 33.203 6.1.2.3, TS 24.229 7.8",
            advice="the 401 may not reach the phone (address, NAT), or the phone drops it; trace it at the phone",
        )
    )


def report_failure(context: Context, register: RegisterRequest, outcome: Outcome) -> None:
    rule, seen, fault, clause, advice = _FAILURES[outcome]
    report(context, register, "SM9", rule, False, "", seen, fault, clause, advice)


def report_unprotected(context: Context, register: RegisterRequest) -> None:
    report(
        context,
        register,
        "SM9",
        "the answer came on the association of its challenge",
        False,
        expected='integrity-protected="yes"',
        seen=register.integrity_protected or "nothing",
        fault=Fault.POLICY,
        clause="TS 33.203 6.1.5",
        advice="[access] policy is ipsec: a phone answers under IPsec; a test tool without needs aka-without-ipsec",
    )
