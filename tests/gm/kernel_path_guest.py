"""Runs inside a Linux kernel that has ESP, as root: the kernel path of a P-CSCF against a phone.

The phone lives in another network namespace and process, and has the raw path, or the kernel's as well: then it also
speaks TCP; or it is behind a NAT and has the tunnel. Prints one line of JSON for each round with what both saw.
"""

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
from collections.abc import Callable, Coroutine
from functools import partial

from msgspec.structs import replace

from redoubt.gm.admission import Admission
from redoubt.gm.agreement import STRENGTH, Agreement, AgreementPolicy, Ends, Mode, server_list
from redoubt.gm.algorithms import Suite, expand
from redoubt.gm.allocation import Allocator
from redoubt.gm.association_set import AssociationSet, Beginning, EndsTaken, PhoneKey, Role
from redoubt.gm.associations import Associations
from redoubt.gm.kernel_path import KernelPath
from redoubt.gm.ledger import Ledger
from redoubt.gm.raw_esp import open_raw_esp
from redoubt.gm.restart import resume
from redoubt.gm.states import Event
from redoubt.gm.udp_tunnel import PORT, open_udp_tunnel
from redoubt.limits import LEDGER_SLOT_OCTETS
from redoubt.secret import Secret
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Address, Clear, EspAssociation, Flow, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.udp import UdpEndpoint
from redoubt.transport.xfrm import Xfrm
from redoubt.transport.xfrm_entries import delete_state

from . import kernel_guest
from .kernel_guest import enter

IPV4, IPV6 = ("10.97.0.1", "10.97.0.2"), ("fd97::1", "fd97::2")  # the network's address and the phone's
BEHIND_NAT, ELSEWHERE = "10.98.0.7", "10.97.0.3"  # inside the tunnel, and another address of the NAT
NETWORK_ENDS, PHONE_ENDS = Ends(6001, 6002, 6101, 6100), Ends(5001, 5002, 31000, 31001)
SIZES = [1, 500, 3000]
OTHER_ENDS = Ends(6003, 6004, 6103, 6102)  # what a phone is given that comes back from the ports that it had
ALICE = PhoneKey("alice@ims.test", "phone")
CK, IK = Secret(bytes(range(16))), Secret(bytes(range(50, 66)))


def beginning(suite: Suite, address: str, inner: str, mode: Mode = Mode.TRANSPORT) -> Beginning:
    agreement = Agreement(suite, mode, PHONE_ENDS, NETWORK_ENDS, "", server_list(AgreementPolicy(), mode, NETWORK_ENDS))
    return Beginning(ALICE, agreement, expand(suite, CK, IK), address, inner, "call", "nonce")


def flow_of(association_set: AssociationSet) -> Flow:
    assert association_set.flow is not None
    return association_set.flow


async def phone(suite: Suite, addresses: tuple[str, str]) -> list[int]:
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
    return answers


async def phone_in_kernel(suite: Suite, addresses: tuple[str, str]) -> list[int]:
    """Datagrams, then a connection over the same associations, then one beside them and one when they are gone."""
    here, there = addresses
    came: asyncio.Queue[bytes] = asyncio.Queue()
    ports = [PHONE_ENDS.port_s]
    path = KernelPath.open(Role.PHONE, there, ports, lambda message, _flow: came.put_nowait(message))
    associations = Associations(Role.PHONE, path)
    path.received = associations.received
    mine = associations.begin(beginning(suite, here, there))
    answers = await converse(mine, came)
    answers.append(await connected(here, there, PHONE_ENDS.port_c))
    answers.append(await connected(here, there, 40_000))
    associations.begin(beginning(suite, here, there))  # the same ends: the network has ended the older set
    answers.append(int(flow_of(mine).is_closed()))
    associations.close()
    answers.append(await connected(here, there, PHONE_ENDS.port_s))
    return answers


async def phone_behind_nat(suite: Suite, addresses: tuple[str, str]) -> list[int]:
    """Sends from one port of the NAT and from another; then the P-CSCF's process dies, and the next one calls."""
    here, there = addresses
    came: asyncio.Queue[bytes] = asyncio.Queue()
    listen = Listen("udp", there, 0, Zone.ACCESS)
    randomness = SystemRandomness()
    path = await open_udp_tunnel(
        Role.PHONE, listen, BEHIND_NAT, randomness, lambda message, _flow: came.put_nowait(message)
    )
    associations = Associations(Role.PHONE, path)
    path.received = associations.received
    mine = associations.begin(beginning(suite, here, BEHIND_NAT, Mode.UDP_TUNNEL))
    answers = await converse(mine, came)
    for place in (there, ELSEWHERE, there):
        moved = await UdpEndpoint.open(Listen("udp", place, 0, Zone.ACCESS), path.arrived, lambda *_: Clear())
        path._channels[mine].outer = moved.flow_to((here, PORT))
        flow_of(mine).send(b"I moved")
        answers.append(len(await asyncio.wait_for(came.get(), 5)))
    flow_of(mine).send(b"die")
    answers.append(len(await asyncio.wait_for(came.get(), 5)))
    flow_of(mine).send(b"are you there?")
    answers.append(len(await asyncio.wait_for(came.get(), 5)))
    return answers


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


