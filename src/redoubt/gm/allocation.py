"""SPIs and protected ports of the P-CSCF (TS 33.203 7.1), and whose ports and SPIs a phone's address already has."""

from collections.abc import Collection, Hashable

from redoubt.gm.agreement import UNPROTECTED_PORTS, Ends
from redoubt.gm.esp import RESERVED_SPIS
from redoubt.sources import Randomness


class NothingLeft(Exception):
    """No SPI or port can be given; the message says which."""


class Taken(Exception):
    """What the phone offers belongs to another phone at its address (TS 33.203 7.1, M.7)."""


Pair = tuple[str, int, int]
"""The two ends of what one association carries: a phone's address inside and port, and our port."""


def _pairs(inner: str, ours: Ends, theirs: Ends) -> tuple[Pair, Pair]:
    return (inner, theirs.port_c, ours.port_s), (inner, theirs.port_s, ours.port_c)


class _Address:
    """What is in use at one address of phones: what the phones there own, and our ports towards it."""

    __slots__ = ("client_ports", "next_client", "owners", "server_load", "server_ports")

    def __init__(self) -> None:
        self.owners: dict[int, tuple[Hashable, int]] = {}  # a port or SPI: its phone, in how many sets
        self.server_ports: dict[Hashable, tuple[int, ...]] = {}  # a phone: our port towards it, of each of its sets
        self.server_load: dict[int, int] = {}  # our port: for how many phones
        self.client_ports: set[int] = set()
        self.next_client = 0

    def claim(self, phone: Hashable, ours: Ends, theirs: Ends) -> None:
        first = phone, 1
        for thing in _things(theirs):
            owner = self.owners.get(thing)
            self.owners[thing] = first if owner is None else (phone, owner[1] + 1)
        self.client_ports.add(ours.port_c)
        ports = self.server_ports.get(phone, ())
        self.server_ports[phone] = (*ports, ours.port_s)
        if ours.port_s not in ports:
            self.server_load[ours.port_s] = self.server_load.get(ours.port_s, 0) + 1

    def disclaim(self, phone: Hashable, ours: Ends, theirs: Ends) -> None:
        for thing in _things(theirs):
            owner, sets = self.owners.pop(thing)
            if sets > 1:
                self.owners[thing] = (owner, sets - 1)
        self.client_ports.remove(ours.port_c)
        ports = list(self.server_ports.pop(phone))
        ports.remove(ours.port_s)
        if ports:
            self.server_ports[phone] = tuple(ports)
        if ours.port_s not in ports:
            self.server_load[ours.port_s] -= 1


_SPIS = 2**16  # from here on: a port keeps its number, an SPI is moved above all ports


def _things(theirs: Ends) -> tuple[int, int, int, int]:
    """What is a phone's own, as numbers."""
    return theirs.port_c, theirs.port_s, _SPIS + theirs.spi_c, _SPIS + theirs.spi_s


def _named(thing: int) -> str:
    return f"port {thing}" if thing < _SPIS else f"SPI {thing - _SPIS}"


