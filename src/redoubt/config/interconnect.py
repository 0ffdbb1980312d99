"""Sections of redoubt.toml about other operators: border, agreements, ways there (TS 33.203 6.5, TS 33.210)."""

from typing import Annotated, Literal

from msgspec import Meta

from redoubt.config.base import ListenOn, Port, Seconds, Section

Domain = Annotated[str, Meta(min_length=1)]


class IbcfConfig(Section, frozen=True):
    """The IBCF, where calls and roaming registrations leave and enter the network (TS 24.229 5.10); off until it
    listens somewhere."""

    uri: str = "sip:ibcf.{realm}"
    listen: tuple[ListenOn, ...] = ()
    """Where partners reach it (Ici), such as "tls:192.0.2.1:5061"; only flows that an agreement of [[partners]] covers
    are served."""
    core: tuple[ListenOn, ...] = ("udp:127.0.0.1:5073",)
    """Where this network's own nodes reach it (Mx)."""
    certificate: str = ""
    """PEM file of the certificate chain that partners see; `redoubt pki` makes one. Relative to this file."""
    key: str = ""
    """PEM file of its private key."""
    authority: str = ""
    """PEM file of those whom partners' certificates may be signed by."""
    revoked: str = ""
    """PEM file of certificate revocation lists of those authorities; empty: none is looked at."""
    hiding: Literal["gcm", "cbc", "off"] = "gcm"
    """How names of this network's nodes are hidden in what leaves it: authenticated (our default), as TS 33.203 6.4
    has it, or not."""
    hiding_keys: str = "hiding.keys"
    """File in the state directory with the keys of hiding, the same at all border nodes; `redoubt init` makes it."""


class PartnerConfig(Section, frozen=True):
    """An agreement with another network ([[partners]]): who it is, how the way there is secured, what it may do."""

    name: str
    """How people call it."""
    domains: tuple[Domain, ...]
    """SIP domains of its users and nodes; names below them are its own too."""
    kind: Literal["ims", "sip"] = "ims"
    """ims: within the trust domain, asserted identities are believed and given (RFC 3325, TS 24.229 4.4); sip: a plain
    SIP network (RFC 3261), nothing that it says of identity is believed and nothing private is told."""
    security: Literal["tls", "gateway", "none"] = "tls"
    """tls: mutual certificates; gateway: the addresses below, through a tunnel of [[gateways]]; none: the addresses
    below in clear, for kind sip."""
    connect: tuple[ListenOn, ...] = ()
    """Next hops in order, IP addresses such as "tls:192.0.2.9:5061"; empty: by DNS, as far as [dns] trusts it."""
    names: tuple[str, ...] = ()
    """Names that its certificate proves, as SIP URI or DNS name (RFC 5922 7.1); empty: its domains."""
    authority: str = ""
    """PEM file of those who sign its certificates themselves, so that no other partner's authority can name it;
    empty: any of [ibcf] authority. Relative to this file."""
    addresses: tuple[str, ...] = ()
    """IP addresses or networks that its border nodes send from."""
    gateway: str = ""
    """The entry of [[gateways]] whose tunnel leads there; without the tunnel nothing is sent."""
    peering: bool = True
    """Calls and messages between its users and ours."""
    visited_networks: tuple[str, ...] = ()
    """Roaming agreement: names of its networks, as P-Visited-Network-ID has them, where our users may register."""
    serves_visitors: bool = False
    """Roaming agreement: its users may register at our P-CSCFs."""
    transit_to: tuple[str, ...] = ()
    """Domains of others that are reached through it, a hub, which reads all of that signalling; "*" for all that no
    other partner has."""
    transit_for: tuple[str, ...] = ()
    """We are the hub: names of partners whom it may reach through us. Everybody else is refused."""
    iois: tuple[str, ...] = ()
    """Inter-operator identifiers that it may name (TS 24.229 4.5.4); empty: its domains."""
    mode: Literal["proxy", "b2bua"] = "proxy"
    """b2bua: dialogs end here and begin anew, nothing of one side is seen on the other."""
    media: Literal["direct", "relay"] = "direct"
    """relay: media goes through the border gateway, which also joins IPv4 and IPv6."""
    methods: tuple[str, ...] = (
        "INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "NOTIFY", "REFER",
        "PUBLISH", "REGISTER", "INFO",
    )  # fmt: skip
    """Requests that may pass, either way."""
    refuse: tuple[Domain, ...] = ()
    """Whom nobody reaches from it or at it: beginnings of numbers, such as "+881", and domains."""
    headers: tuple[str, ...] = ()
    """Headers that may pass, either way, besides those of the standards."""
    codecs: tuple[str, ...] = ()
    """Codecs that session descriptions may name; empty: all."""
    body_octets: Annotated[int, Meta(ge=0)] = 16_384
    """The longest body that may pass."""
    requests_per_s: Annotated[int, Meta(ge=1)] = 200
    """New transactions a second from it; what is beyond gets 503."""
    sessions: Annotated[int, Meta(ge=1)] = 2_000
    """Calls with it at one time."""


