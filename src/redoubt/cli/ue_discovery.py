"""`redoubt ue --discover`: where the phone looks for its P-CSCF (TS 24.229 9.2.1)."""

import asyncio
import socket

from redoubt.config import Config, ConfigError
from redoubt.config.interconnect import DnsConfig
from redoubt.events import EventStream
from redoubt.ndm.dns_servers import dns_of
from redoubt.phone import dhcp
from redoubt.phone.discovery import NotFound, Place, configured, named, offered
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

HELP = (
    "Find the P-CSCF: pco:ADDR[,ADDR] as the network's list; dhcp[:OWN-ADDRESS] (option 120; for IPv6 21 and 22, with"
    " OWN-ADDRESS%DEVICE); dns[:NAME] by NAPTR and SRV of NAME, else of pcscf.REALM."
)
ANYWHERE = ("192.0.2.1", 9)  # nothing is sent there: the way there has an address of this host (RFC 5737)


async def discovered(how: str, realm: str, config: Config | None) -> list[Place]:
    """The P-CSCFs to try, in their order. Raises ConfigError."""
    means, _, about = how.partition(":")
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    dns = dns_of(context, config.dns if config is not None else DnsConfig())
    resolver = Resolver(context.randomness, dns=dns)
    try:
        match means:
            case "pco":
                return configured(about)
            case "dns":
                return await named([about or f"pcscf.{realm}"], resolver)
            case "dhcp":
                return await offered(await _asked(context, about), resolver)
        raise ConfigError(f"--discover {how} is none of pco:ADDRESS, dhcp and dns")
    except NotFound as fault:
        raise ConfigError(f"--discover {how}: {fault}; --proxy names a P-CSCF") from None
    finally:
        dns.close()


async def _asked(context: Context, own: str) -> dhcp.SipServers | None:
    host = own or await asyncio.to_thread(_own_address)
    try:
        return await dhcp.ask(context.randomness, host)
    except PermissionError:
        raise ConfigError("DHCP's ports are root's: run it as root, or name the P-CSCF with --proxy") from None
    except OSError as error:
        raise ConfigError(f"DHCP can't be asked from {host}: {error.strerror or error}") from None


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ANYWHERE)
        except OSError:
            raise ConfigError("this host has no way out; write --discover dhcp:OWN-ADDRESS") from None
        return str(probe.getsockname()[0])