class Allocator:
    """Gives each set two SPIs of its own and a client port that no other set towards that address has.

    The server port stays a phone's until its last set is gone (TS 33.203 7.1); phones at one address are spread over
    the server ports. A phone may offer again what it offered before, as one does that forgot everything: then it gets
    another server port, so that its packets, and its connections, are told from those of the set that it forgot. The
    same goes for phones behind different NATs that have one address inside.
    """

    def __init__(self, randomness: Randomness, server_ports: Collection[int], client_ports: Collection[int]) -> None:
        wrong = set(server_ports) & set(client_ports) | set(UNPROTECTED_PORTS) & {*server_ports, *client_ports}
        if wrong or not server_ports or not client_ports:
            raise ValueError(f"protected ports must be there, be separate and not 5060 or 5061: {sorted(wrong)}")
        self._random = randomness.octets
        self._server_ports = tuple(server_ports)
        self._client_ports = tuple(client_ports)
        self._spis: set[int] = set()
        self._addresses: dict[str, _Address] = {}
        self._pairs: dict[Pair, int] = {}

    @property
    def spis_in_use(self) -> int:
        return len(self._spis)

    @property
    def addresses_in_use(self) -> int:
        return len(self._addresses)

    def allocate(
        self, phone: Hashable, address: str, theirs: Ends, inner: str = "", keep: int | None = None
    ) -> Ends:
        """Our ends of a new set; the phone's are its own from now. `inner` is what the phone calls itself, `keep` the
        server port that it has. Raises Taken and NothingLeft.
        """
        inner = inner or address
        place = self._addresses.get(address) or _Address()
        for thing in _things(theirs):
            owner = place.owners.get(thing)
            if owner is not None and owner[0] != phone:
                raise Taken(f"{_named(thing)} at {address} is another phone's")
        server_port = self._server_port(place, phone, (inner, theirs.port_c), keep)
        client_port = self._client_port(place, address, (inner, theirs.port_s))
        spi_c = self._spi((theirs.spi_c, theirs.spi_s))
        spi_s = self._spi((theirs.spi_c, theirs.spi_s, spi_c))
        ours = Ends(spi_c, spi_s, client_port, server_port)
        self._enter(place, phone, address, ours, theirs, inner)
        return ours

    def adopt(self, phone: Hashable, address: str, ours: Ends, theirs: Ends, inner: str = "") -> None:
        """What a former process gave. Raises Taken."""
        place = self._addresses.get(address) or _Address()
        if {ours.spi_c, ours.spi_s} & self._spis or ours.port_c in place.client_ports:
            raise Taken(f"an SPI or port towards {address} was given twice")
        self._enter(place, phone, address, ours, theirs, inner or address)

    def release(self, phone: Hashable, address: str, ours: Ends, theirs: Ends, inner: str = "") -> None:
        """Takes back what `allocate` gave; once."""
        place = self._addresses[address]
        self._spis -= {ours.spi_c, ours.spi_s}
        place.disclaim(phone, ours, theirs)
        for pair in _pairs(inner or address, ours, theirs):
            sets = self._pairs.pop(pair)
            if sets > 1:
                self._pairs[pair] = sets - 1
        if not place.client_ports:
            del self._addresses[address]

    def _enter(
        self, place: _Address, phone: Hashable, address: str, ours: Ends, theirs: Ends, inner: str
    ) -> None:
        self._addresses[address] = place
        self._spis.update((ours.spi_c, ours.spi_s))
        place.claim(phone, ours, theirs)
        for pair in _pairs(inner, ours, theirs):
            self._pairs[pair] = self._pairs.get(pair, 0) + 1

    def _server_port(self, place: _Address, phone: Hashable, there: tuple[str, int], keep: int | None) -> int:
        """The phone's own while its end of it is new; else one that makes its packets distinct, if there is one."""
        known = keep if keep is not None else next(iter(place.server_ports.get(phone, ())), None)
        if known is not None and (*there, known) not in self._pairs:
            return known
        load = place.server_load
        by_load = sorted(self._server_ports, key=lambda port: load.get(port, 0)) if load else self._server_ports
        for port in by_load:
            if (*there, port) not in self._pairs:
                return port
        return known if known is not None else by_load[0]

    def _client_port(self, place: _Address, address: str, there: tuple[str, int]) -> int:
        """The next in turn, so that one that was just given back rests a while."""
        count = len(self._client_ports)
        for step in range(count):
            port = self._client_ports[(place.next_client + step) % count]
            if port not in place.client_ports and (*there, port) not in self._pairs:
                place.next_client = (place.next_client + step) % count + 1
                return port
        raise NothingLeft(f"no client port is left towards {address}")

    def _spi(self, avoid: Collection[int]) -> int:
        """Random, so that nobody outside can name an association; never reserved, never in use."""
        for _ in range(64):  # far less than half are in use: so many misses in a row are a broken generator
            spi = int.from_bytes(self._random(4), "big")
            if spi >= RESERVED_SPIS and spi not in self._spis and spi not in avoid:
                return spi
        raise NothingLeft("no SPI was free")
