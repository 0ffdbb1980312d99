"""A whole network in a process of its own, for peers that speak to it over sockets.

Reads one line of JSON from standard input: {"config": {section: {option: value}}, "subscribers": [fields, ...],
"only": [function, ...]}, prints one line with the addresses, and ends with standard input.
"""

import asyncio
import json
import sys
from typing import Any

from redoubt.aka.milenage import Milenage
from redoubt.hss.provisioning import subscriber_of
from redoubt.network.run import FUNCTIONS, Network
from redoubt.secret import Secret
from redoubt.sources import SystemRandomness

# Printable ASCII: SIPp 3.6.1 reads keys as scenario text. The same for all, so that RandForSipp knows every RES.
K = b"redoubt-sipp-key"
OP = b"operator-variant"
AMF = b"AB"


class RandForSipp:
    """The system's randomness without the RANDs whose RES holds a zero octet: SIPp 3.6.1 takes RES for a C string."""

    def __init__(self) -> None:
        self._system = SystemRandomness()
        self._card = Milenage.with_op(Secret(K), Secret(OP))

    def octets(self, count: int) -> bytes:
        drawn = self._system.octets(count)
        while count == 16 and 0 in self._card.f2345(drawn).res.reveal():
            drawn = self._system.octets(count)
        return drawn


async def serve(asked: dict[str, Any]) -> None:
    only = asked["only"] or FUNCTIONS
    config = {"access": {"policy": "aka-without-ipsec"}, **asked["config"]}  # these peers speak no IPsec
    network = await Network.temporary(config, only=only, randomness=RandForSipp())
    try:
        if network.hss is not None:
            await network.hss.administration.add(subscriber_of(fields) for fields in asked["subscribers"])
        proxy = network.p_cscf_address if "p-cscf" in only else ("", 0)
        print(json.dumps({"proxy": proxy, "listening": network.names}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await network.close()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.stdin.readline())))
