"""ESP in UDP, tunnel mode (RFC 3948, TS 33.203 Annex M): the path that needs no privileges and crosses NATs."""

from redoubt.gm.association_set import Role
from redoubt.gm.user_space import UserSpacePath, Wrapping
from redoubt.sources import Randomness
from redoubt.transport.flow import Clear, Security
from redoubt.transport.listen import Listen
from redoubt.transport.udp import OnDatagram, UdpEndpoint

PORT = 4500  # RFC 3948 2.1


async def open_udp_tunnel(
    role: Role, listen: Listen, here: str, randomness: Randomness, receive: OnDatagram, port: int = PORT
) -> UserSpacePath:
    """Binds the outer socket: a P-CSCF's to port 4500, a phone's to any. `here` is this end's address inside, `port`
    the P-CSCF's for a phone. Raises OSError.
    """
    path = UserSpacePath(role, Wrapping.TUNNEL, here, port, randomness, receive)
    path.attach(await UdpEndpoint.open(listen, path.arrived, _unprotected))
    return path


def _unprotected(_listen: Listen, _host: str) -> Security:
    """The outer socket vouches for nobody: associations do."""
    return Clear()
