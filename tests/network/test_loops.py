"""Row 73 (RFC 5393): contacts that point at each other. What one request becomes is bounded, whoever passes it on."""

import asyncio

import pytest

from redoubt.limits import MAX_BREADTH
from redoubt.sim import run
from redoubt.sip.message import Request, Response

from .client import Client
from .home import Home, home


class Forwarder:
    """A phone that is no end: each request to any of its contacts it passes on to another user, as a proxy does."""

    def __init__(self, phone: Client, target: str) -> None:
        self.phone = phone
        self.target = target
        self.passed_on = 0
        self.working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while True:
            message = await self.phone.take(lambda _any: True, 1e6)
            if isinstance(message, Request):
                self._pass_on(message)
            else:
                self._pass_back(message)

    def _pass_on(self, request: Request) -> None:
        self.passed_on += 1
        hops = int(request.get("Max-Forwards") or "0")
        request.uri = self.target
        request.set("Max-Forwards", str(max(0, hops - 1)))
        request.push("Via", self.phone.via())
        self.phone.send(request)

    def _pass_back(self, response: Response) -> None:
        vias = response.all("Via")[1:]
        if response.status == 100 or not vias:
            return
        response.remove("Via")
        for via in reversed(vias):
            response.push("Via", via)
        self.phone.send(response)


async def forwarder(net: Home, name: str, target: str, contacts: int) -> Forwarder:
    """A forwarder in a user's place, registered with so many contacts."""
    phone = await net.phone(name)
    for number in range(contacts):
        host, port = phone.address
        assert (await phone.registers(contact=f"<sip:{name}{number}@{host}:{port}>")).status == 200
    return Forwarder(phone, net.impu(target))


@pytest.mark.parametrize("contacts", [1, 2, 6])
def test_two_users_whose_contacts_lead_to_each_other_cost_a_bounded_number_of_messages(contacts: int) -> None:
    async def main(_sim: object) -> None:
        async with home() as net:
            alice, bob = await forwarder(net, "alice", "bob", contacts), await forwarder(net, "bob", "alice", contacts)
            carol = await net.registered("carol")
            answer = await carol.ask(carol.make("MESSAGE", net.impu("alice")), 200.0)
            assert answer.status in (408, 480, 482, 483, 500)
            await asyncio.sleep(100)
            assert alice.passed_on + bob.passed_on <= MAX_BREADTH
            for one in (alice, bob):
                one.working.cancel()

    run(main, 1)
