"""An operator's certificates for its border (TS 33.310 6, RFC 5280, RFC 5922 7, RFC 5924): authority, nodes, revocation
lists, and cross-certificates for partners' authorities, whose certificates become believable without sharing a root.

Pure: keys and certificates go in and come out; where they are kept, `ndm.pki_folder` knows. Times are passed in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SIP_DOMAIN = ObjectIdentifier("1.3.6.1.5.5.7.3.20")  # id-kp-sipDomain (RFC 5924 3)
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
BACKDATED = timedelta(minutes=5)  # clocks of partners differ


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate proves. Without `domains` it speaks for no SIP domain: a gateway's, or a Diameter node's."""

    domains: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs: its key, and the certificate that others know it by."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, operator: str, now: datetime, life: timedelta) -> "Authority":
        """A self-signed authority with a P-384 key; below it stand partners' authorities, and nothing below those."""
        key = ec.generate_private_key(ec.SECP384R1())
        subject = _name(operator, f"{operator} certificate authority")
        builder = _builder(subject, subject, key.public_key(), now, life)
        builder = _as_authority(builder, 1)
        return cls(key, builder.sign(key, hashes.SHA384()))

    def issue(
        self, names: Names, public: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
    ) -> x509.Certificate:
        """A node's certificate for both ends of TLS: SIP domains as URIs, which count (RFC 5922 7.1), DNS names, and
        addresses. Raises ValueError for what is no name.
        """
        written = (*names.domains, *names.dns, *names.addresses)
        if not written:
            raise ValueError("a certificate must prove something: a domain, a DNS name or an address")
        subject = _name(_organisation(self.certificate), written[0])
        proved: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"sip:{domain}") for domain in names.domains]
        proved += [x509.DNSName(name) for name in dict.fromkeys((*names.domains, *names.dns))]
        proved += [x509.IPAddress(ip_address(address)) for address in names.addresses]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        uses += [SIP_DOMAIN] if names.domains else []
        builder = (
            _builder(subject, self.certificate.subject, public, now, life)
            .add_extension(x509.SubjectAlternativeName(proved), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_data=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )
        return self._signed(builder)

    def cross(
        self, partner: x509.Certificate, domains: Sequence[str], now: datetime, life: timedelta
    ) -> x509.Certificate:
        """A cross-certificate (TS 33.310 6.1.2): the partner's authority may certify DNS names of its domains only.

        URIs can't be limited so: OpenSSL refuses to compare a sip: URI with a limit. That the names are the partner's,
        `authority` in [[partners]] sees to. Raises ValueError for what is no authority's certificate.
        """
        public = partner.public_key()
        if not is_authority(partner) or not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise ValueError("it is no certificate of an authority with an RSA or elliptic curve key")
        builder = _as_authority(_builder(partner.subject, self.certificate.subject, public, now, life), 0)
        permitted = [x509.DNSName(domain) for domain in domains]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        return self._signed(builder)

    def revocation_list(
        self, revoked: Iterable[tuple[int, datetime]], number: int, now: datetime, life: timedelta
    ) -> x509.CertificateRevocationList:
        """The serial numbers that count no longer, each with when it was revoked; lists are numbered."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATED)
            .next_update(now + life)
            .add_extension(self._key_identifier(), critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial, at in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA384())

    def _signed(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.add_extension(self._key_identifier(), critical=False).sign(self.key, hashes.SHA384())

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def node_key() -> ec.EllipticCurvePrivateKey:
    """A new key for a node, on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def signed_by(certificate: x509.Certificate, authorities: Iterable[x509.Certificate]) -> bool:
    """Whether one of these signed it itself."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def list_signed_by(found: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]) -> bool:
    """Whether one of these issued the revocation list."""
    issuers = [(each, each.public_key()) for each in authorities if each.subject == found.issuer]
    return any(found.is_signature_valid(key) for _, key in issuers if isinstance(key, PublicKey))


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, in the form in which people compare it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def names_of(certificate: x509.Certificate) -> Names:
    """What it proves; DNS names that are SIP domains of it too only once."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names()
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    domains = tuple([uri[4:] for uri in uris if uri.startswith("sip:")])
    dns = tuple([name for name in found.get_values_for_type(x509.DNSName) if name not in domains])
    return Names(domains, dns, tuple([str(address) for address in found.get_values_for_type(x509.IPAddress)]))


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem_of(*signed: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """One after the other, each after a line that says whose it is."""
    return b"".join(
        f"# {_label(each)}\n".encode() + each.public_bytes(serialization.Encoding.PEM) for each in signed
    )


def key_in(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is no key on an elliptic curve")
    return key


def revocation_lists_in(pem: bytes) -> list[x509.CertificateRevocationList]:
    """All of a file. Raises ValueError."""
    end = b"-----END X509 CRL-----"
    blocks = [block[block.index(b"-----BEGIN") :] + end for block in pem.split(end)[:-1]]
    if not blocks:
        raise ValueError("it holds no revocation list (-----BEGIN X509 CRL-----)")
    return [x509.load_pem_x509_crl(block) for block in blocks]


def _label(signed: x509.Certificate | x509.CertificateRevocationList) -> str:
    if isinstance(signed, x509.Certificate):
        return f"{signed.subject.rfc4514_string()}, signed by {signed.issuer.rfc4514_string()}"
    return f"revoked by {signed.issuer.rfc4514_string()}"


def _name(operator: str, common: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, operator[:64]), (NameOID.COMMON_NAME, common[:64]))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def _organisation(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, below: int) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True).add_extension(
        _key_usage(signs_data=False), critical=True
    )


def _key_usage(*, signs_data: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs_data,
        crl_sign=not signs_data,
        encipher_only=False,
        decipher_only=False,
    )