class Child:
    """A phone in a process of its own, made before this one has a loop. It begins when it is told to."""

    def __init__(self, program: Callable[[], Coroutine[None, None, list[int]]]) -> None:
        begin, self._begin = os.pipe()
        self._result, result = os.pipe()
        self._process = os.fork()
        if not self._process:
            enter("phone")
            os.read(begin, 1)
            try:
                os.write(result, json.dumps(asyncio.run(program())).encode())
            finally:
                os._exit(0)
        os.close(result)

    async def runs(self) -> list[int]:
        os.write(self._begin, b"!")
        found = await asyncio.to_thread(os.read, self._result, 65_536)
        await asyncio.to_thread(os.waitpid, self._process, 0)
        answers: list[int] = json.loads(found or b"[]")
        return answers


async def network(suite: Suite, addresses: tuple[str, str], kind: str, child: Child) -> dict[str, object]:
    """Echoes; then what the kernel counted, and what is left of a set that ended and of a process that died."""
    here, there = addresses
    heard: list[int] = []

    def receive(message: bytes, flow: Flow) -> None:
        heard.append(len(message))
        flow.send(message)

    path = KernelPath.open(Role.NETWORK, here, [NETWORK_ENDS.port_s, OTHER_ENDS.port_s], receive)
    associations = Associations(Role.NETWORK, path)
    path.received = associations.received
    begun = associations.begin(beginning(suite, there, there))

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (writer.get_extra_info(name)[:2] for name in ("sockname", "peername"))
        if path.security_of(*ends) == EspAssociation(begun.number, ALICE.impi):
            while octets := await reader.read(10_000):
                writer.write(octets)
        writer.close()

    servers = [await asyncio.start_server(accepted, here, each) for each in (NETWORK_ENDS.port_c, NETWORK_ENDS.port_s)]
    answers = await child.runs()
    seen = {"suite": str(suite), "kind": kind, "heard": heard, "answers": answers, "stray": path.stray}
    seen |= leftovers(path, associations, begun, addresses)
    for server in servers:
        server.close()
    path.close()
    xfrm, idle = Xfrm(), KernelPath.open(Role.NETWORK, here, [NETWORK_ENDS.port_s, OTHER_ENDS.port_s], receive)
    seen["guarded"] = [len(xfrm.ours(here).policies)]
    idle.close()
    seen["guarded"] = [*seen["guarded"], len(xfrm.ours(here).policies)]  # type: ignore[misc]
    return seen


class Life:
    """One process's P-CSCF, for phones behind NATs."""

    def __init__(self, here: str, memory: bytearray) -> None:
        self.here, self.memory = here, memory
        self.heard: list[bytes] = []
        self.came = asyncio.Event()
        self.where: list[Address] = []

    async def begin(self, *, goes_on: bool) -> list[AssociationSet]:
        ports = [NETWORK_ENDS.port_s]
        self.path = KernelPath.open(Role.NETWORK, self.here, ports, self.receive, nat_port=PORT, goes_on=goes_on)
        self.associations = Associations(Role.NETWORK, self.path)
        self.path.received = self.associations.received
        allocator = Allocator(SystemRandomness(), [6200], [6201])
        admission = Admission(self.associations, allocator, AgreementPolicy())
        clock = Clock(asyncio.get_running_loop(), 1_000_000.0)
        return resume(Ledger(self.memory), self.associations, admission, clock)

    def receive(self, message: bytes, flow: Flow) -> None:
        self.heard.append(message)
        if message == b"die":
            self.came.set()
        else:
            flow.send(message)

    def die(self) -> None:
        self.associations.leave()
        self.path.close()


async def behind_nat(suite: Suite, addresses: tuple[str, str], child: Child) -> dict[str, object]:
    """A phone that a NAT moves, and a process that dies: the next goes on with what the kernel has kept."""
    here, there = addresses
    memory = bytearray(8 * LEDGER_SLOT_OCTETS)
    first = Life(here, memory)
    await first.begin(goes_on=False)
    begun = first.associations.begin(beginning(suite, there, BEHIND_NAT, Mode.UDP_TUNNEL))
    phone_runs = asyncio.ensure_future(child.runs())
    await asyncio.wait_for(first.came.wait(), 20)
    first.associations.registered(begun, "sip:alice@ims.test", 600)
    bob, bobs, ours = PhoneKey("bob@ims.test", "phone"), Ends(7001, 7002, 32_000, 32_001), Ends(8001, 8002, 6101, 6100)
    half_open = replace(
        beginning(suite, there, BEHIND_NAT, Mode.UDP_TUNNEL), phone=bob,
        agreement=Agreement(suite, Mode.UDP_TUNNEL, bobs, ours, "", ""),
    )  # fmt: skip
    first.associations.begin(half_open)
    moved_to = begun.slot.where
    first.die()
    await asyncio.sleep(0.1)  # until its sockets are closed
    second = Life(here, memory)
    taken = await second.begin(goes_on=True)
    swept = second.path.settle()
    for each in taken:
        flow_of(each).send(b"a call")
    answers = await asyncio.wait_for(phone_runs, 20)
    usage = [dataclasses.astuple(second.path.usage(each)) for each in taken]
    second.associations.close()
    seen = {
        "suite": str(suite), "kind": "nat", "heard": [len(each) for each in first.heard + second.heard],
        "answers": answers, "moved": moved_to is not None and moved_to[1] != PORT, "taken": len(taken), "swept": swept,
        "usage": usage, "after": second.path.settle(),
    }  # fmt: skip
    second.path.close()
    return seen | await crippled(suite, addresses)


