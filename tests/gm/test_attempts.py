"""What ends an attempt at the P-CSCF, and who can't end it (TS 33.203 7.2, 7.3; TS 24.229 5.2.2.2, 5.1.1.5.3)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.cscf.pcscf.gm import Asked, Gm, Keys
from redoubt.events import EventStream
from redoubt.gm.association_set import AssociationSet
from redoubt.gm.states import State
from redoubt.secret import Secret
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Root
from redoubt.sources import SeededRandomness
from redoubt.transport.flow import Clear, Flow, Zone

from .sets import ALICE, HERE, IMPU, POLICY, Node, virtually

KEYS = Keys("another nonce", Secret(bytes(16)), Secret(bytes(range(16))))
ELSEWHERE = "10.0.0.66"


class Door:
    """The P-CSCF's access security, and requests that come to it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._context = Context("p-cscf", EventStream(), node.clock, SeededRandomness(1))
        self.gm = Gm(self._context, POLICY, node.associations, node.admission)

    def exchange(self, flow: Flow) -> Exchange:
        return Exchange(flow, Root(self._context, asyncio.get_running_loop().time() + 64, lambda _response: None))

    async def sent(self, exchange: Exchange) -> None:
        """The answer is on the wire."""
        for action in exchange.root.after:
            await action()


def played(story: Callable[[Door], Awaitable[None]]) -> None:
    virtually(lambda node: story(Door(node)))


def answered(node: Node) -> AssociationSet:
    made = node.challenge()
    node.associations.received(made)
    return made


def asked_on(carrier: AssociationSet) -> Asked:
    client = carrier.agreement.client
    return Asked(carrier, "yes", ALICE, carrier.address, carrier.inner, carrier.call_id, client)


def test_another_challenge_to_an_answer_ends_the_attempt_of_the_first() -> None:
    async def story(door: Door) -> None:
        first = answered(door.node)
        assert first.flow is not None
        exchange, response = door.exchange(first.flow), Response(401)
        door.gm.challenged(asked_on(first), KEYS, response, exchange)
        assert response.get("Security-Server")
        assert first.state is State.ANSWERED  # the 401 leaves on it
        await door.sent(exchange)
        assert sorted(each.state for each in door.node.associations.sets.values()) == [State.REFUSED, State.TEMPORARY]

    played(story)


@pytest.mark.parametrize("changed", ["Security-Verify", "Security-Client"])
def test_a_list_that_comes_back_changed_ends_the_attempt_once_the_494_has_left(changed: str) -> None:
    async def story(door: Door) -> None:
        made = answered(door.node)
        assert made.flow is not None
        lists = {"Security-Verify": made.agreement.server, "Security-Client": made.agreement.client}
        lists[changed] = lists[changed].replace("aes-gcm", "aes-cbc")
        via = ("Via", f"SIP/2.0/UDP {HERE}:31001;branch=z9hG4bK1")
        to = [("From", f"<{IMPU}>;tag=1"), ("To", f"<{IMPU}>"), ("Call-ID", made.call_id)]
        credentials = ("Authorization", f'Digest username="{ALICE.impi}", nonce="{made.nonce}"')
        request = Request("REGISTER", "sip:ims.test", [via, *to, credentials, *lists.items()])
        exchange = door.exchange(made.flow)
        with pytest.raises(SipError) as refused:
            door.gm.asked(request, exchange)
        assert (refused.value.status, made.state) == (494, State.ANSWERED)
        await door.sent(exchange)
        assert made.state is State.REFUSED

    played(story)


@pytest.mark.parametrize("address", [HERE, ELSEWHERE])
def test_only_the_phones_own_address_ends_an_attempt_without_protection(address: str) -> None:
    """A phone whose card refuses the network has no keys to say so with; nor has whoever overheard its Call-ID."""

    async def story(door: Door) -> None:
        made = door.node.challenge()
        flow = Flow("udp", ("192.0.2.1", 5060), (address, 5060), Zone.ACCESS, Clear(), lambda _data: None)
        exchange = door.exchange(flow)
        door.gm.ended(Asked(None, "no", ALICE, address, address, made.call_id), Response(403), exchange)
        await door.sent(exchange)
        assert made.state is (State.REFUSED if address == HERE else State.TEMPORARY)

    played(story)


@pytest.mark.parametrize("lied", [False, True])
def test_a_request_that_repeats_another_list_than_was_sent_is_494(lied: bool) -> None:
    """RFC 3329 2.3.1: it is repeated in every request; what comes without, the association has proved."""

    async def story(door: Door) -> None:
        carrier = door.node.authenticate()
        verify = carrier.agreement.server.replace("q=0.9", "q=0.7" if lied else "q=0.9")
        via = ("Via", f"SIP/2.0/UDP {HERE}:31001;branch=z9hG4bK1")
        request = Request("MESSAGE", IMPU, [via, ("Security-Verify", verify)])
        assert carrier.flow is not None
        if not lied:
            door.gm.admit(request, carrier.flow)
            assert request.get("Security-Verify") is None
            return
        with pytest.raises(SipError) as refused:
            door.gm.admit(request, carrier.flow)
        assert refused.value.status == 494

    played(story)
