"""TCP and declared TLS on the virtual network."""

import asyncio
import ssl

import pytest

from redoubt.sim import DeclaredTls, Network, SimUnhandled, Trace, at_host, run

from .endpoints import Line, connect, listen, still

ONE, TWO = "10.0.0.1", "10.0.0.2"


def frames(text):
    return [line for line in text.split(b"\n") if line]


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_loses_nothing_keeps_its_order_and_not_its_pieces(seed):
    async def main(network):
        _, accepted = await listen(echo=True)
        line = await connect()
        sent = [b"message %d" % number for number in range(200)]
        for message in sent:
            line.transport.write(message + b"\n")
            await asyncio.sleep(0.001)
        await asyncio.sleep(500)
        assert frames(line.text) == frames(accepted[0].text) == sent
        assert line.pieces != [message + b"\n" for message in sent]
        line.transport.close()
        assert await line.ended is None

    run(main, seed, network=Network(seed, loss=0.2, duplicate=0.1, reorder=0.1))


def test_connecting_takes_a_round_trip_and_tells_both_sides_their_addresses():
    async def main(network):
        server, accepted = await listen()
        assert server.is_serving()
        assert server.sockets[0].getsockname() == (TWO, 5060)
        with at_host(ONE):
            line = await connect()
        now = asyncio.get_running_loop().time()
        assert accepted == []
        await asyncio.sleep(0.1)
        info, far = line.transport.get_extra_info, accepted[0].transport.get_extra_info
        assert info("sockname") == far("peername") == (ONE, 49152)
        assert info("peername") == far("sockname") == (TWO, 5060)
        assert info("peercert") is None
        return now

    assert run(main, 1, network=still()) == 0.02


def test_asyncio_streams_work_on_it():
    async def main(network):
        async def answer(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, TWO, 7):
            reader, writer = await asyncio.open_connection(TWO, 7, local_addr=(ONE, 4000))
            writer.write(b"ping\n")
            answered = await reader.read()
            writer.close()
        return answered, writer.get_extra_info("sockname")

    assert run(main, 1) == (b"PING\n", (ONE, 4000))


def test_a_connection_to_nobody_is_refused():
    async def main(network):
        with pytest.raises(ConnectionRefusedError):
            await connect()
        server, _ = await listen()
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await connect()

    run(main, 1)


def test_a_connection_into_a_partition_times_out_as_linux_does():
    async def main(network):
        await listen()
        network.partition(ONE, TWO)
        with pytest.raises(TimeoutError), at_host(ONE):
            await connect()
        return asyncio.get_running_loop().time()

    assert run(main, 1) == 127


def test_a_name_with_a_dead_address_connects_to_the_next():
    async def main(network):
        network.name("scscf.home1.net", "10.0.0.9", TWO)
        await listen()
        line = await connect("scscf.home1.net")
        return line.transport.get_extra_info("peername")

    assert run(main, 1) == (TWO, 5060)


def test_what_is_written_during_a_partition_arrives_when_it_heals():
    async def main(network):
        _, accepted = await listen()
        line = await connect(local_addr=(ONE, 0))
        network.partition(ONE, TWO)
        line.transport.write(b"patience")
        await asyncio.sleep(30)
        assert accepted == []
        network.heal()
        await asyncio.sleep(60)
        return accepted[0].text

    assert run(main, 1) == b"patience"


def test_a_partition_that_lasts_breaks_the_side_that_writes_and_leaves_the_other_half_open():
    async def main(network):
        _, accepted = await listen()
        line = await connect(local_addr=(ONE, 0))
        await asyncio.sleep(1)
        network.partition(ONE, TWO)
        line.transport.write(b"nobody")
        assert isinstance(await line.ended, TimeoutError)
        assert not accepted[0].ended.done()
        network.heal()
        accepted[0].transport.write(b"still there?")
        assert isinstance(await accepted[0].ended, ConnectionResetError)
        return accepted[0].text

    assert run(main, 1) == b""


