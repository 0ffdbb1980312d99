"""Headers, checksums and fragments inside the tunnel."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.gm.fragments import Reassembler
from redoubt.gm.packets import (
    IpPacket,
    MalformedPacket,
    UdpEnvelope,
    ones_complement,
    packed,
    parse_ip,
    parse_udp,
)
from redoubt.limits import (
    FRAGMENTED_DATAGRAMS,
    FRAGMENTED_DATAGRAMS_PER_SOURCE,
    FRAGMENTS_OCTETS,
    REASSEMBLY_S,
    TUNNEL_MTU_OCTETS,
)

PAIRS = [(("10.0.0.1", 5062), ("192.0.2.1", 5063)), (("2001:db8::1", 31000), ("2001:db8::2", 6101))]
both_families = pytest.mark.parametrize(("source", "target"), PAIRS, ids=["ipv4", "ipv6"])


def rfc_1071(octets: bytes) -> int:
    """The sum as the RFC's own program adds it."""
    octets += b"\0" * (len(octets) % 2)
    total = sum(int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=100))
def test_the_sum_is_that_of_rfc_1071(octets: bytes) -> None:
    assert ones_complement(octets) % 0xFFFF == rfc_1071(octets) % 0xFFFF


def test_a_captured_ipv4_header_of_rfc_3602_has_the_checksum_we_compute() -> None:
    header = bytes.fromhex("4500007c08f200004032f9a5c0a87b03c0a87b64")
    assert ones_complement(header) == 0


@both_families
@given(payload=st.binary(max_size=1200))
def test_a_datagram_comes_out_as_it_went_in(source: tuple[str, int], target: tuple[str, int], payload: bytes) -> None:
    (packet,) = UdpEnvelope(source, target).wrap(payload)
    inner = parse_ip(packet)
    ports, carried = parse_udp(inner)
    assert inner.ends == packed(source[0]) + packed(target[0])
    assert ports == struct.pack("!HH", source[1], target[1])
    assert carried == payload
    assert not inner.is_fragment


@both_families
def test_octets_after_the_packets_own_length_are_padding(source: tuple[str, int], target: tuple[str, int]) -> None:
    (packet,) = UdpEnvelope(source, target).wrap(b"OPTIONS")
    assert parse_udp(parse_ip(packet + bytes(40)))[1] == b"OPTIONS"


@both_families
def test_each_changed_octet_of_the_datagram_is_noticed(source: tuple[str, int], target: tuple[str, int]) -> None:
    (packet,) = UdpEnvelope(source, target).wrap(b"OPTIONS")
    for at in range(len(packet) - 7 - 8, len(packet)):
        changed = bytearray(packet)
        changed[at] ^= 1
        with pytest.raises(MalformedPacket):
            parse_udp(parse_ip(bytes(changed)))


@given(st.binary(max_size=120))
def test_any_octets_are_a_packet_or_malformed(octets: bytes) -> None:
    try:
        parse_udp(parse_ip(octets))
    except MalformedPacket:
        pass


@both_families
def test_a_packet_cut_anywhere_is_malformed(source: tuple[str, int], target: tuple[str, int]) -> None:
    (packet,) = UdpEnvelope(source, target).wrap(b"OPTIONS")
    for end in range(len(packet)):
        with pytest.raises(MalformedPacket):
            parse_udp(parse_ip(packet[:end]))


def test_ends_of_different_families_are_refused() -> None:
    with pytest.raises(ValueError, match="families"):
        UdpEnvelope(("10.0.0.1", 1), ("2001:db8::1", 2))


def test_more_than_a_datagram_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="UDP"):
        UdpEnvelope(*PAIRS[0]).wrap(bytes(65_536))


def whole(reassembler: Reassembler, packets: list[IpPacket], source: object = "a", now: float = 0.0) -> list[IpPacket]:
    return [done for packet in packets if (done := reassembler.add(source, packet, now))]


@both_families
@given(size=st.integers(1300, 60_000), seed=st.integers(0, 99))
def test_fragments_in_any_order_make_the_datagram(
    source: tuple[str, int], target: tuple[str, int], size: int, seed: int
) -> None:
    payload = random.Random(seed).randbytes(size)
    pieces = UdpEnvelope(source, target).wrap(payload)
    assert all(len(piece) <= TUNNEL_MTU_OCTETS for piece in pieces)
    packets = [parse_ip(piece) for piece in pieces]
    random.Random(seed).shuffle(packets)
    reassembler = Reassembler()
    (done,) = whole(reassembler, packets)
    assert parse_udp(done)[1] == payload
    assert (len(reassembler), reassembler.octets) == (0, 0)


