"""Where `redoubt pki` keeps an operator's certificates: a folder whose files [ibcf] names, keys of mode 0600.

    ca.pem, ca.key      the operator's authority; ca.pem is what partners get
    NAME.pem, NAME.key  a node's certificate and key
    authority.pem       whom our nodes believe: our authority, and the cross-certificates of partners'
    revoked.pem         revocation lists: ours (own.crl), and partners'
    cross-NAME.pem      the cross-certificate of a partner's authority
    index.json          what was issued, and what of it is revoked
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from redoubt.ndm import pki

AUTHORITY_LIFE = timedelta(days=3650)
CROSS_LIFE = timedelta(days=730)


class PkiError(Exception):
    """What can't be done with the folder, and what to do instead."""


class Issued(msgspec.Struct, kw_only=True):
    """One certificate of ours. `serial` is hexadecimal, times are seconds since 1970."""

    name: str
    kind: str  # node or cross
    serial: str
    domains: list[str]
    dns: list[str]
    addresses: list[str] = []
    until: float
    revoked: float = 0.0

    @property
    def names(self) -> pki.Names:
        return pki.Names(tuple(self.domains), tuple(self.dns), tuple(self.addresses))


class Index(msgspec.Struct, kw_only=True):
    """What an authority must remember."""

    issued: list[Issued] = []
    list_number: int = 0


