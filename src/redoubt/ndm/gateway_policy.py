"""What an entry of [[gateways]] must say (TS 33.210 5): checked when redoubt.toml is read."""

from ipaddress import ip_address, ip_network

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import GatewayConfig
from redoubt.ndm.proposals import check_proposals

SECRET_CHARACTERS = 32  # RFC 7296 2.15 wants as much entropy as the keys have
ANY_ADDRESS = "%any"


def check(gateway: GatewayConfig) -> None:
    """Raises ConfigError naming the option and what to write instead; looks into no file."""
    where = f"[[gateways]] {gateway.name}"
    check_proposals(gateway)
    try:
        ip_address(gateway.remote)
        if gateway.local != ANY_ADDRESS:
            ip_address(gateway.local)
    except ValueError as error:
        raise ConfigError(f"{where}: remote, local: {error}; write IP addresses") from None
    if not gateway.remote_networks or not gateway.local_networks:
        raise ConfigError(f"{where}: remote-networks and local-networks say what the tunnel carries; write IP networks")
    try:
        for network in (*gateway.remote_networks, *gateway.local_networks):
            ip_network(network)
    except ValueError as error:
        raise ConfigError(f"{where}: remote-networks, local-networks: {error}; write for example 10.1.0.0/16") from None
    if gateway.authentication == "psk" and not gateway.secret_file:
        raise ConfigError(f"{where}: psk needs secret-file, a file with {SECRET_CHARACTERS} characters or more")
    if gateway.authentication == "certificate" and not (gateway.certificate and gateway.key and gateway.authority):
        raise ConfigError(f"{where}: a certificate needs certificate, key and authority, PEM files")
