"""Two nodes over loopback: capabilities, requests both ways, and what is owed to wrong requests."""

import asyncio

import pytest

from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX
from redoubt.diameter.avp import Avp, DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.events import Bug, Refused

from .nodes import HSS, SCSCF, Raw, closed, cscf, hss, lir, raw_lir, result


async def test_a_request_is_answered_by_the_node_that_serves_the_realm() -> None:
    server, where = await hss(SCSCF)
    client = await cscf((HSS, where))
    answer = await client.node.request(lir(client))
    assert answer.need(d.RESULT_CODE) == 2001
    assert (answer.need(d.ORIGIN_HOST), answer.need(d.ORIGIN_REALM)) == (HSS, "ims.test")
    assert answer.avps[0].code == d.SESSION_ID.code
    await closed(client, server)


async def test_the_server_asks_over_the_same_connection() -> None:
    server, where = await hss(SCSCF)
    client = await cscf((HSS, where))

    async def told(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        assert peer.identity == HSS
        return message.answer()

    client.node.serve(CX, told, ["RTR", "PPR"])
    answer = await server.node.request(server.node.new_request(CX, 304), host=SCSCF)
    assert answer.need(d.ORIGIN_HOST) == SCSCF
    with pytest.raises(DiameterUnavailable):
        await server.node.request(server.node.new_request(CX, 304), host="icscf.ims.test")
    await closed(client, server)


async def test_a_thousand_requests_at_once_get_each_its_own_answer() -> None:
    async def echo(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        await asyncio.sleep(0)
        return message.answer().add(d.PUBLIC_IDENTITY, message.need(d.PUBLIC_IDENTITY))

    server, where = await hss(SCSCF, handler=echo)
    client = await cscf((HSS, where))
    users = [f"sip:{number}@ims.test" for number in range(1000)]
    answers = await asyncio.gather(*(client.node.request(lir(client, user)) for user in users))
    assert [answer.need(d.PUBLIC_IDENTITY) for answer in answers] == users
    await closed(client, server)


async def test_a_bug_costs_its_own_request_only() -> None:
    async def broken(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        raise KeyError("a fault in the handler")

    server, where = await hss(SCSCF, handler=broken)
    client = await cscf((HSS, where))
    assert await result(client) == Result.UNABLE_TO_COMPLY
    assert await result(client) == Result.UNABLE_TO_COMPLY
    assert len(server.of(Bug)) == 2
    assert server.node.in_work == 0
    await closed(client, server)


async def test_an_answer_that_cannot_be_written_costs_its_own_request_only() -> None:
    async def broken(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        answer = message.answer()
        answer.avps.append(Avp(1, 0, 0, "text"))  # type: ignore[arg-type]
        return answer

    server, where = await hss(SCSCF, handler=broken)
    client = await cscf((HSS, where))
    assert await result(client) == Result.UNABLE_TO_COMPLY
    assert len(server.of(Bug)) == 1
    assert (server.node.in_work, server.node.peers[SCSCF].in_work) == (0, 0)
    assert not server.node._duplicates._working
    await closed(client, server)


async def test_a_fault_of_the_peer_is_answered_with_the_code_that_it_carries() -> None:
    async def strict(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        message.need(d.SERVER_NAME)
        return message.answer()

    server, where = await hss(SCSCF, handler=strict)
    client = await cscf((HSS, where))
    answer = await client.node.request(lir(client))
    assert answer.need(d.RESULT_CODE) == Result.MISSING_AVP
    assert answer.need(d.FAILED_AVP).avps[0].code == d.SERVER_NAME.code
    await closed(client, server)


async def test_without_a_connection_a_request_fails_at_once() -> None:
    client = await cscf((HSS, "tcp:127.0.0.1:9"), wait_s=0)
    with pytest.raises(DiameterUnavailable):
        await client.node.request(lir(client), timeout_s=0.5)
    await closed(client)


async def test_a_node_that_goes_says_so_and_its_peer_knows() -> None:
    server, where = await hss(SCSCF)
    client = await cscf((HSS, where))
    await server.node.close()
    await asyncio.sleep(0.05)
    assert not client.node.peers[HSS].is_open
    with pytest.raises(DiameterUnavailable):
        await client.node.request(lir(client), timeout_s=0.3)
    await closed(client)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda message: setattr(message, "application", 16777217), Result.APPLICATION_UNSUPPORTED),
        (lambda message: setattr(message, "command", 999), Result.COMMAND_UNSUPPORTED),
        (lambda message: setattr(message, "flags", 0xE0), Result.INVALID_HDR_BITS),
        (lambda message: message.avps.append(Avp(9999, 0, 0x40, b"")), Result.AVP_UNSUPPORTED),
        (lambda message: message.add(d.ORIGIN_HOST, SCSCF), Result.AVP_OCCURS_TOO_MANY_TIMES),
        (lambda message: message.remove(d.SESSION_ID), Result.MISSING_AVP),
        (lambda message: message.remove(d.DESTINATION_REALM), Result.MISSING_AVP),
        (lambda message: message.remove(d.ORIGIN_HOST), Result.MISSING_AVP),
        (lambda message: message.add(d.DESTINATION_HOST, "other.ims.test"), Result.UNABLE_TO_DELIVER),
        (lambda message: message.add(d.ROUTE_RECORD, HSS), Result.LOOP_DETECTED),
    ],
)
async def test_a_wrong_request_gets_what_rfc_6733_owes_it(spoil: object, code: Result) -> None:
    server, where = await hss(SCSCF)
    raw = await (await Raw.dial(where)).introduced()
    message = raw_lir()
    spoil(message)  # type: ignore[operator]
    answer = await raw.ask(message)
    assert answer.need(d.RESULT_CODE) == code
    assert answer.is_error == (3000 <= code < 4000)
    assert (answer.hop_by_hop, answer.end_to_end) == (7, 7)
    assert [event.status for event in server.of(Refused)] == [code]
    assert (await raw.ask(raw_lir(8))).need(d.RESULT_CODE) == 2001
    raw.close()
    await closed(server)


async def test_a_request_for_another_realm_is_not_served() -> None:
    server, where = await hss(SCSCF)
    raw = await (await Raw.dial(where)).introduced()
    message = raw_lir()
    message.remove(d.DESTINATION_REALM)
    answer = await raw.ask(message.add(d.DESTINATION_REALM, "elsewhere.test"))
    assert answer.need(d.RESULT_CODE) == Result.REALM_NOT_SERVED
    raw.close()
    await closed(server)


async def test_an_avp_whose_length_lies_is_answered_and_the_connection_lives() -> None:
    server, where = await hss(SCSCF)
    raw = await (await Raw.dial(where)).introduced()
    octets = bytearray(raw_lir().to_bytes())
    octets[25:28] = (0xFFFFFF).to_bytes(3, "big")
    raw.send(bytes(octets))
    assert (await raw.next()).need(d.RESULT_CODE) == Result.INVALID_AVP_LENGTH
    assert (await raw.ask(raw_lir(9))).need(d.RESULT_CODE) == 2001
    raw.close()
    await closed(server)


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\1\0\0\0", Result.INVALID_MESSAGE_LENGTH),
        (b"\1\0\0\x13", Result.INVALID_MESSAGE_LENGTH),
        (b"\1\xff\xff\xfc", Result.INVALID_MESSAGE_LENGTH),
        (b"\2\0\0\x14", Result.UNSUPPORTED_VERSION),
        (b"GET / HTTP/1.1", Result.UNSUPPORTED_VERSION),
    ],
)
async def test_a_stream_that_cannot_be_followed_is_closed(octets: bytes, code: Result) -> None:
    server, where = await hss(SCSCF)
    stranger = await Raw.dial(where)
    stranger.send(octets)
    assert await stranger.ended()
    raw = await (await Raw.dial(where)).introduced()
    raw.send(raw_lir().to_bytes() + octets)
    assert await raw.ended()
    assert [event.status for event in server.of(Refused) if event.status] == [code, code]
    assert not server.of(Bug)
    await closed(server)


async def test_a_request_before_the_capabilities_exchange_ends_the_connection() -> None:
    server, where = await hss(SCSCF)
    raw = await Raw.dial(where)
    raw.send(raw_lir())
    assert await raw.ended()
    await closed(server)


async def test_an_answer_that_cannot_be_read_is_no_answer() -> None:
    async def odd(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        answer = message.answer(Result.TOO_BUSY)
        answer.avps = [Avp(d.RESULT_CODE.code, 0, 0x40, b"\0")]
        return answer

    server, where = await hss(SCSCF, handler=odd)
    client = await cscf((HSS, where))
    with pytest.raises(DiameterUnavailable):
        await client.node.request(lir(client))
    await closed(client, server)


async def test_a_handler_may_refuse_with_a_failed_avp() -> None:
    async def refuses(message: DiameterMessage, peer: Peer) -> DiameterMessage:
        raise DiameterError(Result.INVALID_AVP_VALUE, "no such user here", "TS 29.228", d.USER_NAME.of(""))

    server, where = await hss(SCSCF, handler=refuses)
    client = await cscf((HSS, where))
    assert await result(client) == Result.INVALID_AVP_VALUE
    await closed(client, server)
