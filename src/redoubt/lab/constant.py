"""What only a clock can tell (requirement rows 20 and 77): measured and reported, never asserted in a test.

Constant-time comparison: does a response that is wrong in its first digit take another time than one that is wrong in
its last? Equal answers: can a stranger tell a known user from an unknown one by the answer to a REGISTER?
"""

import random
import socket
import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redoubt.aka.digest import DigestAlgorithm, DigestFields, response, verify
from redoubt.lab.bench import Server
from redoubt.lab.bench_server import REALM
from redoubt.secret import Secret

COMPARISONS = 100_000
GUESSES = 2_000
CHANCE = 0.03  # a classifier this little above one half is guessing
TRIMMED = 0.9  # of the ordered times: above are interruptions, which say nothing of the code
ANSWER_S = 2.0

Tick = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """Two kinds of thing, timed in random order. `accuracy` is what the best threshold reaches: 0.5 is guessing."""

    question: str
    count: int
    first_us: float  # median of the first kind
    second_us: float
    t: float  # Welch's, of the trimmed times
    noise_t: float  # the same of two sets of one kind; above 4.5 this machine is too busy to tell small differences
    accuracy: float
    same_shape: bool
    indistinguishable: bool


def timing(
    comparisons: int = COMPARISONS, guesses: int = GUESSES, tick: Tick = lambda _what, _done, _of: None
) -> list[Timing]:
    """Both measurements."""
    return [comparison_timing(comparisons, tick), answer_timing(guesses, tick)]


def comparison_timing(count: int, tick: Tick = lambda _what, _done, _of: None) -> Timing:
    """Row 20: `verify` of responses that are wrong at the start and at the end, in random order."""
    fields = DigestFields(DigestAlgorithm.AKA_V1_MD5, f"u0@{REALM}", REALM, "bm9uY2U=", f"sip:{REALM}", "REGISTER")
    password = Secret(bytes(range(8)))
    right = response(fields, password)
    # The third is of the first kind again: what it seems to differ by is the noise of this machine.
    kinds = tuple(_changed(right, at) for at in (0, len(right) - 1, 1))
    order = random.Random(0).choices(range(3), k=count)
    times: tuple[list[int], list[int], list[int]] = ([], [], [])
    for number, kind in enumerate(order):
        claimed, taken = kinds[kind], times[kind]
        before = time.perf_counter_ns()
        verify(fields, password, claimed)
        taken.append(time.perf_counter_ns() - before)
        tick("comparing", number + 1, count)
    question = "a response wrong in its first digit, or in its last"
    return _judged(question, times[0], times[1], noise_t=_welch(times[0], times[2]), same_shape=True)


def answer_timing(guesses: int, tick: Tick = lambda _what, _done, _of: None) -> Timing:
    """Row 77: a stranger's first REGISTER for users that exist and users that don't, in random order."""
    server = Server(guesses, -1, False)
    order = random.Random(0)
    times: tuple[list[int], list[int]] = ([], [])
    shapes: tuple[set[str], set[str]] = (set(), set())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.settimeout(ANSWER_S)
            wire.connect((server.started["host"], server.started["port"]))
            for number in range(guesses):
                unknown = order.random() < 0.5
                name = f"v{number}" if unknown else f"u{number}"
                spent, answer = _asked(wire, name, number)
                times[unknown].append(spent)
                shapes[unknown].add(_shape(answer, name))
                tick("guessing", number + 1, guesses)
    finally:
        server.close()
    question = "REGISTER of a user who exists, or of one who doesn't"
    noise_t = _welch(times[0][::2], times[0][1::2])
    return _judged(question, *times, noise_t=noise_t, same_shape=shapes[0] == shapes[1])


def _asked(wire: socket.socket, name: str, number: int) -> tuple[int, str]:
    host, port = wire.getsockname()
    request = (
        f"REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKtiming{number};rport\r\n"
        f"From: <sip:{name}@{REALM}>;tag=t\r\nTo: <sip:{name}@{REALM}>\r\nCall-ID: timing{number}\r\n"
        f"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:{name}@{host}:{port}>\r\nExpires: 3600\r\n"
        f'Authorization: Digest username="{name}@{REALM}",realm="{REALM}",nonce="",uri="sip:{REALM}",response=""\r\n'
        "Content-Length: 0\r\n\r\n"
    ).encode()
    before = time.perf_counter_ns()
    wire.send(request)
    while True:
        answer = wire.recv(65_535).decode()
        if f"\r\nCall-ID: timing{number}\r\n" in answer:  # not a late one to an earlier question
            return time.perf_counter_ns() - before, answer


def _shape(answer: str, name: str) -> str:
    """Status, header names in their order, and size, where the name's own length doesn't count."""
    start, *headers = answer.partition("\r\n\r\n")[0].split("\r\n")
    size = len(answer) - answer.count(name) * len(name) - answer.count("timing") * 4
    return f"{start} {[line.partition(':')[0] for line in headers]} about {size // 32 * 32}"


def _changed(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def _judged(
    question: str, first: Sequence[int], second: Sequence[int], *, noise_t: float, same_shape: bool
) -> Timing:
    accuracy = _best_accuracy(first, second)
    return Timing(
        question=question,
        count=len(first) + len(second),
        first_us=round(statistics.median(first) / 1e3, 3),
        second_us=round(statistics.median(second) / 1e3, 3),
        t=round(_welch(first, second), 2),
        noise_t=round(noise_t, 2),
        accuracy=round(accuracy, 3),
        same_shape=same_shape,
        indistinguishable=same_shape and accuracy < 0.5 + CHANCE,
    )


def _welch(first: Sequence[int], second: Sequence[int]) -> float:
    one, other = _trimmed(first), _trimmed(second)
    spread = (statistics.variance(one) / len(one) + statistics.variance(other) / len(other)) ** 0.5
    return float((statistics.fmean(one) - statistics.fmean(other)) / spread) if spread else 0.0


def _trimmed(times: Sequence[int]) -> list[int]:
    ordered = sorted(times)
    return ordered[: max(2, int(len(ordered) * TRIMMED))]


def _best_accuracy(first: Sequence[int], second: Sequence[int]) -> float:
    """A threshold is chosen on one half of the times and tried on the other: what a guesser could really reach."""
    halves = [(sorted(times[::2]), sorted(times[1::2])) for times in (first, second)]
    (learned_one, tried_one), (learned_other, tried_other) = halves
    steps = [times[:: max(1, len(times) // 200)] for times in (learned_one, learned_other)]
    candidates = sorted({*steps[0], *steps[1]})
    best = max(candidates, key=lambda at: abs(_share_below(learned_one, at) - _share_below(learned_other, at)))
    sign = 1 if _share_below(learned_one, best) >= _share_below(learned_other, best) else -1
    return 0.5 + sign * (_share_below(tried_one, best) - _share_below(tried_other, best)) / 2


def _share_below(ordered: Sequence[int], at: int) -> float:
    return bisect_left(ordered, at) / len(ordered)
