"""A SIM as a file: what `redoubt subscriber add` hands to `redoubt ue`. Holds K, so it is for test phones only."""

import os
from pathlib import Path

import msgspec

from redoubt.aka.algorithm import AuthenticationFunctions
from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SequenceArray, SequenceScheme
from redoubt.aka.tuak import Tuak, TuakLengths
from redoubt.config import ConfigError
from redoubt.secret import Secret

OTHERS = 1000  # challenges: more than an HSS is likely to have made since


class SimFile(msgspec.Struct, kw_only=True):
    """Hexadecimal texts; `sequence` is the card's array of accepted sequence numbers.

    `port`, `protected_port` and `instance` are the phone's, so that it is the same phone when it is switched on again.
    """

    impi: str
    impus: list[str]
    realm: str
    k: str
    opc: str = ""
    op: str = ""
    amf: str = "8000"
    algorithm: str = "milenage"
    sequence: list[int] = []
    port: int = 0
    protected_port: int = 0
    instance: str = ""

    def __repr__(self) -> str:
        return f"SimFile({self.impi})"

    def isim(self) -> Isim:
        """The card, in the state in which the file left it."""
        return Isim(self._functions(), SequenceArray(SequenceScheme(), tuple(self.sequence)))

    def answer_others(self) -> None:
        """The card answered challenges of others, as when the phone attaches anew: this HSS's next are old to it."""
        self.sequence = [max(self.sequence, default=0) + OTHERS] * SequenceScheme().indices

    def _functions(self) -> AuthenticationFunctions:
        k, opc, op = (Secret(bytes.fromhex(text)) for text in (self.k, self.opc, self.op))
        if self.algorithm == "tuak":
            lengths = TuakLengths()
            return Tuak(k, opc, lengths) if opc else Tuak.with_top(k, op, lengths)
        return Milenage(k, opc) if opc else Milenage.with_op(k, op)


def read_sim_file(path: Path) -> SimFile:
    """Raises ConfigError with what to do."""
    try:
        sim = msgspec.json.decode(path.read_bytes(), type=SimFile)
        sim.isim()
        return sim
    except FileNotFoundError:
        raise ConfigError(f"there is no SIM file {path}; `redoubt subscriber add NAME` makes one") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; name a subscriber or a SIM file") from None
    except ValueError as error:  # no JSON, another object, digits that are none, a key of another length
        raise ConfigError(f"{path} is no SIM file: {error}; `redoubt subscriber add NAME` makes one") from None


def write_sim_file(path: Path, sim: SimFile) -> Path:
    """Replaces the file in one step; only its owner may read it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(sim))
    fresh.replace(path)
    return path
