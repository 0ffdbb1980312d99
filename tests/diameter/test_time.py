"""In virtual time: peers stay up through idle hours, go down when they are gone, and come back (lesson 25)."""

import asyncio
import itertools

import pytest

from redoubt.config import DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.peer import Peer
from redoubt.diameter.peer_table import State
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.diameter.watchdog import Health
from redoubt.events import Bug, Notice, Refused
from redoubt.sim import Network, Packet, at_host, run

from .nodes import HSS, REALM, SCSCF, Raw, Station, cer, closed, cscf, hss, lir, result

TRUSTED = frozenset({"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"})
SECOND = "hss2.ims.test"


async def server(at: str = "10.0.0.1", *clients: str, **more: object) -> tuple[Station, str]:
    return await hss(*(clients or (SCSCF,)), host=at, trusted_nodes=TRUSTED, **more)  # type: ignore[arg-type]


async def client(*servers: tuple[str, str], **more: object) -> Station:
    with at_host("10.0.0.2"):
        return await cscf(*servers, trusted_nodes=TRUSTED, **more)  # type: ignore[arg-type]


def level(station: Station, level: str) -> list[str]:
    return [event.what for event in station.of(Notice) if event.level == level]


def test_a_peer_stays_up_through_a_day_without_any_request() -> None:
    async def scene(network: Network) -> None:
        one, where = await server()
        other = await client((HSS, where))
        link = other.node.peers[HSS].link
        await asyncio.sleep(24 * 3600 - 100)
        assert other.node.peers[HSS].link is link
        assert await result(other) == 2001
        assert level(other, "alarm") == level(one, "alarm") == []
        await closed(other, one)

    run(scene, 1)


def test_watchdogs_are_asked_every_half_minute_but_not_in_step() -> None:
    async def scene(network: Network) -> None:
        asked: list[float] = []

        def tap(packet: Packet) -> None:
            if packet.payload[5:8] == (280).to_bytes(3, "big") and packet.payload[4] & 0x80:
                asked.append(packet.time_s)

        one, where = await server()
        other = await client((HSS, where))
        network.tap(tap)
        await asyncio.sleep(600)
        gaps = [after - before for before, after in itertools.pairwise(asked)]
        assert 18 <= len(asked) <= 24
        assert len({round(gap, 3) for gap in gaps}) > 10
        await closed(other, one)

    run(scene, 1)


def test_a_peer_that_lost_its_power_is_noticed_and_comes_back_by_itself() -> None:
    async def scene(network: Network) -> None:
        _, where = await server()
        other = await client((HSS, where))
        network.crash("10.0.0.1")
        await asyncio.sleep(95)
        assert other.node.peers[HSS].health is Health.DOWN
        assert len(level(other, "alarm")) == 1
        with at_host("10.0.0.2"), pytest.raises(DiameterUnavailable):
            await other.node.request(lir(other), timeout_s=1)
        await asyncio.sleep(6 * 3600)
        assert len(level(other, "alarm")) == 1, "one outage is one alarm"
        again, _ = await server(where=where)
        await asyncio.sleep(40)
        assert other.node.peers[HSS].is_open
        assert await result(other) == 2001
        await closed(other, again)

    run(scene, 1, allow_pending=True)


def test_a_cut_connection_is_made_again_within_seconds() -> None:
    async def scene(network: Network) -> None:
        one, where = await server()
        other = await client((HSS, where))
        for _ in range(20):
            network.cut("10.0.0.1")
            await asyncio.sleep(3)
            assert await result(other) == 2001
        await closed(other, one)

    run(scene, 1)


def test_the_first_request_after_an_outage_finds_the_peer_that_is_back() -> None:
    async def scene(network: Network) -> None:
        one, where = await server()
        other = await client((HSS, where))
        await one.node.close()
        await asyncio.sleep(3600)
        again, _ = await server(where=where)
        with at_host("10.0.0.2"):  # where it dials from
            assert await result(other) == 2001
        await closed(other, again)

    run(scene, 1)


