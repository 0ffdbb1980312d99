"""What `redoubt demo interconnect` shows: a ladder over several operators, what each wire told, a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from redoubt.events import Bug, Check, Event, MessageSeen, Refused
from redoubt.lab.demo import Verdict
from redoubt.lab.demo_interconnect_sites import Site
from redoubt.lab.demo_interconnect_wire import Findings, Link, beside, joined
from redoubt.lab.ladder import ASCII, UNICODE, Ladder
from redoubt.phone.phone import Phone
from redoubt.transport.flow import Address

ROLES = {"p-cscf": "p-cscf", "i-cscf": "cscf", "s-cscf": "cscf", "bgcf": "cscf", "hss": "hss", "ibcf": "border"}
MARGIN, ROW = 4, 96
NEAR = 30  # events among which a message is looked for that another operator received


@dataclass(slots=True)
class Outcome:
    """What was claimed, and what each wire told, by act."""

    where: str
    left_out: str = ""  # why there was no act with security gateways
    verdict: Verdict = field(default_factory=Verdict)
    findings: list[tuple[str, Findings]] = field(default_factory=list)


class Show:
    """Keeps the claims, and draws if there is a console. Events come from the threads of several operators."""

    def __init__(self, where: str, console: Console | None) -> None:
        self.outcome = Outcome(where)
        self.troubles: list[Event] = []
        self._console = console
        self._happened: list[tuple[Site | None, Event]] = []
        self._lanes: Sequence[str] = ()
        self._act = ""
        self._phones: dict[str, str] = {}  # address of a phone -> its lane
        self._far: dict[str, str] = {}  # address, or host, beyond the wire -> lane
        self._own: dict[str, set[str]] = {}  # a site's hosts

    # ---- who is there

    def watch(self, site: Site) -> None:
        """Its messages and decisions are seen from now on."""
        site.events.listen(lambda event: self._happened.append((site, event)))
        self._own[site.name] = {site.inside, site.border}

    def watch_phone(self, phone: Phone, name: str) -> None:
        host, port = phone.line.flow.local
        phone.context.events.listen(lambda event: self._happened.append((None, event)))
        for own in (port, phone.line.gm.port if phone.line.gm is not None else 0):
            self._phones[f"{host}:{own}"] = name

    def beyond(self, place: str | Address, site: Site, function: str) -> None:
        """What others send to there, or hear from there, is that function's."""
        text = place if isinstance(place, str) else "{}:{}".format(*place)
        self._far[text] = f"{ROLES[function]} {site.name}"

    # ---- what is told

    def act(self, title: str) -> None:
        self.aside()
        self._act = title
        self._print(Text())
        self._print(Text(f"=== {title}", "bold magenta"))

    def scene(self, title: str, *lanes: str) -> None:
        self._flush()
        self._lanes = lanes
        if self._console is not None and lanes:
            self._ladder().head(title)
        else:
            self._print(Text(f"\n{title}", "bold"))

    def aside(self) -> None:
        """What comes now is not drawn."""
        self._flush()
        self._lanes = ()

    def claim(self, text: str, held: bool) -> None:
        self._flush()
        self.outcome.verdict.claims.append((f"{self._act}: {text}", bool(held)))

    def found(self, link: Link) -> Findings:
        """What an eavesdropper on that link has got."""
        self._flush()
        findings = link.findings()
        self.outcome.findings.append((self._act, findings))
        if self._console is not None:
            for line in _told(link, findings):
                self._print(line)
        return findings

    def done(self, left_out: str = "") -> Outcome:
        """The verdict in words; why an act was not played, if one was not."""
        self.outcome.left_out = left_out
        self._flush()
        self._act = "Everywhere"
        self.claim("no fault", not any(isinstance(event, Bug) for event in self.troubles))
        verdict = self.outcome.verdict
        self._print(Text())
        for text, held in verdict.claims:
            self._print(Text(f"  {'yes' if held else 'NO '}  {text}", "green" if held else "bold red"))
        style = "bold green" if verdict.passed else "bold red"
        words = f"{'PASSED' if verdict.passed else 'FAILED'}: {verdict.messages} messages seen, {self.outcome.where}"
        self._print(Text(words, style))
        if left_out:
            self._print(Text(f"without the act of security gateways: {left_out}", "yellow"))
        return self.outcome

    # ---- inside

    def _flush(self) -> None:
        happened, self._happened = _in_order(self._happened), []
        ladder = self._ladder() if self._console is not None and self._lanes else None
        for site, event in happened:
            if isinstance(event, Bug | Refused) or (isinstance(event, Check) and not event.passed):
                self.troubles.append(event)
            if isinstance(event, MessageSeen):
                self.outcome.verdict.messages += 1
                placed = self._placed(site, event)
                if ladder is not None and placed is not None:
                    ladder(placed)
            elif ladder is not None:
                ladder(event)

    def _placed(self, site: Site | None, event: MessageSeen) -> MessageSeen | None:
        """The message between lanes; None for what another event shows.

        Between operators a request is seen when it is sent and a response when it comes: the other end is known then.
        """
        if site is None:
            return None
        sender, receiver = (self._lane(site, event, party) for party in (event.sender, event.receiver))
        if sender == receiver or not sender or not receiver:
            return None
        is_response, came = event.text.startswith("SIP/2.0"), event.sender in self._far or not self._is_of(site, event)
        if self._crosses(site, event) and is_response is not came:
            return None
        return replace(event, sender=sender, receiver=receiver)

    def _lane(self, site: Site, event: MessageSeen, party: str) -> str:
        if party in ROLES:
            return f"{ROLES[party]} {site.name}"
        host = party.rpartition(":")[0]
        if party in self._phones:
            return self._phones[party]
        if host in self._own[site.name]:
            return f"{ROLES.get(event.node, event.node)} {site.name}"
        return self._far.get(party) or self._far.get(host, "")

    def _is_of(self, site: Site, event: MessageSeen) -> bool:
        return event.sender.rpartition(":")[0] in self._own[site.name]

    def _crosses(self, site: Site, event: MessageSeen) -> bool:
        """Whether it goes from one operator to another."""
        ends = {end: end.rpartition(":")[0] for end in (event.sender, event.receiver)}
        far = (host for end, host in ends.items() if end in self._far or host in self._far)
        return any(host not in self._own[site.name] for host in far)

    def _ladder(self) -> Ladder:
        assert self._console is not None
        strokes = UNICODE if self._console.is_terminal and "utf" in self._console.encoding else ASCII
        return Ladder(self._print, {}, self._console.width, strokes=strokes, lanes=self._lanes)

    def _print(self, line: Text) -> None:
        if self._console is not None:
            self._console.print(line, soft_wrap=True)


