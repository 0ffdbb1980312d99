"""Merged requests (RFC 3261 8.2.2.2): one request that reached a user agent server by two ways."""

import asyncio
from collections import deque

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.fields import VIA
from redoubt.sip.message import Request
from redoubt.sip.transaction_timers import CORE

Key = tuple[str, str, int, str]


class MergedRequests:
    """For a user agent server or registrar: proxies let a spiral through, so this is not the edge's business."""

    def __init__(self, remembered_s: float = CORE.transaction_s) -> None:
        self._remembered_s = remembered_s
        self._branches: dict[Key, str] = {}
        self._expiry: deque[tuple[float, Key]] = deque()

    def check(self, request: Request) -> None:
        """Raises SipError 482 if the request is here already by another way; call it once a request."""
        if request.to.tag is not None:
            return
        now = asyncio.get_running_loop().time()
        while self._expiry and (self._expiry[0][0] <= now or len(self._expiry) >= limits.MERGED_REQUESTS):
            self._branches.pop(self._expiry.popleft()[1], None)
        cseq = request.cseq
        key = (request.from_.tag or "", request.call_id, cseq.number, cseq.method)
        branch = request.need(VIA).branch or ""
        known = self._branches.get(key)
        if known is None:
            self._branches[key] = branch
            self._expiry.append((now + self._remembered_s, key))
        elif known != branch:
            raise SipError(482, "the same request came by another way", "RFC 3261 8.2.2.2")
