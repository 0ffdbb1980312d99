"""A ladder diagram of what happens, line by line as it happens: one lane a party, one line a message.

It is drawn from events alone, so it shows what was sent and decided, not what ought to be.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from redoubt.events import Bug, Check, Deregistered, Event, MessageSeen, Refused, Registered
from redoubt.lab.headlines import facts_of, label_of

LANES = ("ue-1", "p-cscf", "i-cscf", "s-cscf", "hss", "ue-2")
NARROWEST_LANE, WIDEST_LANE, LEAST_FACTS = 10, 13, 24
PROOFS = {  # what a check that held has proved, by the rule's own words
    "AUTN was made with this card's key and is fresh": "network authenticated by AUTN: it knows this card's key",
    "the response matches XRES": "user authenticated by RES; keys agreed: CK and IK at both ends, never sent to the UE",
}


@dataclass(frozen=True, slots=True)
class Strokes:
    """What lines are drawn with."""

    lane: str
    dash: str
    right: str
    left: str
    good: str
    bad: str


UNICODE = Strokes("│", "─", "▶", "◀", "✓", "✗")
ASCII = Strokes("|", "-", ">", "<", "ok", "FAILED")


class Ladder:
    """A listener of events that writes lines. `names` maps "ip:port" to a lane and may grow while it runs."""

    def __init__(
        self,
        write: Callable[[Text], None],
        names: Mapping[str, str],
        width: int,
        *,
        strokes: Strokes = UNICODE,
        lanes: Sequence[str] = LANES,
    ) -> None:
        self._write = write
        self._names = names
        self._lanes = list(lanes)
        self._strokes = strokes
        self._lane_width = max(NARROWEST_LANE, min(WIDEST_LANE, (width - LEAST_FACTS) // len(lanes)))
        self._width = max(width, self._lane_width * len(lanes) + LEAST_FACTS // 2)

    def head(self, title: str) -> None:
        """Starts a part: its title and the names of the lanes."""
        self._write(Text())
        self._write(Text(title, "bold"))
        centred = "".join(name.upper().center(self._lane_width) for name in self._lanes)
        self._write(Text(centred.rstrip(), "bold cyan"))

    def __call__(self, event: Event) -> None:
        """Draws an event, if it is one to be seen."""
        match event:
            case MessageSeen():
                self._message(event)
            case Check(passed=True):
                self._proved(event)
            case Check():
                seen = f" (expected {event.expected or 'that'}, saw {event.seen or 'otherwise'})"
                self._note(f"{event.node.upper()}: not so: {event.rule}{seen}, {event.clause}", good=False)
            case Refused():
                self._note(f"{event.node.upper()} refuses with {event.status}: {event.why} {event.clause}", good=False)
            case Registered():
                self._note(f"{event.impu} is registered for {event.expires_s} s")
            case Deregistered():
                self._note(f"{event.impu} is no longer registered ({event.cause})")
            case Bug():
                self._note(f"{event.node.upper()}: {event.traceback.strip().splitlines()[-1]}", good=False)

    # ---- inside

    def _message(self, event: MessageSeen) -> None:
        sender, receiver = self._lane_of(event.sender), self._lane_of(event.receiver)
        label, facts = label_of(event.transport, event.text), facts_of(event.transport, event.text)
        if sender is None or receiver is None or sender == receiver:
            return
        line = Text(no_wrap=True, overflow="ellipsis")
        left, right = sorted((sender, receiver))
        half = self._lane_width // 2
        line.append(self._lanes_between(0, left, half))
        line.append(self._arrow(label, left, right, sender < receiver), _style(label))
        line.append(self._lanes_between(right, len(self._lanes) - 1, 0)[1:])
        line.append("  " + facts, "dim")
        line.truncate(self._width, overflow="ellipsis")
        line.rstrip()
        self._write(line)

    def _lane_of(self, party: str) -> int | None:
        name = self._names.get(party, party)
        return self._lanes.index(name) if name in self._lanes else None

    def _lanes_between(self, first: int, last: int, indent: int) -> str:
        """The lanes from one to another, its own stroke left to the arrow when it is the last."""
        if indent:  # from the left edge up to the arrow's start
            gap = " " * (self._lane_width - 1)
            return " " * indent + "".join(self._strokes.lane + gap for _ in range(first, last))
        gap = " " * (self._lane_width - 1)
        return self._strokes.lane + "".join(gap + self._strokes.lane for _ in range(first, last))

    def _arrow(self, label: str, left: int, right: int, rightward: bool) -> str:
        strokes = self._strokes
        inner = (right - left) * self._lane_width - 2
        body = label[:inner].center(inner, "\0").replace("\0", strokes.dash)
        body = f"{body}{strokes.right}" if rightward else f"{strokes.left}{body}"
        return strokes.lane + body + strokes.lane

    def _proved(self, check: Check) -> None:
        proof = PROOFS.get(check.rule)
        if proof is not None:
            self._note(f"{check.step} at {self._names.get(check.node, check.node).upper()}: {proof}")

    def _note(self, text: str, *, good: bool = True) -> None:
        """What was proved or refused is never cut: it goes on below."""
        mark, edge = self._strokes.good if good else self._strokes.bad, " " * (self._lane_width // 2)
        further = f"{edge}{' ' * len(mark)} "
        for line in textwrap.wrap(text, self._width, initial_indent=f"{edge}{mark} ", subsequent_indent=further):
            self._write(Text(line, "green" if good else "bold red"))


def _style(label: str) -> str:
    status = label.split()[-1]
    if not status.isdigit():
        return "bold"
    return "green" if status[0] == "2" else "yellow" if status in ("401", "100", "180", "183") else "red"
