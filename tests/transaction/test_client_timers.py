"""Client transactions in virtual time (RFC 3261 17.1, RFC 6026 7.2, TS 24.229 table 7.7.1)."""

import asyncio
from itertools import pairwise

import pytest
from tests.transaction.nodes import Node, Peer, Request, fixed_latency, node, own_exchange, request

from redoubt.sim import Network, run
from redoubt.sip.message import Response
from redoubt.transport.flow import Address, Zone

LATENCY_S = 0.01


async def scene_of(zone: Zone = Zone.CORE) -> tuple[Node, Peer]:
    return await node("10.0.0.1", zone=zone), await Peer.open("10.0.0.2")


async def ask(a: Node, method: str) -> tuple[Response | None, float]:
    started = asyncio.get_running_loop().time()
    response = await a.send(request(method, "sip:10.0.0.2"))
    return response, asyncio.get_running_loop().time() - started


def gaps(times: list[float]) -> list[float]:
    return [round(later - earlier, 2) for earlier, later in pairwise(times)]


@pytest.mark.parametrize(("zone", "t1"), [(Zone.CORE, 0.5), (Zone.ACCESS, 2.0)])
def test_an_unanswered_invite_is_repeated_by_timer_a_and_ends_by_timer_b_with_408(zone: Zone, t1: float) -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of(zone)
        response, took_s = await ask(a, "INVITE")
        assert response is not None
        assert (response.status, round(took_s, 2)) == (408, 64 * t1)
        assert gaps(peer.times("INVITE")) == [t1 * 2**n for n in range(6)]
        assert a.stack.client_transactions == 0

    run(scene, 1, network=fixed_latency(1))


@pytest.mark.parametrize(("zone", "t1", "t2"), [(Zone.CORE, 0.5, 4.0), (Zone.ACCESS, 2.0, 16.0)])
def test_an_unanswered_request_is_repeated_by_timer_e_up_to_t2_and_ends_by_timer_f_with_408(
    zone: Zone, t1: float, t2: float
) -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of(zone)
        response, took_s = await ask(a, "REGISTER")
        assert response is not None
        assert (response.status, round(took_s, 2)) == (408, 64 * t1)
        assert gaps(peer.times("REGISTER")) == [t1, 2 * t1, 4 * t1, *[t2] * 7]

    run(scene, 1, network=fixed_latency(1))


def test_a_provisional_response_slows_timer_e_to_t2() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        peer.answer = lambda asked, source: peer.send(asked.response(100), source)
        response, _ = await ask(a, "MESSAGE")
        assert response is not None
        assert response.status == 408
        assert gaps(peer.times("MESSAGE")) == [0.5, *[4.0] * 7]

    run(scene, 1, network=fixed_latency(1))


def test_a_provisional_response_ends_the_repetition_of_an_invite() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        peer.answer = lambda asked, source: peer.send(asked.response(180), source)
        call = asyncio.ensure_future(ask(a, "INVITE"))
        await asyncio.sleep(100)
        assert peer.methods == ["INVITE"]
        call.cancel()

    run(scene, 1, network=fixed_latency(1))


def test_a_failure_is_acknowledged_each_time_until_timer_d_ends() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        refusals: list[Response] = []

        def answer(asked: Request, source: Address) -> None:
            if asked.method == "INVITE":
                refusals.append(asked.response(486, to_tag="b1"))
                peer.send(refusals[0], source)

        peer.answer = answer
        response, _ = await ask(a, "INVITE")
        assert response is not None
        assert response.status == 486
        await asyncio.sleep(1)
        peer.send(refusals[0], a.address)
        await asyncio.sleep(1)
        acks = [m for _, m in peer.received if isinstance(m, Request) and m.method == "ACK"]
        assert len(acks) == 2
        assert acks[0].to.tag == "b1"
        assert acks[0].get("Via") == refusals[0].get("Via").split(";rport")[0] + ";rport"  # type: ignore[union-attr]
        assert (acks[0].cseq.number, acks[0].cseq.method) == (1, "ACK")
        await asyncio.sleep(29.9)
        assert a.stack.client_transactions == 1
        await asyncio.sleep(0.2)
        assert a.stack.client_transactions == 0

    run(scene, 1, network=fixed_latency(1))


