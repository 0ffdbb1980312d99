"""One HSS process of several on a database, hammered: `python -m hss.hammer URL S-CSCF ROUNDS IMPI...`.

Prints a line of JSON for each vector: who asked when, when it was answered, IMPI, RAND, AUTN and SEQ; then what an
SAR came to.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from hss.conftest import Place
from hss.test_cx import sqn_of
from redoubt.config import HssConfig
from redoubt.diameter.cx import ServerAssignmentType
from redoubt.hss.hss import Hss


async def registrations(hss: Hss, server: str, rounds: int, impi: str) -> None:
    for _ in range(rounds):
        asked = time.monotonic()
        answer = await hss.multimedia_auth(impi, f"sip:{impi}", server, 1)
        vector = answer.vectors[0]
        issued = {
            "impi": impi,
            "asked": asked,
            "answered": time.monotonic(),
            "sqn": sqn_of(vector),
            "rand": vector.rand.hex(),
            "autn": vector.autn.hex(),
        }
        assignment = await hss.server_assignment(impi, f"sip:{impi}", server, ServerAssignmentType.REGISTRATION)
        print(json.dumps({**issued, "server": server, "result": assignment.result.name}))


async def main(url: str, server: str, rounds: int, impis: list[str]) -> None:
    hss = await Place(Path(), url).open(HssConfig(max_pending_per_user=10**6), seed=sum(server.encode()))
    await asyncio.gather(*(registrations(hss, server, rounds, impi) for impi in impis for _ in range(2)))
    await hss.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
