"""A request that comes twice is worked on once (RFC 6733 3, 5.5.4)."""

import asyncio

import pytest

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX
from redoubt.diameter.codec import RETRANSMITTED, DiameterMessage
from redoubt.diameter.duplicates import Duplicates
from redoubt.diameter.peer import Peer

from .messages import group
from .nodes import SCSCF, Raw, Station, closed, hss
from .nodes import raw_lir as any_request


def raw_sar(number: int) -> DiameterMessage:
    """A request that changes something."""
    message = any_request(number)
    message.command = CX.commands["SAR"]
    return message


class Worker:
    """Counts what it works on, and may wait for a gate."""

    def __init__(self) -> None:
        self.worked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, message: DiameterMessage, peer: Peer) -> DiameterMessage:
        self.worked += 1
        number = self.worked
        await self.gate.wait()
        return message.answer().add(d.SERVER_NAME, f"sip:{number}")


def again(message: DiameterMessage, hop_by_hop: int) -> DiameterMessage:
    twin = DiameterMessage(
        message.command, message.application, message.flags | RETRANSMITTED, hop_by_hop, message.end_to_end
    )
    twin.avps = list(message.avps)
    return twin


async def started() -> tuple[Worker, Station, Raw]:
    worker = Worker()
    server, where = await hss(SCSCF, handler=worker)
    return worker, server, await (await Raw.dial(where)).introduced()


async def test_a_repetition_gets_the_first_answer_with_its_own_identifiers() -> None:
    worker, server, raw = await started()
    first = await raw.ask(raw_sar(1))
    twin = again(raw_sar(1), 99).add(d.PROXY_INFO, group((d.PROXY_HOST, "p.test"), (d.PROXY_STATE, b"x")))
    second = await raw.ask(twin)
    assert worker.worked == 1
    assert second.hop_by_hop == 99
    assert second.need(d.SERVER_NAME) == first.need(d.SERVER_NAME) == "sip:1"
    assert second.has(d.PROXY_INFO)
    assert second.every(d.SESSION_ID) == first.every(d.SESSION_ID)
    raw.close()
    await closed(server)


async def test_a_repetition_of_what_is_worked_on_waits_for_that_answer() -> None:
    worker, server, raw = await started()
    worker.gate.clear()
    raw.send(raw_sar(1))
    raw.send(again(raw_sar(1), 2))
    raw.send(again(raw_sar(1), 3))
    await asyncio.sleep(0.05)
    worker.gate.set()
    answers = [await raw.next() for _ in range(3)]
    assert worker.worked == 1
    assert {answer.hop_by_hop for answer in answers} == {1, 2, 3}
    assert {answer.need(d.SERVER_NAME) for answer in answers} == {"sip:1"}
    raw.close()
    await closed(server)


async def test_a_request_without_the_t_bit_is_new_whatever_its_identifiers() -> None:
    worker, server, raw = await started()
    for number in (1, 1, 2):
        await raw.ask(raw_sar(number))
    assert worker.worked == 3
    raw.close()
    await closed(server)


async def test_an_original_that_comes_after_its_repetition_is_the_second() -> None:
    worker, server, raw = await started()
    first = await raw.ask(again(raw_sar(1), 1))
    late = await raw.ask(raw_sar(1))
    assert worker.worked == 1
    assert late.need(d.SERVER_NAME) == first.need(d.SERVER_NAME)
    raw.close()
    await closed(server)


async def test_a_repetition_on_a_new_connection_counts_too() -> None:
    worker = Worker()
    server, where = await hss(SCSCF, handler=worker)
    raw = await (await Raw.dial(where)).introduced()
    await raw.ask(raw_sar(1))
    raw.close()
    await asyncio.sleep(0.05)
    fresh = await (await Raw.dial(where)).introduced()
    assert (await fresh.ask(again(raw_sar(1), 5))).need(d.SERVER_NAME) == "sip:1"
    assert worker.worked == 1
    fresh.close()
    await closed(server)


@pytest.mark.parametrize("command", ["MAR", "UAR", "LIR"])
async def test_answers_with_keys_and_those_that_only_tell_are_not_kept(command: str) -> None:
    worker, server, raw = await started()
    for twin in (raw_sar(1), again(raw_sar(1), 2)):
        twin.command = CX.commands[command]
        await raw.ask(twin)
    assert worker.worked == 2
    assert len(server.node._duplicates) == 0
    raw.close()
    await closed(server)


async def test_what_is_remembered_is_bounded_in_number_and_time() -> None:
    now = 0.0
    server, where = await hss(SCSCF)
    raw = await (await Raw.dial(where)).introduced()
    duplicates = Duplicates(lambda: now)
    answer = (await raw.ask(raw_sar(1))).to_bytes()
    most = limits.DIAMETER_ANSWERS_OCTETS // (len(answer) + 300)
    for number in range(most + 100):
        duplicates.end((SCSCF, number, 302), answer, keep=True)
    assert len(duplicates) == most
    now = limits.DIAMETER_ANSWERS_KEPT_S + 1
    duplicates.end((SCSCF, 1, 302), answer, keep=True)
    assert len(duplicates) == 1
    raw.close()
    await closed(server)
