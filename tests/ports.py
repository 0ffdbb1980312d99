"""Ports for programs that must be told theirs."""

import random
import socket

OWN = range(10_000, 20_000)  # below those that the system gives to connections, and that phones are given
_chance = random.SystemRandom()
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody uses, neither by UDP nor by TCP, and that no connection opened meanwhile gets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = _chance.choice(OWN)
        if port in _given:
            continue
        with socket.socket(family) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind((host, port))
                datagram.bind((host, port))
            except OSError:
                continue
            _given.add(port)
            return port
