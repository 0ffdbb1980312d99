"""What `redoubt partners` shows of each agreement: the relation, how the way there is secured, and how it goes."""

from collections.abc import Iterator

from msgspec import Struct

from redoubt.ndm.partners import Partner
from redoubt.network.run import Network


class PartnerRow(Struct, frozen=True, kw_only=True):
    """Times are seconds since 1970; `connections` are open TLS and TCP connections, whoever opened them."""

    name: str
    domains: tuple[str, ...]
    relation: tuple[str, ...]
    trusted: bool
    security: str
    health: str
    connections: int
    requests_in: int
    requests_out: int
    refusals: int
    last_refusal: str
    last_refusal_at: float


def partner_rows(network: Network, about: str = "") -> Iterator[PartnerRow]:
    """All agreements, or the one of that name or domain."""
    if network.border is None:
        return
    for partner in network.border.partners:
        if not about or about == partner.name or partner.has(about):
            yield _row(network, partner)


def _row(network: Network, partner: Partner) -> PartnerRow:
    config = partner.config
    return PartnerRow(
        name=partner.name,
        domains=partner.domains,
        relation=tuple(_relation(partner)),
        trusted=partner.is_trusted,
        security=f"gateway {config.gateway}" if config.security == "gateway" else config.security,
        health=_health(network, partner),
        connections=len(partner.flows),
        requests_in=partner.requests_in,
        requests_out=partner.requests_out,
        refusals=partner.refusals,
        last_refusal=partner.last_refusal,
        last_refusal_at=partner.last_refusal_at,
    )


def _relation(partner: Partner) -> Iterator[str]:
    """What the agreement allows, in words."""
    config = partner.config
    if config.peering:
        yield "peering"
    if config.visited_networks:
        yield "our users roam there"
    if config.serves_visitors:
        yield "its users roam here"
    if config.transit_to:
        yield f"hub to {', '.join(config.transit_to)}, reads all of it"
    if config.transit_for:
        yield f"we are its hub to {', '.join(config.transit_for)}, and read all of it"


def _health(network: Network, partner: Partner) -> str:
    """One word or two: what stands, or why nothing can pass."""
    assert network.border is not None
    if partner.config.security == "gateway":
        return "tunnel up" if network.border.partners.is_reachable(partner) else "tunnel down"
    if partner.config.security == "none":
        return "in clear"
    if partner.fails:
        return "failing"
    return "connected" if partner.flows else "idle"
