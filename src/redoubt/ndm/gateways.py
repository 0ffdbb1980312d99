"""Security gateways on Za (TS 33.210 5): the tunnels of [[gateways]], which strongSwan's charon holds by our rules.

Redoubt tells charon what to agree on, asks it to set up each tunnel, and watches. `stands` is what others ask before
anything is sent to a partner behind one: a tunnel that fell is refused, never replaced by the clear.
"""

from collections.abc import Callable, Sequence

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import GatewayConfig
from redoubt.ndm.charon import Charon
from redoubt.ndm.gateway_policy import check
from redoubt.ndm.proposals import weaknesses
from redoubt.ndm.tunnel import Tunnel, TunnelRow
from redoubt.sip.service import Context

OnChange = Callable[[str, bool], None]  # a tunnel's name, and whether it stands now


class Gateways:
    """All tunnels. Raises ConfigError for what must not be agreed on."""

    def __init__(self, context: Context, gateways: Sequence[GatewayConfig]) -> None:
        for gateway in gateways:
            check(gateway)
        self.listeners: list[OnChange] = []
        self._context = context
        self._started = False
        self._tunnels = {one.name: Tunnel(context, one, self._changed) for one in gateways}
        if len(self._tunnels) < len(gateways):
            raise ConfigError("[[gateways]]: two have the same name; give each its own")

    def start(self) -> None:
        """Has charon set them up; each stands when it does. They outlive this process, so that calls do."""
        self._started = True
        for tunnel in self._tunnels.values():
            if weak := weaknesses(tunnel.config):
                why = f"the tunnel {tunnel.name} may be agreed on weakly: {', '.join(weak)}"
                self._context.notice("warning", why, "take legacy away as soon as the partner has better")
        sockets = dict.fromkeys(tunnel.config.vici for tunnel in self._tunnels.values())
        for path in sockets:
            of_it = [tunnel for tunnel in self._tunnels.values() if tunnel.config.vici == path]
            self._context.start(Charon(self._context, path, of_it).hold())

    def knows(self, name: str) -> bool:
        return name in self._tunnels

    def stands(self, name: str) -> bool:
        """Whether what is sent through that tunnel now reaches the partner's gateway protected."""
        tunnel = self._tunnels.get(name)
        return tunnel is not None and tunnel.stands

    def rows(self) -> list[TunnelRow]:
        """What each tunnel is and has carried, for `redoubt gateways`; nothing where another process has them."""
        return [tunnel.row() for tunnel in self._tunnels.values()] if self._started else []

    def _changed(self, name: str, stands: bool) -> None:
        for listener in self.listeners:
            listener(name, stands)
