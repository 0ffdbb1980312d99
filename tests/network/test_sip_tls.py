"""SIP over TLS as redoubt.toml switches it on: certificates that hold, and those that do not (RFC 5922)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from redoubt.config import ConfigError
from redoubt.events import EventStream
from redoubt.lab.population import residents
from redoubt.network.run import Network
from redoubt.phone.phone import Phone
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import FlowFailed
from redoubt.transport.tls import phone as trusting

REALM = "home.example"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Who signs; the P-CSCF's certificate and the authority's lie in `tmp_path`."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "authority.pem")
    issued = made.issue_cert("127.0.0.1", f"pcscf.{REALM}")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    return made


@asynccontextmanager
async def network(folder: Path) -> AsyncIterator[tuple[Network, tuple[str, int]]]:
    certificates = {"certificate": str(folder / "node.pem"), "authority": str(folder / "authority.pem")}
    made = await Network.temporary({
        "network": {"realm": REALM, "trusted-nodes": ["192.0.2.1"], **certificates},
        "p-cscf": {"listen": ["tls:127.0.0.1:0"], "core": ["tls:127.0.0.1:0"]},
        "access": {"policy": "aka-without-ipsec"},
    })  # fmt: skip
    try:
        yield made, made.p_cscf_by("tls")
    finally:
        await made.close()


@asynccontextmanager
async def phone_of(made: Network, address: tuple[str, int], believed: Path) -> AsyncIterator[Phone]:
    assert made.hss is not None
    [alice] = residents(["alice"], REALM, SeededRandomness(1))
    if not await made.hss.administration.knows(alice.impi):
        await made.hss.administration.add([alice.subscriber()])
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(2))
    stack = Stack(context, tls=trusting(str(believed)))
    phone = Phone(context, alice.card(), stack, f"sip:{address[0]}:{address[1]};transport=tls")
    try:
        await phone.open("tcp:127.0.0.1:0")
        yield phone
    finally:
        await phone.close()


async def test_a_phone_registers_over_tls(tmp_path: Path, authority: trustme.CA) -> None:
    async with network(tmp_path) as (made, address), phone_of(made, address, tmp_path / "authority.pem") as phone:
        assert (await phone.register(600)).registered
        assert phone.line.flow.transport == "tls"


async def test_a_phone_believes_no_p_cscf_whose_certificate_another_signed(
    tmp_path: Path, authority: trustme.CA
) -> None:
    """RFC 5922 7: no connection, and nothing in clear instead."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    async with network(tmp_path) as (made, address):
        with pytest.raises(FlowFailed):
            async with phone_of(made, address, tmp_path / "other.pem"):
                pass


async def spoken_to(address: tuple[str, int], context: ssl.SSLContext | None) -> bytes:
    """What the node says to an OPTIONS; nothing if the handshake fails, at once or when the certificate is read."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(*address, ssl=context)
        writer.write(
            f"OPTIONS sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n"
            f"From: <sip:a@{REALM}>;tag=1\r\nTo: <sip:{REALM}>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        try:
            async with asyncio.timeout(5):
                return await reader.readuntil(b"\r\n")
        finally:
            writer.close()
    return b""


def client(tmp_path: Path, signer: trustme.CA | None = None, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    if signer is not None:
        signer.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # to offer what must be refused
async def test_bad_certificates_old_versions_and_clear_text_get_no_answer(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with network(tmp_path) as (made, address):
        assert (await spoken_to(address, client(tmp_path))).startswith(b"SIP/2.0 403")  # TLS stands
        foreign = client(tmp_path, trustme.CA(), f"pcscf.{REALM}")
        assert await spoken_to(address, foreign) == b""
        old = client(tmp_path)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        assert await spoken_to(address, old) == b""
        assert not (await spoken_to(address, None)).startswith(b"SIP")
        async with phone_of(made, address, tmp_path / "authority.pem") as phone:
            assert (await phone.register(600)).registered, "none of them cost anybody else anything"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "tls: needs a certificate; write [network] certificate and key"),
        ({"certificate": "absent.pem"}, "absent.pem"),
        ({"certificate": "{folder}/node.pem", "authority": "absent.pem"}, "absent.pem"),
    ],
)
async def test_wrong_options_name_themselves(
    tmp_path: Path, authority: trustme.CA, options: dict[str, str], said: str
) -> None:
    filled = {name: text.format(folder=tmp_path) for name, text in options.items()}
    with pytest.raises(ConfigError) as wrong:
        await Network.temporary({"network": filled, "p-cscf": {"listen": ["tls:127.0.0.1:0"]}})
    assert "[network]" in str(wrong.value) and said in str(wrong.value)
