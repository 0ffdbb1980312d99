"""Runs inside a Linux kernel that has ESP, as root: the kernel path of a P-CSCF against a phone with the raw path.

The phone lives in another network namespace and process. Prints one line of JSON with what both saw.
"""

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
import sys

from redoubt.gm.agreement import STRENGTH, Agreement, Ends, Mode
from redoubt.gm.algorithms import Suite, expand
from redoubt.gm.association_set import AssociationSet, Beginning, PathFailed, PhoneKey, Role
from redoubt.gm.associations import Associations
from redoubt.gm.kernel_path import KernelPath
from redoubt.gm.raw_esp import open_raw_esp
from redoubt.secret import Secret
from redoubt.sources import SystemRandomness
from redoubt.transport.flow import Flow
from redoubt.transport.xfrm import Xfrm

HERE, PHONE = "10.97.0.1", "10.97.0.2"
NETWORK_ENDS, PHONE_ENDS = Ends(6001, 6002, 6101, 6100), Ends(5001, 5002, 31000, 31001)
SIZES = [1, 500, 3000]
ALICE = PhoneKey("alice@ims.test", "phone")
CK, IK = Secret(bytes(range(16))), Secret(bytes(range(50, 66)))


def beginning(suite: Suite, address: str, inner: str) -> Beginning:
    agreement = Agreement(suite, Mode.TRANSPORT, PHONE_ENDS, NETWORK_ENDS, (), ())
    return Beginning(ALICE, agreement, expand(suite, CK, IK), address, inner, "call", "nonce")


def flow_of(association_set: AssociationSet) -> Flow:
    assert association_set.flow is not None
    return association_set.flow


async def phone(suite: Suite) -> None:
    """Sends, waits for each echo, then tries the protected port in the clear."""
    came: asyncio.Queue[bytes] = asyncio.Queue()
    path = open_raw_esp(Role.PHONE, PHONE, SystemRandomness(), lambda message, _flow: came.put_nowait(message))
    associations = Associations(Role.PHONE, path)
    path.received = associations.received
    mine = associations.begin(beginning(suite, HERE, PHONE))
    answers = []
    for size in SIZES:
        flow_of(mine).send(b"x" * size)
        answers.append(len(await asyncio.wait_for(came.get(), 5)))
    for port in (PHONE_ENDS.port_c, 40_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as clear:
            clear.bind((PHONE, port))
            clear.sendto(b"INVITE in the clear", (HERE, NETWORK_ENDS.port_s))
    await asyncio.sleep(0.3)
    print(json.dumps(answers), flush=True)


async def network(suite: Suite) -> dict[str, object]:
    """Echoes; then what the kernel counted, and what is left of a set that ended and of a process that died."""
    heard = []

    def receive(message: bytes, flow: Flow) -> None:
        heard.append(len(message))
        flow.send(message)

    path = await KernelPath.open(Role.NETWORK, HERE, (NETWORK_ENDS.port_c, NETWORK_ENDS.port_s), receive)
    associations = Associations(Role.NETWORK, path)
    path.received = associations.received
    begun = associations.begin(beginning(suite, PHONE, PHONE))
    command = ["ip", "netns", "exec", "phone", sys.executable, __file__, str(STRENGTH.index(suite))]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=os.environ)
    answers = json.loads((await child.communicate())[0])
    xfrm = Xfrm()
    counters = {each.spi: [each.packets, each.octets > 0] for each in xfrm.counters()}
    try:
        associations.begin(beginning(suite, PHONE, PHONE))
        collided = False
    except PathFailed:
        collided = True
    usage = dataclasses.astuple(path.usage(begun))
    survived = len(xfrm.counters())
    state = begun.state.value
    associations.close()
    left = len(xfrm.counters())
    associations.begin(beginning(suite, PHONE, PHONE))  # and now the process dies
    swept = xfrm.sweep()
    seen = {
        "suite": str(suite), "heard": heard, "answers": answers, "stray": path.stray, "state": state,
        "counters": counters, "collided": collided, "survived": survived, "left": left, "swept": swept,
        "after": xfrm.sweep(), "usage": usage,
    }  # fmt: skip
    path.close()
    return seen


def main() -> None:
    for command in (
        "link set lo up", "netns add phone", "link add gm0 type veth peer name gm1 netns phone",
        f"addr add {HERE}/24 dev gm0", "link set gm0 up", "-n phone link set lo up",
        f"-n phone addr add {PHONE}/24 dev gm1", "-n phone link set gm1 up",
    ):  # fmt: skip
        subprocess.run(["ip", *command.split()], check=True)
    for suite in (STRENGTH[0], STRENGTH[1], STRENGTH[5]):
        print(json.dumps(asyncio.run(network(suite))), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(phone(STRENGTH[int(sys.argv[1])]))
    else:
        main()