class GatewayConfig(Section, frozen=True):
    """A tunnel between security gateways on Za ([[gateways]], TS 33.210 5): held by strongSwan, by our rules."""

    name: str
    remote: str
    """IP address of the partner's gateway."""
    remote_networks: tuple[str, ...]
    """IP networks behind it."""
    local: str = "%any"
    """IP address of our gateway."""
    local_networks: tuple[str, ...] = ()
    """IP networks of ours that the partner reaches through it."""
    vici: str = "/run/charon.vici"
    """Control socket of the strongSwan daemon (charon) that serves as our gateway."""
    ike: Literal[1, 2] = 2
    """Version of IKE; 1 only for partners that have nothing better."""
    authentication: Literal["psk", "certificate"] = "certificate"
    local_identity: str = ""
    """Our IKE identity, which our certificate must prove; empty: the address."""
    remote_identity: str = ""
    """The partner's IKE identity, which its certificate must prove; empty: its address."""
    secret_file: str = ""
    """File with the pre-shared key, of 32 characters or more; relative to this file."""
    certificate: str = ""
    key: str = ""
    authority: str = ""
    """PEM files of our gateway's certificate and key, and of who signed the partner's."""
    revoked: str = ""
    """PEM file of revocation lists."""
    ike_proposals: tuple[str, ...] = ()
    """In strongSwan's words; groups below 2048 bit, 3DES, MD5 and null are refused (RFC 8247). Empty: AES-GCM with
    ECP-384, then ECP-256; of IKEv1, which has no GCM, AES-CBC with SHA-2."""
    esp_proposals: tuple[str, ...] = ("aes256gcm16-ecp384", "aes128gcm16-ecp256")
    """The same for what the tunnel carries."""
    legacy: bool = False
    """Allow what is refused otherwise, for a partner that has nothing better; said at each start."""
    rekey: Seconds = 3600
    """Life of a tunnel's keys."""
    dpd: Seconds = 10
    """Silence after which the partner's gateway is asked whether it lives (RFC 7296 2.4, RFC 3706)."""


class BgcfRoute(Section, frozen=True):
    """Where numbers that ENUM does not know leave ([[bgcf.routes]])."""

    prefix: str
    """Of the number in international form, such as "+49"; "" for all others."""
    to: str
    """SIP URI of a gateway (MGCF), or of a partner's network."""


class BgcfConfig(Section, frozen=True):
    """The BGCF (TS 24.229 5.6): where a number leaves the network."""

    uri: str = "sip:bgcf.{realm}"
    listen: tuple[ListenOn, ...] = ("udp:127.0.0.1:5074",)
    routes: tuple[BgcfRoute, ...] = ()


class MediaConfig(Section, frozen=True):
    """The media relay of the border (IBGF, TrGW) and of the P-CSCF (access border gateway)."""

    inside: tuple[str, ...] = ("127.0.0.1",)
    """IP addresses of the relay towards this network, one a family."""
    outside: tuple[str, ...] = ("127.0.0.1",)
    """IP addresses of the relay towards partners and phones, one a family."""
    ports: tuple[Port, Port] = (40_000, 49_999)
    """First and last of its ports."""
    access: Literal["off", "nat", "always"] = "off"
    """Whether the P-CSCF anchors phones' media: never, of phones behind NAT, or of all."""
    idle: Seconds = 60
    """A stream without packets for so long is over."""


class DnsConfig(Section, frozen=True):
    """Where names are asked (RFC 3263, RFC 6116), and how far answers are trusted."""

    servers: tuple[str, ...] = ()
    """Resolvers as "udp:HOST:PORT" or "tls:HOST:PORT"; empty: this machine's."""
    tls_name: str = ""
    """Name in the certificate of tls: servers (RFC 8310)."""
    authority: str = ""
    """PEM file of who signed it; empty: whom this machine believes."""
    tsig_name: str = ""
    tsig_file: str = ""
    """Name and file (base64) of the key shared with the servers (RFC 8945)."""
    anchors: str = ""
    """File with DS or DNSKEY records of the zones that DNSSEC validation begins at."""
    partners: Literal["any", "authentic"] = "authentic"
    """Whether the way to a partner, and whose a number is, may be learned from DNS only when the answer is authentic
    (DNSSEC, TSIG or tls:)."""
    enum_roots: tuple[str, ...] = ()
    """Where numbers are looked up, such as "e164.example"; empty: nowhere (RFC 6116 with a private root)."""
