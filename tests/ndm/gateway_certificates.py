"""Authorities, gateways' certificates and revocation lists as files, right or wrong in one way."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
PEM = Encoding.PEM


@dataclass
class Authority:
    """Signs gateways' certificates (TS 33.310 6)."""

    name: str
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            self._builder(self.subject, self.key, datetime.now(UTC) - 10 * DAY, datetime.now(UTC) + 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.file = self.folder / f"{self.name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(PEM))

    def issue(self, identity: str, *, days: tuple[int, int] = (-1, 9)) -> "Issued":
        """A certificate for an identity (an address, or a DNS name), valid so many days from now till then."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(identity))
        except ValueError:
            name = x509.DNSName(identity)
        first, last = (datetime.now(UTC) + day * DAY for day in days)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gateway {identity}")])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            self._builder(subject, key, first, last)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Issued(certificate, key, self.folder / f"{self.name}-{certificate.serial_number:x}")

    def list_revoked(self, *revoked: "Issued", days: tuple[int, int] = (-1, 1), number: int = 1) -> Path:
        """A revocation list, in a file."""
        first, last = (datetime.now(UTC) + day * DAY for day in days)
        builder = x509.CertificateRevocationListBuilder(self.subject, first, last)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False).add_extension(
            x509.CRLNumber(number), critical=False
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder(each.certificate.serial_number, first)
            builder = builder.add_revoked_certificate(entry.build())
        file = self.folder / f"{self.name}.crl"
        file.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))
        return file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, first: datetime, last: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(first)
            .not_valid_after(last)
        )


class Issued:
    """A certificate and its key, in files."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, stem: Path) -> None:
        self.certificate = certificate
        self.file, self.key_file = stem.with_suffix(".pem"), stem.with_suffix(".key")
        self.file.write_bytes(certificate.public_bytes(PEM))
        self.key_file.write_bytes(key.private_bytes(PEM, PrivateFormat.PKCS8, NoEncryption()))

    def options(self) -> dict[str, str]:
        """Of [[gateways]]."""
        return {"certificate": str(self.file), "key": str(self.key_file)}
