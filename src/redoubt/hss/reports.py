"""What the HSS tells its operator: why it refused, and that its store fails or works again."""

from redoubt.diameter.cx import ResultCode
from redoubt.events import Check
from redoubt.hss.reasons import REASONS, STORE_ADVICE, Reason
from redoubt.hss.store import StoreFailed
from redoubt.sip.service import Context


class Reports:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._store_fails = False
        self._writing_fails = False

    def refused(
        self,
        step: str,
        result: ResultCode,
        impi: str,
        impu: str,
        seen: str = "",
        reason: Reason | None = None,
    ) -> ResultCode:
        """Says why as an event; the peer gets the code and no more (requirement row 108)."""
        reason = reason or REASONS[result]
        self._context.events.emit(
            Check(
                at=self._context.clock.now(),
                node=self._context.node,
                call_id="",
                step=step,
                rule=reason.rule,
                passed=False,
                impi=impi,
                impu=impu,
                seen=seen,
                fault=reason.fault,
                clause=reason.clause,
                advice=reason.advice,
            )
        )
        return result

    def store_failed(self, fault: StoreFailed, *, writing: bool) -> None:
        """One alarm for each outage, however many requests it meets."""
        self._writing_fails = self._writing_fails or writing
        if not self._store_fails:
            self._store_fails = True
            self._context.notice("alarm", f"the HSS's store fails: {fault}", STORE_ADVICE)

    def store_works(self, *, writing: bool) -> None:
        """A full disk can still be read: only a write shows that writing works again."""
        if self._store_fails and (writing or not self._writing_fails):
            self._store_fails = self._writing_fails = False
            self._context.notice("info", "the HSS's store works again")
