"""What `redoubt trace` shows of a running network: each SIP message in the clear, and the keys of ESP on demand.

Messages are those of the event stream, without CK and IK. Keys open all that a phone says under them: whoever hands
them out, and for how long they are good, is told as an event.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from msgspec import Struct

from redoubt.events import Event, MessageSeen
from redoubt.gm.association_set import AssociationSet
from redoubt.gm.associations import Associations
from redoubt.gm.states import Event as Happened
from redoubt.gm.states import Life, Row, State
from redoubt.gm.wireshark import lines_of
from redoubt.limits import TRACED_WAITING
from redoubt.network.control import ControlError
from redoubt.network.run import Network
from redoubt.transport.flow import Address


class Began(Struct, frozen=True, tag=True):
    """The trace runs. Only where there are associations, there are keys of theirs."""

    functions: list[str]
    has_keys: bool


class Passed(Struct, frozen=True, tag=True):
    """A message between two places, as it would have been in the clear."""

    at: float
    node: str
    carrier: str
    source: Address
    target: Address
    octets: bytes
    comment: str


class KeysOf(Struct, frozen=True, tag=True):
    """Four lines of Wireshark's table for one association set, told again when its end changes; none when it has ended.
    `until` is when it ends.
    """

    impi: str
    number: int
    since: float
    until: float
    lines: list[str]


class Lost(Struct, frozen=True, tag=True):
    """So many were not told, because whoever reads is too slow."""

    count: int


Item = Began | Passed | KeysOf | Lost


async def trace(network: Network, asked: dict[str, Any]) -> AsyncGenerator[Item]:
    """A feed of what passes, until its reader has enough. Raises ControlError."""
    messages, keys = bool(asked.get("messages")), bool(asked.get("keys"))
    if not messages and not keys:
        raise ControlError("ask for messages, for keys, or for both")
    return _Trace(network, messages, keys).items()


class _Trace:
    """One reader's view."""

    def __init__(self, network: Network, messages: bool, keys: bool) -> None:
        self._network = network
        self._messages = messages
        self._keys = keys
        self._waiting: asyncio.Queue[Item] = asyncio.Queue(TRACED_WAITING)
        self._lost = 0
        self._known: set[int] = set()  # living sets whose keys were handed out
        self._handed_out = 0

    async def items(self) -> AsyncGenerator[Item]:
        events, associations = self._network.context.events, self._associations()
        yield Began(sorted(self._network.only), associations is not None)
        stop = events.trace(self._happened) if self._messages else None
        try:
            if associations is not None:
                associations.listeners.append(self._changed)
                for each in list(associations.sets.values()):
                    self._hand_out(each)
                self._tell(
                    f"ESP keys of {self._handed_out} association sets, and of each new one, go to `redoubt trace`"
                )
            while True:
                yield await self._waiting.get()
                if self._lost and self._waiting.empty():
                    lost, self._lost = self._lost, 0
                    yield Lost(lost)
        finally:
            if stop is not None:
                stop()
            if associations is not None:
                associations.listeners.remove(self._changed)
                self._tell(f"ESP keys of {self._handed_out} association sets went to `redoubt trace`, which has ended")

    def _associations(self) -> Associations | None:
        p_cscf = self._network.p_cscf
        return p_cscf.gm.associations if self._keys and p_cscf is not None and p_cscf.gm is not None else None

    def _tell(self, what: str) -> None:
        advice = (
            "they open all that was and will be captured of these sets: delete the file when it has served; a set ends "
            "with its registration, and the next authentication has new keys"
        )
        self._network.context.notice("warning", what, advice)

    def _put(self, item: Item) -> None:
        try:
            self._waiting.put_nowait(item)
        except asyncio.QueueFull:
            self._lost += 1

    # ---- keys

    def _changed(self, about: AssociationSet, _before: State, _event: Happened, row: Row | None) -> None:
        """A set has its first event when its phone's first packet came: nothing before it can be decrypted."""
        if row is None or (row.life is Life.KEEP and about.number in self._known):
            return
        if row.state is not State.ENDED:
            self._hand_out(about)
        elif about.number in self._known:
            self._known.discard(about.number)
            self._put(self._keys_of(about, []))

    def _hand_out(self, each: AssociationSet) -> None:
        self._handed_out += each.number not in self._known
        self._known.add(each.number)
        self._put(self._keys_of(each, lines_of(each)))

    def _keys_of(self, each: AssociationSet, lines: list[str]) -> KeysOf:
        to_wall_s = self._network.context.clock.now() - asyncio.get_running_loop().time()
        return KeysOf(each.phone.key.impi, each.number, each.began_at + to_wall_s, each.ends_at + to_wall_s, lines)

    # ---- messages

    def _happened(self, event: Event) -> None:
        if isinstance(event, MessageSeen) and event.transport != "cx":
            names = self._network.names
            who = [names.get(party, party) for party in (event.sender, event.receiver)]
            self._put(
                Passed(
                    event.at, event.node, event.transport, self._place(event.sender), self._place(event.receiver),
                    event.text.encode("utf-8", "surrogateescape"), f"{who[0]} to {who[1]}",
                )
            )  # fmt: skip

    def _place(self, party: str) -> Address:
        """Where a party is; of a function of this process, where others of the core reach it."""
        if not party.rpartition(":")[2].isdigit():
            places = [place for place, name in self._network.names.items() if name == party]
            party = places[-1] if places else "0.0.0.0:5060"
        host, _, port = party.rpartition(":")
        return host.strip("[]"), int(port)
