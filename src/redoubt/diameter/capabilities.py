"""The capabilities exchange: what CER and CEA say, and whether the peer is who it says (RFC 6733 5.3, 13).

A peer is known by four things that must agree: its name in the configuration, Origin-Host and Origin-Realm, where the
connection comes from, and on TLS the names in its certificate.
"""

from ipaddress import ip_address

from redoubt.config import DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import APPLICATIONS, RELAY
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage, check_request
from redoubt.diameter.local import Local
from redoubt.diameter.results import VENDOR_3GPP, Result
from redoubt.transport.flow import Flow, TlsPeer

PRODUCT = "Redoubt"


def describe(local: Local, message: DiameterMessage, flow: Flow) -> DiameterMessage:
    """Adds what this node is and can do to a CER or CEA (RFC 6733 5.3.1, 5.3.2)."""
    if not message.has(d.ORIGIN_HOST):
        message.avps += local.origin
    message.add(d.HOST_IP_ADDRESS, ip_address(plain(flow.local[0])))
    message.add(d.VENDOR_ID, VENDOR_3GPP).add(d.PRODUCT_NAME, PRODUCT).add(d.ORIGIN_STATE_ID, local.state_id)
    message.add(d.SUPPORTED_VENDOR_ID, VENDOR_3GPP)
    message.avps += [application.advertised() for application in local.applications.values()]
    return message


def check_cer(message: DiameterMessage) -> None:
    """Raises DiameterError: what is owed to whoever sent no proper CER."""
    check_request(message)
    message.need(d.ORIGIN_HOST)
    message.need(d.ORIGIN_REALM)
    if set(message.every(d.INBAND_SECURITY_ID)) == {d.InbandSecurity.TLS}:
        raise DiameterError(
            Result.NO_COMMON_SECURITY, "the peer wants TLS inside the connection, which is obsolete", "RFC 6733 6.10"
        )


def check_peer(local: Local, config: DiameterPeer, message: DiameterMessage, flow: Flow) -> None:
    """Whether a CER or CEA comes from this peer. Raises DiameterError 3010, and reports it."""
    host, realm = message.need(d.ORIGIN_HOST), message.need(d.ORIGIN_REALM)
    named = (host, realm) == (config.identity.lower(), config.realm.lower())
    if not named and local.enforces("diameter-origin"):
        local.violated(
            "CER",
            "Origin-Host and Origin-Realm are those of the configured peer",
            expected=f"{config.identity} of {config.realm}",
            seen=f"{host} of {realm}",
            clause="RFC 6733 5.3",
            advice=f"write identity and realm of [[diameter.peers]] as {host} and {realm}, if that is the peer",
        )
        raise DiameterError(Result.UNKNOWN_PEER, f"{host} of {realm} is another peer", "RFC 6733 5.3")
    check_certificate(local, config, flow)
    check_address(local, config, flow)
    check_tunnel(local, config)


def check_certificate(local: Local, config: DiameterPeer, flow: Flow) -> None:
    """On TLS the certificate holds the Diameter identity as a DNS name, whole (RFC 6733 13)."""
    security = flow.security
    if flow.transport != "tls" or not local.enforces("diameter-origin"):
        return
    names = security.names if isinstance(security, TlsPeer) else ()
    if config.identity.lower() not in names:
        local.violated(
            "TLS",
            "the certificate holds the peer's Diameter identity",
            expected=config.identity,
            seen=", ".join(names) or "no certificate",
            clause="RFC 6733 13",
            advice="the peer needs a certificate whose subjectAltName holds its identity as a DNS name",
        )
        raise DiameterError(Result.UNKNOWN_PEER, "the certificate is of another node", "RFC 6733 13")


def check_address(local: Local, config: DiameterPeer, flow: Flow) -> None:
    """Where the operator named the peer's addresses, it comes from one of them."""
    allowed = [plain(address) for address in config.addresses]
    if allowed and plain(flow.remote[0]) not in allowed and local.enforces("diameter-peers"):
        local.violated(
            "CER",
            "the peer's address is one of those configured",
            expected=", ".join(config.addresses),
            seen=flow.remote[0],
            clause="RFC 6733 13",
            advice=f"add {flow.remote[0]} to addresses of [[diameter.peers]] {config.identity}, if it is there now",
        )
        raise DiameterError(Result.UNKNOWN_PEER, f"{config.identity} comes from {flow.remote[0]}", "RFC 6733 13")


def check_tunnel(local: Local, config: DiameterPeer) -> None:
    """A peer behind a gateway is spoken with while its tunnel stands only (TS 33.210 5)."""
    if not local.tunnelled.is_cut(config) or not local.enforces("diameter-peers"):
        return
    local.violated(
        "CER",
        "the tunnel to the peer's gateway stands",
        expected=f"{config.gateway} of [[gateways]] stands",
        seen="it does not",
        clause="TS 33.210 5",
        advice="`redoubt gateways` says why; nothing is said to the peer or taken from it meanwhile",
    )
    raise DiameterError(Result.UNKNOWN_PEER, f"{config.identity}'s tunnel {config.gateway} is down", "TS 33.210 5")


def check_exposure(local: Local, flow: Flow) -> bool:
    """Diameter in clear only with this host or a protected network domain (RFC 6733 13, TS 33.210)."""
    host = plain(flow.remote[0])
    if flow.transport == "tls" or is_trusted(local, host) or not local.enforces("diameter-peers"):
        return True
    local.violated(
        "connection",
        "Diameter in clear is spoken with trusted addresses only",
        expected="TLS, an address of [network] trusted-nodes, or one behind a gateway whose tunnel stands",
        seen=f"{flow.transport} with {host}",
        clause="RFC 6733 13",
        advice=f"use tls: with this peer, or add {host} to [network] trusted-nodes if IPsec protects the way to it",
    )
    return False


def is_trusted(local: Local, host: str) -> bool:
    """This host itself, or a node of the protected network domain."""
    host = plain(host)
    return host in local.trusted_nodes or local.tunnelled.protects(host) or ip_address(host).is_loopback


def plain(host: str) -> str:
    """An IP address in its one form: no zone, no IPv4 inside IPv6, no other way to write the same."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


def common_applications(local: Local, config: DiameterPeer, message: DiameterMessage) -> frozenset[int]:
    """What both speak, and the operator allows this peer. Raises DiameterError 5010 (RFC 6733 5.3)."""
    theirs = set(message.every(d.AUTH_APPLICATION_ID)) | set(message.every(d.ACCT_APPLICATION_ID))
    for group in message.every(d.VENDOR_SPECIFIC_APPLICATION_ID):
        theirs |= set(group.every(d.AUTH_APPLICATION_ID)) | set(group.every(d.ACCT_APPLICATION_ID))
    ours = set(local.applications)
    if local.enforces("diameter-authorisation"):
        ours &= {APPLICATIONS[name].number for name in config.applications if name in APPLICATIONS}
    common = frozenset(ours if RELAY in theirs else ours & theirs)
    if not common:
        raise DiameterError(
            Result.NO_COMMON_APPLICATION,
            f"{config.identity} speaks none of the applications that it may use here",
            "RFC 6733 5.3",
        )
    return common
