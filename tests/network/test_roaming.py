"""Roaming over TLS between two borders (TS 24.229 5.2, 5.10; TS 33.203 6.1): the visited network serves the phone,
and its home decides about it."""

from pathlib import Path

from .peering import Operator, running, until
from .roaming import ROAMING, Protected, registered_at, talk, unbroken


def roaming_pair(folder: Path, **options: object) -> tuple[Operator, Operator]:
    """Alpha, whose users may roam, and Beta, where they are."""
    home, visited = Protected.of(folder, "alpha", 1), Protected.of(folder, "beta", 2)
    home.agrees(visited, **{**ROAMING, **options})
    visited.agrees(home, **ROAMING)
    home.roaming = (visited.realm,)
    return home, visited


async def test_a_phone_registers_abroad_is_called_calls_and_deregisters(tmp_path: Path) -> None:
    home, visited = roaming_pair(tmp_path)
    async with running(home, visited):
        alice = await registered_at(visited, "alice", home)
        carol, bob = await registered_at(home, "carol", home), await registered_at(visited, "bob", visited)
        for caller, callee in ((carol, alice), (alice, carol), (bob, alice), (alice, bob)):
            await talk(caller, callee)
        assert alice.line.gm is not None and alice.line.gm.carrier() is not None
        result = await alice.deregister()
        assert result.status == 200 and not alice.registration.holds
        call = await carol.call(alice.identity.impu)
        assert call.status in (404, 480), call.status
        await until(lambda: visited.net.network.table_sizes()["p-cscf bindings"] == 1)  # Bob is
        unbroken(home, visited)
