"""Many lives of one HSS, each ended by SIGKILL at a moment that nobody chose; what one was told holds for the next.

    python -m hss.crash.campaign FOLDER LIVES SEED SYNCHRONOUS

runs in a process of its own, warm with all imports, that forks each life. With a DISK it is started under the file
layer of dropping.c: after each kill FOLDER becomes what had been synced, as after a power cut. Prints one line of JSON.
"""

import asyncio
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .disk import power_returns
from .life import Life
from .model import User, after, interrupted

USERS = 10
SHORT_LIVES = 8  # one of so many is killed by the clock, most of these while the store opens
SHORT_LIFE_S = 0.04
LINES = (22, 400)  # said before the kill by the others: so a busy machine tests as much as an idle one
PATIENCE_S = 60.0  # with a life that says nothing more
AFTERWARDS_S = 0.003  # at most, so that what happens at the kill is not always the same


@dataclass(frozen=True, slots=True)
class Moment:
    """When a life ends: after so many seconds or so many lines, and a little later."""

    seconds: float
    lines: int
    afterwards_s: float = 0.0

    @classmethod
    def drawn(cls, choice: random.Random) -> "Moment":
        if choice.randrange(SHORT_LIVES) == 0:
            return cls(choice.uniform(0.0, SHORT_LIFE_S), sys.maxsize)
        return cls(PATIENCE_S, choice.randint(*LINES), choice.uniform(0.0, AFTERWARDS_S))


ITS_OWN_END = Moment(PATIENCE_S, sys.maxsize)


@dataclass(slots=True)
class Report:
    """What a campaign came to. `wrong` says what was lost or spent twice; it must be empty."""

    lives: int = 0
    killed_while_opening: int = 0
    acknowledged: int = 0
    under_way: int = 0
    sequence_numbers: int = 0
    imports: int = 0
    wrong: list[str] = field(default_factory=list)


class Ledger:
    """What the lives so far have acknowledged."""

    def __init__(self) -> None:
        self.users = {user.name: user for user in (User(f"user{n}") for n in range(USERS))}
        self.under_way: dict[str, str] = {}
        self.imports: dict[int, bool] = {}
        self.report = Report()
        self._highest: dict[str, int] = {}

    def take(self, line: bytes) -> bool:
        """Enters one line of a life; whether it has found everything as it was told."""
        kind, *rest = json.loads(line)
        match kind:
            case "begin":
                name, operation = rest
                self.under_way[name] = operation
            case "is":
                name, which = rest
                if operation := self.under_way.pop(name, ""):
                    self.users[name] = interrupted(self.users[name], operation)[which]
            case "done":
                name, operation, spent = rest
                self._done(name, operation, spent)
            case "import begun":
                self.imports[rest[0]] = False
            case "import done":
                self.imports[rest[0]] = True
                self.report.imports += 1
            case "imported":
                number, there = rest
                self._imported(number, there)
            case "wrong":
                self.report.wrong.append(rest[0])
            case "checked":
                return True
        return False

    def _imported(self, number: int, there: bool) -> None:
        """What was under way at a kill is decided now, for ever."""
        if there:
            self.imports[number] = True
        else:
            del self.imports[number]

    def _done(self, name: str, operation: str, spent: list[int]) -> None:
        user = self.users[name]
        for number in spent:
            if number <= self._highest.get(user.impi, -1):
                self.report.wrong.append(f"{user.impi} got SQN {number} after {self._highest[user.impi]}")
            self._highest[user.impi] = number
        self.report.sequence_numbers += len(spent)
        self.report.acknowledged += 1
        self.under_way.pop(name, None)
        self.users[name] = after(user, operation)


def campaign(folder: Path, lives: int, seed: int, synchronous: str) -> Report:
    """Stops at the first life that finds something wrong."""
    moments = random.Random(seed)
    ledger = Ledger()
    for number in range(lives):
        _live(ledger, Life(folder, -1, seed * 1000 + number, synchronous), Moment.drawn(moments))
        ledger.report.lives += 1
        ledger.report.under_way += len(ledger.under_way)
        power_returns(folder)
        if ledger.report.wrong:
            return ledger.report
    _live(ledger, Life(folder, -1, seed * 1000 + lives, synchronous), ITS_OWN_END)
    return ledger.report


def _live(ledger: Ledger, life: Life, moment: Moment) -> None:
    """Forks a life and reads what it says until it is killed; the last one only looks, and ends by itself."""
    ears, mouth = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(ears)
        _be(life, mouth, ledger, only_look=moment is ITS_OWN_END)
    os.close(mouth)
    said = _heard(ears, moment)
    os.kill(child, signal.SIGKILL)
    said += _heard(ears, ITS_OWN_END)
    os.close(ears)
    os.waitpid(child, 0)
    checked = [ledger.take(line) for line in said.splitlines()]
    if not any(checked):
        ledger.report.killed_while_opening += 1


def _be(life: Life, mouth: int, ledger: Ledger, *, only_look: bool) -> None:
    life._pipe = mouth
    try:
        asyncio.run(life.run(list(ledger.users.values()), ledger.under_way, ledger.imports, only_look=only_look))
    finally:  # a forked child ends here whatever happens, and with a word about it
        if sys.exc_info()[0] is not None:
            os.write(mouth, json.dumps(("wrong", traceback.format_exc())).encode() + b"\n")
        os._exit(0)


def _heard(ears: int, moment: Moment) -> bytes:
    """Everything up to that moment or the end of the pipe. A line is written at once or not at all (PIPE_BUF)."""
    until = time.monotonic() + moment.seconds
    parts: list[bytes] = []
    lines = 0
    while lines < moment.lines and (left := until - time.monotonic()) > 0:
        if select.select([ears], [], [], left)[0]:
            part = os.read(ears, 1 << 16)
            if not part:
                break
            parts.append(part)
            lines += part.count(b"\n")
    time.sleep(moment.afterwards_s)
    return b"".join(parts)


if __name__ == "__main__":
    where, many, from_seed, level = sys.argv[1:]
    print(json.dumps(asdict(campaign(Path(where), int(many), int(from_seed), level))))