def test_each_2xx_goes_up_while_timer_m_runs_and_none_after() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        accepted: list[Response] = []

        def answer(asked: Request, source: Address) -> None:
            accepted.append(asked.response(200, to_tag="b1"))
            peer.send(accepted[0], source)

        peer.answer = answer
        exchange = own_exchange(a.stack.context)
        seen: list[Response] = []
        exchange.root.send = seen.append
        first = await a.send(request("INVITE", "sip:10.0.0.2"), exchange=exchange)
        assert first is not None
        assert first.status == 200
        other = accepted[0].copy()
        other.set("To", "<sip:bob@home1.net>;tag=b2")
        peer.send(other, a.address)
        peer.send(accepted[0], a.address)
        await asyncio.sleep(1)
        assert [each.to.tag for each in seen] == ["b2", "b1"]
        await asyncio.sleep(127.1)  # a phone repeats its 2xx for 64 * 2 s
        peer.send(other, a.address)
        await asyncio.sleep(1)
        assert len(seen) == 2
        assert a.stack.client_transactions == 0

    run(scene, 1, network=fixed_latency(1))


def test_timer_k_absorbs_late_copies_of_a_response_and_ends() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        peer.answer = lambda asked, source: [peer.send(asked.response(200), source) for _ in range(3)]  # type: ignore[assignment,return-value]
        response, _ = await ask(a, "OPTIONS")
        assert response is not None
        await asyncio.sleep(4.9)
        assert a.stack.client_transactions == 1
        await asyncio.sleep(0.2)
        assert a.stack.client_transactions == 0

    run(scene, 1, network=fixed_latency(1))


def test_timer_c_cancels_a_callee_that_has_been_silent_for_three_minutes() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        invites: list[Request] = []

        def answer(asked: Request, source: Address) -> None:
            if asked.method == "INVITE":
                invites.append(asked)
                peer.send(asked.response(180, to_tag="b1"), source)
            elif asked.method == "CANCEL":
                peer.send(asked.response(200), source)
                peer.send(invites[0].response(487, to_tag="b1"), source)

        peer.answer = answer
        response, took_s = await ask(a, "INVITE")
        assert response is not None
        assert response.status == 487
        assert 180 <= took_s < 181
        await asyncio.sleep(0.1)
        assert peer.methods == ["INVITE", "CANCEL", "ACK"]

    run(scene, 1, network=fixed_latency(1))


def test_over_tcp_nothing_is_repeated_and_the_transaction_ends_at_once() -> None:
    async def scene(_network: Network) -> None:
        answered: list[str] = []

        async def slow(asked: Request, _exchange: object) -> Response | None:
            answered.append(asked.method)
            await asyncio.sleep(20)
            return asked.response(200, to_tag="b")

        a, b = await node("10.0.0.1"), await node("10.0.0.2", slow)
        response = await a.send(request("OPTIONS", b.uri + ";transport=tcp"))
        assert response is not None
        assert response.status == 200
        assert answered == ["OPTIONS"]
        assert (a.stack.client_transactions, b.stack.server_transactions) == (0, 0)
        await a.stack.close()
        await b.stack.close()

    run(scene, 1)


def test_a_response_counts_only_for_its_branch_and_method() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()

        def answer(asked: Request, source: Address) -> None:
            guessed = asked.response(200)
            guessed.set("Via", (asked.get("Via") or "").replace("z9hG4bK", "z9hG4bKx"))
            peer.send(guessed, source)
            other_method = asked.response(200)
            other_method.set("CSeq", "1 INFO")
            peer.send(other_method, source)

        peer.answer = answer
        response, _ = await ask(a, "OPTIONS")
        assert response is not None
        assert response.status == 408

    run(scene, 1, network=fixed_latency(1))


def test_branches_carry_the_cookie_and_80_random_bits_and_never_repeat() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await scene_of()
        flow = await a.stack.outbound.flow_to(request("OPTIONS", "sip:10.0.0.2").request_uri)  # type: ignore[arg-type]
        table = a.stack._clients
        branches = {table.dressed(request("OPTIONS", "sip:10.0.0.2"), flow)[1] for _ in range(20_000)}
        assert len(branches) == 20_000
        bits = [int(branch.removeprefix("z9hG4bK"), 16) for branch in branches]
        for position in range(80):
            ones = sum(value >> position & 1 for value in bits)
            assert 9_500 < ones < 10_500, f"bit {position} is not random"
        peer.transport.close()

    run(scene, 1)
