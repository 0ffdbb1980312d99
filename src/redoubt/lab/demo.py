"""`redoubt demo`: a network on loopback, two phones that register and talk, every message shown, and a verdict."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from redoubt.events import Bug, Check, Event, EventStream, MessageSeen, Refused
from redoubt.lab.eavesdropper import Eavesdropper
from redoubt.lab.ladder import ASCII, UNICODE, Ladder
from redoubt.lab.population import Resident, residents
from redoubt.network.run import Network
from redoubt.phone.call import CallState
from redoubt.phone.gm import GmOptions
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.phone.registration import RegistrationResult
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, Randomness, SystemRandomness

LIMIT_S = 30.0
RING_S, TALK_S = 0.3, 0.3
OCTETS_A_ROW, ROWS, ROW_OCTETS = 16, 14, 74  # of the packet that is shown
SETTLE_S = 0.3  # for the NOTIFYs that follow a de-registration


@dataclass(slots=True)
class Verdict:
    """What the demo showed: each claim and whether it held."""

    claims: list[tuple[str, bool]] = field(default_factory=list)
    messages: int = 0

    @property
    def passed(self) -> bool:
        return bool(self.claims) and all(held for _, held in self.claims)

    @property
    def exit_status(self) -> int:
        return 0 if self.passed else 1


Watcher = Callable[[Network], Coroutine[None, None, None]]
"""Watches the network for as long as the demo runs."""


async def demo(
    console: Console | None = None, *, randomness: Randomness | None = None, watcher: Watcher | None = None
) -> Verdict:
    """Runs the demo; with a console, shows it there. The caller exits with the verdict's `exit_status`."""
    randomness = randomness or SystemRandomness()
    events = EventStream()
    events.tracing = True
    network = await Network.temporary(events=events, randomness=randomness)
    show = _Show(network, console)
    watching = asyncio.create_task(watcher(network)) if watcher is not None else None
    try:
        async with asyncio.timeout(LIMIT_S):
            await _scenes(network, show, randomness)
    except TimeoutError:
        show.claim("all of it ends in time", False)
    finally:
        show.close()
        await network.close()
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
    show.verdict_in_words()
    return show.verdict


async def _scenes(network: Network, show: "_Show", randomness: Randomness) -> None:
    people = residents(("alice", "bob"), network.config.network.realm, randomness)
    assert network.hss is not None
    await network.hss.administration.add([person.subscriber() for person in people])
    alice, bob = [await show.phone(person, randomness) for person in people]
    try:
        for phone, name in ((alice, "Alice"), (bob, "Bob")):
            show.scene(f"{name} registers with IMS AKA (TS 33.203 6.1)")
            _claim_registration(show, name, await phone.register())
            show.claim(f"{name}'s phone and the P-CSCF speak under IPsec", _is_protected(phone))
            await asyncio.sleep(SETTLE_S / 3)
        await _call(show, alice, bob, people[1].impu)
        for phone, name in ((alice, "Alice"), (bob, "Bob")):
            show.scene(f"{name} deregisters (TS 24.229 5.1.1.6)")
            result = await phone.deregister()
            await asyncio.sleep(SETTLE_S)
            show.claim(f"{name} is deregistered", result.status == 200 and not phone.registration.holds)
    finally:
        await alice.close()
        await bob.close()
    show.claim("no fault and no failed check anywhere", not show.troubles)


def _claim_registration(show: "_Show", name: str, result: RegistrationResult) -> None:
    show.claim(f"the network proved to {name}'s card that it knows the key (AUTN)", result.network_authentic)
    show.claim(f"{name}'s card proved who it is (RES), and is registered", result.registered)


def _is_protected(phone: Phone) -> bool:
    """The phone knows of no other way than its association (TS 33.203 7.1)."""
    return phone.line.gm is not None and phone.line.gm.carrier() is not None


async def _call(show: "_Show", alice: Phone, bob: Phone, target: str) -> None:
    show.scene("Alice calls Bob, Bob answers, Alice hangs up (TS 24.229 5.1.3, 5.4.3)")
    bob.answering = Answering(ring_s=RING_S)
    sent = show.mark()
    call = alice.dial(target)
    show.claim("Bob's phone rings", await call.rings())
    show.claim("Bob answers", await call.answered())
    if call.state is not CallState.ANSWERED:
        return
    await asyncio.sleep(TALK_S)
    theirs = bob.incoming.get_nowait()
    show.claim("Bob sees who calls, as the network asserts it", theirs.other == alice.identity.impu)
    await call.hang_up()
    show.claim("the call is released at both ends", theirs.state is CallState.ENDED)
    show.on_the_air(*sent)


