"""The Diameter nodes of this process's functions: each function its own, as TS 23.002 has them apart.

A node is there where somebody of another process is to be spoken with: a CSCF without the HSS beside it, an HSS
without both CSCFs, or with peers that the operator wrote. Without [[diameter.peers]] the functions of the same
configuration are the peers of each other, with the commands that their part in Cx has.
"""

import asyncio
from collections.abc import Iterable

from redoubt.config import Config, ConfigError, DiameterPeer
from redoubt.diameter.applications import CX, SH
from redoubt.diameter.cx import CxClient
from redoubt.diameter.cx_client import CxOverDiameter
from redoubt.diameter.cx_server import CxServer
from redoubt.diameter.node import Node
from redoubt.diameter.sh_server import ShServer
from redoubt.hss.application_changes import ApplicationChanges
from redoubt.hss.application_data import ApplicationData
from redoubt.hss.hss import Hss
from redoubt.ndm.gateways import Gateways
from redoubt.sip.service import Context
from redoubt.transport.flow import Address

HSS_COMMANDS = ("RTR", "PPR")
I_CSCF_COMMANDS = ("UAR", "LIR")
S_CSCF_COMMANDS = ("MAR", "SAR", "LIR")


class DiameterNodes:
    """Made by the network; raises OSError for certificates and addresses that can't be used."""

    def __init__(self, config: Config, gateways: Gateways) -> None:
        self._config = config
        self._gateways = gateways
        self.nodes: dict[str, Node] = {}

    async def serve(self, context: Context, hss: Hss) -> dict[str, Address]:
        """The HSS's node; where it listens, by the configuration's text."""
        node = self._node(context, self._config.hss.diameter_identity, self._hss_peers())
        servers = hss.clients
        identities = [name.lower() for peer in self._hss_peers() for name in (peer.identity, *peer.speaks_for)]
        cx = CxServer(context, node, hss, servers, self._config.network.realm, identities)
        servers.reach = cx.client
        if any("sh" in peer.applications for peer in self._hss_peers()):
            changes = ApplicationChanges(context, hss.subscriptions, hss.store)
            data = ApplicationData(context, hss.subscriptions, hss.store, changes)
            changes.tell(ShServer(context, node, data, self._config.network.realm))
        self._connect(node, self._hss_peers())
        return {text: await self._listen(node, text) for text in self._config.hss.diameter}

    def ask(self, context: Context) -> CxOverDiameter:
        """A CSCF's way to the HSS; `context` names the CSCF."""
        config = self._config
        identity = (config.s_cscf if context.node == "s-cscf" else config.i_cscf).diameter_identity
        node = self._node(context, identity, self._cscf_peers())
        self._connect(node, self._cscf_peers())
        return CxOverDiameter(context, node, config.network.realm)

    def attach(self, cx: CxOverDiameter, client: CxClient) -> None:
        """RTR and PPR of the HSSs go to this S-CSCF."""
        cx.attach(client, [peer.identity.lower() for peer in self._cscf_peers()])

    async def close(self) -> None:
        await asyncio.gather(*[node.close() for node in self.nodes.values()])

    def _node(self, context: Context, identity: str, peers: Iterable[DiameterPeer]) -> Node:
        network = self._config.network
        spoken = {name for peer in peers for name in peer.applications}
        try:
            node = Node(
                context,
                identity,
                network.realm,
                self._config.diameter,
                applications=[each for each in (CX, SH) if each.name in spoken],
                trusted_nodes=frozenset(network.trusted_nodes),
                stands=self._gateways.stands,
            )
        except ValueError as error:
            raise ConfigError(f"[diameter] certificate, key or authority: {error}") from error
        self.nodes[context.node] = node
        self._gateways.listeners.append(node.tunnel_changed)
        return node

    def _connect(self, node: Node, peers: Iterable[DiameterPeer]) -> None:
        for peer in peers:
            if peer.gateway and not (peer.addresses and self._gateways.knows(peer.gateway)):
                raise ConfigError(
                    f"[[diameter.peers]] {peer.identity}: gateway = {peer.gateway!r} must be the name of an entry of"
                    " [[gateways]], and addresses those of the peer behind it"
                )
            node.connect_to(peer)

    async def _listen(self, node: Node, text: str) -> Address:
        try:
            return await node.listen(text)
        except ValueError as error:
            raise ConfigError(f"[hss] diameter: {text}: {error}") from error

    def _hss_peers(self) -> tuple[DiameterPeer, ...]:
        config = self._config
        if config.diameter.peers:
            return self._others(config.hss.diameter_identity)
        cscfs = ((config.i_cscf, I_CSCF_COMMANDS), (config.s_cscf, S_CSCF_COMMANDS))
        return tuple(
            [
                DiameterPeer(
                    identity=cscf.diameter_identity,
                    realm=config.network.realm,
                    applications=("cx",),
                    commands=commands,
                )
                for cscf, commands in cscfs
            ]
        )

    def _cscf_peers(self) -> tuple[DiameterPeer, ...]:
        config = self._config
        if config.diameter.peers:
            return self._others(config.i_cscf.diameter_identity, config.s_cscf.diameter_identity)
        hss = config.hss
        return (
            DiameterPeer(
                identity=hss.diameter_identity,
                realm=config.network.realm,
                connect=hss.diameter[0],
                applications=("cx",),
                commands=HSS_COMMANDS,
            ),
        )

    def _others(self, *own: str) -> tuple[DiameterPeer, ...]:
        """What the operator wrote, without the node itself and its like: one file serves several processes."""
        names = {identity.lower() for identity in own}
        return tuple([peer for peer in self._config.diameter.peers if peer.identity.lower() not in names])
