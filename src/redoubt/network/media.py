"""The media relay as the configuration has it, where a function of this process needs one."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from redoubt.config import Config, ConfigError
from redoubt.media.anchoring import Anchoring
from redoubt.media.relay import Relay
from redoubt.network.configuration import listening
from redoubt.sip.service import Context
from redoubt.transport.flow import Address
from redoubt.transport.listen import is_loopback

EVERYWHERE = (str(IPv4Address(0)), str(IPv6Address(0)))


async def open_relay(context: Context, config: Config, only: frozenset[str]) -> Relay | None:
    """None where nobody's media is anchored. Raises ConfigError."""
    access = "p-cscf" in only and config.media.access != "off"
    border = "ibcf" in only and any(partner.media == "relay" for partner in config.partners)
    if not access and not border:
        return None
    exposed = [host for host in (*config.media.inside, *config.media.outside) if not is_loopback(host)]
    if config.test.protections_off and exposed:
        raise ConfigError(f"[test] protections-off is set, so [media] may have loopback alone, and not {exposed[0]}")
    try:
        relay = Relay(context.named("media"), config.media, frozenset(_signalling(config)))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    try:
        await relay.prove()
    except OSError as error:
        why = f"[media] inside and outside are addresses of this machine, and one is not: {error.strerror or error}"
        raise ConfigError(why) from error
    return relay


def _signalling(config: Config) -> Iterator[Address]:
    """The sockets of this network's functions, wherever they run; of any address where they listen on all."""
    for text in listening(config):
        host, _, port = text.partition(":")[2].rpartition(":")
        host = host.strip("[]")
        for each in (*config.media.inside, *config.media.outside) if host in EVERYWHERE else (host,):
            yield each, int(port)


def anchoring_of(context: Context, relay: Relay | None) -> Anchoring | None:
    """One for each function, since several may anchor one call."""
    return Anchoring(context, relay) if relay is not None else None
