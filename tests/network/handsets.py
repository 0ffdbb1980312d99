"""Test phones under IPsec on a whole network on loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.namespaces import at_core, phone_at, wired

from redoubt.config import GmPath
from redoubt.events import Check, Event, EventStream, MessageSeen
from redoubt.gm.agreement import AgreementPolicy, Mode
from redoubt.gm.association_set import AssociationSet
from redoubt.gm.reports import PacketsRefused
from redoubt.lab.eavesdropper import Eavesdropper
from redoubt.lab.population import Resident, residents
from redoubt.network.associations import association_rows
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import REDOUBT, PhoneProfile
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sip.stack_wire import named
from redoubt.sources import Clock, SeededRandomness

from .home import carrier, placed
from .middle import PHONE, Middle, Router

E = TypeVar("E", bound=Event)
NAMES = ("alice", "bob", "carol")
ANYTHING = AgreementPolicy(confidentiality=False, legacy=True, modes=(Mode.UDP_TUNNEL,))


class Field:
    """A network and its subscribers' phones."""

    def __init__(self, network: Network, people: Iterable[Resident]) -> None:
        self.network = network
        self.people = {person.name: person for person in people}
        self.phones: list[Phone] = []
        self.routers: list[Eavesdropper | Router] = []
        self.middles: list[Middle] = []

    async def phone(
        self,
        name: str,
        *,
        gm: bool = True,
        policy: AgreementPolicy | None = None,
        seed: int = 0,
        routed: bool = False,
        profile: PhoneProfile = REDOUBT,
        path: GmPath | None = None,
    ) -> Phone:
        """A phone that is not registered. With `routed` its packets pass `self.routers`: SIP's, then ESP's."""
        context = Context(
            f"ue-{name}", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(100 + seed + len(name))
        )
        sip, tunnel = self.network.p_cscf_address, self.network.tunnel_address
        host = phone_at("127.0.0.1", is_ipv6=":" in sip[0])
        if routed and (between := wired.get()) is not None:
            self.middles.append(Middle(between, sip))
            self.routers += self.middles[-1].routers
            host = PHONE
        elif routed:
            routers = [await Eavesdropper.between(sip), await Eavesdropper.between(tunnel)]
            self.routers += routers
            sip, tunnel = (router.address for router in routers)
        options = GmOptions(policy or GmOptions().policy, tunnel[1], path=path or carrier())
        card = self.people[name].card()
        phone = Phone(
            context, card, Stack(context), f"sip:{named(sip)}", renews=False, gm=options if gm else None,
            profile=profile,
        )
        phone.registration.attempts = 1
        await phone.open(f"udp:{host}:0")
        self.phones.append(phone)
        return phone

    async def registered(self, name: str, **more: Any) -> Phone:
        phone = await self.phone(name, **more)
        result = await phone.register(3600)
        assert result.registered, f"{result}; {self.why()}"
        return phone

    def impu(self, name: str) -> str:
        return self.people[name].impu

    def sets(self, name: str = "") -> list[AssociationSet]:
        """The P-CSCF's association sets, of one subscriber."""
        assert self.network.p_cscf is not None and self.network.p_cscf.gm is not None
        living = self.network.p_cscf.gm.associations.sets.values()
        return [each for each in living if each.phone.key.impi.startswith(name)]

    def states(self, name: str) -> list[str]:
        return sorted(each.state.value for each in self.sets(name))

    def events(self, kind: type[E]) -> list[E]:
        return [event for event in self.network.context.events.recent if isinstance(event, kind)]

    def seen(self, *starts: str) -> list[MessageSeen]:
        """Messages whose first line starts so; needs tracing."""
        return [event for event in self.events(MessageSeen) if event.text.startswith(starts)]

    def events_at(self, place: str) -> list[MessageSeen]:
        """Messages that came to, or left, an address of the network; needs tracing."""
        return [event for event in self.events(MessageSeen) if place in (event.sender, event.receiver)]

    def refusals(self) -> set[str]:
        """Why packets led to nothing: as events tell, or as the kernel counts."""
        told = {event.reason for event in self.events(PacketsRefused)}
        if carrier() == "kernel":
            rows = list(association_rows(self.network))
            told |= {"replayed"} if any(row.replayed for row in rows) else set()
            told |= {"bad tag"} if any(row.bad_tags for row in rows) else set()
            with at_core():
                counted = Path("/proc/thread-self/net/xfrm_stat").read_text().split()
            told |= {"unknown SPI"} if int(counted[counted.index("XfrmInNoStates") + 1]) else set()
        return told

    def why(self) -> str:
        told = [event for event in self.network.context.events.recent if not isinstance(event, MessageSeen)]
        return "\n".join(repr(event) for event in told[-8:] if not (isinstance(event, Check) and event.passed))

    async def close(self) -> None:
        for phone in self.phones:
            await phone.close()
        for router in (*self.routers, *self.middles):
            router.close()
        await self.network.close()


@asynccontextmanager
async def field(
    gm: dict[str, Any] | None = None, *, access: str = "ipsec", off: Iterable[str] = (), tracing: bool = False
) -> AsyncIterator[Field]:
    """A network that demands IPsec, or has another access policy; `off` names protections to leave out."""
    events = EventStream()
    events.tracing = tracing
    tree = {"access": {"policy": access}, "gm": gm or {}, "test": {"protections-off": list(off)}}
    with at_core():
        network = await Network.temporary(placed(tree), events=events, randomness=SeededRandomness(1))
    assert network.hss is not None
    people = residents(NAMES, network.config.network.realm, SeededRandomness(2))
    await network.hss.administration.add([person.subscriber() for person in people])
    made = Field(network, people)
    try:
        yield made
    finally:
        await made.close()
