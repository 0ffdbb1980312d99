"""ESP in UDP between phones and a P-CSCF on a virtual network: what gets through, and all that must not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.gm.algorithms import Suite
from redoubt.gm.association_set import AssociationSet, Beginning, PathFailed, Usage
from redoubt.gm.esp import SEQUENCE_MAX, Drop
from redoubt.gm.packets import UDP, IpPacket, UdpEnvelope
from redoubt.gm.states import Event, State
from redoubt.gm.udp_tunnel import PORT
from redoubt.gm.user_space import KEEPALIVE_S
from redoubt.sim import Network, run
from redoubt.sim.packet import Packet, Trace
from redoubt.transport.flow import EspAssociation, FlowFailed, Zone

from .ends import IMPU, NETWORK, PHONE, End, Gm, flow_of
from .suites import CBC_SHA1, SUITES

REGISTER, OK, INVITE = b"REGISTER sip:ims.test SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"INVITE sip:alice SIP/2.0\r\n"


def played(
    story: Callable[[Gm, Network], Awaitable[None]],
    network: Network | None = None,
    suite: Suite = CBC_SHA1,
    host: str = NETWORK,
) -> None:
    async def main(wire: Network) -> None:
        gm = await Gm.open(suite, host)
        await story(gm, wire)
        gm.close()

    run(main, 1, network=network or Network(1))


async def registered(gm: Gm, host: str = PHONE, impi: str = "alice") -> tuple[AssociationSet, AssociationSet]:
    """The network's and the phone's set after a registration on a quiet wire."""
    key = await gm.phone(impi, host)
    theirs, mine = gm.challenge(key)
    flow_of(mine).send(REGISTER)
    await asyncio.sleep(1)
    gm.network.associations.registered(theirs, IMPU, 3600)
    flow_of(theirs).send(OK)
    await asyncio.sleep(1)
    gm.phones[key].associations.registered(mine, IMPU, 3600)
    assert (theirs.state, mine.state) == (State.IN_USE, State.IN_USE)
    return theirs, mine


def phone_of(gm: Gm, mine: AssociationSet) -> End:
    return gm.phones[mine.phone.key]


def test_fragments_end_with_the_set_that_they_came_on() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        theirs, mine = await registered(gm)
        tunnel, at = gm.network.tunnel, asyncio.get_running_loop().time()
        first = IpPacket(bytes(8), UDP, bytes(8), 1, more=True)
        for number in (theirs.number, theirs.number + 1):
            assert tunnel.fragments.add(number, first, at) is None
        gm.network.associations.ended(theirs, Event.EXHAUSTED)
        assert len(tunnel.fragments) == 1
        phone_of(gm, mine).close()

    played(story)


@pytest.mark.parametrize("suite", SUITES, ids=str)
@pytest.mark.parametrize(("host", "phone"), [(NETWORK, PHONE), ("2001:db8::1", "2001:db8::7")], ids=["ipv4", "ipv6"])
def test_messages_cross_both_ways_and_nobody_else_reads_them(suite: Suite, host: str, phone: str) -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        wire.tap(trace)
        _, mine = await registered(gm, phone)
        assert gm.network.messages == [REGISTER]
        assert phone_of(gm, mine).messages == [OK]
        assert len(trace.packets) == 2
        if suite.is_confidential:
            assert not any(b"SIP" in packet.payload for packet in trace.packets)

    played(story, suite=suite, host=host)


def test_the_flow_says_which_association_and_whose_it_is() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        theirs, mine = await registered(gm)
        (_, flow), ends = gm.network.inbox[0], theirs.agreement
        assert flow is theirs.flow
        assert flow.security == EspAssociation(theirs.number, "alice")
        assert (flow.transport, flow.zone, flow.trusted) == ("udp", Zone.ACCESS, False)
        assert flow.local == (NETWORK, ends.network.port_s)
        assert flow.remote == (PHONE, ends.phone.port_s)
        assert gm.network.associations.of(flow) is theirs
        assert (flow_of(mine).local, flow_of(mine).remote) == (flow.remote, flow.local)

    played(story)


def test_the_network_sends_to_no_phone_before_it_was_heard() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        theirs, _ = gm.challenge(await gm.phone())
        with pytest.raises(FlowFailed):
            flow_of(theirs).send(INVITE)

    played(story)


def test_each_packet_of_a_call_replayed_from_anywhere_leads_to_nothing() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        remove = wire.tap(trace)
        theirs, mine = await registered(gm)
        for number in range(20):
            flow_of(mine).send(b"%d" % number)
            flow_of(theirs).send(b"%d" % number)
        await asyncio.sleep(1)
        remove()
        before = gm.network.messages, phone_of(gm, mine).messages
        for packet in trace.packets:
            wire.inject(packet.source, packet.target, packet.payload)
            wire.inject(("203.0.113.66", 666), packet.target, packet.payload)
        await asyncio.sleep(1)
        assert (gm.network.messages, phone_of(gm, mine).messages) == before
        flow_of(theirs).send(INVITE)  # nor does a replay draw the network's packets to its sender
        await asyncio.sleep(1)
        assert phone_of(gm, mine).messages[-1] == INVITE

    played(story)


def test_a_packet_sent_back_to_its_sender_leads_to_nothing() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        remove = wire.tap(trace)
        _, mine = await registered(gm)
        remove()
        before = gm.network.messages, phone_of(gm, mine).messages
        for packet in trace.packets:
            wire.inject(packet.target, packet.source, packet.payload)
        await asyncio.sleep(1)
        assert (gm.network.messages, phone_of(gm, mine).messages) == before
        assert gm.network.tunnel.discards.unknown_spi == 1

    played(story)


def test_one_changed_bit_anywhere_in_a_packet_is_dropped_in_silence() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        _, mine = await registered(gm)
        wire.tap(trace)
        stop = wire.intercept(lambda _packet: None)
        flow_of(mine).send(REGISTER)
        stop()
        (packet,) = trace.packets
        for bit in range(8 * len(packet.payload)):
            changed = bytearray(packet.payload)
            changed[bit // 8] ^= 0x80 >> bit % 8
            wire.inject(packet.source, packet.target, bytes(changed))
        await asyncio.sleep(1)
        assert gm.network.messages == [REGISTER]
        assert len(gm.network.refused) == 8 * len(packet.payload)
        assert not [each for each in trace.packets if each.source.host == NETWORK]
        wire.inject(packet.source, packet.target, packet.payload)
        await asyncio.sleep(1)
        assert gm.network.messages == [REGISTER, REGISTER]

    played(story)


def test_what_is_no_esp_is_counted_and_never_answered() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        await registered(gm)
        wire.tap(trace)
        for stray in (b"\xff", bytes(4) + b"IKE", b"", b"\1\2", b"\0\0\x27\x0f" + bytes(60), b"INVITE sip:x SIP/2.0"):
            wire.inject(("203.0.113.66", 666), (NETWORK, PORT), stray)
        await asyncio.sleep(1)
        discards = gm.network.tunnel.discards
        assert (discards.keepalives, discards.not_esp, discards.malformed, discards.unknown_spi) == (1, 1, 2, 2)
        assert [reason for reason, _ in gm.network.refused] == [Drop.UNKNOWN_SPI] * 2
        assert gm.network.refused[0][1] == ("203.0.113.66", 666)
        assert not [each for each in trace.packets if each.source.host == NETWORK]

    played(story)


@pytest.mark.parametrize("size", [1200, 1253, 4000, 40_000])
def test_a_message_of_any_size_arrives_in_packets_that_need_no_fragments_outside(size: int) -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        theirs, mine = await registered(gm)
        wire.tap(trace)
        flow_of(mine).send(bytes(size))
        flow_of(theirs).send(bytes(size))
        await asyncio.sleep(2)
        assert len(gm.network.messages[-1]) == size
        assert len(phone_of(gm, mine).messages[-1]) == size
        assert max(len(packet.payload) for packet in trace.packets) <= 1400 - 28
        assert len(gm.network.tunnel.fragments) == 0

    played(story, Network(3, reorder=0.3))


def test_more_than_a_datagram_carries_fails_at_the_sender() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        _, mine = await registered(gm)
        with pytest.raises(FlowFailed):
            flow_of(mine).send(bytes(70_000))

    played(story)


def test_on_a_bad_wire_each_message_arrives_once_at_most_and_unchanged() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        _, mine = gm.challenge(await gm.phone())
        sent = [b"%d" % number * (number % 400 + 1) for number in range(1000)]
        for message in sent:
            flow_of(mine).send(message)
            await asyncio.sleep(0.01)
        await asyncio.sleep(2)
        arrived = gm.network.messages
        assert len(arrived) == len(set(arrived)) > 800
        assert set(arrived) <= set(sent)

    played(story, Network(5, loss=0.1, duplicate=0.2, reorder=0.3))


def test_each_end_counts_what_a_set_carried_and_refused() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        trace = Trace()
        theirs, mine = await registered(gm)
        wire.tap(trace)
        flow_of(mine).send(b"x" * 100)
        await asyncio.sleep(1)
        (packet,) = trace.packets
        wire.inject(packet.source, packet.target, packet.payload)
        wire.inject(packet.source, packet.target, packet.payload[:4] + b"\0\0\1\0" + packet.payload[8:])
        await asyncio.sleep(1)
        inside = 2 * 28 + len(REGISTER) + 100
        assert gm.network.tunnel.usage(theirs) == Usage(1, 28 + len(OK), 2, inside, 1, 1)
        assert phone_of(gm, mine).tunnel.usage(mine) == Usage(2, inside, 1, 28 + len(OK))

    played(story)


# ---- NAT


class Nat:
    """Everything from a phone leaves from another address; what comes for that address reaches the phone."""

    def __init__(self, wire: Network, host: str) -> None:
        self.wire = wire
        self.host = host
        self.outside: tuple[str, int] = ("198.51.100.1", 40000)
        self._inside: tuple[str, int] = ("", 0)
        self._busy = False
        wire.intercept(self)
        wire.tap(self.returning)

    def __call__(self, packet: Packet) -> bytes | None:
        if packet.source.host != self.host:
            return packet.payload
        self._inside = packet.source
        self.wire.inject(self.outside, packet.target, packet.payload)
        return None

    def returning(self, packet: Packet) -> None:
        if packet.target == self.outside:
            self.wire.inject(packet.source, self._inside, packet.payload)


def test_a_phone_behind_a_nat_is_reached_and_again_after_the_nat_forgot_it() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        nat = Nat(wire, PHONE)
        theirs, mine = await registered(gm)
        nat.outside = ("198.51.100.1", 40001)
        flow_of(theirs).send(b"lost, as the network can't know yet")
        flow_of(mine).send(b"OPTIONS")
        await asyncio.sleep(1)
        flow_of(theirs).send(INVITE)
        await asyncio.sleep(1)
        assert phone_of(gm, mine).messages == [OK, INVITE]
        assert gm.network.messages == [REGISTER, b"OPTIONS"]

    played(story)


def test_an_older_packet_that_comes_late_does_not_move_the_phone_back() -> None:
    async def story(gm: Gm, wire: Network) -> None:
        nat = Nat(wire, PHONE)
        theirs, mine = await registered(gm)
        held: list[Packet] = []

        def hold(packet: Packet) -> bytes | None:
            if packet.source.host == PHONE:
                return packet.payload
            held.append(packet)
            return None

        stop = wire.intercept(hold)
        flow_of(mine).send(b"late")
        stop()
        nat.outside = ("198.51.100.1", 40001)
        flow_of(mine).send(b"OPTIONS")
        await asyncio.sleep(1)
        wire.inject(held[0].source, held[0].target, held[0].payload)
        await asyncio.sleep(1)
        assert gm.network.messages == [REGISTER, b"OPTIONS", b"late"]
        flow_of(theirs).send(INVITE)
        await asyncio.sleep(1)
        assert phone_of(gm, mine).messages[-1] == INVITE

    played(story)


def test_two_phones_with_one_private_address_behind_two_nats_are_kept_apart() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        alice, bob = await gm.phone("alice"), await gm.phone("bob")
        a, mine_a = gm.challenge(alice, outer="198.51.100.1")
        b, mine_b = gm.challenge(bob, outer="198.51.100.2")
        flow_of(mine_a).send(b"from alice")
        flow_of(mine_b).send(b"from bob")
        await asyncio.sleep(1)
        assert {(message, flow) for message, flow in gm.network.inbox} == {
            (b"from alice", a.flow), (b"from bob", b.flow),
        }  # fmt: skip
        flow_of(b).send(b"to bob")
        await asyncio.sleep(1)
        assert gm.phones[bob].messages == [b"to bob"]
        assert gm.phones[alice].messages == []

    played(story)


def test_a_silent_phone_keeps_its_mapping_alive_and_a_busy_one_need_not() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        _, mine = await registered(gm)
        await asyncio.sleep(10 * KEEPALIVE_S)
        quiet = gm.network.tunnel.discards.keepalives
        assert 9 <= quiet <= 10
        for _ in range(100):
            flow_of(mine).send(b"OPTIONS")
            await asyncio.sleep(KEEPALIVE_S / 10)
        assert gm.network.tunnel.discards.keepalives <= quiet + 1

    played(story)


# ---- what an association is for (TS 33.203 7.1, RFC 4301 5.2)


@pytest.mark.parametrize("wrong", ["address", "source port", "target port", "next header", "rubbish"])
def test_valid_keys_carry_nothing_but_what_the_association_is_for(wrong: str) -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        _, mine = await registered(gm)
        ends = mine.agreement
        source, target = (PHONE, ends.phone.port_c), (NETWORK, ends.network.port_s)
        if wrong == "address":
            source = ("10.0.0.8", source[1])
        if wrong == "source port":
            source = (PHONE, 5060)
        if wrong == "target port":
            target = (NETWORK, 5060)
        channel = phone_of(gm, mine).tunnel._channels[mine]
        inner = UdpEnvelope(source, target).wrap(INVITE)[0] if wrong != "rubbish" else b"rubbish"
        assert channel.outer is not None
        channel.outer.send(channel.outbound.seal(inner, 17 if wrong == "next header" else 4))
        await asyncio.sleep(1)
        assert gm.network.messages == [REGISTER]
        assert gm.network.refused[-1][0] is (Drop.MALFORMED if wrong == "rubbish" else Drop.SELECTOR)

    played(story)


def test_a_set_with_spis_that_are_in_use_is_not_installed() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        theirs, mine = await registered(gm)
        handset = phone_of(gm, mine)
        again = Beginning(mine.phone.key, mine.agreement, mine.keys, NETWORK, PHONE, "another", "nonce")
        with pytest.raises(PathFailed, match="in use"):
            handset.associations.begin(again)
        flow_of(theirs).send(INVITE)
        await asyncio.sleep(1)
        assert handset.messages == [OK, INVITE]

    played(story)


def test_used_up_sequence_numbers_end_the_set_at_both_ends() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        theirs, mine = await registered(gm)
        gm.network.tunnel._channels[theirs].outbound.sequence = SEQUENCE_MAX - 1
        flow = flow_of(theirs)
        flow.send(INVITE)
        assert not flow.is_closed()
        for _ in range(2):
            with pytest.raises(FlowFailed):
                flow.send(INVITE)
        assert flow.is_closed()
        assert theirs.state is State.ENDED
        assert (await again(gm, mine)).state is State.IN_USE

    async def again(gm: Gm, mine: AssociationSet) -> AssociationSet:
        theirs, anew = gm.challenge(mine.phone.key)
        flow_of(anew).send(REGISTER)
        await asyncio.sleep(1)
        gm.network.associations.registered(theirs, IMPU, 3600)
        return theirs

    played(story)


def test_a_re_authentication_changes_the_set_without_a_gap() -> None:
    """TS 33.203 7.4: the phone sends on the new set at once, the network when it has heard the phone on it."""

    async def story(gm: Gm, _wire: Network) -> None:
        old, mine_old = await registered(gm)
        new, mine_new = gm.challenge(mine_old.phone.key, over=old)
        phone = phone_of(gm, mine_old)
        flow_of(mine_new).send(REGISTER)
        await asyncio.sleep(1)
        gm.network.associations.registered(new, IMPU, 3600)
        flow_of(new).send(OK)
        key = mine_old.phone.key
        assert gm.network.associations.outgoing(key) is old
        flow_of(old).send(b"INVITE before the phone has its 200")
        await asyncio.sleep(1)
        phone.associations.registered(mine_new, IMPU, 3600)
        assert phone.messages[-2:] == [OK, b"INVITE before the phone has its 200"]
        assert phone.associations.outgoing(key) is mine_new
        flow_of(old).send(b"INVITE on the old set")
        flow_of(mine_old).send(b"the response to it")
        flow_of(mine_new).send(b"SUBSCRIBE")
        await asyncio.sleep(1)
        assert gm.network.messages[-2:] == [b"the response to it", b"SUBSCRIBE"]
        assert gm.network.associations.outgoing(key) is new
        flow_of(new).send(b"NOTIFY")
        await asyncio.sleep(1)
        assert (old.state, mine_old.state) == (State.OLD, State.OLD)
        await asyncio.sleep(130)
        assert (old.state, mine_old.state) == (State.ENDED, State.ENDED)
        assert phone.messages[-1] == b"NOTIFY"

    played(story)


def test_an_ended_set_carries_nothing_either_way() -> None:
    async def story(gm: Gm, _wire: Network) -> None:
        theirs, mine = await registered(gm)
        flow = flow_of(theirs)
        gm.network.associations.deregistered(theirs.phone.key)
        await asyncio.sleep(129)
        flow_of(mine).send(b"OPTIONS")
        await asyncio.sleep(1)
        assert gm.network.messages == [REGISTER]
        assert gm.network.refused[-1][0] is Drop.EXPIRED
        assert flow.is_closed()
        with pytest.raises(FlowFailed):
            flow.send(INVITE)

    played(story)