def _in_order(happened: list[tuple[Site | None, Event]]) -> list[tuple[Site | None, Event]]:
    """What one operator sent before what another received: their threads report when they get round to it."""
    found: list[tuple[Site | None, Event]] = []
    for site, event in happened:
        at = len(found)
        if isinstance(event, MessageSeen):
            for near in range(max(0, at - NEAR), at):
                other, earlier = found[near]
                if other is not site and isinstance(earlier, MessageSeen) and earlier.text == event.text:
                    at = near
                    break
        found.insert(at, (site, event))
    return found


def _told(link: Link, found: Findings) -> list[Text]:
    """What is on a wire, and what of it can be read."""
    edge = " " * MARGIN
    packets = f" in {', '.join(f'{count} {name}' for name, count in found.packets.items())}" if found.packets else ""
    style = "green" if found.is_silent else "red"
    lines = [
        Text(),
        Text(f"What an eavesdropper has on the wire {found.link}: {found.octets} octets{packets}", "bold"),
        Text(f"{edge}SIP messages that can be read  {found.messages}", style),
        Text(f"{edge}who registers, calls, is called {joined(found.identities)}", style),
        Text(f"{edge}names of nodes                 {joined(found.nodes)}", style),
        Text(f"{edge}keys of phones (CK, IK)        {found.keys}", style),
    ]
    if found.keys:
        line = link.line_with(b'ck="')
        lines.append(Text(f"{edge}{line[: ROW - 1]}{'...' if len(line) >= ROW else ''}", "red"))
    elif found.is_silent:
        lines += [Text(f"{edge}{row}", "dim") for row in beside(link.sample(48))]
    return lines
