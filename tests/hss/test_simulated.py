"""The HSS in virtual time: its windows and commits are the loop's."""

import asyncio
from pathlib import Path

from redoubt.config import HssConfig
from redoubt.diameter.cx import ResultCode, ServerAssignmentType
from redoubt.sim.network import Network
from redoubt.sim.run import run

from .conftest import with_subscribers
from .test_cx import lir, mar, sar


def test_the_ceiling_on_unanswered_vectors_ends_with_its_minute(tmp_path: Path) -> None:
    async def main(_network: Network) -> list[ResultCode]:
        hss = await with_subscribers(tmp_path, HssConfig(max_pending_per_user=1))
        results = [await mar(hss), await mar(hss)]
        await asyncio.sleep(61)
        results.append(await mar(hss))
        assert await sar(hss, ServerAssignmentType.REGISTRATION) is ResultCode.SUCCESS
        assert (await lir(hss))[0] is ResultCode.SUCCESS
        await hss.close()
        return results

    assert run(main, 1) == [ResultCode.SUCCESS, ResultCode.TOO_BUSY, ResultCode.SUCCESS]
