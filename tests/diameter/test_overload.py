"""Overload: a busy node says so and stays quick; who is told sends less by as much as was asked (row 109)."""

import asyncio

import pytest

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX
from redoubt.diameter.avp import AvpGroup
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.overload import Reacting, Reporting
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.events import Notice, Refused
from redoubt.sim import Network, run
from redoubt.sources import SeededRandomness

from .messages import group
from .nodes import HSS, SCSCF, Raw, closed, cscf, hss, lir, raw_lir, result


def olr(
    sequence: int = 1,
    percent: int | None = 60,
    validity_s: int | None = None,
    kind: d.ReportType = d.ReportType.HOST,
) -> DiameterMessage:
    report = group((d.OC_SEQUENCE_NUMBER, sequence), (d.OC_REPORT_TYPE, kind))
    if percent is not None:
        report.add(d.OC_REDUCTION_PERCENTAGE, percent)
    if validity_s is not None:
        report.add(d.OC_VALIDITY_DURATION, validity_s)
    return DiameterMessage(302, CX.number, 0).add(d.OC_OLR, report)


class Told:
    """A reacting node at a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.node = Reacting(lambda: self.now, SeededRandomness(1))

    def hear(self, message: DiameterMessage) -> None:
        self.node.heard(message, HSS, "ims.test")

    def cut(self, *, host: str = HSS, named: bool = True, application: int = CX.number) -> int:
        """How many of a hundred requests are not sent."""
        tried = 4000
        cut = sum(self.node.abates(application, host, "ims.test", named=named) for _ in range(tried))
        return round(cut * 100 / tried)


@pytest.mark.parametrize("percent", [0, 10, 60, 90, 100])
def test_the_cut_is_what_was_asked_for_within_five_percent(percent: int) -> None:
    told = Told()
    told.hear(olr(percent=percent))
    assert abs(told.cut() - percent) <= 5


@pytest.mark.parametrize(
    ("validity_s", "holds_s"), [(None, 30), (10, 10), (86_400, 86_400), (86_401, 30), (2**32 - 1, 30)]
)
def test_a_report_holds_as_long_as_it_says_thirty_seconds_by_default_and_a_day_at_most(
    validity_s: int | None, holds_s: int
) -> None:
    told = Told()
    told.hear(olr(percent=100, validity_s=validity_s))
    told.now = holds_s - 1
    assert told.cut() == 100
    told.now = holds_s
    assert told.cut() == 0


def test_an_old_report_changes_nothing_and_a_newer_one_counts() -> None:
    told = Told()
    told.hear(olr(5, 50))
    told.hear(olr(4, 100))
    told.hear(olr(5, 100))
    assert abs(told.cut() - 50) <= 5
    told.hear(olr(6, 100))
    assert told.cut() == 100
    told.now = 29
    told.hear(olr(6, 100))
    told.now = 31
    assert told.cut() == 0, "a repeated report does not last longer"


def test_a_validity_of_nothing_ends_the_overload() -> None:
    told = Told()
    told.hear(olr(1, 100))
    told.hear(olr(2, 100, 0))
    assert told.cut() == 0


@pytest.mark.parametrize(
    "message", [olr(percent=101), olr(percent=None), DiameterMessage(302, CX.number, 0).add(d.OC_OLR, AvpGroup())]
)
def test_a_report_that_makes_no_sense_is_none(message: DiameterMessage) -> None:
    told = Told()
    told.hear(message)
    assert told.cut() == 0


def test_a_report_is_of_one_host_and_one_application() -> None:
    told = Told()
    told.hear(olr(percent=100))
    assert (told.cut(host="hss2.ims.test"), told.cut(application=16777217), told.cut()) == (0, 0, 100)


def test_a_report_of_a_realm_spares_requests_that_name_their_host() -> None:
    told = Told()
    told.hear(olr(percent=100, kind=d.ReportType.REALM))
    assert (told.cut(named=True), told.cut(named=False)) == (0, 100)


def test_more_reports_than_there_are_nodes_push_out_the_oldest() -> None:
    told = Told()
    for number in range(limits.DIAMETER_OVERLOAD_REPORTS + 50):
        told.node.heard(olr(), f"h{number}.test", "ims.test")
    assert len(told.node._reports) == limits.DIAMETER_OVERLOAD_REPORTS


# ---- the reporting side


def test_the_share_follows_from_what_waits_and_goes_back_to_nothing() -> None:
    now = 0.0
    reporting = Reporting(lambda: now, lambda: now + 1e9, 100)
    shares = []
    for second in range(40):
        now = second * 1.1
        reporting.measure(80 if second < 12 else 10)
        shares.append(reporting.percent)
    assert shares[:3] == [0, 10, 20] or shares[:3] == [10, 20, 30]
    assert max(shares) == 90
    assert shares[-1] == 0


async def test_two_nodes_agree_on_sixty_percent() -> None:
    served = 0

    async def counts(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        nonlocal served
        served += 1
        return message.answer()

    server, where = await hss(SCSCF, handler=counts)
    client = await cscf((HSS, where))
    assert await result(client) == 2001
    server.node.overload.demand(60)
    assert await result(client) == 2001
    served, cut = 0, 0
    for _ in range(2000):
        try:
            await client.node.request(lir(client))
        except DiameterUnavailable as refusal:
            assert "overloaded" in str(refusal)
            cut += 1
    assert served + cut == 2000
    assert abs(cut / 20 - 60) <= 5
    assert [event.level for event in client.of(Notice) if "overloaded" in event.what] == ["warning"]
    server.node.overload.demand(0)
    while server.node.overload.percent:
        server.node.overload.demand(0)
    heard_of_the_end = 0
    for _ in range(50):  # the first that gets through brings the news
        try:
            await client.node.request(lir(client))
            heard_of_the_end += 1
        except DiameterUnavailable:
            continue
    assert heard_of_the_end >= 40
    await closed(client, server)


async def test_who_does_not_know_of_overload_control_is_not_told_of_it() -> None:
    server, where = await hss(SCSCF)
    server.node.overload.demand(60)
    raw = await (await Raw.dial(where)).introduced()
    answer = await raw.ask(raw_lir())
    assert not answer.has(d.OC_OLR)
    assert not answer.has(d.OC_SUPPORTED_FEATURES)
    raw.close()
    await closed(server)


async def test_beyond_its_bound_a_node_answers_too_busy_at_once_and_recovers() -> None:
    gate = asyncio.Event()

    async def slow(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        await gate.wait()
        return message.answer()

    other = "icscf.ims.test"
    server, where = await hss(SCSCF, other, handler=slow)
    raw = await (await Raw.dial(where)).introduced()
    second = await (await Raw.dial(where)).introduced(other)
    extra = 300
    share, room = limits.DIAMETER_REQUESTS_OF_ONE_PEER, limits.DIAMETER_REQUESTS_IN_WORK
    for number in range(share + extra):
        raw.send(raw_lir(number))
    refused = [await raw.next(10) for _ in range(extra)]
    assert server.node.in_work == share, "the rest is for other peers"
    for number in range(room - share + extra):
        second.send(raw_lir(number, other))
    refused += [await second.next(10) for _ in range(extra)]
    assert {answer.need(d.RESULT_CODE) for answer in refused} == {Result.TOO_BUSY}
    assert all(answer.is_error for answer in refused)
    assert server.node.in_work == room
    assert any(event.status == Result.TOO_BUSY for event in server.of(Refused))
    gate.set()
    served = [await raw.next(10) for _ in range(share)] + [await second.next(10) for _ in range(room - share)]
    assert {answer.need(d.RESULT_CODE) for answer in served} == {2001}
    assert server.node.in_work == 0
    assert (await raw.ask(raw_lir(1_000_000))).need(d.RESULT_CODE) == 2001
    raw.close()
    second.close()
    await closed(server)


def test_requests_that_wait_for_a_silent_peer_are_bounded() -> None:
    async def scene(network: Network) -> None:
        async def deaf(message: DiameterMessage, peer: Peer) -> DiameterMessage:
            await asyncio.sleep(60)
            return message.answer()

        server, where = await hss(SCSCF, handler=deaf)
        client = await cscf((HSS, where))
        asked = [
            asyncio.ensure_future(client.node.request(lir(client), timeout_s=5))
            for _ in range(limits.DIAMETER_REQUESTS_WAITING + 100)
        ]
        await asyncio.sleep(1)
        link = client.node.peers[HSS].link
        assert link is not None
        assert len(link.pending) <= limits.DIAMETER_REQUESTS_WAITING
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert sum("too many requests wait" in str(end) for end in ends) >= 100
        assert not link.pending
        await closed(client, server)

    run(scene, 1, allow_pending=True)
