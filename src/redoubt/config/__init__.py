"""The configuration: each option once, with type, default, unit and help; file, commands and reference derive from it.

`redoubt init` writes it as a commented `redoubt.toml`. What an operator gets wrong is reported by option name, with
what to write instead; an unknown key is an error that names the nearest right one.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from redoubt.config.base import ConfigError, ListenOn, Port, Seconds, Section
from redoubt.config.interconnect import (
    BgcfConfig,
    DnsConfig,
    GatewayConfig,
    IbcfConfig,
    MediaConfig,
    PartnerConfig,
)

__all__ = ["ConfigError", "Section"]

DiameterApplication = Annotated[str, Meta(pattern="^(cx|sh|rx|zh|rf|ro)$")]
DiameterCommand = Annotated[
    str, Meta(pattern="^(UAR|SAR|LIR|MAR|RTR|PPR|UDR|PUR|SNR|PNR|AAR|RAR|STR|ASR|ACR|CCR)$")
]
DiameterOn = Annotated[
    str, Meta(pattern=r"^(tcp|tls|sctp):.+:\d+$", description="TRANSPORT:HOST:PORT with tcp, tls or sctp")
]


class NetworkConfig(Section, frozen=True):
    """The operator's network as a whole."""

    realm: str = "ims.mnc001.mcc001.3gppnetwork.org"
    """The home network's domain name (TS 23.003 13.2)."""
    state: str = "state"
    """Directory of databases, keys and the control socket, relative to this file."""
    trusted_nodes: tuple[str, ...] = ("127.0.0.1", "::1")
    """IP addresses of other core nodes, on a protected network domain (TS 33.210)."""
    routes: dict[str, str] = field(default_factory=dict)
    """Static next hops instead of DNS: host name = "udp:HOST:PORT"."""
    certificate: str = ""
    """PEM file of the certificate chain that SIP nodes show where they listen on tls: (RFC 5922)."""
    key: str = ""
    """PEM file of its private key."""
    authority: str = ""
    """PEM file of those who sign core nodes' certificates; a node that proves a name of this network is trusted."""


class PCscfConfig(Section, frozen=True):
    """The P-CSCF (TS 24.229 5.2)."""

    uri: str = "sip:pcscf.{realm}"
    listen: tuple[ListenOn, ...] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    """Where phones reach it (Gm)."""
    core: tuple[ListenOn, ...] = ("udp:127.0.0.1:5070",)
    """Where core nodes reach it (Mw)."""
    visited_network: str = "{realm}"
    """P-Visited-Network-ID (RFC 7315 4.3)."""
    subscribe_reg_event: bool = True
    """Subscribe to each user's registration state (TS 24.229 5.2.3)."""
    home_entry: str = ""
    """The home network's entry point; empty: found by the Request-URI's domain."""


class ServerEntry(Section, frozen=True):
    """An S-CSCF that an I-CSCF may choose, with its capability numbers (TS 29.228 6.7)."""

    uri: str
    capabilities: tuple[int, ...] = ()


class ICscfConfig(Section, frozen=True):
    """The I-CSCF (TS 24.229 5.3)."""

    uri: str = "sip:icscf.{realm}"
    listen: tuple[ListenOn, ...] = ("udp:127.0.0.1:5071",)
    diameter_identity: str = "icscf.{realm}"
    """Its Diameter identity (RFC 6733 4.3.1)."""
    servers: tuple[ServerEntry, ...] = (ServerEntry(uri="sip:scscf.{realm}"),)


class SCscfConfig(Section, frozen=True):
    """The S-CSCF (TS 24.229 5.4)."""

    uri: str = "sip:scscf.{realm}"
    listen: tuple[ListenOn, ...] = ("udp:127.0.0.1:5072",)
    diameter_identity: str = "scscf.{realm}"
    """Its Diameter identity (RFC 6733 4.3.1)."""
    vectors_per_request: Annotated[int, Meta(ge=1, le=16)] = 1
    """Authentication vectors fetched at a time (TS 33.203 6.1.1)."""
    algorithms: tuple[str, ...] = ("AKAv1-MD5",)
    """Offered in this order; also AKAv2-SHA-256 and AKAv2-MD5 (RFC 4169)."""
    min_expires: Seconds = 60
    default_expires: Seconds = 3600
    max_expires: Seconds = 600_000
    reg_await_auth: Seconds = 240
    """An unanswered challenge ends after this (TS 24.229 7.8)."""
    reauthenticate: Literal["always", "initial-only"] = "always"
    """Whether a re-registration on a protected first hop is challenged again (TS 33.203 5.1.2)."""
    max_contacts: Annotated[int, Meta(ge=1, le=64)] = 10
    """Bindings per implicit registration set."""
    failures_before_back_off: Annotated[int, Meta(ge=1)] = 5
    """Wrong responses per private identity before new challenges are delayed."""
    hide_unknown_users: bool = True
    """Answer a REGISTER of an unknown user with a challenge that can't be met, so that nobody can list users."""


