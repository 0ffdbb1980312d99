"""Which ways ESP takes between phones and this P-CSCF, as the configuration and this machine allow."""

from collections.abc import Iterable
from ipaddress import ip_address

from redoubt.config import Config, ConfigError
from redoubt.gm.association_set import Role
from redoubt.gm.paths import Carrier, Lacking, Paths, carrier_for, sweep_kernel
from redoubt.gm.udp_tunnel import PORT, open_udp_tunnel
from redoubt.sip.service import Context
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen, is_loopback
from redoubt.transport.udp import OnDatagram


async def open_paths(
    paths: Paths, context: Context, config: Config, receive: OnDatagram, *, goes_on: bool
) -> None:
    """Opens them into `paths`, which the caller closes. Raises ConfigError and OSError."""
    addresses = transport_addresses(config)
    carrier = _carrier(context, config.gm.path, addresses)
    tunnels = {":" in listen.host: listen for listen in (Listen.parse(text, Zone.ACCESS) for text in config.gm.listen)}
    if carrier is None and not tunnels and config.access.policy == "ipsec":
        raise ConfigError(
            "[access] policy is ipsec, and no way for it is open: write [gm] listen, or path = \"auto\", or another"
            " policy"
        )
    in_kernel = carrier is Carrier.KERNEL and config.gm.path == "kernel"  # "auto" keeps phones on this host able
    if carrier is not Carrier.KERNEL:
        sweep_kernel(addresses)
    if tunnels and not in_kernel:
        _warn_of_loopback(context, config, tunnels.values())
    for listen in () if in_kernel else tunnels.values():
        here = _inside(config.gm.address, listen.host)
        paths.add_tunnel(here, await open_udp_tunnel(Role.NETWORK, listen, here, context.randomness, receive))
    if carrier is None:
        return
    for here in addresses:
        nat = tunnels.get(":" in here) if in_kernel else None
        try:
            paths.add_carrier(
                carrier, Role.NETWORK, here, list(config.gm.server_ports), context.randomness, receive,
                nat_port=nat.port if nat is not None else None, goes_on=goes_on,
            )  # fmt: skip
        except Lacking as lacking:
            raise ConfigError(f"[gm] path: {lacking}") from lacking


def transport_addresses(config: Config) -> list[str]:
    """Where transport mode goes: one address of each family, at which phones register. Raises ConfigError."""
    if config.gm.path == "user-space":
        return []
    listens = [Listen.parse(text, Zone.ACCESS) for text in config.p_cscf.listen]
    hosts = list(dict.fromkeys(listen.host for listen in listens if listen.transport != "tls"))
    reachable = [host for host in hosts if not is_loopback(host)] or hosts
    found: dict[bool, str] = {":" in config.gm.address: config.gm.address} if config.gm.address else {}
    for host in reachable:
        known = found.setdefault(":" in host, host)
        if known == config.gm.address:
            continue
        if known != host or ip_address(host).is_unspecified:
            wrong = "names no address" if known == host else "names several addresses"
            raise ConfigError(
                f"[p-cscf] listen {wrong} of one family, and transport mode needs the one at which phones register:"
                " write it as [gm] address"
            )
    return list(found.values())


def _warn_of_loopback(context: Context, config: Config, tunnels: Iterable[Listen]) -> None:
    """Phones elsewhere would be challenged, and then send ESP where nobody is: neither end could say why."""
    hosts = [Listen.parse(text, Zone.ACCESS).host for text in config.p_cscf.listen]
    reached = next((host for host in hosts if not is_loopback(host)), None)
    if config.access.policy == "ipsec" and reached is not None and all(is_loopback(each.host) for each in tunnels):
        where = Listen("udp", reached, PORT, Zone.ACCESS)
        what = "ESP in UDP comes in on loopback alone: phones elsewhere that need it, as behind a NAT, are not reached"
        context.notice("warning", what, f'write [gm] listen = ["{where}"]')


def _inside(address: str, host: str) -> str:
    """What phones call the P-CSCF inside the tunnel."""
    return address if address and (":" in address) == (":" in host) else host


def _carrier(context: Context, wanted: str, addresses: list[str]) -> Carrier | None:
    """Raises ConfigError where the operator demands what this machine can't."""
    if wanted == "user-space":
        return None
    try:
        return carrier_for(wanted, addresses)
    except Lacking as lacking:
        if wanted != "auto":
            raise ConfigError(f'[gm] path = "{wanted}": {lacking}') from lacking
        advice = "handsets, which want transport mode, will get 494; phones with UDP-enc-tun are served"
        context.notice("alarm", f"no transport mode here. {lacking}", advice)
        return None
