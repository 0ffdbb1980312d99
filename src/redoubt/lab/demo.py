"""`redoubt demo`: a network on loopback, two phones that register and talk, every message shown, and a verdict."""

import asyncio
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from redoubt.events import Bug, Check, Event, EventStream, MessageSeen, Refused
from redoubt.lab.ladder import ASCII, UNICODE, Ladder
from redoubt.lab.population import Resident, residents
from redoubt.network.run import Network
from redoubt.phone.call import CallState
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.phone.registration import RegistrationResult
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, Randomness, SystemRandomness

LIMIT_S = 30.0
RING_S, TALK_S = 0.3, 0.3
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


async def demo(console: Console | None = None, *, randomness: Randomness | None = None) -> Verdict:
    """Runs the demo; with a console, shows it there. The caller exits with the verdict's `exit_status`."""
    randomness = randomness or SystemRandomness()
    events = EventStream()
    events.tracing = True
    network = await Network.temporary(events=events, randomness=randomness)
    show = _Show(network, console)
    try:
        async with asyncio.timeout(LIMIT_S):
            await _scenes(network, show, randomness)
    except TimeoutError:
        show.claim("all of it ends in time", False)
    finally:
        await network.close()
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


async def _call(show: "_Show", alice: Phone, bob: Phone, target: str) -> None:
    show.scene("Alice calls Bob, Bob answers, Alice hangs up (TS 24.229 5.1.3, 5.4.3)")
    bob.answering = Answering(ring_s=RING_S)
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
        if console is not None:
            strokes = UNICODE if console.is_terminal and "utf" in console.encoding else ASCII
            self._ladder = Ladder(self._write, self._names, console.width, strokes=strokes)
        network.context.events.listen(self._happened)

    async def phone(self, person: Resident, randomness: Randomness) -> Phone:
        """A phone whose messages the P-CSCF's side shows, and whose own findings are shown too."""
        number = sum(name.startswith("ue-") for name in self._names.values()) + 1
        stream = EventStream()
        stream.listen(self._happened)
        context = Context(f"ue-{number}", stream, Clock(asyncio.get_running_loop()), randomness)
        host, port = self._network.p_cscf_address
        phone = Phone(context, person.card(), Stack(context), f"sip:{host}:{port}")
        await phone.open(f"udp:{host}:0")
        local = phone.line.flow.local
        self._names[f"{local[0]}:{local[1]}"] = f"ue-{number}"
        return phone

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
        self.verdict.messages += isinstance(event, MessageSeen)
        if isinstance(event, Bug | Refused) or (isinstance(event, Check) and not event.passed):
            self.troubles.append(event)
        if self._ladder is not None:
            self._ladder(event)
