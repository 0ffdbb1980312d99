"""Diameter over TLS on real sockets: both sides prove their identity, before any octet of Diameter (RFC 6733 13)."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from redoubt.config import DiameterConfig
from redoubt.diameter.node import Node
from redoubt.events import Check

from .nodes import HSS, SCSCF, Raw, Station, cer, closed, cscf, hss, result


class Papers:
    """An authority, and PEM files as an operator has them."""

    def __init__(self, folder: Path, name: str = "one") -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self.authority = trustme.CA()
        self._root = self._folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self._root))

    def of(self, *names: str, root: "Papers | None" = None) -> DiameterConfig:
        """The configuration of a node whose certificate holds these names, and which trusts `root`."""
        issued = self.authority.issue_cert(*names)
        certificate, key = self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key"
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(str(certificate), append=number > 0)
        issued.private_key_pem.write_to_path(str(key))
        trusted = (root or self)._root
        return DiameterConfig(certificate=str(certificate), key=str(key), authority=str(trusted))

    def context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        self.authority.configure_trust(context)
        if names:
            self.authority.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


async def served(papers: Papers, *names: str) -> tuple[Station, str]:
    return await hss(SCSCF, transport="tls", config=papers.of(*(names or (HSS,))))


async def comes_up(client: Station) -> bool:
    up = await client.node.connected(1)
    await client.node.close()
    return up


async def test_two_nodes_that_prove_their_identities_speak(papers: Papers) -> None:
    server, where = await served(papers)
    client = await cscf((HSS, where), config=papers.of(SCSCF))
    assert await result(client) == 2001
    link = client.node.peers[HSS].link
    assert link is not None
    assert link.flow.transport == "tls"
    assert not server.of(Check)
    await closed(client, server)


async def test_a_server_with_another_name_is_refused(papers: Papers) -> None:
    server, where = await served(papers, "other.ims.test")
    client = await cscf((HSS, where), config=papers.of(SCSCF), wait_s=0)
    assert not await comes_up(client)
    assert client.broken_rules[0] == "the certificate holds the peer's Diameter identity"
    await closed(server)


async def test_a_client_with_another_name_is_refused(papers: Papers) -> None:
    server, where = await served(papers)
    client = await cscf((HSS, where), config=papers.of("other.ims.test"), wait_s=0)
    assert not await comes_up(client)
    assert server.broken_rules[0] == "the certificate holds the peer's Diameter identity"
    await closed(server)


async def test_a_wildcard_proves_no_identity(papers: Papers) -> None:
    server, where = await served(papers, "*.ims.test")
    client = await cscf((HSS, where), config=papers.of(SCSCF), wait_s=0)
    assert not await comes_up(client)
    await closed(server)


async def test_a_certificate_of_another_authority_is_refused(papers: Papers, tmp_path: Path) -> None:
    others = Papers(tmp_path, "two")
    server, where = await served(papers)
    client = await cscf((HSS, where), config=others.of(SCSCF, root=papers), wait_s=0)
    assert not await comes_up(client)
    assert not server.node.peers[SCSCF].is_open
    await closed(server)


async def test_who_shows_no_certificate_is_refused(papers: Papers) -> None:
    server, where = await served(papers)
    try:
        raw = await Raw.dial(where, ssl=papers.context(), server_hostname=HSS)
        raw.send(cer())
        assert await raw.ended()
        assert not raw.messages
    except ssl.SSLError:
        pass  # refused within the handshake, as TLS 1.2 does
    await closed(server)


async def test_who_speaks_in_clear_to_a_tls_socket_is_refused(papers: Papers) -> None:
    server, where = await served(papers)
    raw = await Raw.dial(where)
    raw.send(cer())
    assert await raw.ended()
    assert not raw.messages
    await closed(server)


async def test_tls_without_a_certificate_is_the_operators_fault_and_named() -> None:
    with pytest.raises(ValueError, match="certificate"):
        await hss(SCSCF, transport="tls")


async def test_a_node_that_dials_tls_without_a_certificate_says_what_is_missing() -> None:
    client = await cscf((HSS, "tls:127.0.0.1:9"), wait_s=0)
    await asyncio.sleep(0.05)
    assert any("certificate" in str(event) for event in client.events)
    await closed(client)


async def test_a_certificate_file_that_is_not_there_is_named(papers: Papers) -> None:
    good = papers.of(HSS)
    station = Station("x.ims.test")
    for wrong, said in (
        (
            DiameterConfig(certificate="/nowhere.pem", key=good.key, authority=good.authority),
            "/nowhere.pem.*o such file",
        ),
        (DiameterConfig(certificate=good.certificate, key=good.key, authority=good.key), "x.key|hss.*key"),
        (DiameterConfig(certificate=good.certificate, key=good.key), "authority is not"),
    ):
        with pytest.raises(ValueError, match=said):
            Node(station.context, HSS, "ims.test", wrong)
