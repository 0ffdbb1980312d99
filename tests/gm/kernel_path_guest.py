"""Runs inside a Linux kernel that has ESP, as root: the kernel path of a P-CSCF against a phone.

The phone lives in another network namespace and process, and has the raw path, or the kernel's as well: then it also
speaks TCP. Prints one line of JSON for each round with what both saw.
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
from redoubt.transport.flow import EspAssociation, Flow
from redoubt.transport.xfrm import Xfrm

IPV4, IPV6 = ("10.97.0.1", "10.97.0.2"), ("fd97::1", "fd97::2")  # the network's address and the phone's
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


async def phone(suite: Suite, addresses: tuple[str, str]) -> None:
    """Sends, waits for each echo, then tries the protected port in the clear."""
    here, there = addresses
    came: asyncio.Queue[bytes] = asyncio.Queue()
    path = open_raw_esp(Role.PHONE, there, SystemRandomness(), lambda message, _flow: came.put_nowait(message))
    associations = Associations(Role.PHONE, path)
    path.received = associations.received
    answers = await converse(associations.begin(beginning(suite, here, there)), came)
    for port in (PHONE_ENDS.port_c, 40_000):
        with socket.socket(family(there), socket.SOCK_DGRAM) as clear:
            clear.bind((there, port))
            clear.sendto(b"INVITE in the clear", (here, NETWORK_ENDS.port_s))
    await asyncio.sleep(0.3)
    print(json.dumps(answers), flush=True)


async def phone_in_kernel(suite: Suite, addresses: tuple[str, str]) -> None:
    """Datagrams, then a connection over the same associations, then one beside them and one when they are gone."""
    here, there = addresses
    came: asyncio.Queue[bytes] = asyncio.Queue()
    ports = PHONE_ENDS.port_c, PHONE_ENDS.port_s
    path = await KernelPath.open(Role.PHONE, there, ports, lambda message, _flow: came.put_nowait(message))
    associations = Associations(Role.PHONE, path)
    path.received = associations.received
    mine = associations.begin(beginning(suite, here, there))
    answers = await converse(mine, came)
    answers.append(await connected(here, there, PHONE_ENDS.port_c))
    answers.append(await connected(here, there, 40_000))
    associations.close()
    answers.append(await connected(here, there, PHONE_ENDS.port_s))
    print(json.dumps(answers), flush=True)


async def converse(mine: AssociationSet, came: "asyncio.Queue[bytes]") -> list[int]:
    answers = []
    for size in SIZES:
        flow_of(mine).send(b"x" * size)
        answers.append(len(await asyncio.wait_for(came.get(), 5)))
    return answers


async def connected(here: str, there: str, port: int) -> int:
    """How many octets came back over TCP; -1 when no connection came about."""
    ends = {"local_addr": (there, port)}
    target = NETWORK_ENDS.port_s if port != PHONE_ENDS.port_s else NETWORK_ENDS.port_c
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(here, target, **ends), 1)  # type: ignore[arg-type]
        writer.write(b"x" * 10_000)
        answer = await asyncio.wait_for(reader.read(10_000), 2)
        while answer and len(answer) < 10_000:
            answer += await asyncio.wait_for(reader.read(10_000), 2)
        writer.close()
    except (OSError, TimeoutError):
        return -1
    return len(answer)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def network(suite: Suite, addresses: tuple[str, str], kind: str) -> dict[str, object]:
    """Echoes; then what the kernel counted, and what is left of a set that ended and of a process that died."""
    here, there = addresses
    heard: list[int] = []

    def receive(message: bytes, flow: Flow) -> None:
        heard.append(len(message))
        flow.send(message)

    path = await KernelPath.open(Role.NETWORK, here, (NETWORK_ENDS.port_c, NETWORK_ENDS.port_s), receive)
    associations = Associations(Role.NETWORK, path)
    path.received = associations.received
    begun = associations.begin(beginning(suite, there, there))

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[:2]
        port = writer.get_extra_info("sockname")[1]
        if path.security_of(port, peer) == EspAssociation(begun.number, ALICE.impi):
            while octets := await reader.read(10_000):
                writer.write(octets)
        writer.close()

    servers = [await asyncio.start_server(accepted, here, each) for each in (NETWORK_ENDS.port_c, NETWORK_ENDS.port_s)]
    command = ["ip", "netns", "exec", "phone", sys.executable, __file__, kind, str(STRENGTH.index(suite)), *addresses]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=os.environ)
    answers = json.loads((await child.communicate())[0])
    seen = {"suite": str(suite), "kind": kind, "heard": heard, "answers": answers, "stray": path.stray}
    seen |= leftovers(path, associations, begun, addresses)
    for server in servers:
        server.close()
    path.close()
    return seen


def leftovers(
    path: KernelPath, associations: Associations, begun: AssociationSet, addresses: tuple[str, str]
) -> dict[str, object]:
    there, suite = addresses[1], begun.agreement.suite
    xfrm = Xfrm()
    counters = {each.spi: [each.packets, each.octets > 0] for each in xfrm.counters()}
    try:
        associations.begin(beginning(suite, there, there))
        collided = False
    except PathFailed:
        collided = True
    usage = dataclasses.astuple(path.usage(begun))
    survived = len(xfrm.counters())
    state = begun.state.value
    associations.close()
    left = len(xfrm.counters())
    associations.begin(beginning(suite, there, there))  # and now the process dies
    swept = xfrm.sweep()
    return {
        "state": state, "counters": counters, "collided": collided, "survived": survived, "left": left,
        "swept": swept, "after": xfrm.sweep(), "usage": usage,
    }  # fmt: skip


def main() -> None:
    for command in (
        "link set lo up", "netns add phone", "link add gm0 type veth peer name gm1 netns phone",
        f"addr add {IPV4[0]}/24 dev gm0", f"addr add {IPV6[0]}/64 dev gm0 nodad", "link set gm0 up",
        "-n phone link set lo up", f"-n phone addr add {IPV4[1]}/24 dev gm1",
        f"-n phone addr add {IPV6[1]}/64 dev gm1 nodad", "-n phone link set gm1 up",
    ):  # fmt: skip
        subprocess.run(["ip", *command.split()], check=True)
    gcm, cbc, gmac = STRENGTH[0], STRENGTH[1], STRENGTH[5]
    for suite, addresses, kind in (
        (cbc, IPV4, "raw"), (gmac, IPV6, "raw"), (cbc, IPV4, "kernel"), (gcm, IPV6, "kernel"),
    ):  # fmt: skip
        print(json.dumps(asyncio.run(network(suite, addresses, kind))), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        program = phone if sys.argv[1] == "raw" else phone_in_kernel
        asyncio.run(program(STRENGTH[int(sys.argv[2])], (sys.argv[3], sys.argv[4])))
    else:
        main()
