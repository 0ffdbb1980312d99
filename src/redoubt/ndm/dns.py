"""The DNS client: NAPTR, SRV and addresses through one driver, kept within bounds, with a word on how far they can be
believed (RFC 3263, RFC 6116, requirement row 114).

`authentic` means that the zone's owner said so: by DNSSEC that was validated here from an anchor, or by the word (the
AD bit) of a configured server, which counts only where nobody on the way can have changed it: behind TLS or a shared
key.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from redoubt import limits
from redoubt.ndm.dns_exchange import Asking, NameServer
from redoubt.ndm.dns_validation import Validator
from redoubt.sip.dns_records import LookupFailed, Naptr, Records, Srv
from redoubt.sip.service import Context

Data = dns.rdata.Rdata
_Key = tuple[dns.name.Name, str]


class _Kept(NamedTuple):
    until: float
    records: Records[Data]
    failure: str


class DnsClient:
    """Asks the servers in their order. Names are absolute, whether a dot stands at the end or not."""

    def __init__(
        self, context: Context, servers: Sequence[NameServer], validator: Validator | None = None
    ) -> None:
        self._context = context
        self._validator = validator
        self._askings = [Asking(context, server, validator is not None) for server in servers]
        self._kept: dict[_Key, _Kept] = {}
        self._under_way: dict[_Key, asyncio.Task[Records[Data]]] = {}

    async def naptr(self, name: str) -> Records[Naptr]:
        found = await self.ask(name, "NAPTR")
        values = [
            Naptr(
                each.order, each.preference, _text(each.service), str(each.replacement), _text(each.flags).lower(),
                _text(each.regexp),
            )
            for each in found.values
            if isinstance(each, NAPTR)
        ]  # fmt: skip
        return Records(tuple(values), found.ttl_s, found.authentic)

    async def srv(self, name: str) -> Records[Srv]:
        found = await self.ask(name, "SRV")
        values = [
            Srv(each.priority, each.weight, str(each.target), each.port)
            for each in found.values
            if isinstance(each, SRV) and each.target != dns.name.root
        ]
        return Records(tuple(values), found.ttl_s, found.authentic)

    async def addresses(self, name: str) -> Records[str]:
        """Of both families. One that can't be had is no reason to do without the other."""
        answers = await asyncio.gather(self.ask(name, "A"), self.ask(name, "AAAA"), return_exceptions=True)
        found = [each for each in answers if isinstance(each, Records)]
        for each in answers:
            if isinstance(each, BaseException) and (not isinstance(each, LookupFailed) or not _any_values(found)):
                raise each
        values = [each.address for records in found for each in records.values if isinstance(each, A | AAAA)]
        told = [records for records in found if records.values] or found
        return Records(tuple(values), min(r.ttl_s for r in told), all(r.authentic for r in told))

    async def ask(self, name: str, kind: str) -> Records[Data]:
        """Records of a kind. Raises LookupFailed. The same question is under way once (RFC 5452 5)."""
        key = (_name(name), kind)
        kept = self._kept.get(key)
        now = asyncio.get_running_loop().time()
        if kept is not None and kept.until > now:
            if kept.failure:
                raise LookupFailed(kept.failure)
            return Records(kept.records.values, kept.until - now, kept.records.authentic)
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= limits.DNS_QUESTIONS:
                raise LookupFailed("too many DNS questions are waiting for answers")
            task = asyncio.get_running_loop().create_task(self._answer(key))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)

    def close(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        for asking in self._askings:
            asking.close()

    # ---- inside

    def _over(self, key: _Key, task: "asyncio.Task[Records[Data]]") -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever asked has it, or nobody wants it any more

    async def _answer(self, key: _Key) -> Records[Data]:
        """From the first server that has one; kept, that there is none as well."""
        failures = []
        try:
            async with asyncio.timeout(limits.DNS_QUERY_S):
                for asking in self._askings:
                    try:
                        return await self._answer_of(asking, key)
                    except (LookupFailed, OSError) as failure:
                        failures.append(str(failure) or type(failure).__name__)
        except TimeoutError:
            failures.append(f"no answer within {limits.DNS_QUERY_S:.0f} s")
        why = f"{key[1]} of {key[0]}: {'; '.join(failures) or 'there is no name server to ask'}"
        self._keep(key, limits.DNS_FAILED_S, Records(), why)
        raise LookupFailed(why)

    async def _answer_of(self, asking: Asking, key: _Key) -> Records[Data]:
        message = await asking.ask(*key)
        if message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise LookupFailed(f"{asking.server} answers {dns.rcode.to_text(message.rcode())}")
        authentic = await self._is_authentic(asking, message)
        if not self._context.enforces("dns-bailiwick"):
            self._believe_everything(message, authentic)
        try:
            chain = message.resolve_chaining()
        except (dns.exception.DNSException, ValueError):
            raise LookupFailed(f"{asking.server} answers with a chain of names that has no end") from None
        if chain.answer is None:
            shortest_s, longest_s = limits.DNS_NOTHING_S
        else:
            shortest_s, longest_s = limits.DNS_CACHE_S
        values: tuple[Data, ...] = tuple(chain.answer or ())
        records = Records(values, min(max(float(chain.minimum_ttl), shortest_s), longest_s), authentic)
        self._keep(key, records.ttl_s, records)
        return records

    async def _is_authentic(self, asking: Asking, message: dns.message.QueryMessage) -> bool:
        """Proved here, or by a server whose word nobody could change. Raises LookupFailed for what is proved wrong."""
        if not self._context.enforces("dns-authentic"):
            return True
        if self._validator is not None and await self._validator.is_authentic(message, asking.ask):
            return True
        return asking.server.is_trusted and bool(message.flags & dns.flags.AD)

    def _keep(self, key: _Key, ttl_s: float, records: Records[Data], failure: str = "") -> None:
        if len(self._kept) >= limits.DNS_CACHE_ENTRIES:
            del self._kept[next(iter(self._kept))]
        self._kept.pop(key, None)
        self._kept[key] = _Kept(asyncio.get_running_loop().time() + ttl_s, records, failure)

    def _believe_everything(self, message: dns.message.Message, authentic: bool) -> None:
        """What resolvers did before 1997: records that nobody asked for are kept, too (RFC 2181 5.4.1)."""
        for rrset in (*message.answer, *message.authority, *message.additional):
            kind = dns.rdatatype.to_text(rrset.rdtype)
            self._keep((rrset.name, kind), float(rrset.ttl), Records(tuple(rrset), float(rrset.ttl), authentic))


def _any_values(found: Sequence[Records[Data]]) -> bool:
    return any(records.values for records in found)


def _name(text: str) -> dns.name.Name:
    try:
        return dns.name.from_text(text.rstrip(".") + ".")
    except (dns.exception.DNSException, UnicodeError) as error:
        raise LookupFailed(f"{text[:80]!r} is no domain name") from error


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
