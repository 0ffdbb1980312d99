"""Whom the DNS client asks: the servers of [dns] in redoubt.toml, or this machine's (RFC 8310, RFC 8945)."""

import base64
import binascii
import stat
from pathlib import Path

import dns.exception
import dns.name
import dns.resolver
import dns.tsig
import dns.zonefile
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import DnsConfig
from redoubt.ndm.dns import DnsClient
from redoubt.ndm.dns_exchange import NameServer
from redoubt.ndm.dns_validation import Anchors, Validator
from redoubt.sip.dns_records import LookupFailed, Naptr, Records, Srv, SystemNames
from redoubt.sip.service import Context
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import phone as believing

TSIG_OCTETS = 16  # of a key, at least (RFC 8945 8)


def dns_of(context: Context, config: DnsConfig) -> "DnsClient | MachineDns":
    """Who answers DNS questions of this network. Raises ConfigError."""
    if not config.servers and not config.anchors:
        return MachineDns(context)
    servers = [_server(text, config) for text in config.servers] or _servers_of_machine()
    validator = Validator(context.clock, _anchors(Path(config.anchors))) if config.anchors else None
    return DnsClient(context, servers, validator)


class MachineDns:
    """What this machine would say: its name servers, its hosts file. Nothing is authentic, silence is as nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._names = SystemNames()
        self._client: DnsClient | None = None

    async def naptr(self, name: str) -> Records[Naptr]:
        try:
            return await self._asked().naptr(name)
        except LookupFailed:
            return Records()

    async def srv(self, name: str) -> Records[Srv]:
        try:
            return await self._asked().srv(name)
        except LookupFailed:
            return Records()

    async def addresses(self, name: str) -> Records[str]:
        return await self._names.addresses(name)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _asked(self) -> DnsClient:
        if self._client is None:
            self._client = DnsClient(self._context, _servers_of_machine())
        return self._client


def _servers_of_machine() -> list[NameServer]:
    try:
        found = dns.resolver.Resolver().nameservers
    except (dns.exception.DNSException, OSError):
        found = []
    return [NameServer("udp", str(host), 53) for host in found]


def _anchors(file: Path) -> Anchors:
    """DS and DNSKEY records, as a zone file has them. Raises ConfigError."""
    try:
        read = dns.zonefile.read_rrsets(file.read_text(), rdclass=None, default_ttl=0)
    except OSError as error:
        raise ConfigError(f"[dns] anchors {file}: {error.strerror}") from None
    except dns.exception.DNSException as error:
        raise ConfigError(f"[dns] anchors {file}: {error}; write DS records, as `redoubt dns anchor` shows") from None
    found: dict[dns.name.Name, list[DS | DNSKEY]] = {}
    for rrset in read:
        found.setdefault(rrset.name, []).extend(each for each in rrset if isinstance(each, DS | DNSKEY))
    if not any(found.values()):
        raise ConfigError(f"[dns] anchors {file} holds no DS or DNSKEY record")
    return found


def _server(text: str, config: DnsConfig) -> NameServer:
    try:
        place = Listen.parse(text, Zone.CORE, ("udp", "tls"))
    except ValueError as error:
        raise ConfigError(f"[dns] servers: {error}") from None
    key = _tsig_key(config)
    if place.transport == "udp":
        return NameServer("udp", place.host, place.port, key=key)
    try:
        tls = believing(config.authority).client
    except ValueError as error:
        raise ConfigError(f"[dns] authority: {error}") from None
    return NameServer("tls", place.host, place.port, config.tls_name, tls, key)


def _tsig_key(config: DnsConfig) -> dns.tsig.Key | None:
    if not config.tsig_name and not config.tsig_file:
        return None
    if not config.tsig_name or not config.tsig_file:
        raise ConfigError("[dns] tsig-name and tsig-file belong together; write both, or neither")
    return tsig_key(config.tsig_name, Path(config.tsig_file))


def tsig_key(name: str, file: Path) -> dns.tsig.Key:
    """HMAC-SHA-256 with the secret in that file (RFC 8945 6). Raises ConfigError."""
    try:
        if file.stat().st_mode & stat.S_IRWXO:
            raise ConfigError(f"[dns] tsig-file: others may read {file}; run chmod 600 on it")
        secret = base64.b64decode(file.read_text().strip(), validate=True)
    except OSError as error:
        raise ConfigError(f"[dns] tsig-file {file}: {error.strerror}") from None
    except (binascii.Error, ValueError):
        raise ConfigError(f"[dns] tsig-file {file} holds no base64; `openssl rand -base64 32` makes a key") from None
    if len(secret) < TSIG_OCTETS:
        raise ConfigError(f"[dns] tsig-file {file}: a key has {TSIG_OCTETS} octets or more (RFC 8945 8)")
    try:
        return dns.tsig.Key(dns.name.from_text(name), secret, dns.tsig.HMAC_SHA256)
    except dns.exception.DNSException:
        raise ConfigError(f"[dns] tsig-name {name} is no domain name") from None
