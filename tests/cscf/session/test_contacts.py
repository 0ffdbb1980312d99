"""Several contacts in one REGISTER (RFC 3261 10.2.1, TS 24.229 5.2.2.1): each is bound, reached and ended by itself."""

import asyncio

from redoubt.sim.run import run
from redoubt.sip.message import Response

from .core import Core, Phone, sent

HOME, WORK = "sip:alice@198.51.100.1:7001", "sip:alice@198.51.100.1:7002"


async def _register(phone: Phone, *contacts: str, expires: int = 3600) -> Response:
    """One REGISTER that names all these contacts."""
    request = phone.request("REGISTER", "sip:ims.example", ("Expires", str(expires)), to=f"<{phone.impu}>", call_id="r")
    request.set("Contact", ", ".join(f"<{contact}>" for contact in contacts))
    return await sent(phone, request)


def _path(core: Core) -> str:
    return core.sent("REGISTER").get("Path") or ""


async def _reaches(core: Core, bob: Phone, path: str, contact: str) -> int:
    """What a MESSAGE from the core to that contact, along that Path, is answered with."""
    request = bob.request("MESSAGE", contact)
    request.push("Route", path)
    return await core.from_core(request)


async def test_each_contact_that_the_200_lists_is_bound() -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    assert (await _register(alice, HOME, WORK)).status == 200
    assert {binding.contact for binding in core.pcscf.bindings.of_flow(alice.flow)} == {HOME, WORK}


async def test_each_is_reached_by_the_path_of_that_register_as_long_as_it_lives() -> None:
    core = Core()
    alice, bob = Phone(core, "alice", 6001), Phone(core, "bob", 6002)
    await _register(alice, HOME, WORK)
    path = _path(core)
    assert await _reaches(core, bob, path, HOME) == await _reaches(core, bob, path, WORK) == 200
    await _register(alice, HOME, expires=0)
    assert [binding.contact for binding in core.pcscf.bindings.of_flow(alice.flow)] == [WORK]
    assert await _reaches(core, bob, path, WORK) == 200
    await _register(alice, WORK, expires=0)
    assert await _reaches(core, bob, path, WORK) == 430
    assert core.pcscf.table_sizes() == {"bindings": 0, "dialogs": 0, "subscriptions": 0}


async def test_one_that_moved_to_another_flow_leaves_the_other_where_it_was() -> None:
    core = Core()
    alice, moved, bob = Phone(core, "alice", 6001), Phone(core, "alice", 6003), Phone(core, "bob", 6002)
    await _register(alice, HOME, WORK)
    path = _path(core)
    await _register(moved, HOME)
    assert await _reaches(core, bob, path, HOME) == await _reaches(core, bob, path, WORK) == 200
    assert [request.uri for request in moved.received] == [HOME]
    assert [request.uri for request in alice.received] == [WORK]


async def test_registered_apart_and_then_together_a_call_of_the_earlier_path_goes_on() -> None:
    core = Core()
    alice, bob = Phone(core, "alice", 6001), Phone(core, "bob", 6002)
    await bob.register()
    await _register(alice, HOME)
    await _register(alice, HOME, expires=0)
    alice.contact = WORK
    await _register(alice, WORK)
    answered = await bob.call(alice)
    assert answered.status == 200
    await _register(alice, HOME)
    earlier = core.pcscf.bindings.of_flow(alice.flow)[0].token
    await _register(alice, HOME, WORK)
    assert all(binding.token != earlier for binding in core.pcscf.bindings.of_flow(alice.flow))
    assert (await sent(bob, bob.inside("BYE", answered))).status == 200
    assert not core.pcscf.dialogs


async def test_an_end_of_all_contacts_leaves_those_that_the_200_lists_still() -> None:
    core = Core()
    alice, sister = Phone(core, "alice", 6001), Phone(core, "alice", 6003)
    await _register(alice, HOME)
    await sister.register()
    binding = core.pcscf.bindings.of_flow(sister.flow)[0]
    star = alice.request("REGISTER", "sip:ims.example", ("Expires", "0"), to=f"<{alice.impu}>", call_id="r")
    star.set("Contact", "*")
    core.answers_star = (("Contact", f"<{sister.contact}>;expires=60"),)
    assert (await sent(alice, star)).status == 200
    assert core.pcscf.bindings.of_impu(alice.impu) == [binding]


def test_all_of_them_end_at_their_time() -> None:
    async def main(_network: object) -> None:
        core = Core()
        await _register(Phone(core, "alice", 6001), HOME, WORK, expires=600)
        await asyncio.sleep(599)
        assert len(core.pcscf.bindings) == 2
        await asyncio.sleep(3)
        assert len(core.pcscf.bindings) == 0

    run(main, 1)
