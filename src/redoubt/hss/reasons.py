"""For each refusal of the HSS: the rule that decided, whose fault it is, the clause and what to try."""

from dataclasses import dataclass

from redoubt.diameter.cx import ResultCode
from redoubt.events import Fault

STORE_ADVICE = (
    "look at the free space and the owner of the state directory, or whether PostgreSQL runs and is reached;"
    " the HSS tries again with each request"
)


@dataclass(frozen=True, slots=True)
class Reason:
    rule: str
    fault: Fault
    clause: str
    advice: str


REASONS = {
    ResultCode.USER_UNKNOWN: Reason(
        "the identity is provisioned",
        Fault.IDENTITY,
        "TS 29.228 6.1.1.1",
        "compare what the phone sends with `redoubt subscriber list`; add it with `redoubt subscriber add`",
    ),
    ResultCode.IDENTITIES_DONT_MATCH: Reason(
        "the private and the public identity belong to one subscription",
        Fault.IDENTITY,
        "TS 33.203 6.1.1",
        "see `redoubt subscriber show` for the public identities of this private identity",
    ),
    ResultCode.AUTHORIZATION_REJECTED: Reason(
        "not every identity of the registration set is barred",
        Fault.POLICY,
        "TS 29.228 6.1.1.1",
        "lift the barring of one identity of the set",
    ),
    ResultCode.ROAMING_NOT_ALLOWED: Reason(
        "the subscriber may roam in this network",
        Fault.POLICY,
        "TS 29.228 6.1.1.1",
        'add the network to the subscriber\'s visited networks, or "*"',
    ),
    ResultCode.IDENTITY_NOT_REGISTERED: Reason(
        "the identity is registered", Fault.IDENTITY, "TS 29.228 6.1.4.1", "register the phone first"
    ),
    ResultCode.IDENTITY_ALREADY_REGISTERED: Reason(
        "the asking S-CSCF is the one assigned",
        Fault.PEER,
        "TS 29.228 6.1.2.1",
        "another S-CSCF serves the user: if it is gone, `redoubt subscriber` can reassign",
    ),
    ResultCode.IN_ASSIGNMENT_TYPE: Reason(
        "the assignment type fits the registration state",
        Fault.PEER,
        "TS 29.228 6.1.2.1",
        "S-CSCF and HSS disagree about the user's state: deregister the user and register again",
    ),
    ResultCode.TOO_BUSY: Reason(
        "vectors that nobody answers stay below the ceiling",
        Fault.POLICY,
        "hss.max-pending-per-user",
        "somebody asks for challenges without answering them; wait a minute, look for the source",
    ),
}

FALSE_AUTS = Reason(
    "AUTS carries a MAC-S that the card of this K made",
    Fault.SIM_KEY,
    "TS 33.102 6.3.5",
    "compare K and OPc of the card with those stored",
)
