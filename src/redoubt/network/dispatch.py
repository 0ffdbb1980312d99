"""Which function serves a request next: one of this process, by its own URI, or whoever a wire leads to."""

from collections.abc import Callable, Set

from redoubt.events import MessageSeen
from redoubt.sip.fields import ROUTE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Answer, Context, Exchange, Service
from redoubt.sip.stack_wire import redacted
from redoubt.sip.uri import SipUri, Uri, is_ip_address, parse_uri
from redoubt.transport.flow import Internal


class Dispatch:
    """A service that hands a request to the function that its topmost Route or Request-URI names (RFC 3261 16.6).

    `own` maps host names (and host:port) to (name, service); everything else goes to `outbound`, by the `exit` if it
    leaves the network.
    """

    def __init__(
        self, context: Context, own: dict[str, tuple[str, Service]], outbound: Service, exit: "Exit | None" = None
    ) -> None:
        self._context = context
        self._own = own
        self._outbound = outbound
        self._exit = exit

    def __call__(self, request: Request, exchange: Exchange) -> Answer:
        found = self._own.get(destination(request))
        if found is None and self._exit is not None and self._exit.leads(request):
            found = self._own.get(self._exit.host)
        if found is None:
            exchange.node = self._context.node  # what goes wrong on the way out went wrong there
            return self._outbound(request, exchange)
        name, service = found
        exchange.node = name
        if not self._context.events.tracing:
            return service(request, exchange)
        return self._traced(name, service, request, exchange)

    async def _traced(self, name: str, service: Service, request: Request, exchange: Exchange) -> Response | None:
        """The same, shown to whoever watches: a collapsed hop appears in a ladder as a hop on a wire would."""
        security = exchange.flow.security
        caller = security.caller if isinstance(security, Internal) else self._context.node
        self._seen(caller, name, request)
        exchange = Exchange(exchange.flow, exchange.root, exchange, lambda response: self._seen(name, caller, response))
        response = await service(request, exchange)
        return None if response is None else exchange.passed(response)

    def _seen(self, sender: str, receiver: str, message: Request | Response) -> None:
        self._context.events.emit(
            MessageSeen(
                at=self._context.clock.now(),
                node=self._context.node,
                sender=sender,
                receiver=receiver,
                transport="internal",
                text=redacted(message.to_bytes().decode("utf-8", "surrogateescape")),
                call_id=message.get("Call-ID") or "",
            )
        )


class Exit:
    """Where requests leave the network: what goes to another network's domain gets the IBCF as its next hop
    (TS 24.229 5.2.6.3, 5.4.3.2, 5.10.2); so does what goes to an address that is none of `inside`, this network's.
    """

    def __init__(self, uri: str, realm: str, has_route: Callable[[SipUri], bool], inside: Set[str]) -> None:
        parsed = parse_uri(uri)
        assert isinstance(parsed, SipUri)
        self.host = parsed.host if parsed.port is None else f"{parsed.host}:{parsed.port}"
        self._route = f"<{parsed.scheme}:{self.host};lr>"
        self._realm = realm.lower()
        self._has_route = has_route
        self._inside = inside

    def leads(self, request: Request) -> bool:
        """Whether the request leaves; if so, its Route says that it does so here."""
        route = request.first(ROUTE)
        uri = route.uri if route is not None else request.request_uri
        if not isinstance(uri, SipUri) or self._has_route(uri):
            return False
        place = uri.param("maddr") if uri.params else None
        host = uri.address if place is None else place.strip("[]").lower()
        if host in self._inside or host == self._realm or host.endswith(f".{self._realm}"):
            return False
        request.push("Route", self._route)
        return True


class Homes:
    """With which networks phones may register here (TS 24.229 5.2.2.1): this one; where there is a border, those that
    its agreements lead to; those of static routes. Whoever a phone names else would vouch for it, and be believed.
    """

    def __init__(self, realm: str, routes: Set[str], has_border: bool) -> None:
        self._realm = realm.lower()
        self._routes = frozenset([host.lower() for host in routes])
        self._has_border = has_border

    def __call__(self, uri: Uri) -> bool:
        """Whether a REGISTER may go there."""
        if not isinstance(uri, SipUri) or uri.has("maddr"):
            return False
        if uri.host == self._realm or uri.host in self._routes:
            return True
        return self._has_border and not is_ip_address(uri.host) and not uri.host.endswith(f".{self._realm}")


def destination(request: Request) -> str:
    """The host (and port, when written) that the request goes to next."""
    route = request.first(ROUTE)
    uri = route.uri if route is not None else request.request_uri
    if not isinstance(uri, SipUri):
        return ""
    return uri.host if uri.port is None else f"{uri.host}:{uri.port}"
