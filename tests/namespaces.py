"""Two hosts on one wire, as network namespaces of this process: a P-CSCF's, and one for its phones.

Which host a piece of code runs on follows from its context, as in `redoubt.sim`: what a task or a callback opens
belongs to the host on which it was started. Needs root.
"""

import asyncio
import ctypes
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
# Loopback addresses on a wire: a network with a protection off serves nothing else.
CORE, PHONES = ("127.96.0.1", "fd96::1"), ("127.96.0.{}", "fd96::{}")
PHONES_OF = range(2, 10)


def may_make_networks() -> bool:
    """Whether this user may, and TUN devices too."""
    name = f"may{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    except OSError:
        return False
    return made and os.access("/dev/net/tun", os.W_OK)


@dataclass(frozen=True)
class Host:
    """A network namespace, open."""

    name: str
    descriptor: int

    @contextmanager
    def here(self) -> Iterator[None]:
        """What the block opens, and what it starts opens, belongs to this host."""
        token = place.set(self)
        _enter(self)
        try:
            yield
        finally:
            place.reset(token)
            _enter(place.get())


@dataclass(frozen=True)
class Wire:
    """Both ends."""

    core: Host
    phones: Host


place: ContextVar[Host | None] = ContextVar("place", default=None)
wired: ContextVar[Wire | None] = ContextVar("wired", default=None)
_home: list[Host] = []  # where this process began
_current: list[Host] = []


def _enter(host: Host | None) -> None:
    host = host or _home[0]
    if host is not _current[0]:
        assert LIBC.setns(host.descriptor, CLONE_NEWNET) == 0, f"{host.name}: errno {ctypes.get_errno()}"
        _current[0] = host


def at_core() -> AbstractContextManager[None]:
    """On the P-CSCF's host, where there are two."""
    between = wired.get()
    return between.core.here() if between is not None else nullcontext()


def phone_at(host: str, *, is_ipv6: bool = False) -> str:
    """The address that a phone has on its own host instead of that of loopback, 127.0.0.x."""
    between = wired.get()
    if between is None or place.get() is not between.phones or not host.startswith("127.0.0."):
        return host
    return PHONES[is_ipv6].format(int(host.rpartition(".")[2]) + 1)


def run(*commands: str) -> None:
    """Each a line of `ip`."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def _prepared(tag: str) -> tuple[str, str]:
    core, phones = f"core{tag}", f"phones{tag}"
    run(f"netns add {core}", f"netns add {phones}", f"link add gm0 netns {core} type veth peer name gm1 netns {phones}")
    for name, device, places in ((core, "gm0", range(1, 2)), (phones, "gm1", PHONES_OF)):
        run(f"-n {name} link set lo up", f"-n {name} addr del 127.0.0.1/8 dev lo",
            f"-n {name} addr add 127.0.0.1/16 dev lo")  # fmt: skip
        settings = "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet"
        subprocess.run(["ip", "netns", "exec", name, "sh", "-c", settings], check=True)
        for number in places:
            run(f"-n {name} addr add {PHONES[0].format(number)}/24 dev {device}",
                f"-n {name} addr add {PHONES[1].format(number)}/64 dev {device} nodad")  # fmt: skip
        run(f"-n {name} link set {device} up")
    return core, phones


@contextmanager
def wire() -> Iterator[Wire]:
    """Made, and gone at the end. Meanwhile each callback of a loop runs on the host of its context. One test may make
    its own beside that of a session: where the process began is the same for all.
    """
    names = _prepared(secrets.token_hex(3))
    core, phones = (Host(name, os.open(f"/run/netns/{name}", os.O_RDONLY)) for name in names)
    if not _home:
        _home[:] = _current[:] = [Host("home", os.open("/proc/thread-self/ns/net", os.O_RDONLY))]
    usual: Callable[[asyncio.Handle], None] = asyncio.Handle._run

    def runs(handle: asyncio.Handle) -> None:
        _enter(handle._context.get(place))
        usual(handle)

    asyncio.Handle._run = runs  # type: ignore[method-assign]
    try:
        yield Wire(core, phones)
    finally:
        asyncio.Handle._run = usual  # type: ignore[method-assign]
        _enter(None)
        for host in (core, phones):
            os.close(host.descriptor)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def phones_on(between: Wire) -> Iterator[None]:
    """Tests speak for phones; networks that they make are on the other host."""
    token = wired.set(between)
    try:
        with between.phones.here():
            yield
    finally:
        wired.reset(token)
