"""The media of one call: offers and answers of its dialogs (RFC 3264, RFC 3261 13, RFC 6337), applied to the relay.

A description counts when its offer is answered; until then what was agreed before stays. Forks of one INVITE share the
ports: the latest that describes itself has them, and from the answer on the one that answered. Until then media flows
to the caller only.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from redoubt.limits import MEDIA_DIALOGS_PER_CALL
from redoubt.media.description import ends_of, refusal, rewritten
from redoubt.media.legs import End, Side
from redoubt.media.relay import Relay, RelaySession
from redoubt.sip import sdp
from redoubt.sip.errors import SipError
from redoubt.transport.flow import Address

Key = tuple[str, str, str]  # Call-ID, the tag of the party outside, the tag of the one inside


@dataclass(frozen=True, slots=True)
class Outsider:
    """The party outside: a phone, or a partner's node.

    `host`: where its packets come from, if its descriptions are not to be believed, as of phones. `family`: the IP
    version that it has; None: the first that the relay has outside. `name`: who it is, of whose share of the ports its
    calls are; `calls`: how many of them it may have here, None where an agreement says so elsewhere.
    """

    host: str | None = None
    family: int | None = None
    name: Hashable = None
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer on its way. `number` orders those of a call: an older one's answer changes nothing any more."""

    number: int
    side: Side
    description: sdp.Session
    ends: tuple[End | None, ...]


class Call:
    """One call at the relay, with all its dialogs."""

    def __init__(self, relay: Relay, call_id: str, caller: Side, gated: bool, party: Hashable = None) -> None:
        self.party = party
        self.is_over = False
        self.session: RelaySession = relay.session(call_id, party)
        self.caller = caller
        self.dialogs: set[Key] = set()
        self.confirmed: Key | None = None
        self.unanswered: dict[Key, Offer] = {}  # offers in responses, which PRACK or ACK answers
        self._relay = relay
        self._gated = gated
        self._offers = 0
        self._settled = 0
        self._hosts: dict[Side, str] = {}

    # ---- offers

    async def offered(self, side: Side, description: sdp.Session, outsider: Outsider) -> tuple[Offer, sdp.Session]:
        """An offer in a request: what counts once it is answered, and how the other side sees it. Raises SipError."""
        offer, hosts = self._read(side, description, outsider)
        wanted = [None if end is None else hosts for end in offer.ends]
        if not any(wanted) and any(media.port for media in description.media):
            raise SipError(488, "no stream of the offer can be relayed", "RFC 3261 21.4.26")
        await self.session.provide(wanted)
        return offer, self._shown(description, offer.ends, side)

    async def provide_ahead(self, count: int, outsider: Outsider) -> None:
        """Ports for an offer that the response will bring (RFC 3261 13.2.1)."""
        hosts = self._host(Side.INSIDE, None), self._host(Side.OUTSIDE, outsider.family)
        await self.session.provide([hosts] * count)

    def offered_in_response(self, key: Key, side: Side, description: sdp.Session, outsider: Outsider) -> sdp.Session:
        """An offer in a response, for streams that there are ports for: others are refused in it. Raises SipError."""
        offer, _hosts = self._read(side, description, outsider)
        if key in self.unanswered or len(self.unanswered) < MEDIA_DIALOGS_PER_CALL:
            self.unanswered[key] = offer
        return self._shown(description, offer.ends, side)

    # ---- answers

    def answered(self, offer: Offer, key: Key | None, description: sdp.Session, outsider: Outsider) -> sdp.Session:
        """The answer: from now on both count, if it is of the dialog that lives. Raises SipError."""
        side = offer.side.other
        if len(description.media) != len(offer.ends):
            raise SipError(488, "an answer has not as many streams as its offer", "RFC 3264 6")
        ends = self._ends(side, description, outsider)
        self._check_family(side, ends)
        if (self.confirmed is None or key == self.confirmed) and offer.number >= self._settled:
            self._settle(offer, ends)
        return self._shown(description, ends, side)

    def refused(self, offer: Offer) -> sdp.Session:
        """An answer in place of one that is not passed on: no stream is taken."""
        if offer.number >= self._settled and self.confirmed is None:
            for stream in self.session.streams:
                if stream is not None:
                    stream.forget()
        return refusal(offer.description, self._hosts[offer.side])

    def confirm(self, key: Key) -> None:
        """The call is answered, by this dialog: media flows both ways."""
        if self.confirmed is None:
            self.confirmed = key
            self.session.is_answered = True
            self._open_gates()

    def close(self) -> None:
        """Nothing of it passes any more."""
        self.is_over = True
        self.session.close()

    # ---- inside

    def _read(self, side: Side, description: sdp.Session, outsider: Outsider) -> tuple[Offer, tuple[str, str]]:
        """An offer, and the relay's addresses inside and outside."""
        self._offers += 1
        offer = Offer(self._offers, side, description, self._ends(side, description, outsider))
        hosts = self._choose(offer, outsider)
        self._check_family(side, offer.ends)
        return offer, hosts

    def _check_family(self, side: Side, ends: tuple[End | None, ...]) -> None:
        """Media of a side stays with one IP version (RFC 6157 4): its ports are of that."""
        ours = 6 if ":" in self._host(side, None) else 4
        if any(end is not None and end.rtp is not None and not end.behind and end.family != ours for end in ends):
            raise SipError(488, f"the description is not of IPv{ours}, which this side has", "RFC 6157 4")

    def _ends(self, side: Side, description: sdp.Session, outsider: Outsider) -> tuple[End | None, ...]:
        behind = outsider.host if side is Side.OUTSIDE else None
        return ends_of(description, lambda ip, port: self._relay.judge(side, ip, port), behind)

    def _choose(self, offer: Offer, outsider: Outsider) -> tuple[str, str]:
        """The relay's addresses inside and outside: of the IP version that each side speaks, once and for all."""
        said = next((end.family for end in offer.ends if end is not None), None)
        spoken = {offer.side: said, offer.side.other: None}
        spoken[Side.OUTSIDE] = outsider.family or spoken[Side.OUTSIDE]
        return self._host(Side.INSIDE, spoken[Side.INSIDE]), self._host(Side.OUTSIDE, spoken[Side.OUTSIDE])

    def _host(self, side: Side, family: int | None) -> str:
        if side not in self._hosts:
            self._hosts[side] = self._relay.host(side, family)
        return self._hosts[side]

    def _shown(self, description: sdp.Session, ends: tuple[End | None, ...], side: Side) -> sdp.Session:
        """As the other side sees it."""
        places: list[Address | None] = []
        for place, end in enumerate(ends):
            stream = self.session.stream(place)
            places.append(stream.local(side.other) if stream is not None and end is not None else None)
        return rewritten(description, ends, places, self._host(side.other, None))

    def _settle(self, offer: Offer, ends: tuple[End | None, ...]) -> None:
        self._settled = offer.number
        for place, both in enumerate(zip(offer.ends, ends, strict=True)):
            stream = self.session.stream(place)
            if stream is None:
                continue
            offering, answering = both
            if offering is None or answering is None:
                stream.forget()
                continue
            stream.settle(offer.side, offering)
            stream.settle(offer.side.other, answering)
        self._open_gates()

    def _open_gates(self) -> None:
        """Before the answer, towards the caller only: a conversation over early media would be free of charge."""
        for stream in self.session.streams:
            if stream is not None:
                stream.gate(self.caller.other, True)
                stream.gate(self.caller, self.confirmed is not None or not self._gated)