@both_families
def test_fragments_of_two_datagrams_are_kept_apart(source: tuple[str, int], target: tuple[str, int]) -> None:
    envelope = UdpEnvelope(source, target)
    first, second = ([parse_ip(p) for p in envelope.wrap(bytes([n]) * 3000)] for n in (1, 2))
    mixed = [packet for pair in zip(first, second, strict=True) for packet in pair]
    assert {parse_udp(done)[1][:1] for done in whole(Reassembler(), mixed)} == {b"\1", b"\2"}


def test_fragments_of_two_phones_are_kept_apart() -> None:
    packets = [parse_ip(piece) for piece in UdpEnvelope(*PAIRS[0]).wrap(bytes(3000))]
    reassembler = Reassembler()
    assert not whole(reassembler, packets[:1], "a")
    assert not whole(reassembler, packets[1:], "b")


def test_overlapping_fragments_end_their_datagram() -> None:
    reassembler = Reassembler()
    reassembler.add("a", IpPacket(b"", 17, bytes(16), 1, 0, True), 0.0)
    with pytest.raises(MalformedPacket, match="overlap"):
        reassembler.add("a", IpPacket(b"", 17, bytes(16), 1, 8, True), 0.0)
    assert (len(reassembler), reassembler.octets, reassembler.dropped) == (0, 0, 1)


@pytest.mark.parametrize(
    "packet",
    [
        IpPacket(b"", 17, bytes(15), 1, 0, True),
        IpPacket(b"", 17, b"", 1, 8, True),
        IpPacket(b"", 17, bytes(16), 1, 65_528, False),
    ],
    ids=["not a multiple of eight", "empty", "beyond the longest packet"],
)
def test_a_fragment_that_nobody_makes_is_refused(packet: IpPacket) -> None:
    reassembler = Reassembler()
    with pytest.raises(MalformedPacket):
        reassembler.add("a", packet, 0.0)
    assert len(reassembler) == 0


def test_a_last_fragment_before_the_others_end_makes_no_datagram() -> None:
    reassembler = Reassembler()
    reassembler.add("a", IpPacket(b"", 17, bytes(16), 1, 64, True), 0.0)
    assert reassembler.add("a", IpPacket(b"", 17, bytes(16), 1, 0, False), 0.0) is None


def test_what_is_never_completed_goes_after_its_time() -> None:
    reassembler = Reassembler()
    reassembler.add("a", IpPacket(b"", 17, bytes(16), 1, 0, True), 0.0)
    reassembler.add("b", IpPacket(b"", 17, bytes(16), 1, 0, True), REASSEMBLY_S)
    assert len(reassembler) == 1


def test_one_phone_holds_so_many_incomplete_datagrams_and_no_more() -> None:
    reassembler = Reassembler()
    reassembler.add("honest", IpPacket(b"", 17, bytes(16), 1, 0, True), 0.0)
    for number in range(1000):
        reassembler.add("flood", IpPacket(b"", 17, bytes(16), number, 0, True), 0.0)
    assert len(reassembler) == FRAGMENTED_DATAGRAMS_PER_SOURCE + 1
    assert reassembler.add("honest", IpPacket(b"", 17, bytes(16), 1, 16, False), 0.0) is not None


@pytest.mark.parametrize("octets", [8, 8 * 1024])
def test_all_phones_together_hold_so_much_and_no_more(octets: int) -> None:
    reassembler = Reassembler()
    for number in range(FRAGMENTED_DATAGRAMS + 100):
        reassembler.add(number, IpPacket(b"", 17, bytes(octets), 1, 0, True), 0.0)
    assert len(reassembler) <= FRAGMENTED_DATAGRAMS
    assert reassembler.octets <= FRAGMENTS_OCTETS


def test_a_source_that_is_gone_leaves_nothing() -> None:
    reassembler = Reassembler()
    reassembler.add("a", IpPacket(b"", 17, bytes(16), 1, 0, True), 0.0)
    reassembler.forget("a")
    reassembler.forget("b")
    assert (len(reassembler), reassembler.octets) == (0, 0)