async def crippled(suite: Suite, addresses: tuple[str, str]) -> dict[str, object]:
    """Somebody removed one of a set's states while no process was there: the next gives the set up."""
    here, there = addresses
    memory = bytearray(8 * LEDGER_SLOT_OCTETS)
    first = Life(here, memory)
    await first.begin(goes_on=False)
    begun = first.associations.begin(beginning(suite, there, BEHIND_NAT, Mode.UDP_TUNNEL))
    first.associations.received(begun)
    first.associations.registered(begun, "sip:alice@ims.test", 600)
    first.die()
    await asyncio.sleep(0.1)
    Xfrm().change([delete_state(here, NETWORK_ENDS.spi_s)])
    second = Life(here, memory)
    taken = await second.begin(goes_on=True)
    found = {"crippled": [len(taken), second.path.settle()]}
    second.path.close()
    return found


def leftovers(
    path: KernelPath, associations: Associations, begun: AssociationSet, addresses: tuple[str, str]
) -> dict[str, object]:
    there, suite = addresses[1], begun.agreement.suite
    xfrm = Xfrm()
    found = [each.counters for each in xfrm.states().values()]
    counters = {each.spi: [each.packets, each.octets > 0] for each in found}
    try:
        associations.begin(beginning(suite, there, there))
        collided = False
    except EndsTaken:
        collided = True
    try:
        half = Agreement(suite, Mode.TRANSPORT, PHONE_ENDS, OTHER_ENDS, "", "")
        associations.begin(replace(beginning(suite, there, there), agreement=half))
    except EndsTaken:
        clean = len(xfrm.states()), path._ports._holders[OTHER_ENDS.port_c]
    agreement = Agreement(suite, Mode.TRANSPORT, replace(PHONE_ENDS, spi_c=5003, spi_s=5004), OTHER_ENDS, "", "")
    back = associations.begin(replace(beginning(suite, there, there), agreement=agreement))
    beside = len(xfrm.states())
    associations.ended(back, Event.REPLACED)
    usage, all_bases = dataclasses.astuple(path.usage(begun)), path._bases_ours
    path._bases_ours = range(path._bases[begun] + 2)
    shared = path._bases[begun] in [path._base() for _ in range(5)]
    path._bases_ours = all_bases
    survived = len(xfrm.states())
    state = begun.state.value
    associations.close()
    left = len(xfrm.states())
    associations.begin(beginning(suite, there, there))  # and now the process dies
    swept = xfrm.sweep(addresses[0], lambda _port: True)
    return {
        "state": state, "counters": counters, "collided": collided, "survived": survived, "left": left,
        "swept": swept, "after": xfrm.sweep(addresses[0], lambda _port: True), "usage": usage, "beside": beside,
        "clean": clean, "shared": shared,
    }  # fmt: skip


def main() -> None:
    for command in (
        "link set lo up", "netns add phone", "link add gm0 type veth peer name gm1 netns phone",
        f"addr add {IPV4[0]}/24 dev gm0", f"addr add {IPV6[0]}/64 dev gm0 nodad", "link set gm0 up",
        f"route add {BEHIND_NAT}/32 via {IPV4[1]}",
        "-n phone link set lo up", f"-n phone addr add {IPV4[1]}/24 dev gm1",
        f"-n phone addr add {ELSEWHERE}/24 dev gm1",
        f"-n phone addr add {IPV6[1]}/64 dev gm1 nodad", "-n phone link set gm1 up",
    ):  # fmt: skip
        subprocess.run(["ip", *command.split()], check=True)
    gcm, cbc, gmac = STRENGTH[0], STRENGTH[1], STRENGTH[5]
    for suite, addresses, kind in (
        (cbc, IPV4, "raw"), (gmac, IPV6, "raw"), (cbc, IPV4, "kernel"), (gcm, IPV6, "kernel"),
    ):  # fmt: skip
        program = phone if kind == "raw" else phone_in_kernel
        child = Child(partial(program, suite, addresses))
        print(json.dumps(asyncio.run(network(suite, addresses, kind, child))), flush=True)
    for suite in (cbc, gcm):
        child = Child(partial(phone_behind_nat, suite, IPV4))
        print(json.dumps(asyncio.run(behind_nat(suite, IPV4, child))), flush=True)


if __name__ == "__main__":
    kernel_guest.main()
    main()
