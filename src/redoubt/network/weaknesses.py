"""Weak choices of the operator's that are in force, with how much of the traffic they weaken (TS 33.203 5.1.3, H).

They are choices and no faults: an old handset may need them. But nobody must forget them, so `redoubt status` names
them for as long as they are on.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from redoubt.config import Config
from redoubt.cscf.pcscf.gm import Gm
from redoubt.gm.algorithms import Suite
from redoubt.gm.states import CONFIRMED
from redoubt.network.run import Network


class WeakChoice(Struct, frozen=True):
    """An option and what it leads to: so many phones (without IPsec: bindings) are weakened now; `made` is how often
    it was made use of since this process began.
    """

    option: str
    what: str
    living: int = 0
    made: int = 0


def weak_choices(network: Network) -> Iterator[WeakChoice]:
    """Those that are on, as far as the functions of this process count what they weaken."""
    config, p_cscf = network.config, network.p_cscf
    gm = p_cscf.gm if p_cscf is not None else None
    if config.access.policy != "ipsec":
        clear = p_cscf.bindings.without_ipsec if p_cscf is not None else 0
        yield WeakChoice("access.policy", "phones may register and call in the clear", clear)
    if config.gm.legacy:
        yield _counted(gm, "gm.legacy", "hmac-md5-96 and des-ede3-cbc are agreed on", lambda suite: suite.is_legacy)
    if not config.gm.confidentiality:
        yield _counted(gm, "gm.confidentiality", _without_encryption(config), lambda suite: not suite.is_confidential)
    if network.border is not None and config.ibcf.hiding == "off":
        what = "partners see this network's nodes, and reach any that stays in dialogs, within a dialog by their word"
        yield WeakChoice("ibcf.hiding", what)
    yield from _hubs(network)


def _hubs(network: Network) -> Iterator[WeakChoice]:
    """Who reads what is between two others: protection goes from hop to hop (TS 33.210 5)."""
    for partner in network.border.partners if network.border is not None else ():
        name, config, passed = partner.name, partner.config, partner.requests_in + partner.requests_out
        if config.transit_to:
            what = f"the hub {name} reads all signalling with {', '.join(config.transit_to)}, keys of media included"
            yield WeakChoice(f"partners.{name}.transit-to", what, made=passed)
        if config.transit_for:
            what = f"this network is a hub and reads all signalling from {name} to {', '.join(config.transit_for)}"
            yield WeakChoice(f"partners.{name}.transit-for", what, made=passed)


def _without_encryption(config: Config) -> str:
    return f"what phones say need not be encrypted, down to {config.gm.floor} (gm.floor)"


def _counted(gm: Gm | None, option: str, what: str, is_weak: Callable[[Suite], bool]) -> WeakChoice:
    if gm is None:
        return WeakChoice(option, what)
    sets = gm.associations.sets.values()
    living = {each.phone.key for each in sets if each.state in CONFIRMED and is_weak(each.agreement.suite)}
    made = sum(count for suite, count in gm.agreed.items() if is_weak(suite))
    return WeakChoice(option, what, len(living), made)