def test_closing_delivers_what_was_written_and_then_ends_the_other_side():
    async def main(network):
        _, accepted = await listen()
        line = await connect()
        line.transport.write(b"last words")
        line.transport.close()
        line.transport.write(b"too late")
        await asyncio.sleep(1)
        assert accepted[0].text == b"last words"
        assert accepted[0].happened == ["made", "eof", "lost"]
        assert network.connections == {}
        return await line.ended, await accepted[0].ended

    assert run(main, 1) == (None, None)


def test_half_closing_leaves_the_other_direction_open():
    class Polite(Line):
        def eof_received(self):
            self.transport.write(b"answer")
            self.transport.close()
            return True

    async def main(network):
        await asyncio.get_running_loop().create_server(Polite, TWO, 5060)
        line = await connect()
        line.transport.write(b"question")
        line.transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            line.transport.write(b"more")
        await line.ended
        return line.text

    assert run(main, 1) == b"answer"


def test_aborting_resets_the_other_side():
    async def main(network):
        _, accepted = await listen()
        line = await connect()
        await asyncio.sleep(1)
        line.transport.abort()
        assert await line.ended is None
        return type(await accepted[0].ended)

    assert run(main, 1) is ConnectionResetError


def test_cutting_the_network_resets_the_connections_between_two_hosts():
    async def main(network):
        _, accepted = await listen()
        line = await connect(local_addr=(ONE, 0))
        other = await connect(local_addr=("10.0.0.3", 0))
        await asyncio.sleep(1)
        assert network.cut(ONE, TWO) == 1
        assert isinstance(await line.ended, ConnectionResetError)
        assert isinstance(await accepted[0].ended, ConnectionResetError)
        assert not other.ended.done()
        return network.cut(TWO)

    assert run(main, 1) == 1


def test_a_crashed_host_resets_who_writes_to_it():
    async def main(network):
        _, accepted = await listen()
        line = await connect(local_addr=(ONE, 0))
        await asyncio.sleep(1)
        network.crash(TWO)
        line.transport.write(b"hello?")
        assert isinstance(await line.ended, ConnectionResetError)
        return accepted[0].happened

    assert run(main, 1) == ["made"]


def test_a_writer_is_paused_while_the_reader_does_not_read():
    async def main(network):
        _, accepted = await listen()
        line = await connect()
        await asyncio.sleep(1)
        accepted[0].transport.pause_reading()
        line.transport.write(bytes(100_000))
        await asyncio.sleep(1)
        assert line.happened == ["made", "pause"]
        assert accepted[0].text == b""
        assert line.transport.get_write_buffer_size() == 100_000
        accepted[0].transport.resume_reading()
        await asyncio.sleep(1)
        return line.happened, len(accepted[0].text)

    assert run(main, 1) == (["made", "pause", "resume"], 100_000)


def test_an_attacker_on_the_path_rewrites_a_plain_stream():
    async def main(network):
        network.intercept(lambda packet: packet.payload.replace(b"alice", b"mallory"))
        _, accepted = await listen()
        line = await connect()
        line.transport.write(b"alice")
        await asyncio.sleep(1)
        return accepted[0].text

    assert run(main, 1, network=still(4)) == b"mallory"


SERVER = DeclaredTls(("scscf.home1.net", "sip:home1.net"), require_peer=True)
CLIENT = DeclaredTls(("pcscf.visited.net",))


def test_tls_declares_each_side_to_the_other_and_shows_a_tap_nothing():
    async def main(network):
        trace = Trace()
        network.tap(trace)
        _, accepted = await listen(ssl=SERVER)
        line = await connect(ssl=CLIENT, server_hostname="scscf.home1.net")
        line.transport.write(b"secret")
        await asyncio.sleep(1)
        assert accepted[0].text == b"secret"
        assert all(b"secret" not in packet.payload for packet in trace.packets)
        return [each.transport.get_extra_info("peercert")["subjectAltName"] for each in (line, accepted[0])]

    assert run(main, 1, network=still(4)) == [
        (("DNS", "scscf.home1.net"), ("URI", "sip:home1.net")),
        (("DNS", "pcscf.visited.net"),),
    ]


