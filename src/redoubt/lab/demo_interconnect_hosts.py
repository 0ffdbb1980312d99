"""Where the operators of `redoubt demo interconnect` are: on loopback, or each in a network namespace of its own.

A namespace belongs to a thread: all that an operator's network and phones do runs in one, on an event loop of its own.
"""

import asyncio
import ctypes
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
ALL_PROTOCOLS = 3
INTERNET = "198.51.100"


class Place(Protocol):
    """Where an operator's code runs."""

    async def do(self, work: Coroutine[Any, Any, T]) -> T: ...


class Here:
    """In this thread, on loopback."""

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        return await work


class Host:
    """A network namespace, and the thread that lives in it."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _live(self) -> None:
        _enter(self.namespace)
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class Hosts:
    """An Internet with so many operators at it, each on a line of its own."""

    def __init__(self, names: list[str]) -> None:
        tag = secrets.token_hex(3)
        self.internet = f"net{tag}"
        self._namespaces = [self.internet, *(f"{name}{tag}" for name in names)]
        self.hosts: dict[str, Host] = {}
        made = False
        try:
            for each in self._namespaces:
                _ip(f"netns add {each}", f"-n {each} link set lo up")
            for number, name in enumerate(names, 1):
                self._join(f"{name}{tag}", name, number)
                self.hosts[name] = Host(f"{name}{tag}")
            with inside(self.internet):
                Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            made = True
        finally:
            if not made:
                self.close()

    def outside(self, number: int) -> str:
        return f"{INTERNET}.{number * 4 + 2}"

    def wiretap(self, name: str) -> socket.socket:
        """A socket that gets every packet on an operator's line."""
        with inside(self.internet):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
            made.bind((name, 0))
        return made

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        for name in self._namespaces:
            _ip_says(f"netns del {name}")

    def _join(self, namespace: str, name: str, number: int) -> None:
        """A line, addresses of the nodes (10.N.0.1) and phones (10.N.0.9), and the ways there."""
        near, far = f"{INTERNET}.{number * 4 + 1}", self.outside(number)
        _ip(
            f"link add wan netns {namespace} type veth peer name {name} netns {self.internet}",
            f"-n {self.internet} addr add {near}/30 dev {name}",
            f"-n {self.internet} link set {name} up",
            f"-n {namespace} addr add {far}/30 dev wan",
            f"-n {namespace} addr add 10.{number}.0.1/32 dev lo",
            f"-n {namespace} addr add 10.{number}.0.9/32 dev lo",
            f"-n {namespace} link set wan up",
            f"-n {namespace} route add default via {near} dev wan src 10.{number}.0.1",
            f"-n {self.internet} route add 10.{number}.0.0/16 via {far}",
        )


def may_make_networks() -> bool:
    """Whether this user may make network namespaces."""
    name = f"may{os.getpid()}"
    made = not _ip_says(f"netns add {name}")
    _ip_says(f"netns del {name}")
    return made


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """What this thread opens meanwhile belongs to that network, and stays there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(namespace)
        yield
    finally:
        _set(home)
        os.close(home)


def _enter(namespace: str) -> None:
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    _set(there)
    os.close(there)


def _set(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _ip(*commands: str) -> None:
    for command in commands:
        if fault := _ip_says(command):
            raise OSError(0, fault, f"ip {command}")


def _ip_says(command: str) -> str:
    """Why `ip` did not do it; "" if it did."""
    try:
        done = subprocess.run(["ip", *command.split()], check=False, capture_output=True, text=True)  # noqa: S603, S607
    except OSError as error:
        return f"ip: {error.strerror}"
    return (done.stderr.strip() or "it failed") if done.returncode else ""
