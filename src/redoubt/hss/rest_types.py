"""What the REST API takes and gives beside a subscriber's own types; its OpenAPI description is made from these."""

from typing import Annotated

from msgspec import Meta, Struct

from redoubt.hss.administration import Told
from redoubt.hss.provisioning_fields import NewSubscriber, Profile, SubscriberView
from redoubt.limits import HSS_REST_LISTED

NewSubscribers = NewSubscriber | Annotated[tuple[NewSubscriber, ...], Meta(max_length=HSS_REST_LISTED)]
SCscfTold = Annotated[Told, Meta(description="what became of telling the S-CSCF that serves the user")]


class Page(Struct, frozen=True):
    """Subscribers in the order of their making."""

    subscribers: tuple[SubscriberView, ...]
    next: Annotated[str, Meta(description="`after` of the next page; empty: this is the last")] = ""


class AddedAnswer(Struct, frozen=True):
    """All were added."""

    added: int


class Outcome(Struct, rename="kebab", frozen=True):
    """The store holds the change; what the network did about it."""

    impi: str
    s_cscf: SCscfTold


class ProfileOutcome(Struct, rename="kebab", frozen=True):
    """The profile as it is now; what the network did about the change."""

    impi: str
    s_cscf: SCscfTold
    profile: Profile


class Status(Struct, rename="kebab", frozen=True):
    """Of this HSS process."""

    realm: str
    up_s: float
    s_cscfs: Annotated[tuple[str, ...], Meta(description="S-CSCFs that RTR and PPR can reach")]


class Problem(Struct, rename="kebab", omit_defaults=True, frozen=True):
    """What was wrong and what to write instead (RFC 9457)."""

    title: str
    status: int
    detail: str = ""
    field: Annotated[str, Meta(description="the field that is wrong")] = ""
    line: Annotated[int, Meta(description="of an imported file")] = 0
    column: Annotated[int, Meta(description="of an imported file: the field's number in CSV")] = 0