def beside(packet: bytes, message: str) -> list[Text]:
    """ESP as it is on the wire, and what it holds, line by line."""
    spi, sequence = int.from_bytes(packet[:4], "big"), int.from_bytes(packet[4:8], "big")
    lines = [Text(f"    ESP in UDP, SPI {spi:#010x}, sequence number {sequence}, {len(packet)} octets", "dim")]
    rows = [packet[at : at + OCTETS_A_ROW].hex(" ", 2) for at in range(8, len(packet), OCTETS_A_ROW)]
    inside = message.split("\r\n")
    for number, text in enumerate(inside[:ROWS]):
        row = rows[number] if number < len(rows) else ""
        line = Text(f"    {row:<{OCTETS_A_ROW * 5 // 2}}", "red", no_wrap=True)
        line.append(text[:ROW_OCTETS] + ("..." if len(text) > ROW_OCTETS else ""), "green")
        lines.append(line)
    return [*lines, Text(f"    ... and {max(0, len(inside) - ROWS)} lines more", "dim")]


class _Show:
    """Watches the network, keeps the claims, and draws if there is a console."""

    def __init__(self, network: Network, console: Console | None) -> None:
        self.verdict = Verdict()
        self.troubles: list[Event] = []
        self._lines: list[Text] = []
        self._network = network
        self._console = console
        self._names = dict(network.names)
        self._ladder: Ladder | None = None
        self._air: list[Eavesdropper] = []
        self._shown: list[MessageSeen] = []
        if console is not None:
            strokes = UNICODE if console.is_terminal and "utf" in console.encoding else ASCII
            self._ladder = Ladder(self._write, self._names, console.width, strokes=strokes)
        network.context.events.listen(self._happened)

    async def phone(self, person: Resident, randomness: Randomness) -> Phone:
        """A phone whose messages the P-CSCF's side shows, and whose own findings are shown too."""
        number = len(self._air) + 1
        stream = EventStream()
        stream.listen(self._happened)
        context = Context(f"ue-{number}", stream, Clock(asyncio.get_running_loop()), randomness)
        host, port = self._network.p_cscf_address
        air = await Eavesdropper.between(self._network.tunnel_address)
        self._air.append(air)
        options = GmOptions(port=air.address[1])
        phone = Phone(context, person.card(), Stack(context), f"sip:{host}:{port}", gm=options)
        await phone.open(f"udp:{host}:0")
        assert phone.line.gm is not None
        for own in (phone.line.flow.local[1], phone.line.gm.port):
            self._names[f"{host}:{own}"] = f"ue-{number}"
        return phone

    def mark(self) -> tuple[int, int]:
        """How much of the first phone passed so far: packets on the air, and messages inside."""
        return len(self._air[0].seen), len(self._shown)

    def on_the_air(self, packets: int, messages: int) -> None:
        """The packet after a mark beside the INVITE that it holds; and that no packet of any call could be read."""
        packet = next(data for up, data in self._air[0].seen[packets:] if up)
        invite = next(event.text for event in self._shown[messages:] if event.text.startswith("INVITE"))
        if self._ladder is not None:
            self._flush()
            self._write(Text())
            title = "What an eavesdropper has of Alice's INVITE, beside what it is (RFC 4303, RFC 3948)"
            self._write(Text(title, "bold"))
            for line in beside(packet, invite):
                self._write(line)
        every = b"".join(data for air in self._air for _, data in air.seen)
        self.claim("nothing of it can be read on the air", not any(word in every for word in (b"SIP/2.0", b"INVITE")))

    def close(self) -> None:
        for air in self._air:
            air.close()

    def scene(self, title: str) -> None:
        if self._ladder is not None:
            self._flush()
            self._ladder.head(title)

    def claim(self, text: str, held: bool) -> None:
        self._flush()
        self.verdict.claims.append((text, bool(held)))

    def verdict_in_words(self) -> None:
        if self._console is None:
            return
        self._write(Text())
        for text, held in self.verdict.claims:
            self._write(Text(f"  {'yes' if held else 'NO '}  {text}", "green" if held else "bold red"))
        words = "PASSED" if self.verdict.passed else "FAILED"
        style = "bold green" if self.verdict.passed else "bold red"
        self._write(Text(f"{words}: {self.verdict.messages} messages seen", style))
        self._flush()

    def _write(self, line: Text) -> None:
        self._lines.append(line)

    def _flush(self) -> None:
        """Prints what was drawn: here and not in the listener, so that a closed terminal ends the demo, not a call."""
        lines, self._lines = self._lines, []
        if self._console is not None:
            for line in lines:
                self._console.print(line, soft_wrap=True)

    def _happened(self, event: Event) -> None:
        if isinstance(event, MessageSeen):
            self.verdict.messages += 1
            self._shown.append(event)
        if isinstance(event, Bug | Refused) or (isinstance(event, Check) and not event.passed):
            self.troubles.append(event)
        if self._ladder is not None:
            self._ladder(event)
