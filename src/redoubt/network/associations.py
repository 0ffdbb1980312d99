"""The association sets of a P-CSCF as an operator sees them: whose, how protected, how long still, what passed."""

import asyncio
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from redoubt.gm.agreement import Ends
from redoubt.gm.association_set import AssociationSet, Usage
from redoubt.network.run import Network


class AssociationRow(Struct, frozen=True, kw_only=True):
    """One set. SPIs and ports: the client end, then the server end, as Security-Client and -Server name them."""

    impi: str
    contact: str
    identities: list[str]
    state: str
    algorithms: str
    mode: str
    address: str
    inner: str
    phone_spis: tuple[int, int]
    network_spis: tuple[int, int]
    phone_ports: tuple[int, int]
    network_ports: tuple[int, int]
    age_s: float
    left_s: float
    sent_packets: int
    sent_octets: int
    received_packets: int
    received_octets: int
    replayed: int
    bad_tags: int


def association_rows(network: Network, about: str = "") -> Iterator[AssociationRow]:
    """All sets, or those of a private or public identity, the oldest first."""
    gm = network.p_cscf.gm if network.p_cscf is not None else None
    if gm is None or network.gm is None:
        return
    now = asyncio.get_running_loop().time()
    for each in gm.associations.sets.values():
        if not about or about == each.phone.key.impi or about in each.phone.registered:
            yield _row(each, network.gm.usage(each), now)


def _row(each: AssociationSet, usage: Usage, now: float) -> AssociationRow:
    agreement = each.agreement
    counted: dict[str, Any] = {name: getattr(usage, name) for name in Usage.__slots__}
    return AssociationRow(
        impi=each.phone.key.impi, contact=each.phone.key.contact, identities=sorted(each.phone.registered),
        state=each.state.value, algorithms=str(agreement.suite), mode=agreement.mode.value, address=each.address,
        inner=each.inner, phone_spis=_spis(agreement.phone), network_spis=_spis(agreement.network),
        phone_ports=_ports(agreement.phone), network_ports=_ports(agreement.network),
        age_s=round(now - each.began_at, 1), left_s=round(each.ends_at - now, 1), **counted,
    )  # fmt: skip


def _spis(ends: Ends) -> tuple[int, int]:
    return ends.spi_c, ends.spi_s


def _ports(ends: Ends) -> tuple[int, int]:
    return ends.port_c, ends.port_s
