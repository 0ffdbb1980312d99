"""Attacks on a border's idea of who is who: each succeeds without its protection, and fails with it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from .peering import Operator, pair_of, running
from .test_peering_certificates import OPTIONS, certified, spoken, uri

Attack = Callable[[Path, list[str]], Awaitable[bool]]
AGAINST: dict[str, Attack] = {}


def against(protection: str) -> Callable[[Attack], Attack]:
    def keep(attack: Attack) -> Attack:
        AGAINST[protection] = attack
        return attack

    return keep


@against("partner-agreement")
async def a_stranger_learns_what_answers_here(folder: Path, off: list[str]) -> bool:
    """Its certificate holds, and stands in no agreement."""
    alpha, beta = pair_of(folder)
    certified(alpha, uri("gamma.example"))
    async with running(beta, test={"protections-off": off}):
        answer = await spoken(alpha, beta, "odd", OPTIONS.replace("OPTIONS", "CANCEL"))
        return answer.startswith(b"SIP/2.0")


@against("partner-names")
async def a_partner_gets_what_is_for_another(folder: Path, off: list[str]) -> bool:
    """Gamma answers where Alpha believes Beta to be: its certificate holds, and is not Beta's."""
    alpha, _beta = pair_of(folder)
    gamma = Operator.of(folder, "gamma", 3)
    alpha.agrees(gamma)
    gamma.agrees(alpha)
    alpha.partners[0]["connect"] = [gamma.border]
    async with running(alpha, gamma, test={"protections-off": off}):
        alice = await alpha.net.registered("alice")
        assert (await alice.ask(alice.make("MESSAGE", "sip:bob@beta.example"))).status >= 400
        assert gamma.net.network.border is not None
        return any(partner.requests_in for partner in gamma.net.network.border.partners)


@against("partner-authority")
async def a_partners_authority_names_another_partner(folder: Path, off: list[str]) -> bool:
    """Gamma's authority, cross-certified for gamma.example, certifies sip:alpha.example."""
    _alpha, beta = pair_of(folder)
    gamma = Operator.of(folder, "gamma", 3)
    beta.agrees(gamma)
    certified(gamma, uri("alpha.example"), common="gamma.example")
    async with running(beta, test={"protections-off": off}):
        await spoken(gamma, beta, "odd")
        assert beta.net.network.border is not None
        alpha = beta.net.network.border.partners.named("alpha")
        return alpha is not None and alpha.requests_in > 0


@pytest.mark.parametrize("protection", AGAINST)
async def test_without_the_protection_the_attack_succeeds(tmp_path: Path, protection: str) -> None:
    assert await AGAINST[protection](tmp_path, [protection])


@pytest.mark.parametrize("protection", AGAINST)
async def test_with_the_protection_the_attack_fails(tmp_path: Path, protection: str) -> None:
    assert not await AGAINST[protection](tmp_path, [])