@pytest.mark.parametrize(
    ("client", "server", "hostname"),
    [
        (CLIENT, SERVER, "icscf.home1.net"),
        (CLIENT, None, "scscf.home1.net"),
        (DeclaredTls(), SERVER, "scscf.home1.net"),
        (DeclaredTls(("pcscf.visited.net",), authority="mallory's"), SERVER, "scscf.home1.net"),
        (CLIENT, DeclaredTls(("scscf.home1.net",), authority="mallory's"), "scscf.home1.net"),
        (CLIENT, DeclaredTls(), "scscf.home1.net"),
    ],
    ids=[
        "other name",
        "no tls",
        "no certificate",
        "client of mallory",
        "server of mallory",
        "nameless server",
    ],
)
def test_tls_that_does_not_verify_connects_nobody(client, server, hostname):
    async def main(network):
        _, accepted = await listen(ssl=server)
        with pytest.raises(ssl.SSLError):
            await connect(ssl=client, server_hostname=hostname)
        return accepted

    assert run(main, 1) == []


def test_a_plain_client_of_a_tls_server_is_reset():
    async def main(network):
        _, accepted = await listen(ssl=SERVER)
        line = await connect()
        assert isinstance(await line.ended, ConnectionResetError)
        return accepted

    assert run(main, 1) == []


def test_altering_tls_breaks_the_connection_and_delivers_nothing():
    async def main(network):
        _, accepted = await listen(ssl=SERVER)
        line = await connect(ssl=CLIENT, server_hostname="scscf.home1.net")
        await asyncio.sleep(1)
        network.intercept(lambda packet: packet.payload + b"!")
        line.transport.write(b"secret")
        assert isinstance(await line.ended, ssl.SSLError)
        assert isinstance(await accepted[0].ended, ssl.SSLError)
        return accepted[0].text

    assert run(main, 1) == b""


def test_a_real_tls_context_is_refused():
    async def main(network):
        with pytest.raises(TypeError, match="DeclaredTls"):
            await listen(ssl=ssl.create_default_context())

    run(main, 1)


def test_a_link_that_loses_everything_carries_no_stream():
    async def main(network):
        await listen()
        network.link(ONE, TWO, loss=1.0)
        with pytest.raises(TimeoutError), at_host(ONE):
            await connect()

    run(main, 1)


def test_cutting_a_connection_that_the_server_has_not_accepted_yet_leaves_nothing_of_it():
    async def main(network):
        _, accepted = await listen()
        line = await connect()
        assert network.cut(TWO) == 1
        assert isinstance(await line.ended, ConnectionResetError)
        await asyncio.sleep(1)
        return accepted, network.connections

    assert run(main, 1) == ([], {})


def test_a_protocol_that_raises_fails_the_run_and_still_gets_what_follows():
    lines = []

    class Touchy(Line):
        def data_received(self, data):
            super().data_received(data)
            if data == b"a":
                raise ValueError("touched")

    async def main(network):
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: lines.append(Touchy()) or lines[0], TWO, 5060)
        line = await connect()
        for piece in (b"a", b"b"):
            line.transport.write(piece)

    with pytest.raises(SimUnhandled, match="touched"):
        run(main, 1)
    assert lines[0].text == b"ab"


def test_a_server_never_shows_a_client_certificate_that_it_could_not_verify():
    async def main(network):
        await listen(ssl=DeclaredTls(("scscf.home1.net",)))
        forged = DeclaredTls(("icscf.home1.net",), authority="mallory's")
        with pytest.raises(ssl.SSLError, match="unknown ca"):
            await connect(ssl=forged, server_hostname="scscf.home1.net")

    run(main, 1)
