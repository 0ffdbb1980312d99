"""What a P-CSCF keeps of its phones for the next process, and which association serves what."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.cscf.pcscf.bindings import Binding, Bindings
from redoubt.cscf.pcscf.dialogs import Dialog, Dialogs
from redoubt.cscf.pcscf.gm import Gm
from redoubt.cscf.pcscf.restart import Memory
from redoubt.events import EventStream
from redoubt.gm.association_set import AssociationSet
from redoubt.gm.ledger import Keepsakes
from redoubt.gm.states import State
from redoubt.sim import Network, run
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request
from redoubt.sip.service import Context
from redoubt.sources import SeededRandomness

from .sets import ALICE, BOB, IMPU, POLICY, Node

CONTACT = "sip:alice@10.0.0.1:31001"
ROUTE, ASSOCIATED = "<sip:orig@scscf.ims.test;lr>", f"<{IMPU}>, <tel:+15550100>"
AT = f"{ALICE.impi} {CONTACT}"
KEY = ("call", "alice's", "bob's")


class World:
    """A P-CSCF's tables, and the process that has them."""

    def __init__(self) -> None:
        self.node = Node()
        self.start()

    def start(self) -> None:
        node = self.node
        context = Context("p-cscf", EventStream(), node.clock, SeededRandomness(1))
        self.gm = Gm(context, POLICY, node.associations, node.admission, Keepsakes(node.ledger))
        self.ended: list[Binding] = []
        self.bindings, self.dialogs = Bindings(self.ended.append, self.gm), Dialogs()
        assert self.gm.keepsakes is not None
        memory = Memory(self.gm.keepsakes, node.clock, self.bindings.now())
        self.recalled = memory.recall(self.bindings, self.dialogs, self.gm)
        self.bindings.memory = self.dialogs.memory = memory

    def die(self) -> None:
        """And the next one begins."""
        self.node.associations.leave()
        self.node.start(2)
        self.start()

    def register(self, made: AssociationSet, lifetime_s: float = 3600) -> Binding:
        assert made.flow is not None
        binding = Binding("token", CONTACT, IMPU, made.flow, AT, ALICE.impi, call_id="registration", cseq=7)
        binding.learn((ROUTE,), (ASSOCIATED,))
        self.bindings.keep(binding, made.flow, lifetime_s)
        return binding


def played(story: Callable[[World], Awaitable[None]]) -> None:
    async def main(_network: Network) -> None:
        world = World()
        await story(world)
        world.bindings.clear()
        world.dialogs.clear()
        world.node.associations.close()

    run(main, 1)


def test_bindings_and_confirmed_dialogs_are_there_again() -> None:
    async def story(world: World) -> None:
        before = world.register(world.node.authenticate())
        world.dialogs.add(Dialog(KEY, before, (ROUTE,), 3, confirmed=True))
        world.dialogs.add(Dialog(("early", "a", "b"), before, (), 1))
        await asyncio.sleep(100)
        world.die()
        [after] = world.recalled
        assert world.bindings.of_token("token") is world.bindings.find(IMPU, AT) is after
        assert (after.call_id, after.cseq, after.sender) == ("registration", 7, ALICE)
        assert (after.service_route, after.associated) == ((ROUTE,), (ASSOCIATED,))
        assert after.expires_at == pytest.approx(before.expires_at)
        assert world.bindings.way_to(after) is after.flow
        assert world.bindings.of_flow(after.flow) == [after]
        dialog = world.dialogs.find(KEY)
        assert dialog is not None
        assert (dialog.owner, dialog.routes, dialog.cseq) == (after, (ROUTE,), 3)
        assert len(world.dialogs) == 1
        world.die()  # and once more
        assert world.dialogs.find(KEY) is not None

    played(story)


def test_what_ended_is_not() -> None:
    async def story(world: World) -> None:
        binding = world.register(world.node.authenticate())
        world.dialogs.add(Dialog(KEY, binding, (ROUTE,), 3, confirmed=True))
        world.bindings.remove(binding)
        world.dialogs.remove_all_of(binding)
        world.die()
        assert world.recalled == []
        assert len(world.dialogs) == 0

    played(story)


def test_a_registration_that_ran_out_meanwhile_ends_with_its_associations() -> None:
    async def story(world: World) -> None:
        world.register(world.node.authenticate(), 50)
        world.node.associations.leave()
        await asyncio.sleep(60)
        world.die()
        assert world.recalled == []
        assert world.node.associations.sets == {}

    played(story)


def test_associations_without_a_binding_are_ended() -> None:
    """A phone that thinks that it is served would be wrong: unanswered, it registers anew."""

    async def story(world: World) -> None:
        world.register(world.node.authenticate())
        world.node.authenticate(BOB, port_s=31003)
        world.die()
        assert {each.phone.key for each in world.node.associations.sets.values()} == {ALICE}

    played(story)


def test_until_its_200_an_association_serves_register_alone() -> None:
    async def story(world: World) -> None:
        old = world.node.authenticate()
        new = world.node.challenge(over=old)
        world.node.associations.received(new)
        message = Request("MESSAGE", IMPU, [("Via", f"SIP/2.0/UDP {new.address}:31001;branch=z9hG4bK1")])
        assert new.flow is not None and old.flow is not None
        with pytest.raises(SipError) as refused:
            world.gm.admit(message, new.flow)
        assert refused.value.status == 403
        world.gm.admit(message, old.flow)
        assert world.node.associations.registered(new, IMPU, 3600)
        world.gm.admit(message, new.flow)

    played(story)


@pytest.mark.parametrize("ended", ["refused", "closing"])
def test_an_association_on_which_the_last_answers_leave_serves_no_request(ended: str) -> None:
    async def story(world: World) -> None:
        carrier = world.node.authenticate() if ended == "closing" else world.node.challenge()
        message = Request("MESSAGE", IMPU, [("Via", f"SIP/2.0/UDP {carrier.address}:31001;branch=z9hG4bK1")])
        if ended == "closing":
            world.node.associations.deregistered(ALICE)
        else:
            world.node.associations.received(carrier)
            world.node.associations.failed(carrier)
        assert carrier.flow is not None and not carrier.flow.is_closed()
        with pytest.raises(SipError) as refused:
            world.gm.admit(message, carrier.flow)
        assert (carrier.state, refused.value.status) == (State(ended), 403)

    played(story)
