"""What a MAR gets: whether the ceilings let it have vectors, what an AUTS means, which sequence numbers come next."""

import asyncio

from redoubt.aka.sequence import SequenceExhausted
from redoubt.config import HssConfig
from redoubt.diameter.cx import ResultCode, Resynchronisation
from redoubt.hss.authentication import AuthenticationCentre, Plan
from redoubt.hss.keys import NotSealedHere
from redoubt.hss.reasons import FALSE_AUTS
from redoubt.hss.records import PrivateRecord
from redoubt.hss.reports import Reports
from redoubt.limits import HSS_VECTORS_PER_ANSWER
from redoubt.sip.service import Context


class Planning:
    def __init__(self, context: Context, config: HssConfig, centre: AuthenticationCentre, reports: Reports) -> None:
        self._context = context
        self._config = config
        self._centre = centre
        self._reports = reports

    def plan(
        self, record: PrivateRecord, impu: str, server: int, count: int, sent: Resynchronisation | None
    ) -> Plan | ResultCode:
        """Which sequence numbers this MAR gets, or why none (TS 29.228 6.3.1, TS 33.102 6.3.5)."""
        try:
            sqn_ms = None
            if sent is not None:
                check = self._context.enforces("resync-mac")
                sqn_ms = self._centre.sqn_of_card(record, sent, check_mac=check)
                if sqn_ms is None:
                    rejected = ResultCode.AUTHORIZATION_REJECTED
                    return self._reports.refused("CM1", rejected, record.impi, impu, reason=FALSE_AUTS)
                self._centre.answered(record)  # only the card itself can make a right MAC-S
            wanted = min(count, HSS_VECTORS_PER_ANSWER)
            now = asyncio.get_running_loop().time()
            granted = self._centre.granted(record, wanted, self._config.max_pending_per_user, now)
            if granted == 0:
                return self._reports.refused("CM1", ResultCode.TOO_BUSY, record.impi, impu)
            return self._centre.plan(record, server, granted, sqn_ms)
        except SequenceExhausted as fault:
            self._context.notice("alarm", str(fault), "the card must be replaced (TS 33.102 C.1.1)")
        except NotSealedHere:
            self._context.notice("alarm", f"the stored keys of {record.impi} can't be opened", "import them again")
        return ResultCode.UNABLE_TO_COMPLY
