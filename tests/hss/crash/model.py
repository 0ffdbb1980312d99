"""What a subscriber's durable state must be after each operation: written from TS 29.228, not from the HSS's code.

An operation that was under way when the process died may have happened or not, or be half done where it is two
commits; one that was acknowledged has happened.
"""

import random
from dataclasses import dataclass, replace

from redoubt.diameter.cx import ResultCode

S1, S2 = "sip:scscf1.home.example", "sip:scscf2.home.example"


@dataclass(frozen=True, slots=True)
class User:
    """`generation` counts removals: who is added again has a new card, whose sequence numbers begin anew."""

    name: str
    generation: int = 0
    exists: bool = False
    barred: bool = False
    server: str = ""
    candidate: str = ""
    registered: bool = False
    contact: str = ""  # what the S-CSCF gave to be restored (TS 23.380)

    @property
    def impi(self) -> str:
        return f"{self.name}.{self.generation}@home.example"

    @property
    def impu(self) -> str:
        return f"sip:{self.name}@home.example"

    @property
    def seen(self) -> tuple[str, ...]:
        """What UAR and LIR answer (TS 29.228 6.1.1.1, 6.1.4.1): result and S-CSCF of each; and what is restored."""
        if not self.exists:
            return ResultCode.USER_UNKNOWN.name, "", ResultCode.USER_UNKNOWN.name, "", ""
        located = (
            (ResultCode.SUCCESS.name, self.server, self.contact)
            if self.registered
            else (ResultCode.IDENTITY_NOT_REGISTERED.name, "", "")
        )
        if self.barred:
            return (ResultCode.AUTHORIZATION_REJECTED.name, "", *located)
        name = self.candidate or self.server
        if name:
            return (ResultCode.SUBSEQUENT_REGISTRATION.name, name, *located)
        return (ResultCode.FIRST_REGISTRATION.name, "", *located)


def after(user: User, operation: str) -> User:
    """What an acknowledged operation makes of a user."""
    verb, server, contact = (*operation.split(), "", "")[:3]
    match verb:
        case "add":
            return replace(user, exists=True)
        case "remove":
            return User(user.name, user.generation + 1)
        case "unbar":
            return replace(user, barred=False)
        case "bar" if user.registered:
            return replace(user, barred=True, server="", candidate="", registered=False)
        case "bar":
            return replace(user, barred=True)
        case "reassign" | "leave":
            return replace(user, server="", candidate="", registered=False)
        case "sar":
            return replace(user, server=server, candidate="", registered=True, contact=contact)
        case "mar" if server == user.server:
            return replace(user, candidate="")
        case "mar" if user.registered:
            return replace(user, candidate=server)
        case "mar":
            return replace(user, server=server, candidate="")
    raise AssertionError(operation)


def interrupted(user: User, operation: str) -> tuple[User, ...]:
    """Every state in which a user may be found whose operation was never acknowledged."""
    halfway = (replace(user, barred=True),) if operation == "bar" else ()  # the profile changes, then the RTR is sent
    return (user, after(user, operation), *halfway)


def next_operation(user: User, choice: random.Random) -> str:
    """Something that an HSS meets: mostly registrations, now and then the operator."""
    if not user.exists:
        return "add"
    if user.barred:
        return choice.choice(("unbar", "remove"))
    if user.candidate or (user.server and not user.registered):
        register = f"sar {user.candidate or user.server} contact-{choice.getrandbits(64)}"
        return choice.choice((register, register, register, f"mar {S1}", "remove"))
    server = user.server if user.registered and choice.random() < 0.7 else choice.choice((S1, S2))
    challenge = f"mar {server}"
    if user.registered:
        return choice.choice((challenge, challenge, challenge, "leave", "leave", "bar", "reassign", "remove"))
    return choice.choice((challenge, challenge, challenge, challenge, "bar"))
