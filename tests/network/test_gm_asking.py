"""Which words of a phone ask for a security agreement, where policy demands one and where it does not (RFC 3329 2.3.1).

Row 21: whoever demands protection never gets less than that without a word.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from redoubt.gm.agreement import AgreementPolicy, Ends, Mode, client_list, written
from redoubt.sip.fields import SECURITY_SERVER
from redoubt.sip.message import Response

from .client import Card, Client
from .handsets import Field, field

REQUIRE, PROXY_REQUIRE, SUPPORTED = ("Require", "sec-agree"), ("Proxy-Require", "sec-agree"), ("Supported", "sec-agree")
CLIENT = (
    "Security-Client",
    written(client_list(AgreementPolicy(modes=(Mode.UDP_TUNNEL,)), Ends(4711, 4712, 31000, 31001))),
)
CHALLENGED, NO_COMMON, EXTENSION_REQUIRED = 401, 494, 421


@asynccontextmanager
async def asking(net: Field) -> AsyncIterator[Client]:
    client = await Client.open(Card.of("alice", net.network.config.network.realm), net.network.p_cscf_address)
    try:
        yield client
    finally:
        client.close()


def judge(answer: Response, status: int) -> None:
    """What each status must bring along."""
    assert answer.status == status
    assert (len(answer.every(SECURITY_SERVER)) > 0) is (status in (NO_COMMON, EXTENSION_REQUIRED))
    assert answer.get("Require") == ("sec-agree" if status == EXTENSION_REQUIRED else None)


# What the phone says, and what comes back: where policy demands an agreement, and where it does not.
WORDS = [
    ((), EXTENSION_REQUIRED, CHALLENGED),
    ((SUPPORTED,), NO_COMMON, CHALLENGED),  # it can, and asks for nothing
    ((REQUIRE,), NO_COMMON, NO_COMMON),
    ((PROXY_REQUIRE,), NO_COMMON, NO_COMMON),
    ((REQUIRE, PROXY_REQUIRE), NO_COMMON, NO_COMMON),
    ((CLIENT,), NO_COMMON, CHALLENGED),  # an offer that nothing makes count
    ((SUPPORTED, CLIENT), NO_COMMON, CHALLENGED),
]


@pytest.mark.parametrize(("words", "demanded", "allowed"), WORDS, ids=[str(n) for n in range(len(WORDS))])
async def test_a_register_that_agrees_on_nothing_gets_what_rfc_3329_owes_it(
    words: tuple[tuple[str, str], ...], demanded: int, allowed: int
) -> None:
    for access, status in (("ipsec", demanded), ("aka-without-ipsec", allowed)):
        async with field(access=access) as net, asking(net) as phone:
            judge(await phone.ask(phone.register(None, *words)), status)
            assert net.sets() == []


@pytest.mark.parametrize("words", [(REQUIRE,), (PROXY_REQUIRE,), (REQUIRE, PROXY_REQUIRE)], ids=["r", "p", "both"])
@pytest.mark.parametrize("access", ["ipsec", "aka-without-ipsec"])
async def test_who_demands_protection_by_either_header_and_offers_gets_it(
    words: tuple[tuple[str, str], ...], access: str
) -> None:
    async with field(access=access) as net, asking(net) as phone:
        answer = await phone.ask(phone.register(None, *words, CLIENT))
        assert (answer.status, len(answer.every(SECURITY_SERVER)) > 0) == (401, True), net.why()
        assert len(net.sets("alice")) == 1


@pytest.mark.parametrize("word", [REQUIRE, PROXY_REQUIRE], ids=["r", "p"])
async def test_another_request_that_demands_protection_and_has_none_goes_nowhere(word: tuple[str, str]) -> None:
    async with field(access="aka-without-ipsec") as net, asking(net) as phone:
        bob = await net.registered("bob", gm=False)
        judge(await phone.ask(phone.make("MESSAGE", bob.identity.impu, None, word)), NO_COMMON)
        assert bob.messages == []
