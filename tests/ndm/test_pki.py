"""An operator's certificates as OpenSSL judges them: chains, cross-certificates, revocation (TS 33.310, RFC 5280)."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from redoubt.ndm import pki
from redoubt.ndm.pki_folder import PkiError, PkiFolder

NOW = datetime.now(UTC)
MONTH = timedelta(days=30)


def operator(folder: Path, name: str, domain: str) -> PkiFolder:
    made = PkiFolder(folder / name)
    made.create(name, NOW)
    made.issue("border", pki.Names((domain,), (f"ibcf.{domain}",)), NOW, MONTH)
    made.write_revocations(NOW, MONTH, [])
    return made


def openssl(*arguments: object) -> str:
    assert shutil.which("openssl"), "the openssl command judges what we made"
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def verified(by: PkiFolder, certificate: Path, *options: str) -> str:
    return openssl("verify", *options, "-CAfile", by.path / "authority.pem", certificate)


def test_a_node_certificate_holds_for_both_ends_of_tls(tmp_path: Path) -> None:
    alpha = operator(tmp_path, "alpha", "alpha.example")
    node = alpha.path / "border.pem"
    for purpose in ("sslserver", "sslclient"):
        assert verified(alpha, node, "-x509_strict", "-purpose", purpose).endswith("OK\n")
    assert "URI:sip:alpha.example" in openssl("x509", "-in", node, "-noout", "-ext", "subjectAltName")
    proved = pki.names_of(load_pem_x509_certificate(node.read_bytes()))
    assert proved == pki.Names(("alpha.example",), ("ibcf.alpha.example",))


def test_a_gateways_certificate_proves_its_address_and_no_sip_domain(tmp_path: Path) -> None:
    alpha = operator(tmp_path, "alpha", "alpha.example")
    alpha.issue("gateway", pki.Names(addresses=("192.0.2.1", "2001:db8::1")), NOW, MONTH)
    alpha.renew("gateway", NOW, MONTH)
    certificate = alpha.path / "gateway.pem"
    assert verified(alpha, certificate, "-x509_strict", "-verify_ip", "192.0.2.1").endswith("OK\n")
    assert pki.names_of(load_pem_x509_certificate(certificate.read_bytes())).domains == ()
    for nothing in (pki.Names(), pki.Names(addresses=("gateway",))):
        with pytest.raises(PkiError, match="gateway"):
            alpha.issue("gateway", nothing, NOW, MONTH)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    alpha = operator(tmp_path, "alpha", "alpha.example")
    assert {key.stat().st_mode & 0o777 for key in alpha.path.glob("*.key")} == {0o600}
    assert alpha.path.stat().st_mode & 0o777 == 0o700


def test_a_partners_certificates_are_believed_once_its_authority_is_cross_certified(tmp_path: Path) -> None:
    alpha, beta = operator(tmp_path, "alpha", "alpha.example"), operator(tmp_path, "beta", "beta.example")
    theirs = beta.path / "border.pem"
    assert "unable to get local issuer" in verified(alpha, theirs)
    alpha.cross("beta", beta.path / "ca.pem", ["beta.example"], NOW, MONTH)
    assert verified(alpha, theirs, "-x509_strict").endswith("OK\n")
    alpha.revoke("beta", NOW)
    assert "unable to get local issuer" in verified(alpha, theirs)


def test_a_cross_certified_authority_certifies_no_names_of_others_and_no_authorities(tmp_path: Path) -> None:
    alpha, beta = operator(tmp_path, "alpha", "alpha.example"), operator(tmp_path, "beta", "beta.example")
    alpha.cross("beta", beta.path / "ca.pem", ["beta.example"], NOW, MONTH)
    beta.issue("stolen", pki.Names(("gamma.example",)), NOW, MONTH)
    assert "permitted subtree violation" in verified(alpha, beta.path / "stolen.pem")
    gamma = operator(tmp_path, "gamma", "beta.example")
    beta.cross("gamma", gamma.path / "ca.pem", ["beta.example"], NOW, MONTH)
    chained = verified(alpha, gamma.path / "border.pem", "-untrusted", str(beta.path / "cross-gamma.pem"))
    assert "path length constraint exceeded" in chained


def test_a_revoked_certificate_is_told_and_lists_of_strangers_are_not_taken(tmp_path: Path) -> None:
    alpha, beta = operator(tmp_path, "alpha", "alpha.example"), operator(tmp_path, "beta", "beta.example")
    with pytest.raises(PkiError, match="cross"):
        alpha.write_revocations(NOW, MONTH, [beta.path / "own.crl"])
    alpha.cross("beta", beta.path / "ca.pem", ["beta.example"], NOW, MONTH)
    for revoked, said in ((False, "OK"), (True, "certificate revoked")):
        if revoked:
            beta.revoke("border", NOW)
            beta.write_revocations(NOW, MONTH, [])
        lists = alpha.write_revocations(NOW, MONTH, [beta.path / "own.crl"])
        assert said in verified(alpha, beta.path / "border.pem", "-crl_check_all", "-CRLfile", str(lists))


def test_renewal_keeps_the_names_on_a_new_key(tmp_path: Path) -> None:
    alpha = operator(tmp_path, "alpha", "alpha.example")
    before = (alpha.path / "border.key").read_bytes(), alpha.last("border")
    after = alpha.renew("border", NOW, MONTH)
    assert (alpha.path / "border.key").read_bytes() != before[0]
    assert (after.domains, after.dns) == (before[1].domains, before[1].dns) and after.serial != before[1].serial
    alpha.revoke("border", NOW)
    with pytest.raises(PkiError, match="revoked"):
        alpha.renew("border", NOW, MONTH)


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b", "ca", "authority"])
def test_no_name_leads_out_of_the_folder_or_over_the_authority(tmp_path: Path, name: str) -> None:
    with pytest.raises(PkiError):
        operator(tmp_path, "alpha", "alpha.example").issue(name, pki.Names(("alpha.example",)), NOW, MONTH)


def test_an_authority_is_never_overwritten(tmp_path: Path) -> None:
    alpha = operator(tmp_path, "alpha", "alpha.example")
    with pytest.raises(PkiError, match="exists already"):
        alpha.create("alpha", NOW)
