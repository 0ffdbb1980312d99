"""What a node does with whatever arrives (RFC 3261 8.2, 16.3, 18.2; RFC 3581; requirement rows 67, 70 to 74, 78)."""

import asyncio

import pytest
from tests.transaction.nodes import Node, Peer, fixed_latency, node, request

from redoubt import limits
from redoubt.events import Bug, MessageSeen, Refused
from redoubt.sim import Network, run
from redoubt.sip.errors import SipError
from redoubt.sip.fields import MAX_FORWARDS, RETRY_AFTER, VIA
from redoubt.sip.message import Request, Response
from redoubt.sip.server_merged import MergedRequests
from redoubt.sip.service import Exchange, forward
from redoubt.sip.stack_wire import redacted
from redoubt.transport.flow import TrustedAddress, Zone

VIA_OF_PEER = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabc;rport"


async def ok(asked: Request, exchange: Exchange) -> Response | None:
    return None if asked.method == "ACK" else asked.response(200, to_tag="b")


def test_the_core_says_nothing_to_an_address_that_is_no_core_node() -> None:
    async def scene(_network: Network) -> None:
        b, stranger = await node("10.0.0.2", ok), await Peer.open("10.6.6.6")
        stranger.send(request("OPTIONS", b.uri, via=VIA_OF_PEER), b.address)
        stranger.send(b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP 10.6.6.6;branch=z9hG4bKq\r\n\r\n", b.address)
        await asyncio.sleep(1)
        assert stranger.received == []
        assert b.of(Refused)[0].status == 0
        assert b.of(Refused)[0].source == "10.6.6.6:5060"

    run(scene, 1)


def test_without_core_peers_a_stranger_is_served() -> None:
    async def scene(_network: Network) -> None:
        b = await node("10.0.0.2", ok, protections_off=frozenset({"core-peers"}))
        stranger = await Peer.open("10.6.6.6")
        stranger.send(request("OPTIONS", b.uri, via=VIA_OF_PEER), b.address)
        await asyncio.sleep(1)
        assert stranger.statuses == [200]

    run(scene, 1)


def test_a_core_node_is_known_by_its_address_and_a_phone_never() -> None:
    async def scene(_network: Network) -> None:
        seen: list[Exchange] = []

        async def keeps(asked: Request, exchange: Exchange) -> Response | None:
            seen.append(exchange)
            return asked.response(200, to_tag="b")

        core = await node("10.0.0.2", keeps)
        access = await node("10.0.0.3", keeps, zone=Zone.ACCESS)
        peer = await Peer.open("10.0.0.1")
        for each in (core, access):
            peer.send(request("OPTIONS", each.uri, via=VIA_OF_PEER), each.address)
        await asyncio.sleep(1)
        flows = {exchange.flow.zone: exchange.flow for exchange in seen}
        assert flows[Zone.CORE].security == TrustedAddress("10.0.0.1")
        assert not flows[Zone.ACCESS].trusted

    run(scene, 1)


async def spoofed(protections_off: frozenset[str]) -> tuple[Peer, Peer]:
    b = await node("10.0.0.2", ok, zone=Zone.ACCESS, protections_off=protections_off)
    sender, victim = await Peer.open("10.0.0.1"), await Peer.open("10.0.0.9")
    sender.send(request("OPTIONS", b.uri, via="SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKv"), b.address)
    await asyncio.sleep(1)
    return sender, victim


def test_a_via_that_names_another_host_reflects_nothing_there() -> None:
    async def scene(_network: Network) -> None:
        sender, victim = await spoofed(frozenset())
        assert (sender.statuses, victim.received) == ([200], [])

    run(scene, 1)


def test_without_response_to_sender_the_reflection_succeeds() -> None:
    async def scene(_network: Network) -> None:
        sender, victim = await spoofed(frozenset({"response-to-sender"}))
        assert (sender.received, victim.statuses) == ([], [200])

    run(scene, 1)


def test_rport_and_received_say_where_the_request_came_from() -> None:
    async def scene(_network: Network) -> None:
        seen: list[Request] = []

        async def keeps(asked: Request, exchange: Exchange) -> Response | None:
            seen.append(asked)
            return asked.response(200, to_tag="b")

        b, peer = await node("10.0.0.2", keeps, zone=Zone.ACCESS), await Peer.open("10.0.0.1", 7070)
        peer.send(request("OPTIONS", b.uri, via="SIP/2.0/UDP host.invalid:5060;rport;branch=z9hG4bKv"), b.address)
        await asyncio.sleep(1)
        assert peer.statuses == [200]
        via = seen[0].need(VIA)
        assert (via.received, via.rport) == ("10.0.0.1", 7070)

    run(scene, 1)


def test_without_rport_the_answer_goes_to_the_source_address_at_the_port_of_the_via() -> None:
    async def scene(_network: Network) -> None:
        b = await node("10.0.0.2", ok, zone=Zone.ACCESS)
        sender, listener = await Peer.open("10.0.0.1", 7070), await Peer.open("10.0.0.1", 5062)
        sender.send(request("OPTIONS", b.uri, via="SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKv"), b.address)
        await asyncio.sleep(1)
        assert (sender.received, listener.statuses) == ([], [200])

    run(scene, 1)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("Max-Forwards: 70", "Max-Forwards: 7O"), 400),
        (("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), 400),
        (("OPTIONS sip:10.0.0.2:5060", "OPTIONS mailto:bob@home1.net"), 416),
        (("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), None),
        (("<sip:bob@home1.net>", "<sip:bob@home1.net"), 400),
    ],
)
def test_a_malformed_request_is_answered_as_the_clause_says_or_not_at_all(
    change: tuple[str, str], status: int | None
) -> None:
    async def scene(_network: Network) -> None:
        b, peer = await node("10.0.0.2", ok, zone=Zone.ACCESS), await Peer.open("10.0.0.1")
        text = request("OPTIONS", b.uri, via=VIA_OF_PEER).to_bytes().decode()
        assert change[0] in text
        peer.send(text.replace(*change).encode(), b.address)
        await asyncio.sleep(1)
        assert peer.statuses == ([] if status is None else [status])
        assert b.of(Refused)
        assert not b.of(Bug)

    run(scene, 1)


def test_noise_and_keep_alives_over_udp_are_passed_over_in_silence() -> None:
    async def scene(_network: Network) -> None:
        b, peer = await node("10.0.0.2", ok, zone=Zone.ACCESS), await Peer.open("10.0.0.1")
        for noise in (b"\r\n\r\n", b"\r\n", b"\0", b"", b"\xff" * 900, b"SIP/2.0 200 OK\r\n\r\n"):
            peer.send(noise, b.address)
        await asyncio.sleep(1)
        assert peer.received == []
        assert not b.of(Bug)

    run(scene, 1)


def test_a_chain_of_71_hops_ends_with_483() -> None:
    async def scene(_network: Network) -> None:
        nodes: list[Node] = []
        hops: list[int | None] = []

        async def to_itself(asked: Request, exchange: Exchange) -> Response | None:
            hops.append(asked.first(MAX_FORWARDS))
            return await forward(nodes[0].stack.outbound, asked, exchange, "proxy")

        nodes.append(await node("10.0.0.2", to_itself))
        a = await node("10.0.0.1")
        response = await a.send(request("OPTIONS", nodes[0].uri))
        assert response is not None
        assert response.status == 483
        assert hops == list(range(70, -1, -1))
        await asyncio.sleep(60)

    run(scene, 1)


def test_a_bug_in_a_service_costs_its_own_exchange_only() -> None:
    async def scene(_network: Network) -> None:
        async def breaks(asked: Request, exchange: Exchange) -> Response | None:
            raise KeyError("a bug")

        b, peer = await node("10.0.0.2", breaks), await Peer.open("10.0.0.1")
        peer.send(request("OPTIONS", b.uri, via=VIA_OF_PEER), b.address)
        await asyncio.sleep(1)
        assert peer.statuses == [500]
        assert len(b.of(Bug)) == 1
        assert b.stack.exchanges == 0

    run(scene, 1)


@pytest.mark.parametrize(("method", "heard"), [("OPTIONS", []), ("INVITE", [100])])
def test_a_service_that_keeps_silent_is_not_spoken_for(method: str, heard: list[int]) -> None:
    async def scene(_network: Network) -> None:
        asked: list[str] = []

        async def silent(request: Request, exchange: Exchange) -> Response | None:
            asked.append(request.method)
            raise SipError(0, "a stranger", "TS 33.203 Annex J")

        b, peer = await node("10.0.0.2", silent), await Peer.open("10.0.0.1")
        for _ in range(3):
            peer.send(request(method, b.uri, via=VIA_OF_PEER), b.address)
            await asyncio.sleep(10)
        assert peer.statuses == heard
        assert asked == [method]
        await asyncio.sleep(60)
        assert b.stack.server_transactions == 0

    run(scene, 1)


def test_what_comes_after_the_response_runs_in_order_and_its_failure_is_an_event() -> None:
    async def scene(_network: Network) -> None:
        done: list[str] = []

        async def service(asked: Request, exchange: Exchange) -> Response | None:
            async def first() -> None:
                done.append("first")
                raise KeyError("a bug")

            async def second() -> None:
                done.append("second")

            exchange.after_sent(first)
            exchange.after_sent(second)
            done.append("answer")
            return asked.response(200, to_tag="b")

        b, peer = await node("10.0.0.2", service), await Peer.open("10.0.0.1")
        peer.send(request("OPTIONS", b.uri, via=VIA_OF_PEER), b.address)
        await asyncio.sleep(1)
        assert done == ["answer", "first", "second"]
        assert len(b.of(Bug)) == 1
        assert peer.statuses == [200]

    run(scene, 1)


def test_a_node_that_is_full_answers_503_with_a_spread_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(_network: Network) -> None:
        async def slow(asked: Request, exchange: Exchange) -> Response | None:
            await asyncio.sleep(2)
            return asked.response(200, to_tag="b")

        b, peer = await node("10.0.0.2", slow), await Peer.open("10.0.0.1")
        for n in range(20):
            peer.send(request("OPTIONS", b.uri, via=VIA_OF_PEER.replace("abc", f"abc{n}")), b.address)
        await asyncio.sleep(1)
        refusals = [m for _, m in peer.received if isinstance(m, Response)]
        assert [each.status for each in refusals] == [503] * 17
        assert len({str(each.first(RETRY_AFTER)) for each in refusals}) > 1
        await asyncio.sleep(2)
        assert peer.statuses.count(200) == 3

    monkeypatch.setattr(limits, "EXCHANGES", 3)
    run(scene, 1)


def test_a_stopping_node_finishes_what_runs_and_refuses_what_is_new() -> None:
    async def scene(_network: Network) -> None:
        async def slow(asked: Request, exchange: Exchange) -> Response | None:
            await asyncio.sleep(2)
            return asked.response(200, to_tag="b")

        b, peer = await node("10.0.0.2", slow), await Peer.open("10.0.0.1")
        peer.send(request("OPTIONS", b.uri, via=VIA_OF_PEER), b.address)
        await asyncio.sleep(0.1)
        closing = asyncio.ensure_future(b.stack.close(drain_s=5))
        await asyncio.sleep(0.1)
        peer.send(request("OPTIONS", b.uri, via=VIA_OF_PEER.replace("abc", "def")), b.address)
        await closing
        await asyncio.sleep(1)
        assert peer.statuses == [503, 200]
        assert asyncio.get_running_loop().time() < 4

    run(scene, 1)


def test_a_table_that_is_full_forgets_the_oldest_answered_transaction() -> None:
    async def scene(_network: Network) -> None:
        b, peer = await node("10.0.0.2", ok), await Peer.open("10.0.0.1")
        b.stack._servers._limit = 100
        for n in range(400):
            peer.send(request("OPTIONS", b.uri, via=VIA_OF_PEER.replace("abc", f"abc{n}")), b.address)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert peer.statuses == [200] * 400
        assert b.stack.server_transactions <= 100
        await asyncio.sleep(40)
        assert b.stack.server_transactions == 0

    run(scene, 1)


def test_a_request_that_comes_by_two_ways_is_merged_and_its_retransmission_is_not() -> None:
    async def scene(_network: Network) -> None:
        merged = MergedRequests()
        merged.check(request("INVITE", "sip:b", via=VIA_OF_PEER))
        merged.check(request("INVITE", "sip:b", via=VIA_OF_PEER))
        with pytest.raises(SipError) as fault:
            merged.check(request("INVITE", "sip:b", via=VIA_OF_PEER.replace("abc", "other")))
        assert fault.value.status == 482
        merged.check(request("INVITE", "sip:b", via=VIA_OF_PEER, cseq=2))
        await asyncio.sleep(33)
        merged.check(request("INVITE", "sip:b", via=VIA_OF_PEER.replace("abc", "other")))

    run(scene, 1)


def test_no_answer_names_software_or_inner_hosts() -> None:
    async def scene(_network: Network) -> None:
        async def refuses(asked: Request, exchange: Exchange) -> Response | None:
            raise SipError(403, "scscf7.inner.home1.net says no", "TS 24.229 5.4.1")

        b, peer = await node("10.0.0.2", refuses, zone=Zone.ACCESS), await Peer.open("10.0.0.1")
        good = request("OPTIONS", b.uri, via=VIA_OF_PEER)
        peer.send(good, b.address)
        peer.send(good.to_bytes().replace(b"70", b"x").replace(b"abc", b"def"), b.address)
        peer.send(request("CANCEL", b.uri, via=VIA_OF_PEER), b.address)
        await asyncio.sleep(1)
        assert sorted(peer.statuses) == [400, 403, 481]
        for _, message in peer.received:
            assert not {"Server", "User-Agent", "Warning"} & {name for name, _ in message.headers}
            assert b"inner" not in message.to_bytes()

    run(scene, 1)


def test_messages_are_shown_while_somebody_traces_and_keys_never() -> None:
    async def scene(_network: Network) -> None:
        async def challenges(asked: Request, exchange: Exchange) -> Response | None:
            keys = 'Digest realm="h", nonce="n", CK="00112233", ik="44556677", algorithm=AKAv1-MD5'
            return asked.response(401, to_tag="b", headers=(("WWW-Authenticate", keys),))

        b, peer = await node("10.0.0.2", challenges), await Peer.open("10.0.0.1")
        peer.send(request("REGISTER", b.uri, via=VIA_OF_PEER), b.address)
        await asyncio.sleep(1)
        assert b.of(MessageSeen) == []
        b.stack.context.events.tracing = True
        peer.send(request("REGISTER", b.uri, via=VIA_OF_PEER.replace("abc", "def")), b.address)
        await asyncio.sleep(1)
        seen = b.of(MessageSeen)
        assert [(each.sender, each.receiver) for each in seen] == [
            ("10.0.0.1:5060", "10.0.0.2:5060"),
            ("10.0.0.2:5060", "10.0.0.1:5060"),
        ]
        assert all(each.call_id == "call-1" for each in seen)
        assert "00112233" not in seen[1].text
        assert "44556677" not in seen[1].text
        assert 'nonce="n"' in seen[1].text

    run(scene, 1, network=fixed_latency(1))


def test_a_key_without_its_closing_quote_is_hidden_to_the_end() -> None:
    assert redacted('WWW-Authenticate: Digest ck="0011') == 'WWW-Authenticate: Digest ck="hidden'
