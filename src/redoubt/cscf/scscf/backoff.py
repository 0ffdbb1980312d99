"""Back-off after wrong responses (TS 24.229 5.4.1): a source that keeps failing for a private identity waits, longer
each time. The identity itself is never locked: its owner at another source, or on a protected first hop, is served.
"""

from collections import OrderedDict
from dataclasses import dataclass

from redoubt.limits import BACK_OFF_S, FAILURES_REMEMBERED


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class BackOff:
    """Counts failures for each (private identity, source); the longest untouched are forgotten first."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, impi: str, source: str, now: float) -> bool:
        """Counts one; true when that starts a back-off, so that an alarm is given once."""
        key = (impi, source)
        failures = self._failures.setdefault(key, _Failures())
        self._failures.move_to_end(key)
        if failures.count >= self._allowed and now > failures.until + BACK_OFF_S:
            failures.count = 0  # long ago
        failures.count += 1
        beyond = failures.count - self._allowed
        if beyond >= 0:
            failures.until = now + min(2.0 ** min(beyond, 20), BACK_OFF_S)
        if len(self._failures) > FAILURES_REMEMBERED:
            self._failures.popitem(last=False)
        return beyond == 0

    def succeeded(self, impi: str, source: str) -> None:
        """The right response: what went before is forgiven."""
        if self._failures:
            self._failures.pop((impi, source), None)

    def wait_s(self, impi: str, source: str, now: float) -> int:
        """Seconds until this source gets a new challenge; 0: now."""
        if not self._failures:
            return 0
        failures = self._failures.get((impi, source))
        if failures is None or failures.until <= now:
            return 0
        return int(failures.until - now) + 1
