"""Agents: redirect answers are followed to configured peers and remembered, relays are used for other realms."""

import asyncio

import pytest

from redoubt.config import DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.diameter.routing import host_of
from redoubt.events import Refused

from .nodes import HSS, REALM, SCSCF, Station, closed, cscf, hss, lir

AGENT = "slf.ims.test"
Usage = d.RedirectHostUsage


class Slf:
    """A subscription locator function: redirects (TS 29.228 8.1)."""

    def __init__(self, to: str, usage: Usage = Usage.DONT_CACHE, kept_s: int = 0) -> None:
        self.to, self.usage, self.kept_s = to, usage, kept_s
        self.asked = 0

    async def __call__(self, message: DiameterMessage, peer: Peer) -> DiameterMessage:
        self.asked += 1
        answer = message.answer(Result.REDIRECT_INDICATION).add(d.REDIRECT_HOST, f"aaa://{self.to}:3868;transport=tcp")
        if self.usage:
            answer.add(d.REDIRECT_HOST_USAGE, self.usage).add(d.REDIRECT_MAX_CACHE_TIME, self.kept_s)
        return answer


async def arranged(slf: Slf) -> tuple[Station, Station, Station]:
    """The agent comes first, so that every request for the realm meets it."""
    agent, first = await hss(SCSCF, identity=AGENT, handler=slf)
    server, second = await hss(SCSCF)
    return await cscf((AGENT, first), (HSS, second)), agent, server


async def asked(client: Station, impu: str = "sip:bob@ims.test", user: str = "bob@ims.test") -> str:
    answer = await client.node.request(lir(client, impu).add(d.USER_NAME, user))
    assert answer.need(d.RESULT_CODE) == 2001
    return answer.need(d.ORIGIN_HOST)


async def test_a_redirected_request_goes_to_the_host_that_was_named() -> None:
    slf = Slf(HSS)
    stations = await arranged(slf)
    for _ in range(3):
        assert await asked(stations[0]) == HSS
    assert slf.asked == 3, "nothing was said of remembering"
    await closed(*stations)


@pytest.mark.parametrize(
    ("usage", "asks"),
    [
        (Usage.ALL_SESSION, 3),
        (Usage.ALL_USER, 2),
        (Usage.ALL_REALM, 1),
        (Usage.REALM_AND_APPLICATION, 1),
        (Usage.ALL_APPLICATION, 1),
    ],
)
async def test_a_redirection_is_remembered_for_what_it_says(usage: Usage, asks: int) -> None:
    slf = Slf(HSS, usage, 60)
    stations = await arranged(slf)
    for user in ("bob@ims.test", "bob@ims.test", "carol@ims.test"):
        assert await asked(stations[0], user=user) == HSS
    assert slf.asked == asks
    await closed(*stations)


async def test_a_redirection_is_forgotten_in_time() -> None:
    slf = Slf(HSS, Usage.ALL_REALM, 1)
    stations = await arranged(slf)
    await asked(stations[0])
    await asyncio.sleep(1.1)
    await asked(stations[0])
    assert slf.asked == 2
    await closed(*stations)


@pytest.mark.parametrize("to", ["evil.test", AGENT])
async def test_nobody_is_redirected_to_a_stranger_or_in_a_circle(to: str) -> None:
    slf = Slf(to)
    stations = await arranged(slf)
    with pytest.raises(DiameterUnavailable):
        await stations[0].node.request(lir(stations[0]))
    assert slf.asked == 1
    if to != AGENT:
        assert any(event.status == Result.REDIRECT_INDICATION for event in stations[0].of(Refused))
    await closed(*stations)


async def test_a_relay_takes_requests_for_the_realms_that_it_speaks_for() -> None:
    agent, where = await hss(SCSCF, identity="dra.ims.test")
    client = await cscf(wait_s=0)
    relay = DiameterPeer(identity="dra.ims.test", realm=REALM, connect=where, speaks_for=("partner.test",))
    client.node.connect_to(relay)
    assert await client.node.connected(2)
    answer = await client.node.request(lir(client), realm="partner.test")
    assert answer.need(d.RESULT_CODE) == Result.REALM_NOT_SERVED, "this relay is a node of ours, which relays nothing"
    with pytest.raises(DiameterUnavailable):
        await client.node.request(lir(client), realm="unknown.test")
    await closed(client, agent)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("aaa://HSS.ims.test:3868;transport=tcp", "hss.ims.test"),
        ("aaas://hss.ims.test", "hss.ims.test"),
        ("http://hss.ims.test", ""),
        ("hss.ims.test", ""),
    ],
)
def test_a_diameter_uri_names_its_host(uri: str, host: str) -> None:
    assert host_of(uri) == host
