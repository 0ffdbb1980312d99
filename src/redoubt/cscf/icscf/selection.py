"""Which S-CSCF may serve a user (TS 29.228 6.7): every mandatory capability, and many optional ones."""

from collections.abc import Sequence

from redoubt.config import ServerEntry
from redoubt.diameter.cx import ServerCapabilities

ANYTHING = ServerCapabilities()


def candidates(servers: Sequence[ServerEntry], wanted: ServerCapabilities | None) -> list[str]:
    """S-CSCF URIs, the best first: what the HSS names, then by optional capabilities, then in configured order."""
    wanted = wanted or ANYTHING
    mandatory, optional = frozenset(wanted.mandatory), frozenset(wanted.optional)
    able = [server for server in servers if mandatory.issubset(server.capabilities)]
    able.sort(key=lambda server: -len(optional.intersection(server.capabilities)))
    return list(dict.fromkeys([*wanted.server_names, *[server.uri for server in able]]))
