"""Protocols that the simulator's tests put at the ends of its wires."""

import asyncio

from redoubt.sim import Network


class Mailbox(asyncio.DatagramProtocol):
    """Keeps the datagrams that arrive, with their source and time."""

    def __init__(self):
        self.received = []
        self.errors = []
        self.lost = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.append((data, addr, asyncio.get_running_loop().time()))

    def error_received(self, exc):
        self.errors.append(exc)

    def connection_lost(self, exc):
        self.lost.append(exc)

    @property
    def payloads(self):
        return [data for data, _, _ in self.received]


class Line(asyncio.Protocol):
    """Keeps a stream; echoes it when told to."""

    def __init__(self, echo=False):
        self.echo = echo
        self.pieces = []
        self.happened = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.happened.append("made")

    def data_received(self, data):
        self.pieces.append(data)
        if self.echo:
            self.transport.write(data)

    def eof_received(self):
        self.happened.append("eof")

    def pause_writing(self):
        self.happened.append("pause")

    def resume_writing(self):
        self.happened.append("resume")

    def connection_lost(self, exc):
        self.happened.append("lost")
        self.ended.set_result(exc)

    @property
    def text(self):
        return b"".join(self.pieces)


async def mailbox(host, port=5060, **options):
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(Mailbox, local_addr=(host, port), **options)
    return protocol


async def listen(host="10.0.0.2", port=5060, echo=False, ssl=None):
    """A server and the list of what it accepts."""
    accepted = []

    def accept():
        accepted.append(Line(echo))
        return accepted[-1]

    server = await asyncio.get_running_loop().create_server(accept, host, port, ssl=ssl)
    return server, accepted


async def connect(host="10.0.0.2", port=5060, **options):
    _, line = await asyncio.get_running_loop().create_connection(Line, host, port, **options)
    return line


def still(seed=1, **faults):
    """A network with one fixed latency, so that a test can name times."""
    return Network(seed, latency_s=(0.01, 0.01), **faults)
