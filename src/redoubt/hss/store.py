"""What the HSS asks of a store, and the changes that it writes. SQLite is the one that exists (sqlite.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from redoubt.hss.records import Assignment, Provisioned, Subscription


class StoreFailed(Exception):
    """The store could not write or read; nothing of the change was kept. The text is for operators."""


class Conflict(StoreFailed):
    """A change broke a rule of the store: an identity is already taken."""


@dataclass(frozen=True, slots=True)
class SequenceReserved:
    """Every SEQ up to `seq` may be used from now on (TS 33.102 C.1.1)."""

    impi: str
    seq: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """Where a subscription is registered."""

    number: int
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class ServerNamed:
    """The S-CSCF that challenges a subscription; its registrations are as they were."""

    number: int
    server_name: str
    candidate: str


@dataclass(frozen=True, slots=True)
class StrangerChallenged:
    """A private identity that nobody has was challenged: committed so that it takes as long as a real first one."""

    impi: str


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


Change = SequenceReserved | Assigned | ServerNamed | StrangerChallenged | Added | Reprovisioned | Removed


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
    """Reads answer at once from the last commit; `write` returns once its changes are on the disk together.

    All raise StoreFailed.
    """

    def number_of_impi(self, impi: str) -> int | None:
        """The subscription of a private identity."""
        ...

    def place_of_impu(self, impu: str) -> tuple[int, int] | None:
        """Subscription and registration set of a public identity, as provisioned."""
        ...

    def wildcards(self) -> list[tuple[str, int, int]]:
        """Pattern, subscription and set of every wildcarded identity."""
        ...

    def load(self, number: int) -> Subscription | None: ...

    def numbers(self) -> list[int]:
        """All subscriptions, in order of their making."""
        ...

    def generation(self) -> int:
        """Differs after another process has written."""
        ...

    async def write(self, changes: Sequence[Change]) -> None: ...

    async def begin_import(self) -> Import:
        """One at a time; raises StoreFailed while another runs."""
        ...

    async def close(self) -> None: ...
