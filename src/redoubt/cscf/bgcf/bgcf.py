"""The BGCF (TS 24.229 5.6): where a telephone number that no user of this network has leaves it.

The S-CSCF of the caller sends it requests to numbers that ENUM does not know; the longest prefix of [[bgcf.routes]]
says which gateway or partner's network takes them. It stays in no dialog.
"""

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import BgcfConfig
from redoubt.cscf.numbers import called_number
from redoubt.cscf.registering import demand_core_peer
from redoubt.events import Check, Fault
from redoubt.sip.errors import SipError
from redoubt.sip.fields import ROUTE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.sip.uri import SEPARATORS, SipUri, parse_uri

CLAUSE = "TS 24.229 5.6.2"


class Bgcf:
    """A service. Raises ConfigError for routes that lead nowhere, or back into this network."""

    def __init__(self, context: Context, config: BgcfConfig, realm: str, next: Service) -> None:
        self._context = context
        own = parse_uri(config.uri)
        self._own_host = own.host if isinstance(own, SipUri) else ""
        self._routes = _routes(config, realm.lower(), self._own_host)
        self._next = next
        self._under_way: set[tuple[object, ...]] = set()

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        """A number becomes a user of the gateway or network that takes it (RFC 3261 19.1.6)."""
        demand_core_peer(self._context, exchange)
        route = request.first(ROUTE)
        if route is not None and isinstance(route.uri, SipUri) and route.uri.host == self._own_host:
            request.pop_first(ROUTE)
        number = called_number(request.request_uri)
        to = self._route(number)
        self._check(request, number, to)
        if to is None:
            raise SipError(404, f"no route leads to {number or request.uri}", CLAUSE)
        request.uri = str(SipUri(to.scheme, number, None, to.host, to.port, (*to.params, ("user", "phone"))))
        cseq = request.cseq
        key = (request.call_id, request.from_.tag, cseq.number, cseq.method)
        if key in self._under_way:
            raise SipError(482, f"a call to {number} came back: the way out leads in again", "RFC 3261 16.3 step 4")
        self._under_way.add(key)
        try:
            return await forward(self._next, request, exchange, self._context.node)
        finally:
            self._under_way.discard(key)

    def _route(self, number: str) -> SipUri | None:
        """The longest prefix wins. The route for all others takes numbers in international form only: what 911 means
        depends on where it is dialled.
        """
        for prefix, to in self._routes:
            if number.startswith(prefix) and (prefix or number.startswith("+")):
                return to
        return None

    def _check(self, request: Request, number: str, to: SipUri | None) -> None:
        context, asked = self._context, str(request.uri)
        context.events.emit(
            Check(
                at=context.clock.now(), node=context.node, call_id=request.call_id, step=request.method,
                rule="a route leads to the number", passed=to is not None, impu=asked, clause=CLAUSE,
                seen="" if to is None else str(to), fault=Fault.NONE if to is not None else Fault.POLICY,
                advice="" if to is not None else _advice(number),
            )
        )  # fmt: skip


def _advice(number: str) -> str:
    if not number:
        return "only tel: URIs and SIP URIs with user=phone are routed here"
    if not number.startswith("+"):
        return f"the caller must dial the international form, or [[bgcf.routes]] must have a prefix of {number}"
    return f"the number is wrong, or [[bgcf.routes]] lacks a prefix of {number}"


def _routes(config: BgcfConfig, realm: str, own_host: str) -> list[tuple[str, SipUri]]:
    """Prefixes, the longest first."""
    found: dict[str, SipUri] = {}
    for route in config.routes:
        where = f"[[bgcf.routes]] prefix = {route.prefix!r}"
        prefix = route.prefix.translate(SEPARATORS)
        if prefix in found:
            raise ConfigError(f"{where}: there are two routes for it; keep one")
        if prefix.removeprefix("+").strip("0123456789*#"):
            raise ConfigError(f'{where} is no beginning of a number; write for example "+49"')
        try:
            to = parse_uri(route.to)
        except SipError:
            to = None
        if not isinstance(to, SipUri) or to.user is not None or to.headers:
            raise ConfigError(f'{where}: to = {route.to!r} is no gateway; write for example "sip:mgcf.example.net"')
        if to.host in (realm, own_host):
            raise ConfigError(f"{where}: to = {route.to!r} is this network itself, the call would go in a circle")
        found[prefix] = to
    return sorted(found.items(), key=lambda each: -len(each[0]))