class HssConfig(Section, frozen=True):
    """The HSS with its authentication centre (TS 29.228)."""

    diameter: tuple[DiameterOn, ...] = ("tcp:127.0.0.1:3868",)
    """Where CSCFs and application servers of other processes reach it (Cx, Sh)."""
    diameter_identity: str = "hss.{realm}"
    """Its Diameter identity (RFC 6733 4.3.1)."""
    database: str = "hss.sqlite"
    """SQLite file in the state directory, or postgresql://user@host/name, which several HSS processes may share.

    The password is best left to ~/.pgpass (or ?passfile=...); it never appears in logs.
    """
    key_file: str = "hss.key"
    """The key under which K and OPc are stored; `redoubt init` makes it."""
    sequence_block: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Sequence numbers reserved durably at a time; in PostgreSQL each one as it is used."""
    max_pending_per_user: Annotated[int, Meta(ge=1)] = 8
    """Vectors that one private identity may have fetched within a minute without an answer."""
    rest: Annotated[str, Meta(pattern=r"^$|^https?:.+:\d+$")] = ""
    """Where the REST API for provisioning listens: "http:127.0.0.1:8088" (loopback only) or "https:HOST:PORT"; empty:
    nowhere. `redoubt subscriber` needs none."""
    rest_certificate: str = ""
    """PEM file of its certificate chain, for https; a relative path begins where redoubt.toml is."""
    rest_key: str = ""
    """PEM file of that certificate's key."""
    rest_token_file: str = "rest.token"  # noqa: S105  a file's name
    """The bearer token that its users send; `redoubt init` makes it."""


ShDataName = Literal[
    "RepositoryData", "IMSPublicIdentity", "IMSUserState", "S-CSCFName", "InitialFilterCriteria", "MSISDN"
]
# Data references of Sh (TS 29.329 6.3.4).
SH_DATA: dict[str, int] = {
    "RepositoryData": 0,
    "IMSPublicIdentity": 10,
    "IMSUserState": 11,
    "S-CSCFName": 12,
    "InitialFilterCriteria": 13,
    "MSISDN": 17,
}


class DiameterPeer(Section, frozen=True):
    """A Diameter node that this network's Diameter nodes speak with (RFC 6733 5.1)."""

    identity: str
    """Its Diameter identity: what it says as Origin-Host, and what its certificate holds as a DNS name."""
    realm: str = "{realm}"
    connect: str = ""
    """Where to reach it, as "tcp:HOST:PORT", "tls:HOST:PORT" or "sctp:HOST:PORT"; empty: it connects to us."""
    addresses: tuple[str, ...] = ()
    """IP addresses that it may connect from; empty: any that may speak with us at all."""
    gateway: str = ""
    """The entry of [[gateways]] behind which it is: from its addresses it is spoken with while that tunnel stands, in
    clear too, and not at all without."""
    applications: tuple[DiameterApplication, ...] = ("cx", "sh")
    commands: tuple[DiameterCommand, ...] = ()
    """Requests that it may send, such as "UAR" or "LIR"; empty: all that its side of the application has."""
    subscriber_realms: tuple[str, ...] = ()
    """Domains of the users that it may ask about; empty: all of ours."""
    speaks_for: tuple[str, ...] = ()
    """For a Diameter agent: hosts and realms whose requests it passes on."""
    data: tuple[ShDataName, ...] = ()
    """What an application server may read, write or be told of over Sh (TS 29.328 6.2); empty: all that there is."""


