"""What the HSS asks of a store, and the changes that it writes. There are SQLite's and PostgreSQL's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from redoubt.diameter.cx import RestorationInfo
from redoubt.hss.records import Assignment, Provisioned, Subscription


class StoreFailed(Exception):
    """The store could not write or read; nothing of the change was kept. The text is for operators."""


class Conflict(StoreFailed):
    """A change broke a rule of the store: an identity is already taken."""


class Stale(StoreFailed):
    """What the change is based on was changed by another process meanwhile: look again, then decide anew."""


class SequenceReserved(Struct, frozen=True, gc=False):
    """Every SEQ up to `seq` may be used from now on (TS 33.102 C.1.1)."""

    impi: str
    seq: int


class AuthenticationPending(Struct, frozen=True, gc=False):
    """Whether a challenge is open (TS 29.228 6.3). Written where several HSS processes must know."""

    impi: str
    pending: bool


class Assigned(Struct, frozen=True, gc=False):
    """Where a subscription is registered."""

    number: int
    assignment: Assignment


class ServerNamed(Struct, frozen=True, gc=False):
    """The S-CSCF that challenges a subscription; its registrations are as they were."""

    number: int
    server_name: str
    candidate: str


class RestorationStored(Struct, frozen=True, gc=False):
    """What an S-CSCF that forgets will ask for: of one private identity's registration of a set (TS 23.380)."""

    number: int
    position: int
    info: RestorationInfo


class RestorationDropped(Struct, frozen=True, gc=False):
    """Nothing is left to restore of a private identity in a set; no identity: of the whole subscription."""

    number: int
    impi: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class StrangerChallenged:
    """A private identity that nobody has was challenged: committed so that it takes as long as a real first one."""

    impi: str


@dataclass(frozen=True, slots=True)
class ServerHost:
    """An S-CSCF that serves here, and the Diameter host where it lives; an empty host changes none that is known."""

    server_name: str
    host: str


@dataclass(frozen=True, slots=True)
class RepositoryStored:
    """Repository data of a public identity and service (TS 29.328 6.1.2); `octets` None takes it away.

    `after` is the sequence number that it follows, None if there was no data; Stale if that is no longer so.
    """

    number: int
    impu: str
    service: str
    after: int | None
    sequence: int
    octets: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotificationSubscribed:
    """An application server is told when data of a public identity change (TS 29.328 6.1.3).

    `ends_at`: seconds since 1970, 0 for never; None ends it.
    """

    number: int
    impu: str
    host: str
    reference: int
    service: str
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class NewPrivate:
    impi: str
    algorithm: str
    amf: bytes
    sealed: bytes = field(repr=False)
    seq: int


@dataclass(frozen=True, slots=True)
class Added:
    """A new subscription."""

    provisioned: Provisioned
    privates: tuple[NewPrivate, ...]


@dataclass(frozen=True, slots=True)
class Reprovisioned:
    """Other service profiles, barring, networks or capabilities; the private identities stay."""

    number: int
    provisioned: Provisioned
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Removed:
    """A subscription with all its identities and keys."""

    number: int


Change = (
    SequenceReserved
    | AuthenticationPending
    | Assigned
    | ServerNamed
    | RestorationStored
    | RestorationDropped
    | StrangerChallenged
    | ServerHost
    | RepositoryStored
    | NotificationSubscribed
    | Added
    | Reprovisioned
    | Removed
)


@dataclass(frozen=True, slots=True)
class Server:
    """An S-CSCF that ever served: its number, counted from 0, and its Diameter host if known."""

    number: int
    host: str


@dataclass(frozen=True, slots=True)
class RepositoryData:
    sequence: int
    octets: bytes = field(repr=False)


class Import(Protocol):
    """Many new subscriptions, which come to life together with `commit`; until then nobody sees them.

    Whoever changes single subscriptions meanwhile does not wait for it.
    """

    async def add(self, batch: Sequence[Added]) -> None:
        """Raises Conflict if an identity is taken; then only `abandon` may follow."""
        ...

    async def commit(self) -> None: ...

    async def abandon(self) -> None:
        """Takes everything out again."""
        ...


class Store(Protocol):
    """Reads answer from the last commit; `write` returns once its changes are on the disk together.

    All raise StoreFailed.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other HSS processes write too, so that what was read before must be looked at again each time."""
        ...

    def generation(self) -> int:
        """Differs after another process has written; always the same in a shared store."""
        ...

    async def find(self, impi: str, impu: str, known: Mapping[int, Subscription]) -> list[Subscription]:
        """The subscriptions that have either identity, as provisioned; those of `known` that are still so."""
        ...

    async def load(self, number: int) -> Subscription | None: ...

    async def page(self, after: int, count: int) -> list[Subscription]:
        """The next so many subscriptions, in order of their making."""
        ...

    async def wildcards(self) -> list[tuple[str, int, int]]:
        """Pattern, subscription and set of every wildcarded identity."""
        ...

    async def restoration(self, number: int, position: int) -> list[RestorationInfo]:
        """What was kept of the registrations of a set."""
        ...

    async def servers(self) -> dict[str, Server]:
        """Every S-CSCF of a `ServerHost`, by its name."""
        ...

    async def repository(self, impu: str, service: str) -> RepositoryData | None: ...

    async def repository_count(self, number: int) -> int:
        """How many services have repository data of a subscription's identities."""
        ...

    async def notifications(self, number: int) -> list[NotificationSubscribed]:
        """Who is told of changes of a subscription's identities; those that ran out among them."""
        ...

    async def write(self, changes: Sequence[Change], seen: Mapping[int, int] | None = None) -> None:
        """`seen`: subscriptions that the changes are based on, with their versions; raises Stale if one has another.

        Their versions rise by one.
        """
        ...

    async def begin_import(self) -> Import:
        """One at a time; raises StoreFailed while another runs."""
        ...

    async def close(self) -> None: ...
