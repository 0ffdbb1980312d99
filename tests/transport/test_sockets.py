"""Real sockets on loopback: UDP, TCP and TLS over IPv4 and IPv6, certificates checked both ways."""

import asyncio
import ssl
from collections.abc import Iterator

import pytest
import trustme
from tests.transaction.nodes import Node, context, request

from redoubt.sip.message import Request, Response
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Exchange
from redoubt.sip.stack import Stack
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.sources import SeededRandomness
from redoubt.transport.flow import TlsPeer, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings

HOSTS = ["127.0.0.1", "::1"]


class Keeps:
    """Answers 200 and remembers the flow."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    async def __call__(self, asked: Request, exchange: Exchange) -> Response | None:
        self.exchanges.append(exchange)
        return asked.response(200, to_tag="b")


async def real(name: str, listen: str, service: Keeps, **options: object) -> Node:
    options.setdefault("trusted_nodes", frozenset(HOSTS))
    stack = Stack(context(name), **options)  # type: ignore[arg-type]
    return Node(stack, await stack.listen(Listen.parse(listen, Zone.CORE), service))


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_request_and_its_answer_cross_the_loopback(transport: str, host: str) -> None:
    service = Keeps()
    b = await real("b", f"{transport}:{bracketed(host)}:0", service)
    a = await real("a", f"{transport}:{bracketed(host)}:0", Keeps())
    try:
        for _ in range(3):
            response = await a.send(request("OPTIONS", f"sip:{bracketed(host)}:{b.address[1]};transport={transport}"))
            assert response is not None
            assert response.status == 200
        assert service.exchanges[0].flow.transport == transport
        assert service.exchanges[0].flow.trusted
    finally:
        await a.stack.close()
        await b.stack.close()


@pytest.fixture(scope="module")
def authority() -> Iterator[trustme.CA]:
    yield trustme.CA()


def settings(
    authority: trustme.CA, name: str | None, *, partners: frozenset[str] = frozenset(), demands: bool = True
) -> TlsSettings:
    """Contexts for a node that holds a certificate for the name, or none."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for each in (server, client):
        authority.configure_trust(each)
        if name is not None:
            authority.issue_cert(name).configure_cert(each)
    server.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    return TlsSettings(server, client, partners)


async def over_tls(
    authority: trustme.CA,
    host: str,
    *,
    client_name: str | None = "a.home1.net",
    domain: str = "b.home1.net",
    patience_s: float = 10.0,
) -> tuple[Response | None, Keeps]:
    service = Keeps()
    partners = frozenset({"a.home1.net"})
    b = await real(
        "b", f"tls:{bracketed(host)}:0", service,
        tls=settings(authority, "b.home1.net", partners=partners, demands=False), trusted_nodes=frozenset(),
    )  # fmt: skip
    routes = {domain: f"tls:{bracketed(host)}:{b.address[1]}"}
    a = await real(
        "a", f"udp:{bracketed(host)}:0", Keeps(),
        tls=settings(authority, client_name), resolver=Resolver(SeededRandomness(1), routes),
    )  # fmt: skip
    try:
        async with asyncio.timeout(patience_s):
            return await a.send(request("OPTIONS", f"sips:{domain}")), service
    except TimeoutError:
        return None, service
    finally:
        await a.stack.close()
        await b.stack.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_a_partner_is_known_by_the_name_in_its_certificate(authority: trustme.CA, host: str) -> None:
    response, service = await over_tls(authority, host)
    assert response is not None
    assert response.status == 200
    assert service.exchanges[0].flow.security == TlsPeer(("a.home1.net",), partner=True)


async def test_a_certificate_of_nobody_on_the_partner_list_is_not_served(authority: trustme.CA) -> None:
    response, service = await over_tls(authority, "127.0.0.1", client_name="evil.home1.net", patience_s=0.3)
    assert response is None
    assert service.exchanges == []


async def test_a_client_without_certificate_is_not_served_in_the_core(authority: trustme.CA) -> None:
    response, service = await over_tls(authority, "127.0.0.1", client_name=None, patience_s=0.3)
    assert response is None
    assert service.exchanges == []


async def test_a_server_that_cant_prove_the_domain_gets_no_request(authority: trustme.CA) -> None:
    response, service = await over_tls(authority, "127.0.0.1", domain="other.home1.net")
    assert response is not None
    assert response.status == 503
    assert service.exchanges == []


async def test_a_server_of_a_strange_authority_gets_no_request(authority: trustme.CA) -> None:
    service = Keeps()
    b = await real("b", "tls:127.0.0.1:0", service, tls=settings(trustme.CA(), "b.home1.net"))
    routes = {"b.home1.net": f"tls:127.0.0.1:{b.address[1]}"}
    a = await real(
        "a", "udp:127.0.0.1:0", Keeps(),
        tls=settings(authority, "a.home1.net"), resolver=Resolver(SeededRandomness(1), routes),
    )  # fmt: skip
    try:
        response = await a.send(request("OPTIONS", "sips:b.home1.net"))
        assert response is not None
        assert response.status == 503
    finally:
        await a.stack.close()
        await b.stack.close()


async def test_tls_without_a_certificate_is_the_operators_mistake() -> None:
    stack = Stack(context("b"))
    with pytest.raises(ValueError, match="needs a certificate"):
        await stack.listen(Listen.parse("tls:127.0.0.1:0", Zone.CORE), Keeps())
    await stack.close()


@pytest.mark.parametrize("ends", ["close", "abort"])
async def test_what_an_aborted_connection_has_not_sent_is_never_sent(ends: str) -> None:
    """The kernel would repeat it outside of a tunnel that fell; a connection that is closed sends it first."""
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    deaf = await asyncio.start_server(lambda *both: accepted.set_result(both), "127.0.0.1", 0, limit=1)
    port = deaf.sockets[0].getsockname()[1]
    a = await real("a", "tcp:127.0.0.1:0", Keeps())
    try:
        there = parse_uri(f"sip:127.0.0.1:{port};transport=tcp")
        assert isinstance(there, SipUri)
        flow = await a.stack.outbound.flow_to(there)
        reader, writer = await accepted
        unread = bytes(500_000)  # more than the reader takes, less than the kernel holds
        flow.send(unread)
        await asyncio.sleep(0.05)
        getattr(flow, ends)()
        if ends == "close":
            assert await reader.read() == unread
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()
    finally:
        await a.stack.close()
        deaf.close()
