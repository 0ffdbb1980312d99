"""The IBCF as the configuration has it: agreements, certificates, the border's sockets and the ways on both sides."""

from collections.abc import Iterable
from pathlib import Path

from redoubt.border.hiding import Hiding, RingFile
from redoubt.border.ibcf import Ibcf
from redoubt.border.unhidden import Recorded
from redoubt.config import Config, ConfigError
from redoubt.media.anchoring import Anchoring
from redoubt.ndm.gateways import Gateways
from redoubt.ndm.next_hops import PartnerHops
from redoubt.ndm.partners import Partners
from redoubt.network.certificates import Certificates
from redoubt.network.configuration import listening
from redoubt.sip.dns_records import Dns
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context, Service
from redoubt.sip.stack import Stack
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings


class Border:
    """Made by the network where the IBCF runs. Raises ConfigError."""

    def __init__(
        self,
        context: Context,
        config: Config,
        directory: Path,
        dns: Dns,
        inside: Service,
        anchoring: Anchoring | None,
        gateways: Gateways,
        tls: TlsSettings | None = None,
    ) -> None:
        self._config = config.ibcf
        self._context = context
        for partner in config.partners:
            if partner.gateway and not gateways.knows(partner.gateway):
                named = f"[[partners]] {partner.name}: gateway = {partner.gateway!r}"
                raise ConfigError(f"{named} is no entry of [[gateways]]; write the name of one")
        self.partners = Partners(context, config.partners, gateways.stands)
        gateways.listeners.append(self.partners.tunnel_changed)
        self.certificates = Certificates(context, config.ibcf) if config.ibcf.certificate else None
        resolver = Resolver(context.randomness, dns=dns, tell=lambda why: context.notice("warning", why))
        hops = PartnerHops(self.partners, resolver, authentic=config.dns.partners == "authentic")
        self.stack = Stack(
            context,
            resolver=hops,
            tls=self.certificates.settings if self.certificates is not None else tls,
            neighbours=self.partners,
        )
        mode = config.ibcf.hiding
        ring = RingFile(directory / config.ibcf.hiding_keys)
        hiding = None if mode == "off" else Hiding(context, mode, config.network.realm, ring)
        self.ibcf = Ibcf(
            context, config.ibcf, config.network.realm, self.partners, hiding, inside, self.stack.outbound,
            anchoring, frozenset(_nodes(config)), _recorded(config),
        )  # fmt: skip

    async def open(self) -> dict[str, str]:
        """Opens the border's sockets; the addresses. Raises OSError, ConfigError."""
        names = {}
        for text in self._config.listen:
            try:
                host, port = await self.stack.listen(Listen.parse(text, Zone.BORDER), self.ibcf.from_outside)
            except ValueError as error:
                raise ConfigError(f"[ibcf] listen: {error}; `redoubt pki init` makes what it takes") from None
            names[f"{host}:{port}"] = "ibcf"
        if self.certificates is not None:
            self._context.start(self.certificates.watch(self.partners))
        return names


def _nodes(config: Config) -> Iterable[str]:
    """Addresses of this network's nodes, which nothing that leaves may name: all but those that partners see."""
    seen = {Listen.parse(text, Zone.BORDER).host for text in config.ibcf.listen}
    inside = {text.split(":", 1)[1].rsplit(":", 1)[0].strip("[]") for text in listening(config)}
    return (inside | set(config.network.trusted_nodes)) - seen


def _recorded(config: Config) -> Recorded:
    servers = tuple([server.uri for server in config.i_cscf.servers])
    return Recorded((config.p_cscf.uri, config.s_cscf.uri, *servers), (config.i_cscf.uri, config.bgcf.uri))
