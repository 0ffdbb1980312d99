"""What a border accepts for a proof of who a partner is (rows 52, 53; RFC 5922 7, TS 33.310 6, TS 33.210 6.2)."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from redoubt.events import Notice
from redoubt.ndm import pki

from .peering import MONTH, NOW, Operator, pair_of, running, until

OPTIONS = (
    "OPTIONS sip:beta.example SIP/2.0\r\nVia: SIP/2.0/TLS 127.1.0.1;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n"
    "From: <sip:a@alpha.example>;tag=1\r\nTo: <sip:beta.example>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
    "Content-Length: 0\r\n\r\n"
)
Extension = x509.ExtensionType
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def certified(
    operator: Operator, *names: x509.GeneralName, uses: tuple[x509.ObjectIdentifier, ...] = BOTH, days: int = 1,
    common: str = "alpha.example", file: str = "odd",
) -> None:  # fmt: skip
    """A certificate that the operator's authority signed and `redoubt pki` would not make."""
    authority, key = operator.pki.authority(), pki.node_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    (operator.pki.path / f"{file}.pem").write_bytes(pki.pem_of(builder.sign(authority.key, hashes.SHA384())))
    (operator.pki.path / f"{file}.key").write_bytes(pki.pem_of_key(key))


def uri(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(f"sip:{name}")


def dns(name: str) -> x509.GeneralName:
    return x509.DNSName(name)


async def spoken(operator: Operator, to: Operator, file: str, said: str = OPTIONS) -> bytes:
    """What `to` answers to a request under that certificate of the operator; nothing if it ends the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if file:
        context.load_cert_chain(operator.pki.path / f"{file}.pem", operator.pki.path / f"{file}.key")
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(*to.address, ssl=context, local_addr=(operator.host, 0))
        try:
            writer.write(said.encode())
            async with asyncio.timeout(5):
                return await reader.readuntil(b"\r\n")
        finally:
            writer.close()
    return b""


ODD: dict[str, tuple[Callable[[Operator], None], str]] = {
    "of another name": (lambda one: certified(one, uri("gamma.example")), "gamma.example"),
    "of a name below the agreed one": (lambda one: certified(one, uri("x.alpha.example")), "x.alpha.example"),
    "with a wildcard": (lambda one: certified(one, dns("*.alpha.example")), "*.alpha.example"),
    "with CN only": (certified, "no SIP URI and no DNS name"),
    "of a user of the domain": (lambda one: certified(one, uri("a@alpha.example")), "no SIP URI and no DNS name"),
    "whose URI is another's, though DNS fits": (
        lambda one: certified(one, uri("gamma.example"), dns("alpha.example")), "gamma.example",
    ),
    "expired": (lambda one: certified(one, uri("alpha.example"), days=-1), "expired"),
    "for servers only": (
        lambda one: certified(one, uri("alpha.example"), uses=(ExtendedKeyUsageOID.SERVER_AUTH,)), "not for this use",
    ),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
async def test_a_certificate_is_refused_and_an_event_names_the_cause(tmp_path: Path, odd: str) -> None:
    alpha, beta = pair_of(tmp_path)
    make, said = ODD[odd]
    make(alpha)
    async with running(beta):
        assert (await spoken(alpha, beta, "border")).startswith(b"SIP/2.0 "), "an honest one is answered"
        assert await spoken(alpha, beta, "odd") == b""
        await until(lambda: any(said in why for why in beta.refusals()))


async def test_who_shows_none_or_one_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    stranger = Operator.of(tmp_path, "gamma", 3)
    async with running(beta):
        for operator, file, said in ((stranger, "border", "unknown authority"), (alpha, "", "showed no certificate")):
            assert await spoken(operator, beta, file) == b""
            await until(lambda said=said: any(said in why for why in beta.refusals()))


async def test_a_revoked_certificate_ends_its_connections_and_makes_no_new_ones(tmp_path: Path) -> None:
    """Revocation lists are read again while calls of others go on."""
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        message = alice.make("MESSAGE", bob.card.impu)
        alice.send(message)
        bob.respond(await bob.request("MESSAGE"), 200)
        await alice.final(message)
        alpha.pki.revoke("border", datetime.now(UTC))
        alpha.pki.write_revocations(datetime.now(UTC), MONTH, [])
        beta.learns_revocations(alpha)
        border = beta.net.network.border
        assert border is not None and border.certificates is not None
        border.certificates.look(border.partners)
        assert any("revoked" in why for why in beta.refusals())
        assert any("alpha: its certificate has been revoked" in notice.what for notice in beta.net.events(Notice))
        assert (await alice.ask(alice.make("MESSAGE", bob.card.impu))).status >= 500
        await until(lambda: any("revoked" in why for why in alpha.refusals()))


async def test_without_a_list_in_force_nobody_is_believed(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    alpha.pki.write_revocations(NOW - timedelta(days=9), timedelta(days=8), [])
    beta.learns_revocations(alpha)
    async with running(beta):
        assert await spoken(alpha, beta, "border") == b""
        await until(lambda: any("revocation list" in why and "expired" in why for why in beta.refusals()))


async def test_a_connection_stands_no_longer_than_the_revocation_list_that_it_was_made_under(tmp_path: Path) -> None:
    """Who is revoked could else hold a connection open for as long as nobody hears of the next list."""
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        message = alice.make("MESSAGE", bob.card.impu)
        alice.send(message)
        bob.respond(await bob.request("MESSAGE"), 200)
        assert (await alice.final(message)).status == 200
        border = beta.net.network.border
        assert border is not None and border.certificates is not None
        (partner,) = border.partners
        border.certificates.look(border.partners)
        assert partner.flows, "while the list is in force"
        alpha.pki.write_revocations(NOW - timedelta(days=9), timedelta(days=8), [])
        beta.learns_revocations(alpha)
        border.certificates.look(border.partners)
        assert not partner.flows
        assert any("no revocation list of its authority is in force" in why for why in beta.refusals())
        assert (await alice.ask(alice.make("MESSAGE", bob.card.impu))).status >= 500


async def test_renewal_takes_effect_under_running_calls(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")

        async def writes() -> None:
            message = alice.make("MESSAGE", bob.card.impu)
            alice.send(message)
            bob.respond(await bob.request("MESSAGE"), 200)
            assert (await alice.final(message)).status == 200

        await writes()
        border = alpha.net.network.border
        assert border is not None and border.certificates is not None
        (partner,) = border.partners
        (before,) = partner.flows
        alpha.pki.renew("border", NOW, MONTH)
        border.certificates.look(border.partners)
        await writes()
        assert partner.flows == [before], "the connection that carried calls carries them on"
        before.close()
        await asyncio.sleep(0.05)
        await writes()
        assert partner.flows != [before]
        (alpha.pki.path / "border.key").write_text("nothing")
        border.certificates.look(border.partners)
        assert any("can't be used" in notice.what for notice in alpha.net.events(Notice))
        await writes()


async def test_a_partners_authority_can_not_name_another_partner(tmp_path: Path) -> None:
    """Beta has agreements with Alpha and Gamma; Gamma's authority certifies alpha.example."""
    _alpha, beta = pair_of(tmp_path)
    gamma = Operator.of(tmp_path, "gamma", 3)
    beta.agrees(gamma)
    certified(gamma, uri("alpha.example"), common="gamma.example")
    async with running(beta):
        assert (await spoken(gamma, beta, "border")).startswith(b"SIP/2.0 ")
        assert await spoken(gamma, beta, "odd") == b""
        await until(lambda: any("alpha.example in a certificate that" in why for why in beta.refusals()))


async def test_a_partner_at_anothers_address_gets_nothing_that_is_for_the_other(tmp_path: Path) -> None:
    """Gamma answers where Alpha believes Beta to be: its certificate holds, and is not Beta's."""
    alpha, _beta = pair_of(tmp_path)
    gamma = Operator.of(tmp_path, "gamma", 3)
    alpha.agrees(gamma)
    gamma.agrees(alpha)
    alpha.partners[0]["connect"] = [gamma.border]
    async with running(alpha, gamma):
        alice = await alpha.net.registered("alice")
        assert (await alice.ask(alice.make("MESSAGE", "sip:bob@beta.example"))).status >= 500
        assert any("gamma's certificate where beta.example's was expected" in why for why in alpha.refusals())
        assert not gamma.net.network.border.partners.named("alpha").requests_in  # type: ignore[union-attr]


def test_it_is_so_on_the_loop_that_redoubt_up_runs(tmp_path: Path) -> None:
    """uvloop has a TLS of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_a_revoked_certificate_ends_its_connections_and_makes_no_new_ones(tmp_path))


VERSIONS = {"-tls1": "1.0", "-tls1_1": "1.1", "-tls1_2": "", "-tls1_3": ""}
WEAK = ("AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "NULL", "DES-CBC3-SHA", "aNULL",
        "DHE-RSA-AES256-GCM-SHA384", "RC4", "EXPORT")  # fmt: skip
GOOD = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305")


def shaken(operator: Operator, to: Operator, *options: str) -> tuple[bool, str]:
    """Whether openssl agreed on anything with the border, and what it says."""
    pem = operator.pki.path / "border"
    done = subprocess.run(
        ["openssl", "s_client", "-connect", "{}:{}".format(*to.address), "-cert", f"{pem}.pem", "-key", f"{pem}.key",
         *options], input="", capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    said = done.stdout + done.stderr
    return "Cipher is (NONE)" not in said and "Cipher is " in said, said


async def test_only_tls_1_2_and_1_3_with_authenticated_encryption_are_spoken(tmp_path: Path) -> None:
    """Row 52: all versions and kinds of suites, as openssl offers them with its own guards off."""
    alpha, beta = pair_of(tmp_path)
    async with running(beta):
        for version, refused in VERSIONS.items():
            agreed, said = await asyncio.to_thread(shaken, alpha, beta, version, "-cipher", "ALL:@SECLEVEL=0")
            assert agreed is not bool(refused), said
            if agreed:
                assert (
                    "Compression: NONE" in said and "Secure Renegotiation IS NOT" not in said
                ) or version == "-tls1_3"
        for suite in GOOD:
            agreed, said = await asyncio.to_thread(shaken, alpha, beta, "-tls1_2", "-cipher", suite)
            assert agreed, said
        for suite in WEAK:
            offered = f"{suite}:@SECLEVEL=0"
            agreed, said = await asyncio.to_thread(shaken, alpha, beta, "-tls1_2", "-cipher", offered)
            assert not agreed, (suite, said)
        assert any("speaks no TLS 1.2 or 1.3" in why for why in beta.refusals())
        assert any("none of our cipher suites" in why for why in beta.refusals())


async def test_what_ends_soon_is_an_alarm_and_files_that_vanish_are_not_missed(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    alpha.pki.renew("border", NOW, timedelta(days=5))
    alpha.pki.write_revocations(NOW, timedelta(days=2), [])
    beta.learns_revocations(alpha)
    async with running(alpha, beta):
        await until(lambda: any("border.pem ends in 5 days" in notice.what for notice in alpha.net.events(Notice)))
        assert any("revocation list of" in notice.what for notice in beta.net.events(Notice))
        for file in ("border.pem", "border.key", "revoked.pem"):
            (beta.pki.path / file).unlink()
        border = beta.net.network.border
        assert border is not None and border.certificates is not None
        border.certificates.look(border.partners)
        assert any("can't be used" in notice.what for notice in beta.net.events(Notice))
        assert (await spoken(alpha, beta, "border")).startswith(b"SIP/2.0")
