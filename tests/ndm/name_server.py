"""A name server on loopback (or in the simulator) that says what a test tells it, over UDP and TCP."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Answering = Callable[[dns.message.Message], dns.message.Message | bytes | None]


def reply(query: dns.message.Message, *records: str, flags: int = 0, additional: tuple[str, ...] = ()) -> Any:
    """An answer with records like "home1.net. 120 NAPTR ..."; their order is kept."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA | flags
    for section, lines in ((answer.answer, records), (answer.additional, additional)):
        for line in lines:
            name, ttl, kind, rest = line.split(None, 3)
            section.append(dns.rrset.from_text(name, int(ttl), "IN", kind, rest))
    merged: dict[tuple[dns.name.Name, int], dns.rrset.RRset] = {}
    for rrset in answer.answer:
        kept = merged.setdefault((rrset.name, rrset.rdtype), rrset)
        kept.update(rrset)
    answer.answer = list(merged.values())
    return answer


def zone(records: dict[tuple[str, str], list[str]], flags: int = 0) -> Answering:
    """Answers with the records of a name and kind, ("home1.net.", "SRV"), and that there is nothing else."""

    def answering(query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        asked, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        lines = records.get((asked, kind))
        answer = reply(query, *(f"{question.name} 120 {kind} {line}" for line in lines or ()), flags=flags)
        if lines is None and not any(name == asked for name, _kind in records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return cast(dns.message.Message, answer)

    return answering


class NameServer(asyncio.DatagramProtocol):
    """Counts what it was asked. `stream_only`: by UDP it says no more than "ask by TCP"."""

    def __init__(self, answering: Answering, keyring: Any = None) -> None:
        self.answering = answering
        self.keyring = keyring
        self.stream_only = False
        self.asked: list[tuple[str, str, str]] = []  # transport, name as it was spelt, kind
        self.sources: list[tuple[str, int]] = []
        self.ids: list[int] = []
        self.address = ("", 0)

    @classmethod
    async def open(
        cls, answering: Answering, host: str = "127.0.0.1", port: int = 0, ssl: Any = None, **more: Any
    ) -> Any:
        server, loop = cls(answering, **more), asyncio.get_running_loop()
        for _ in range(8):  # until a port is free for both
            server.udp, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=(host, port))
            server.address = server.udp.get_extra_info("sockname")[:2]
            try:
                server.tcp = await asyncio.start_server(server.serve, *server.address, ssl=ssl)
            except OSError:
                server.udp.close()
                continue
            break
        return server

    udp: Any
    tcp: Any

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.sources.append(address[:2])
        try:
            query = dns.message.from_wire(data, keyring=self.keyring)
        except dns.exception.DNSException:
            return  # a wrong key: nothing is owed to it here
        if self.stream_only:
            self.note("udp", query)
            self.udp.sendto(reply(query, flags=dns.flags.TC).to_wire(), address)
            return
        wire = self.answer("udp", query)
        if wire is not None:
            self.udp.sendto(wire, address)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                wire = self.answer("tcp", dns.message.from_wire(await reader.readexactly(length), keyring=self.keyring))
                if wire is not None:
                    writer.write(len(wire).to_bytes(2, "big") + wire)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def note(self, transport: str, query: dns.message.Message) -> None:
        question = query.question[0]
        self.asked.append((transport, question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
        self.ids.append(query.id)

    def answer(self, transport: str, query: dns.message.Message) -> bytes | None:
        self.note(transport, query)
        said = self.answering(query)
        return said.to_wire() if isinstance(said, dns.message.Message) else said