class DiameterConfig(Section, frozen=True):
    """Diameter between the HSS, the CSCFs and other operators' or vendors' nodes (RFC 6733)."""

    certificate: str = ""
    """PEM file of this network's certificates for tls:, with the Diameter identities as DNS names; a relative
    path begins where redoubt.toml is."""
    key: str = ""
    """PEM file of the certificate's private key."""
    authority: str = ""
    """PEM file of those who may have signed a peer's certificate."""
    watchdog: Annotated[int, Meta(ge=6, description="seconds")] = 30
    """Silence of a peer after which it is asked whether it lives (RFC 3539 3.4.1)."""
    peers: tuple[DiameterPeer, ...] = ()
    """As [[diameter.peers]]; none: the HSS and the CSCFs of this file, where they run apart."""


AccessPolicy = Literal["ipsec", "aka-without-ipsec"]
GmPath = Literal["user-space", "auto", "kernel", "raw"]
SuiteName = Annotated[str, Meta(pattern="^[a-z0-9-]+/[a-z0-9-]+$", description="alg/ealg of TS 33.203 Annex H")]


class AccessConfig(Section, frozen=True):
    """How phones may come in."""

    policy: AccessPolicy = "ipsec"
    """ipsec: phones agree on IPsec and answer the challenge under its protection (TS 33.203 7); aka-without-ipsec: for
    test tools, the answer is accepted on an unprotected first hop, and who offers IPsec gets it."""


class GmConfig(Section, frozen=True):
    """IPsec between phones and the P-CSCF (TS 33.203 6.3, 7 and Annexes H, M)."""

    path: GmPath = "user-space"
    """What carries ESP of phones without a NAT. Handsets want transport mode: write "auto", which takes the kernel's
    ESP, else raw sockets, and says what this machine lacks. user-space: ESP in UDP alone, without privileges; kernel,
    raw: that or no start."""
    listen: tuple[Annotated[str, Meta(pattern=r"^udp:.+:\d+$")], ...] = ("udp:127.0.0.1:4500",)
    """Where ESP in UDP (UDP-enc-tun) comes in, which crosses NATs; empty: nowhere."""
    address: str = ""
    """The P-CSCF's IP address inside; empty: that of `listen`, in transport mode that of [p-cscf] listen."""
    preference: tuple[SuiteName, ...] = ()
    """Algorithms in our own order, e.g. "hmac-sha-1-96/aes-cbc"; empty: the strongest first."""
    floor: SuiteName = "hmac-sha-1-96/null"
    """Nothing weaker is agreed on."""
    confidentiality: bool = True
    """Demand encryption, not integrity alone (TS 33.203 5.1.3)."""
    legacy: bool = False
    """Allow hmac-md5-96 and des-ede3-cbc, which Release 12 withdrew."""
    server_ports: tuple[Port, ...] = (5064, 5065, 5066, 5067)
    """Protected server ports that phones are given."""
    client_ports: tuple[Port, Port] = (20_000, 59_999)
    """First and last of the protected client ports."""
    memory: str = "/dev/shm"  # noqa: S108 - the file there is checked
    """Directory of a memory file system where associations and registrations outlive the P-CSCF's process, so that the
    next one goes on with them; empty: phones register again."""


class TestConfig(Section, frozen=True):
    """For tests only."""

    protections_off: tuple[str, ...] = ()
    """Names of protections to leave out, to see an attack succeed; such a network serves loopback only."""


class Config(Section, frozen=True):
    """A whole redoubt.toml."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    p_cscf: PCscfConfig = field(default_factory=PCscfConfig)
    i_cscf: ICscfConfig = field(default_factory=ICscfConfig)
    s_cscf: SCscfConfig = field(default_factory=SCscfConfig)
    hss: HssConfig = field(default_factory=HssConfig)
    diameter: DiameterConfig = field(default_factory=DiameterConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    gm: GmConfig = field(default_factory=GmConfig)
    ibcf: IbcfConfig = field(default_factory=IbcfConfig)
    partners: tuple[PartnerConfig, ...] = ()
    gateways: tuple[GatewayConfig, ...] = ()
    bgcf: BgcfConfig = field(default_factory=BgcfConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    dns: DnsConfig = field(default_factory=DnsConfig)
    test: TestConfig = field(default_factory=TestConfig)
