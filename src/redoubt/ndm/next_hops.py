"""Where what leaves the border goes: the next hops that an agreement names, else those that DNS proves (RFC 3263).

Never a downgrade: a partner by TLS is reached by TLS, one behind a gateway at addresses that its tunnel leads to, and
while that tunnel is down, nowhere (TS 33.210 5, requirement row 116).
"""

from dataclasses import replace

from redoubt.ndm.partners import Partner, Partners
from redoubt.sip.resolver import Candidate, Resolver
from redoubt.sip.uri import SipUri
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen


class PartnerHops:
    """Next hops of a border's stack. A candidate's name is what connections to the partner go by."""

    def __init__(self, partners: Partners, resolver: Resolver, *, authentic: bool = True) -> None:
        self._partners = partners
        self._resolver = resolver
        self._authentic = authentic
        self._connect = {partner.name: _connect(partner) for partner in partners}

    def known(self, uri: SipUri) -> tuple[Candidate, ...] | None:
        """The agreement's next hops, the node first that the URI names by its address; nothing for who is no partner or
        can't be reached now; None if DNS is asked.
        """
        partner = self._partners.to(uri.host)
        if partner is None or not self._partners.is_reachable(partner):
            return ()
        hops = self._connect[partner.name]
        if len(hops) > 1 and uri.host in partner.hosts:
            return tuple(sorted(hops, key=lambda hop: hop.host != uri.host.strip("[]")))
        return hops or None

    async def find(self, uri: SipUri) -> tuple[Candidate, ...]:
        """The same, with what DNS says where the agreement names no next hop."""
        known = self.known(uri)
        partner = self._partners.to(uri.host)
        if known is not None or partner is None:
            return known or ()
        tls = partner.config.security == "tls"
        found = await self._resolver.find(_asked(uri, partner), authentic=self._authentic, tls=tls)
        return tuple([replace(each, name=partner.names[0]) for each in found if partner.may_be_at(each.host)])


def _asked(uri: SipUri, partner: Partner) -> SipUri:
    """What DNS is asked for: a name of the partner's and nothing that leads elsewhere (maddr)."""
    if not partner.has(uri.host):
        return SipUri("sip", None, None, partner.domains[0])
    transport = tuple([pair for pair in uri.params if pair[0].lower() == "transport"])
    return SipUri(uri.scheme, None, None, uri.host, uri.port, transport)


def _connect(partner: Partner) -> tuple[Candidate, ...]:
    places = [Listen.parse(to, Zone.BORDER) for to in partner.config.connect]
    return tuple([Candidate(place.transport, place.host, place.port, partner.names[0]) for place in places])