def test_a_node_that_ends_finishes_what_is_in_work_and_turns_away_the_rest() -> None:
    async def scene(network: Network) -> None:
        async def slow(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            await asyncio.sleep(0.5)
            return message.answer()

        one, first = await server(handler=slow)
        two, second = await server("10.0.0.3", identity=SECOND)
        other = await client((HSS, first), (SECOND, second))
        early = asyncio.ensure_future(other.node.request(lir(other)))
        await asyncio.sleep(0.1)
        ending = asyncio.ensure_future(one.node.close())
        await asyncio.sleep(0.1)
        assert (await other.node.request(lir(other))).need(d.ORIGIN_HOST) == SECOND
        assert (await early).need(d.ORIGIN_HOST) == HSS
        await ending
        await closed(other, two)

    run(scene, 1)


def test_a_partition_of_hours_heals() -> None:
    async def scene(network: Network) -> None:
        one, where = await server()
        other = await client((HSS, where))
        network.partition("10.0.0.1", "10.0.0.2")
        await asyncio.sleep(3 * 3600)
        assert not other.node.peers[HSS].is_open
        assert not one.node.peers[SCSCF].is_open
        network.heal()
        await asyncio.sleep(40)
        assert await result(other) == 2001
        await closed(other, one)

    run(scene, 1)


def test_a_peer_that_is_back_is_on_trial_until_three_watchdogs_were_answered() -> None:
    async def scene(network: Network) -> None:
        one, where = await server()
        other = await client((HSS, where))
        peer = other.node.peers[HSS]
        seen = [peer.health]
        network.cut("10.0.0.1")
        for wait_s in (3, 25, 60):
            await asyncio.sleep(wait_s)
            assert peer.is_open
            seen.append(peer.health)
        assert seen == [Health.OKAY, Health.REOPEN, Health.REOPEN, Health.OKAY]
        await closed(other, one)

    run(scene, 1)


def test_a_rebooted_peer_takes_the_place_of_its_dead_connection_in_seconds() -> None:
    """The HSS did not see the CSCF's power go; its watchdog would take a minute to."""

    async def scene(network: Network) -> None:
        one, where = await server()
        with at_host("10.0.0.2"):
            await (await Raw.dial(where)).introduced()
        network.crash("10.0.0.2")
        started = asyncio.get_running_loop().time()
        with at_host("10.0.0.2"):
            fresh = await cscf((HSS, where), trusted_nodes=TRUSTED, wait_s=20)
        assert asyncio.get_running_loop().time() - started < 12
        assert await result(fresh) == 2001
        await closed(fresh, one)

    run(scene, 1, allow_pending=True)


def test_a_second_connection_in_a_peers_name_does_not_push_out_a_living_one() -> None:
    async def scene(network: Network) -> None:
        one, where = await server()
        other = await client((HSS, where))
        link = other.node.peers[HSS].link
        for _ in range(20):
            with at_host("10.0.0.4"):
                thief = await Raw.dial(where)
            cea = await thief.ask(cer())
            assert cea.need(d.RESULT_CODE) == Result.ELECTION_LOST
            assert await thief.ended()
            await asyncio.sleep(1)
        assert other.node.peers[HSS].link is link
        assert await result(other) == 2001
        assert len([event for event in one.of(Refused) if "second connection" in event.why]) == 20
        await closed(other, one)

    run(scene, 1)


def test_two_nodes_that_dial_each_other_keep_one_connection() -> None:
    for seed in range(20):

        async def scene(network: Network) -> None:
            one, where = await server("10.0.0.1", "nobody.ims.test")
            with at_host("10.0.0.2"):
                other, back = await hss(
                    DiameterPeer(identity=HSS, realm=REALM, connect=where),
                    host="10.0.0.2",
                    identity=SCSCF,
                    trusted_nodes=TRUSTED,
                )
            with at_host("10.0.0.1"):
                one.node.connect_to(DiameterPeer(identity=SCSCF, realm=REALM, connect=back))
            await asyncio.sleep(20)
            here, there = one.node.peers[SCSCF], other.node.peers[HSS]
            assert {here.state, there.state} == {State.I_OPEN, State.R_OPEN}
            assert len(one.node._connections) == len(other.node._connections) == 1
            assert await result(other) == await result(one, host=SCSCF) == 2001
            await closed(other, one)

        run(scene, seed)


# ---- fail-over


def test_requests_of_a_lost_connection_go_to_the_next_peer_with_the_t_bit() -> None:
    async def scene(network: Network) -> None:
        flags: list[bool] = []

        async def silent(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            await asyncio.sleep(3600)
            return message.answer()

        async def notes(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            flags.append(message.is_retransmitted)
            return message.answer()

        _, first = await server(handler=silent)
        two, second = await server("10.0.0.3", identity=SECOND, handler=notes)
        other = await client((HSS, first), (SECOND, second))
        asking = [asyncio.ensure_future(other.node.request(lir(other))) for _ in range(5)]
        await asyncio.sleep(1)
        network.cut("10.0.0.1")
        answers = await asyncio.gather(*asking)
        assert {answer.need(d.ORIGIN_HOST) for answer in answers} == {SECOND}
        assert flags == [True] * 5
        await closed(other, two)

    run(scene, 1, allow_pending=True)


def test_a_silent_peer_costs_half_the_patience_and_is_suspected_by_the_watchdog() -> None:
    async def scene(network: Network) -> None:
        one, first = await server()
        two, second = await server("10.0.0.3", identity=SECOND)
        other = await client((HSS, first), (SECOND, second))
        network.partition("10.0.0.1")
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await other.node.request(lir(other), timeout_s=6)
        assert answer.need(d.ORIGIN_HOST) == SECOND
        assert 2.9 < loop.time() - started < 3.1
        await asyncio.sleep(65)
        assert other.node.peers[HSS].health in (Health.SUSPECT, Health.DOWN)
        started = loop.time()
        assert (await other.node.request(lir(other))).need(d.ORIGIN_HOST) == SECOND
        assert loop.time() - started < 0.1, "who is suspected is not asked first"
        network.heal()
        await asyncio.sleep(200)
        assert (await other.node.request(lir(other))).need(d.ORIGIN_HOST) == HSS
        await closed(other, one, two)

    run(scene, 1)


def test_a_late_answer_is_dropped_and_reported() -> None:
    async def scene(network: Network) -> None:
        async def slow(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            await asyncio.sleep(5)
            return message.answer()

        one, where = await server(handler=slow)
        other = await client((HSS, where))
        with pytest.raises(DiameterUnavailable):
            await other.node.request(lir(other), timeout_s=2)
        await asyncio.sleep(10)
        assert any("late or forged" in event.why for event in other.of(Refused))
        await closed(other, one)

    run(scene, 1)


def test_a_busy_peer_is_passed_over_without_the_t_bit() -> None:
    async def scene(network: Network) -> None:
        flags: list[bool] = []

        async def busy(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            return message.answer(Result.TOO_BUSY)

        async def notes(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            flags.append(message.is_retransmitted)
            return message.answer()

        one, first = await server(handler=busy)
        two, second = await server("10.0.0.3", identity=SECOND, handler=notes)
        other = await client((HSS, first), (SECOND, second))
        assert await result(other) == 2001
        assert flags == [False]
        await two.node.close()
        assert await result(other) == Result.TOO_BUSY
        await closed(other, one)

    run(scene, 1)


@pytest.mark.parametrize("seed", range(10))
def test_under_loss_and_cuts_every_request_ends_and_nothing_stays(seed: int) -> None:
    async def scene(network: Network) -> None:
        one, first = await server()
        two, second = await server("10.0.0.3", identity=SECOND)
        other = await client((HSS, first), (SECOND, second))
        network.link(loss=0.05)
        answered = failed = 0
        for turn in range(300):
            try:
                await other.node.request(lir(other), timeout_s=4)
                answered += 1
            except DiameterUnavailable:
                failed += 1
            await asyncio.sleep(network.random.uniform(0, 4))
            if turn % 20 == 10:
                network.cut(network.random.choice(["10.0.0.1", "10.0.0.3"]))
        assert answered > 280, (answered, failed)
        for peer in other.node.peers.values():
            assert peer.link is None or not peer.link.pending
        assert not one.of(Bug) + two.of(Bug) + other.of(Bug)
        await closed(other, one, two)

    run(scene, seed)
