"""How a handset writes Security-Client (RFC 3329 2.2, TS 33.203 Annex H): order, blanks, SPIs and ports.

What handsets offer is for transport mode. This phone can also do without, so each offer is made a second time with
`mod=UDP-enc-tun` (TS 33.203 Annex M): a network meets the handset's list, and can agree with an unprivileged phone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from redoubt.gm.agreement import MECHANISM, UNPROTECTED_PORTS, AgreementPolicy, Ends, Mechanisms, Mode
from redoubt.gm.algorithms import Encryption, Integrity, Suite
from redoubt.gm.esp import RESERVED_SPIS
from redoubt.sip.headers.security import SecurityMechanism

OWN_ORDER = ("alg", "ealg", "prot", "mod", "spi-c", "spi-s", "port-c", "port-s")
Draw = Callable[[], int]  # 32 random bits


def suites(*pairs: str) -> tuple[Suite, ...]:
    """Algorithms as `alg/ealg`."""
    halves = [pair.split("/") for pair in pairs]
    return tuple(Suite(Integrity(alg), Encryption(ealg)) for alg, ealg in halves)


@dataclass(frozen=True, slots=True)
class OfferStyle:
    """`adjacent`: spi-s follows spi-c, and a first port-c follows port-s. Ranges hold their first, not their last."""

    suites: tuple[Suite, ...]
    order: tuple[str, ...] = OWN_ORDER  # parameters left out have their defaults: prot=esp, mod=trans
    semicolon: str = ";"
    comma: str = ","
    spis: tuple[int, int] = (RESERVED_SPIS, 2**32)
    ports: tuple[int, int] = (10_000, 65_536)
    adjacent: bool = False

    def policy(self, own: AgreementPolicy) -> AgreementPolicy:
        """A handset settles for anything that it offered; the ways are the phone's own."""
        return AgreementPolicy(self.suites, confidentiality=False, legacy=True, modes=own.modes)

    def mechanisms(self, modes: tuple[Mode, ...], ends: Ends) -> Mechanisms:
        """The handset's list, and the same once more for each way that this phone has."""
        wanted = dict.fromkeys((Mode.TRANSPORT, *modes))
        return tuple(self._mechanism(suite, mode, ends) for mode in wanted for suite in self.suites)

    def written(self, mechanisms: Mechanisms) -> str:
        """The header's value with the handset's blanks."""
        return self.comma.join(
            self.semicolon.join((one.name, *(f"{name}={value}" for name, value in one.params))) for one in mechanisms
        )

    def spi_pair(self, draw: Draw, taken: set[int]) -> tuple[int, int]:
        """spi-c and spi-s, never those of a living set."""
        while True:
            spi_c = _within(self.spis, draw)
            spi_s = spi_c + 1 if self.adjacent else _within(self.spis, draw)
            if spi_c != spi_s < 2**32 and not {spi_c, spi_s} & taken:
                return spi_c, spi_s

    def port(self, draw: Draw, other: int, taken: set[int]) -> int:
        """A port that isn't `other`: the one after it, as long as no living set has that."""
        if self.adjacent and other and other + 1 not in taken:
            return other + 1
        while True:
            port = _within(self.ports, draw)
            if port != other and port not in taken and port not in UNPROTECTED_PORTS:
                return port

    def _mechanism(self, suite: Suite, mode: Mode, ends: Ends) -> SecurityMechanism:
        values = {
            "alg": suite.integrity.value, "ealg": suite.encryption.value, "prot": "esp", "mod": mode.value,
            "spi-c": str(ends.spi_c), "spi-s": str(ends.spi_s),
            "port-c": str(ends.port_c), "port-s": str(ends.port_s),
        }  # fmt: skip
        order = self.order if mode is Mode.TRANSPORT or "mod" in self.order else (*self.order, "mod")
        return SecurityMechanism(MECHANISM, tuple((name, values[name]) for name in order))


def _within(limits: tuple[int, int], draw: Draw) -> int:
    first, end = limits
    return first + draw() % (end - first)
