"""Overload told and obeyed (RFC 7683): who is overloaded says by how much, who asks sends that much less.

Both roles of the loss algorithm. As reacting node, a report holds for its host, or for requests that name no host of
its realm; as reporting node, the share follows from how many requests wait here, or is set by whoever knows better.
"""

from collections.abc import Callable
from dataclasses import dataclass

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import AvpGroup, DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.sources import Randomness

LOSS = 1  # OLR_DEFAULT_ALGO (RFC 7683 7.2)
VALIDITY_S = 30  # RFC 7683 7.5: without one, or beyond the maximum
LONGEST_VALIDITY_S = 86_400
MOST_PERCENT = 90  # this node never asks for silence: it would not see that its load is gone
STEP_PERCENT = 10
STEP_S = 1.0

SUPPORTED = d.OC_SUPPORTED_FEATURES.of(AvpGroup().add(d.OC_FEATURE_VECTOR, LOSS))


@dataclass(slots=True)
class Report:
    """What an overloaded host or realm asked for."""

    sequence: int
    percent: int
    until: float


class Reacting:
    """What others reported (RFC 7683 5.2.1): keyed by application, kind and name."""

    def __init__(self, now: Callable[[], float], randomness: Randomness) -> None:
        self._now = now
        self._randomness = randomness
        self._reports: dict[tuple[int, d.ReportType, str], Report] = {}

    def heard(self, answer: DiameterMessage, host: str, realm: str) -> Report | None:
        """Takes the report of an answer from `host` of `realm`; what is new of it."""
        try:
            olr = answer.first(d.OC_OLR)
            if olr is None:
                return None
            sequence, kind = olr.need(d.OC_SEQUENCE_NUMBER), olr.need(d.OC_REPORT_TYPE)
            percent = olr.first(d.OC_REDUCTION_PERCENTAGE)
            validity_s = olr.first(d.OC_VALIDITY_DURATION)
        except DiameterError:
            return None  # a report that can't be read is none (RFC 7683 5.2.1.4)
        if percent is None or percent > 100:
            return None
        if validity_s is None or validity_s > LONGEST_VALIDITY_S:
            validity_s = VALIDITY_S
        key = (answer.application, kind, host if kind is d.ReportType.HOST else realm)
        known = self._reports.get(key)
        if known is not None and sequence <= known.sequence:
            return None  # old, or heard already: it starts nothing anew
        report = self._reports[key] = Report(sequence, percent, self._now() + validity_s)
        if len(self._reports) > limits.DIAMETER_OVERLOAD_REPORTS:
            del self._reports[next(iter(self._reports))]
        return report

    def abates(self, application: int, host: str, realm: str, *, named: bool) -> bool:
        """Whether this request is one of those not to send; `named`: it carries Destination-Host."""
        if not self._reports:
            return False
        report = self._valid((application, d.ReportType.HOST, host))
        if report is None and not named:
            report = self._valid((application, d.ReportType.REALM, realm))
        if report is None:
            return False
        return int.from_bytes(self._randomness.octets(2), "big") * 100 < report.percent << 16

    def _valid(self, key: tuple[int, d.ReportType, str]) -> Report | None:
        """Kept when it has run out, for its sequence number."""
        report = self._reports.get(key)
        return report if report is not None and report.percent and report.until > self._now() else None


class Reporting:
    """What this node asks of others (RFC 7683 5.2.2)."""

    def __init__(self, now: Callable[[], float], wall_clock: Callable[[], float], capacity: int) -> None:
        self.percent = 0
        self._now = now
        self._wall_clock = wall_clock
        self._capacity = capacity
        self._demanded = 0
        self._sequence = 0
        self._stepped_at = 0.0
        self._told_until = 0.0
        self._olr = d.OC_OLR.of(AvpGroup())

    def demand(self, percent: int) -> None:
        """Asks for this reduction until told otherwise, whatever the load here is; 0 leaves it to the load."""
        self._demanded = min(max(percent, 0), 100)
        self._set(self._demanded)

    def measure(self, waiting: int) -> bool:
        """The load is so many requests in work; once a second the share follows. True: overload began or ended."""
        now = self._now()
        steps = int((now - self._stepped_at) / STEP_S)
        if not steps or self._demanded:
            return False
        self._stepped_at = now
        step = STEP_PERCENT if waiting * 2 > self._capacity else -STEP_PERCENT * steps
        before = self.percent
        self._set(min(max(before + step, 0), MOST_PERCENT))
        return (before == 0) != (self.percent == 0)

    def stamp(self, request: DiameterMessage, answer: DiameterMessage) -> None:
        """Adds what an answer to a reacting node carries: nothing to whoever does not understand it."""
        if not request.has(d.OC_SUPPORTED_FEATURES):
            return
        answer.avps.append(SUPPORTED)
        if self.percent or self._told_until > self._now():
            answer.avps.append(self._olr)

    def _set(self, percent: int) -> None:
        """A changed or refreshed report has a higher sequence number, also after a restart (RFC 7683 7.4)."""
        now = self._now()
        if percent == self.percent and (not percent or self._told_until - now > VALIDITY_S / 2):
            return
        self.percent = percent
        self._sequence = max(self._sequence + 1, int(self._wall_clock() * 1000))
        self._told_until = now + VALIDITY_S
        report = AvpGroup().add(d.OC_SEQUENCE_NUMBER, self._sequence).add(d.OC_REPORT_TYPE, d.ReportType.HOST)
        report.add(d.OC_REDUCTION_PERCENTAGE, percent)
        report.add(d.OC_VALIDITY_DURATION, VALIDITY_S if percent else 0)
        self._olr = d.OC_OLR.of(report)
