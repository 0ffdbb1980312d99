"""STUN keep-alives (RFC 5626 4.4.2), with the sample messages of RFC 5769 2.2 and 2.3."""

import asyncio
from typing import Any

import pytest
from tests.transaction.nodes import node

from redoubt.sim import Network, run
from redoubt.transport.flow import Zone
from redoubt.transport.stun import HEADER, binding_response

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = bytes.fromhex("000100002112a442") + TRANSACTION


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        (("192.0.2.1", 32853), "002000080001a147e112a643"),
        (
            ("2001:db8:1234:5678:11:2233:4455:6677", 32853),
            "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
        ),
    ],
)
def test_the_answer_holds_the_address_as_rfc_5769_prints_it(source: tuple[str, int], attribute: str) -> None:
    answer = binding_response(REQUEST, source)
    assert answer is not None
    assert answer[20:].hex() == attribute
    assert HEADER.unpack_from(answer) == (0x0101, len(answer) - 20, 0x2112A442, TRANSACTION)


@pytest.mark.parametrize("octets", [b"", REQUEST[:-1], REQUEST + b"\0", b"\1" + REQUEST[1:], b"\r\n\r\n", bytes(20)])
def test_what_is_no_binding_request_gets_no_answer(octets: bytes) -> None:
    assert binding_response(octets, ("192.0.2.1", 1)) is None


class Asker(asyncio.DatagramProtocol):
    """Keeps what comes back."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received: list[bytes] = []

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.received.append(data)


@pytest.mark.parametrize(("zone", "answers"), [(Zone.ACCESS, 1), (Zone.CORE, 0)])
def test_a_phones_keep_alive_is_answered_on_its_flow_and_a_strangers_in_the_core_is_not(
    zone: Zone, answers: int
) -> None:
    async def scene(_network: Network) -> None:
        b = await node("10.0.0.2", zone=zone)
        _, asker = await asyncio.get_running_loop().create_datagram_endpoint(Asker, local_addr=("10.6.6.6", 5060))
        asker.transport.sendto(REQUEST, b.address)
        await asyncio.sleep(1)
        assert len(asker.received) == answers
        assert b.events == []

    run(scene, 1)