class PkiFolder:
    """Raises PkiError for what the operator can mend."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # ---- the authority

    def create(self, operator: str, now: datetime) -> None:
        """A new authority. One that exists is never overwritten: all its certificates would be worth nothing."""
        if (self.path / "ca.key").exists():
            raise PkiError(f"{self.path / 'ca.key'} exists already; name another folder with --folder, or keep it")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = pki.Authority.create(operator, now, AUTHORITY_LIFE)
        self._write("ca.key", pki.pem_of_key(authority.key), secret=True)
        self._write("ca.pem", pki.pem_of(authority.certificate))
        self._keep(Index())
        self._join_authorities(authority)

    def authority(self) -> pki.Authority:
        try:
            key = pki.key_in((self.path / "ca.key").read_bytes())
            return pki.Authority(key, load_pem_x509_certificate((self.path / "ca.pem").read_bytes()))
        except FileNotFoundError as error:
            raise PkiError(f"{error.filename} does not exist; `redoubt pki init` makes it") from None
        except ValueError as error:
            raise PkiError(f"{self.path / 'ca.key'} or ca.pem is damaged ({error}); restore it from a backup") from None

    def fingerprint(self, file: Path) -> str:
        """Of a certificate, for two operators to compare by another way."""
        try:
            return pki.fingerprint(load_pem_x509_certificate(file.read_bytes()))
        except ValueError as error:
            raise PkiError(f"{file}: {error}") from None

    def index(self) -> Index:
        try:
            return msgspec.json.decode((self.path / "index.json").read_bytes(), type=Index)
        except FileNotFoundError:
            return Index()
        except msgspec.DecodeError as error:
            raise PkiError(f"{self.path / 'index.json'} is damaged ({error}); restore it from a backup") from None

    # ---- certificates

    def issue(self, name: str, names: pki.Names, now: datetime, life: timedelta) -> Issued:
        """A new key and certificate of that name; one that it had stays valid until it ends or is revoked."""
        authority, index = self.authority(), self.index()
        key = pki.node_key()
        try:
            certificate = authority.issue(names, key.public_key(), now, life)
        except ValueError as error:
            raise PkiError(f"{name}: {error}") from None
        issued = _issued(name, "node", certificate)
        index.issued.append(issued)
        self._keep(index)
        self._write(f"{_file(name)}.key", pki.pem_of_key(key), secret=True)
        self._write(f"{_file(name)}.pem", pki.pem_of(certificate))
        return issued

    def renew(self, name: str, now: datetime, life: timedelta) -> Issued:
        """The same names on a new key; the certificate before is left to expire."""
        last = self.last(name)
        if last.revoked:
            raise PkiError(f"{name} was revoked; if it may have another, make it with `redoubt pki issue {name}`")
        return self.issue(name, last.names, now, life)

    def last(self, name: str) -> Issued:
        """The newest certificate of that name."""
        found = self.found(name)
        if found is None:
            raise PkiError(f"nothing of the name {name} was issued; `redoubt pki show` lists what was")
        return found

    def found(self, name: str) -> Issued | None:
        return next((one for one in reversed(self.index().issued) if one.name == name and one.kind == "node"), None)

    def revoke(self, name: str, now: datetime) -> list[Issued]:
        """All certificates of that name, or the one of that serial number, count no longer; the list says so."""
        index = self.index()
        met = [one for one in index.issued if name in (one.name, one.serial) and not one.revoked]
        if not met:
            raise PkiError(f"there is no valid certificate {name}; `redoubt pki show` lists what was issued")
        for one in met:
            one.revoked = now.timestamp()
        self._keep(index)
        if any(one.kind == "cross" for one in met):
            for one in met:
                (self.path / f"cross-{_file(one.name)}.pem").unlink(missing_ok=True)
            self._join_authorities(self.authority())
        return met

    def cross(self, name: str, file: Path, domains: list[str], now: datetime, life: timedelta) -> Issued:
        """A cross-certificate for the partner's authority in `file`; our nodes believe it from now on."""
        authority, index = self.authority(), self.index()
        try:
            theirs = load_pem_x509_certificate(file.read_bytes())
        except ValueError:
            raise PkiError(f"{file} is no certificate in PEM; ask the partner for its authority's ca.pem") from None
        try:
            certificate = authority.cross(theirs, domains, now, life)
        except ValueError as error:
            raise PkiError(f"{file}: {error}; ask the partner for the ca.pem of its authority") from None
        issued = _issued(name, "cross", certificate, domains)
        index.issued.append(issued)
        self._keep(index)
        self._write(f"cross-{_file(name)}.pem", pki.pem_of(certificate))
        self._join_authorities(authority)
        return issued

    # ---- revocation

    def write_revocations(self, now: datetime, life: timedelta, theirs: list[Path]) -> Path:
        """Our revocation list (own.crl, for partners), and revoked.pem: ours, and those that partners gave us."""
        authority, index = self.authority(), self.index()
        index.list_number += 1
        revoked = [(int(one.serial, 16), datetime.fromtimestamp(one.revoked, now.tzinfo)) for one in index.issued
                   if one.revoked]  # fmt: skip
        own = authority.revocation_list(revoked, index.list_number, now, life)
        self._keep(index)
        self._write("own.crl", pki.pem_of(own))
        lists = {own.issuer: own}
        known = self.path / "revoked.pem"
        for file in [*([known] if known.exists() else []), *theirs]:
            for each in self._lists_in(file):
                if each.issuer != own.issuer and self._is_signed(each):
                    lists[each.issuer] = each
                elif file != known and each.issuer != own.issuer:
                    raise PkiError(f"{file}: no authority that we cross-certified signed it; `redoubt pki cross` first")
        self._write("revoked.pem", pki.pem_of(*lists.values()))
        return known

    def _lists_in(self, file: Path) -> list[x509.CertificateRevocationList]:
        try:
            return pki.revocation_lists_in(file.read_bytes())
        except ValueError as error:
            raise PkiError(f"{file}: {error}") from None

    def _is_signed(self, found: x509.CertificateRevocationList) -> bool:
        believed = load_pem_x509_certificates((self.path / "authority.pem").read_bytes())
        return pki.list_signed_by(found, believed)

    # ---- inside

    def _join_authorities(self, authority: pki.Authority) -> None:
        crossed = [load_pem_x509_certificate(file.read_bytes()) for file in sorted(self.path.glob("cross-*.pem"))]
        self._write("authority.pem", pki.pem_of(authority.certificate, *crossed))

    def _keep(self, index: Index) -> None:
        self._write("index.json", msgspec.json.format(msgspec.json.encode(index)) + b"\n")

    def _write(self, name: str, content: bytes, *, secret: bool = False) -> None:
        """Whole or not at all: a network may be reading it."""
        written = self.path / f".{name}.new"
        written.unlink(missing_ok=True)
        handle = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.rename(self.path / name)


def _issued(name: str, kind: str, certificate: x509.Certificate, domains: list[str] | None = None) -> Issued:
    names = pki.names_of(certificate)
    return Issued(
        name=name, kind=kind, serial=format(certificate.serial_number, "x"), domains=domains or list(names.domains),
        dns=list(names.dns), addresses=list(names.addresses), until=certificate.not_valid_after_utc.timestamp(),
    )  # fmt: skip


def _file(name: str) -> str:
    """A name that is a file of the folder and of nothing else."""
    if not name or any(not (letter.isalnum() or letter in "._-") for letter in name) or name.startswith("."):
        raise PkiError(f"{name!r} can't be a file; use letters, digits, dots and hyphens")
    if name in ("ca", "authority", "revoked"):
        raise PkiError(f"{name} is the name of a file of the authority; choose another")
    return name
