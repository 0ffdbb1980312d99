"""The media relay of border and access (IBGF, TrGW and the access border gateway of TS 23.228 and TS 29.165).

It holds ports towards both sides of a call, joins what arrives on them, IPv4 to IPv6 where need be, and closes with the
session, or when no packet has come for long. What sessions are and say is anchoring.py's matter.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from redoubt import limits
from redoubt.config.interconnect import MediaConfig
from redoubt.media.legs import Side, Stream
from redoubt.media.ports import NoPort, Pair, Ports
from redoubt.sip.errors import SipError
from redoubt.sip.service import Context
from redoubt.transport.flow import Address

SWEEP_S = 1.0  # in which quotas of packets are counted
PRIVILEGED_PORTS = range(1024)  # services live there; no media does

UNICAST = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))  # RFC 4291 2.4, RFC 4193

Ip = IPv4Address | IPv6Address


class RelaySession:
    """The streams of one call. `on_idle` hears when the relay gave it up."""

    def __init__(self, relay: "Relay", call_id: str, party: Hashable = None) -> None:
        self.call_id = call_id
        self.party = party  # whose share of the ports it takes of; None: nobody's
        self.streams: list[Stream | None] = []  # by the place of their m= line
        self.on_idle: Callable[[], None] = _nobody
        self.is_answered = False
        self.is_closed = False
        self._relay = relay
        self._counted = -1
        self._moved_at = asyncio.get_running_loop().time()

    async def provide(self, wanted: Sequence[tuple[str, str] | None]) -> None:
        """Opens ports for the streams that have none: at each place the hosts inside and outside, None for no stream.

        Raises SipError.
        """
        if sum(each is not None for each in wanted) > limits.MEDIA_STREAMS_PER_SESSION:
            raise SipError(488, "more streams than a call may have", "limits.MEDIA_STREAMS_PER_SESSION")
        self.streams.extend([None] * (len(wanted) - len(self.streams)))
        for place, hosts in enumerate(wanted):
            if hosts is None or self.streams[place] is not None:
                continue
            stream = await self._relay.opened(hosts, self)
            if self.is_closed or self.streams[place] is not None:  # meanwhile
                self._relay.release(stream, self)
            else:
                self.streams[place] = stream

    def stream(self, place: int) -> Stream | None:
        return self.streams[place] if place < len(self.streams) else None

    def is_idle(self, now: float, idle_s: float) -> bool:
        """No packet for so long; of a call that rings or is on hold, none for as long as calls last.

        Asked once a second, it grants each leg the packets of the next.
        """
        counted = 0
        for stream in self.streams:
            if stream is not None:
                for leg in stream.all_legs():
                    counted += leg.packets
                    leg.quota = leg.packets + limits.MEDIA_PACKETS_PER_S
        if counted != self._counted:
            self._counted, self._moved_at = counted, now
            return False
        flows = self.is_answered and any(stream.flows for stream in self.streams if stream is not None)
        return now - self._moved_at > (idle_s if flows else limits.DIALOG_LIFETIME_S)

    def close(self) -> None:
        """Nothing passes any more, and the ports are free. Twice is once."""
        if not self.is_closed:
            self.is_closed = True
            for stream in self.streams:
                if stream is not None:
                    self._relay.release(stream, self)
            self._relay.ended(self)


def _nobody() -> None:
    """Nobody wants to know."""


class Relay:
    """The relay of one process; to `listening` it sends no media. Raises ValueError for addresses or ports that make no
    sense.
    """

    def __init__(self, context: Context, config: MediaConfig, listening: frozenset[Address] = frozenset()) -> None:
        self._context = context
        self._listening = listening  # where functions of this network take signalling
        self._idle_s = float(config.idle)
        self._hosts = {Side.INSIDE: _by_family(config.inside), Side.OUTSIDE: _by_family(config.outside)}
        self._range = range(config.ports[0], config.ports[1] + 1)
        if len(self._range) < 2 or config.ports[0] in PRIVILEGED_PORTS:
            raise ValueError(f"[media] ports is {config.ports}; write the first and the last, such as [40000, 49999]")
        self._ports = Ports(*config.ports, context.randomness)
        self._sessions: dict[RelaySession, None] = {}
        shared = set(self._hosts[Side.INSIDE].values()) & set(self._hosts[Side.OUTSIDE].values())
        self._share = max(1, len(self._range) // (4 if shared else 2) // limits.MEDIA_PARTIES)
        self._streams_of: Counter[Hashable] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self.foreign = 0  # packets of third parties, of sessions that ended

    async def prove(self) -> None:
        """Opens and closes ports on every address. Raises OSError where one is not this machine's."""
        for host in {host for hosts in self._hosts.values() for host in hosts.values()}:
            self._ports.give_back(await self._ports.draw(host))

    def host(self, side: Side, family: int | None) -> str:
        """This relay's address towards a side: of that family, or else the first. Raises SipError."""
        hosts = self._hosts[side]
        if family is None:
            return next(iter(hosts.values()))
        if family not in hosts:
            raise SipError(488, f"the relay has no IPv{family} address {side.value}", "RFC 6157 4")
        return hosts[family]

    def judge(self, side: Side, ip: Ip, port: int) -> None:
        """Refuses addresses that no media comes from (requirement row 100). Raises SipError 488."""
        if not self._context.enforces("media-address"):
            return
        own = self._hosts[side].values()
        if not (ip.is_loopback or _is_a_hosts(ip)):
            raise _refused(f"media at {ip}")
        if ip.is_loopback and not any(ip_address(host).is_loopback for host in own):
            raise _refused(f"media at this machine's own {ip}")
        if port in PRIVILEGED_PORTS:
            raise _refused(f"media at port {port}")
        if (str(ip), port) in self._listening:
            raise _refused(f"media at {ip} port {port}, where this network listens")
        if not any(str(ip) in hosts.values() for hosts in self._hosts.values()):
            return
        held = self._ports.holds(str(ip), port)
        # Two functions of this process may each anchor the same call: the inner of them sees the other's port. On
        # loopback everybody has the relay's address.
        if side is Side.INSIDE:
            refused = port in self._range and not held and not ip.is_loopback
        else:
            refused = held or not ip.is_loopback
        if refused:
            raise _refused(f"media at the relay's own {ip} port {port}")

    def session(self, call_id: str, party: Hashable = None) -> RelaySession:
        """For a call of a party. Raises SipError 503."""
        if len(self._sessions) >= limits.MEDIA_SESSIONS:
            raise SipError(503, "the relay has as many calls as it may have", "limits.MEDIA_SESSIONS")
        made = RelaySession(self, call_id, party)
        self._sessions[made] = None
        if self._timer is None:
            self._sweep_later()
        return made

    async def opened(self, hosts: tuple[str, str], session: RelaySession) -> Stream:
        """Two pairs of ports, inside and outside. Raises SipError 503."""
        if session.party is not None and self._streams_of[session.party] >= self._share:
            raise SipError(503, f"{session.party} has its share of the relay's ports in use", "limits.MEDIA_PARTIES")
        self._streams_of[session.party] += 1
        pairs: dict[Side, Pair] = {}
        try:
            for side, host in zip((Side.INSIDE, Side.OUTSIDE), hosts, strict=True):
                pairs[side] = await self._ports.draw(host)
        except (NoPort, OSError) as error:
            raise SipError(503, f"no media ports: {error}", "[media] ports") from error
        finally:
            if len(pairs) < len(hosts):  # also when the call was given up meanwhile
                self._one_less(session.party)
                for pair in pairs.values():
                    self._ports.give_back(pair)

        def alarm(why: str, source: Address) -> None:
            place = f"{source[0]}:{source[1]}"
            self._context.refused(0, why, "requirement row 103", method="RTP", call_id=session.call_id, source=place)

        enforces = self._context.enforces
        return Stream(pairs, not enforces("media-source"), not enforces("media-packets"), alarm)

    def release(self, stream: Stream, session: RelaySession) -> None:
        """The ports are free again."""
        self._one_less(session.party)
        self.foreign += sum(leg.foreign for leg in stream.all_legs())
        for pair in stream.pairs.values():
            self._ports.give_back(pair)

    def _one_less(self, party: Hashable) -> None:
        self._streams_of[party] -= 1
        if not self._streams_of[party]:
            del self._streams_of[party]

    def ended(self, session: RelaySession) -> None:
        self._sessions.pop(session, None)
        if not self._sessions and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def table_sizes(self) -> dict[str, int]:
        """Entries by table, for status and for tests that nothing is left."""
        return {"media sessions": len(self._sessions), "media ports": 2 * len(self._ports)}

    def close(self) -> None:
        for session in list(self._sessions):
            session.close()

    # ---- idle sessions

    def _sweep_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for session in [each for each in self._sessions if each.is_idle(now, self._idle_s)]:
            what = f"no media came for {self._idle_s:.0f} s in call {session.call_id}: its ports are closed"
            self._context.notice("info", what, "a party went away without BYE, or a firewall stops its media")
            session.close()
            session.on_idle()
        if self._sessions:
            self._sweep_later()


def _is_a_hosts(ip: Ip) -> bool:
    """Whether it can be the address of one host that is not on this very link: of IPv6 only what is handed out, which
    leaves out all that has an IPv4 address in it but 6to4.
    """
    if isinstance(ip, IPv6Address):
        return any(ip in network for network in UNICAST)
    return not (ip.is_multicast or ip.is_link_local or ip.is_reserved or ip.is_unspecified)


def _refused(why: str) -> SipError:
    return SipError(488, why, "RFC 8866 5.7, requirement row 100")


def _by_family(hosts: tuple[str, ...]) -> dict[int, str]:
    """The addresses by IP version, in the order in which they are preferred."""
    found: dict[int, str] = {}
    for host in hosts:
        ip = ip_address(host)
        if ip.version in found or ip.is_unspecified or ip.is_multicast:
            raise ValueError(f"[media] inside and outside are one address of each family, and {host} is not one")
        found[ip.version] = str(ip)
    if not found:
        raise ValueError("[media] inside and outside need an address each")
    return found
