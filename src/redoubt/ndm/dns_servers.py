"""Whom the DNS client asks: the servers of [dns] in redoubt.toml, or this machine's (RFC 8310, RFC 8945)."""

import base64
import binascii
from pathlib import Path

import dns.exception
import dns.name
import dns.resolver
import dns.tsig

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import DnsConfig
from redoubt.ndm.dns import DnsClient
from redoubt.ndm.dns_exchange import NameServer
from redoubt.sip.dns_records import LookupFailed, Naptr, Records, Srv, SystemNames
from redoubt.sip.service import Context
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import phone as believing

TSIG_OCTETS = 16  # of a key, at least (RFC 8945 8)


def dns_of(context: Context, config: DnsConfig) -> "DnsClient | MachineDns":
    """Who answers DNS questions of this network. Raises ConfigError."""
    if not config.servers:
        return MachineDns(context)
    return DnsClient(context, [_server(text, config) for text in config.servers])


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
            try:
                found = dns.resolver.Resolver().nameservers
            except (dns.exception.DNSException, OSError):
                found = []
            self._client = DnsClient(self._context, [NameServer("udp", str(host), 53) for host in found])
        return self._client


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
