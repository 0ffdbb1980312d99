"""ESP in transport mode as IP protocol 50, in this process (RFC 4303): for hosts that may open raw sockets and whose
kernel has no ESP. UDP inside; TCP with `raw_tcp` beside it.
"""

from redoubt.gm.association_set import Role
from redoubt.gm.user_space import UserSpacePath, Wrapping
from redoubt.sources import Randomness
from redoubt.transport.raw import RawEsp
from redoubt.transport.udp import OnDatagram


def open_raw_esp(role: Role, here: str, randomness: Randomness, receive: OnDatagram) -> UserSpacePath:
    """Opens the raw socket at an address of this host. Raises OSError: PermissionError without CAP_NET_RAW."""
    path = UserSpacePath(role, Wrapping.TRANSPORT, here, 0, randomness, receive)
    path.attach(RawEsp(here, path.arrived))
    return path
