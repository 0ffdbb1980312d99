"""A P-CSCF that dies and comes back: phones notice nothing, no IV is used twice, nothing old is believed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.gm.algorithms import Suite
from redoubt.gm.association_set import AssociationSet, Role
from redoubt.gm.ledger import LENGTH, RECORD_OCTETS, SENT, Keepsakes, Ledger
from redoubt.gm.restart import JUMP, STATES, resume
from redoubt.gm.states import State
from redoubt.limits import LEDGER_SLOT_OCTETS
from redoubt.sim import Network, run
from redoubt.sim.packet import Trace
from redoubt.sources import Clock

from .ends import IMPU, NETWORK, PHONE, End, Gm, flow_of
from .suites import CBC_SHA1, GCM, GMAC
from .test_udp_tunnel import Nat

EPOCH_S = 1_000_000.0


class World:
    """A P-CSCF with a ledger, which can die."""

    def __init__(self, suite: Suite, wire: Network, slots: int = 8) -> None:
        self.suite = suite
        self.wire = wire
        self.memory = bytearray(LEDGER_SLOT_OCTETS * (slots + 1))
        self.clock = Clock(asyncio.get_running_loop(), EPOCH_S)
        self.lives = 0

    async def start(self) -> tuple[Gm, list[AssociationSet]]:
        self.lives += 1
        end = await End.open(Role.NETWORK, NETWORK, self.suite, self.lives)
        gm = Gm(end, self.lives, self.suite)
        return gm, resume(Ledger(self.memory), end.associations, gm.admission, self.clock)

    def kill(self, gm: Gm) -> None:
        """Nothing is said, nothing is cleaned up; its timers are gone. So it is when a process leaves its sets."""
        gm.network.associations.leave()
        gm.network.tunnel.close()
        self.wire.crash(NETWORK)

    async def register(self, gm: Gm, key_of: str = "alice") -> tuple[AssociationSet, AssociationSet]:
        theirs, mine = gm.challenge(await gm.phone(key_of))
        flow_of(mine).send(b"REGISTER")
        await asyncio.sleep(1)
        gm.network.associations.registered(theirs, IMPU, 3600)
        flow_of(theirs).send(b"200")
        await asyncio.sleep(1)
        gm.phones[mine.phone.key].associations.registered(mine, IMPU, 3600)
        return theirs, mine


def played(story: Callable[[World], Awaitable[None]], suite: Suite = CBC_SHA1) -> None:
    run(lambda wire: story(World(suite, wire)), 1, settle_s=0.0, allow_pending=True)


@pytest.mark.parametrize("suite", [CBC_SHA1, GCM, GMAC], ids=str)
def test_a_phone_notices_nothing_of_the_death_of_the_process(suite: Suite) -> None:
    async def story(world: World) -> None:
        gm, none = await world.start()
        assert none == []
        theirs, mine = await world.register(gm)
        phone = gm.phones[mine.phone.key]
        world.kill(gm)
        again, (taken,) = await world.start()
        assert (taken.state, taken.phone.key) == (State.IN_USE, theirs.phone.key)
        assert (taken.began_at, taken.ends_at) == pytest.approx((theirs.began_at, theirs.ends_at))
        assert taken.agreement.server == theirs.agreement.server
        assert again.network.associations.outgoing(theirs.phone.key) is taken
        flow_of(taken).send(b"INVITE")  # before the phone said anything
        flow_of(mine).send(b"OPTIONS")
        await asyncio.sleep(1)
        assert phone.messages == [b"200", b"INVITE"]
        assert again.network.inbox == [(b"OPTIONS", taken.flow)]
        again.close()
        phone.close()

    played(story, suite)


def test_a_phone_behind_a_nat_is_found_again() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        Nat(world.wire, PHONE)
        _, mine = await world.register(gm)
        world.kill(gm)
        again, (taken,) = await world.start()
        flow_of(taken).send(b"INVITE")
        await asyncio.sleep(1)
        assert gm.phones[mine.phone.key].messages[-1] == b"INVITE"
        again.close()

    played(story)


@pytest.mark.parametrize("suite", [GCM, GMAC], ids=str)
@pytest.mark.parametrize(("deaths", "packets"), [(5, 50), (1, 2 * JUMP)])
def test_no_iv_is_repeated_over_any_number_of_deaths(suite: Suite, deaths: int, packets: int) -> None:
    async def story(world: World) -> None:
        trace = Trace()
        world.wire.tap(trace)
        gm, _ = await world.start()
        theirs, _ = await world.register(gm)
        for _ in range(deaths):
            for _ in range(packets):
                flow_of(theirs).send(b"NOTIFY")
            world.kill(gm)
            gm, (theirs,) = await world.start()
        flow_of(theirs).send(b"NOTIFY")
        await asyncio.sleep(1)
        sent = [packet.payload[:16] for packet in trace.packets if packet.source.host == NETWORK]
        assert len(set(sent)) == len(sent) == deaths * packets + 2
        assert theirs.slot.start(SENT) >= deaths * (packets + JUMP)
        gm.close()

    played(story, suite)


def test_every_packet_from_before_the_death_is_refused_after_it() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        _, mine = await world.register(gm)
        trace = Trace()
        remove = world.wire.tap(trace)
        for number in range(20):
            flow_of(mine).send(b"%d" % number)
        await asyncio.sleep(1)
        remove()
        world.kill(gm)
        again, _ = await world.start()
        for packet in trace.packets:
            world.wire.inject(packet.source, packet.target, packet.payload)
        await asyncio.sleep(1)
        assert again.network.messages == []
        flow_of(mine).send(b"new")
        await asyncio.sleep(1)
        assert again.network.messages == [b"new"]
        again.close()

    played(story)


def test_what_has_ended_or_was_still_open_is_not_taken_over() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        await world.register(gm, "alice")
        gm.challenge(await gm.phone("bob", "10.0.0.8"))
        world.kill(gm)
        await asyncio.sleep(4000)
        again, taken = await world.start()
        assert taken == []
        assert Ledger(world.memory).free == 8
        again.close()

    played(story)


def test_a_set_that_ends_leaves_neither_record_nor_key() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        theirs, _ = await world.register(gm)
        key = theirs.keys.encryption.reveal()
        assert key in bytes(world.memory)
        gm.network.associations.deregistered(theirs.phone.key)
        await asyncio.sleep(130)
        assert not any(world.memory[LEDGER_SLOT_OCTETS:])
        gm.close()

    played(story)


def test_spis_and_ports_taken_over_are_given_to_nobody_else() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        _, mine = await world.register(gm)
        world.kill(gm)
        again, (taken,) = await world.start()
        again.phones, again._spi = gm.phones, gm._spi
        new, _ = again.challenge(mine.phone.key, over=taken)
        old_ends, new_ends = taken.agreement.network, new.agreement.network
        assert new_ends.port_c != old_ends.port_c
        assert new_ends.port_s == old_ends.port_s
        assert not {new_ends.spi_c, new_ends.spi_s} & {old_ends.spi_c, old_ends.spi_s}
        again.close()

    played(story)


def test_a_death_between_two_halves_of_a_change_leaves_one_set_in_use() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        old, mine = await world.register(gm)
        new, mine_new = gm.challenge(mine.phone.key, over=old)
        life = old.slot.life
        flow_of(mine_new).send(b"REGISTER")
        await asyncio.sleep(1)
        gm.network.associations.registered(new, IMPU, 3600)
        gm.network.associations.received(new)
        old.slot.life = life  # as if the process had died before it wrote that the old one is old
        world.kill(gm)
        again, taken = await world.start()
        assert sorted(each.state.value for each in taken) == ["in use", "old"]
        assert again.network.associations.outgoing(old.phone.key) is max(taken, key=lambda each: each.rank)
        again.close()

    played(story)


def test_a_death_before_the_newer_set_was_used_leaves_both_as_they_were() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        old, mine = await world.register(gm)
        new, mine_new = gm.challenge(mine.phone.key, over=old)
        flow_of(mine_new).send(b"REGISTER")
        await asyncio.sleep(1)
        gm.network.associations.registered(new, IMPU, 3600)
        world.kill(gm)
        again, taken = await world.start()
        assert sorted(each.state.value for each in taken) == ["established", "in use"]
        flow_of(mine_new).send(b"INVITE")
        await asyncio.sleep(1)
        assert sorted(each.state.value for each in taken) == ["in use", "old"]
        again.close()

    played(story)


@pytest.mark.parametrize("damage", ["record", "length", "magic", "no state", "a state that does not last"])
def test_a_damaged_ledger_is_given_up_and_not_believed(damage: str) -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        theirs, _ = await world.register(gm)
        start = theirs.slot.at * 4
        if damage == "record":
            world.memory[start + 64 : start + 96] = bytes(32)
        elif damage == "length":
            world.memory[start : start + 4] = b"\xff\xff\xff\xff"
        elif "state" in damage:
            number = len(STATES) if damage == "no state" else STATES.index(State.TEMPORARY)
            theirs.slot.life = number, theirs.slot.life[1]
        else:
            world.memory[0] ^= 1
        world.kill(gm)
        again, taken = await world.start()
        assert taken == []
        assert Ledger(world.memory).free == 8
        assert not any(world.memory[LEDGER_SLOT_OCTETS:])
        again.close()

    played(story)


def test_a_full_ledger_costs_nothing_but_the_takeover() -> None:
    async def story(world: World) -> None:
        gm, _ = await world.start()
        sets = []
        for number in range(10):
            gm.phones.clear()
            theirs, mine = gm.challenge(await gm.phone(f"u{number}", f"10.0.1.{number}"))
            flow_of(mine).send(b"REGISTER")
            await asyncio.sleep(0.1)
            gm.network.associations.registered(theirs, IMPU, 3600)
            sets.append(theirs)
        assert all(each.state is State.IN_USE for each in sets)
        world.kill(gm)
        again, taken = await world.start()
        assert len(taken) == 8
        again.close()

    played(story)


def test_a_record_that_does_not_fit_is_none() -> None:
    slot = Ledger(bytearray(2 * LEDGER_SLOT_OCTETS)).claim()
    slot.record = b"x" * RECORD_OCTETS
    assert slot.record == b"x" * RECORD_OCTETS
    slot.record = b"x" * (RECORD_OCTETS + 1)
    assert slot.record == b""


def test_what_the_p_cscf_keeps_is_there_again_and_what_it_forgot_is_not() -> None:
    memory = bytearray(LEDGER_SLOT_OCTETS * 8)
    kept = Keepsakes(Ledger(memory))
    for name in ("alice", "bob", "carol"):
        kept.keep(name, name.encode())
    kept.keep("alice", b"alice anew")
    kept.forget("bob")
    ledger, found = Ledger(memory), set[bytes]()
    again = Keepsakes(ledger)

    def revive(octets: bytes) -> bytes | None:
        found.add(octets)
        return octets if octets != b"carol" else None

    again.take_over(revive)
    assert found == {b"alice anew", b"carol"}
    assert list(ledger.taken()) == []  # no sets among them
    again.forget(b"alice anew")
    assert ledger.free == Ledger(memory).free == 7
    assert not any(memory[LEDGER_SLOT_OCTETS:])


def test_another_p_cscfs_ledger_is_emptied() -> None:
    memory = bytearray(LEDGER_SLOT_OCTETS * 4)
    Ledger(memory, "udp:192.0.2.1:4500").claim().record = b"a set with its keys"
    assert Ledger(memory, "udp:192.0.2.2:4500").free == 3
    assert not any(memory[LEDGER_SLOT_OCTETS:])


def test_no_more_memory_than_there_is_is_touched() -> None:
    memory = bytearray(LEDGER_SLOT_OCTETS * 8)
    ledger = Ledger(memory, reserve=lambda octets: octets <= 4 * LEDGER_SLOT_OCTETS)
    slots = [ledger.claim() for _ in range(5)]
    for slot in slots:
        slot.record = b"x"
    assert [bool(slot.record) for slot in slots] == [True, True, True, False, False]
    assert len(list(Ledger(memory).taken())) == 3


def test_what_a_process_was_writing_when_it_died_does_not_stay() -> None:
    memory = bytearray(LEDGER_SLOT_OCTETS * 4)
    slot = Ledger(memory).claim()
    slot.record = b"half of a record, with keys"
    slot.words[slot.at + LENGTH] = 0
    assert Ledger(memory).free == 3
    assert not any(memory[LEDGER_SLOT_OCTETS:])
