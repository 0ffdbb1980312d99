"""unbound, a resolver that nobody here wrote, validates the zones of `redoubt dns`, and is believed over TLS."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.ndm.test_zone import PEM, REALM
from tests.ports import free_port

from redoubt.config import Config
from redoubt.config.interconnect import DnsConfig
from redoubt.events import EventStream
from redoubt.ndm.dns_servers import dns_of
from redoubt.ndm.enum import Enum
from redoubt.ndm.zone_key import zone_key
from redoubt.network.configuration import from_tree
from redoubt.network.name_server import OperatorDns, OperatorZones
from redoubt.sip.dns_records import LookupFailed
from redoubt.sip.resolver import Candidate, Resolver
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

pytestmark = pytest.mark.skipif(shutil.which("unbound") is None, reason="unbound is not here (tests/peers/install.sh)")
NAME = "dns.example.net"
ROOT = "e164.example.org"
STARTS_WITHIN_S = 10.0


def config() -> Config:
    return from_tree({
        "network": {"realm": REALM},
        "ibcf": {"listen": ["tls:192.0.2.1:5061", "tls:192.0.2.2:5061"], **PEM},
        "dns": {"enum-roots": [ROOT]},
    })  # fmt: skip


class Unbound:
    """A validating resolver on loopback: in clear at one port, behind TLS at another."""

    def __init__(self, folder: Path, zones_at: int, anchors: list[str]) -> None:
        self.plain, self.tls = free_port(), free_port()
        self._folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        shown = authority.issue_cert(NAME)
        shown.private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")
        (folder / "anchors").write_text("\n".join(anchors) + "\n")
        stubs = "".join(
            f'stub-zone:\n  name: "{zone}"\n  stub-addr: 127.0.0.1@{zones_at}\n' for zone in (REALM, ROOT)
        )
        (folder / "unbound.conf").write_text(f"""server:
  interface: 127.0.0.1@{self.plain}
  interface: 127.0.0.1@{self.tls}
  tls-port: {self.tls}
  tls-service-key: "{folder}/tls.pem"
  tls-service-pem: "{folder}/tls.pem"
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: ""
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "{folder}/anchors"
  use-caps-for-id: yes
  val-log-level: 2
{stubs}""")

    def _start(self) -> None:
        with (self._folder / "log").open("wb") as log:
            command = ["unbound", "-c", str(self._folder / "unbound.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    async def __aenter__(self) -> "Unbound":
        self._start()
        async with asyncio.timeout(STARTS_WITHIN_S):
            while True:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                try:
                    _reader, writer = await asyncio.open_connection("127.0.0.1", self.tls)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return self

    async def __aexit__(self, *_raised: object) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 10)


@asynccontextmanager
async def lab(folder: Path, *, trusts: str = "") -> AsyncIterator[Unbound]:
    """`redoubt dns`, and unbound which knows its anchor, or with `trusts` that of another key."""
    numbers = folder / "numbers"
    numbers.write_text(f"+4930123 sip:+4930123@{REALM};user=phone\n")
    zones = OperatorZones(config(), folder, numbers)
    clock = Clock(asyncio.get_running_loop())
    server = await OperatorDns.start(zones, clock, [Listen.parse("udp:127.0.0.1:0", Zone.CORE)])
    anchors = [zone_key(folder / trusts).anchor(name) for name in zones.names] if trusts else zones.anchors()
    try:
        async with Unbound(folder, server.addresses[0][1][1], anchors) as unbound:
            yield unbound
    finally:
        server.close()


def asking(**options: Any) -> Any:
    clock = Clock(asyncio.get_running_loop())
    return dns_of(Context("dns", EventStream(), clock, SystemRandomness()), DnsConfig(**options))


async def found(dns: Any, authentic: bool = True) -> list[Candidate]:
    candidates = await Resolver(SystemRandomness(), dns=dns).find(SipUri("sip", None, None, REALM), authentic=authentic)
    return sorted(candidates, key=lambda each: each.host)


async def test_its_word_over_tls_proves_the_way_to_a_partner_and_whose_a_number_is(tmp_path: Path) -> None:
    async with lab(tmp_path) as unbound:
        dns = asking(servers=(f"tls:127.0.0.1:{unbound.tls}",), tls_name=NAME, authority=str(tmp_path / "ca.pem"))
        try:
            partner = [Candidate("tls", f"192.0.2.{number}", 5061, REALM) for number in (1, 2)]
            assert await found(dns) == partner
            enum = Enum(dns, (ROOT,), "other.example.com", authentic=True)
            assert str((await enum.find("+4930123")).uri) == f"sip:+4930123@{REALM};user=phone"
            not_there = ((f"nobody.{REALM}", "A"), (REALM, "TXT"), (f"_tcp.{REALM}", "SRV"), (f"7.{ROOT}", "NAPTR"))
            for name, kind in not_there:
                nothing = await dns.ask(name, kind)
                assert nothing.authentic and not nothing.values, name
        finally:
            dns.close()


async def test_its_word_in_the_clear_proves_nothing_and_own_validation_of_what_it_hands_on_does(tmp_path: Path) -> None:
    async with lab(tmp_path) as unbound:
        servers = (f"udp:127.0.0.1:{unbound.plain}",)
        told, validating = asking(servers=servers), asking(servers=servers, anchors=str(tmp_path / "anchors"))
        try:
            assert await found(told) == []
            assert len(await found(told, authentic=False)) == 2
            assert len(await found(validating)) == 2
            nothing = await validating.ask(f"nobody.{REALM}", "A")
            assert nothing.authentic and not nothing.values
        finally:
            told.close()
            validating.close()


async def test_a_zone_signed_by_another_key_is_no_answer_to_it_nor_to_us(tmp_path: Path) -> None:
    async with lab(tmp_path, trusts="rogue.key") as unbound:
        dns = asking(servers=(f"tls:127.0.0.1:{unbound.tls}",), tls_name=NAME, authority=str(tmp_path / "ca.pem"))
        try:
            with pytest.raises(LookupFailed, match="SERVFAIL"):
                await dns.naptr(REALM)
            assert await found(dns, authentic=False) == []
        finally:
            dns.close()
