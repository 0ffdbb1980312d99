"""The P-CSCF as two services: one for what phones send (Gm), one for what the core sends (Mw)."""

import asyncio
from collections.abc import Callable

from redoubt.config import PCscfConfig
from redoubt.cscf.pcscf.bindings import Binding, Bindings
from redoubt.cscf.pcscf.dialogs import Dialogs
from redoubt.cscf.pcscf.gm import Gm
from redoubt.cscf.pcscf.media import AccessMedia
from redoubt.cscf.pcscf.originating import Originating
from redoubt.cscf.pcscf.regevent import Subscriptions
from redoubt.cscf.pcscf.registration import Registration
from redoubt.cscf.pcscf.restart import Memory
from redoubt.cscf.pcscf.terminating import Access, Terminating
from redoubt.cscf.pcscf.tokens import FlowTokens
from redoubt.gm.ledger import Keepsakes
from redoubt.media.anchoring import Anchoring
from redoubt.sip.errors import SipError
from redoubt.sip.fields import ROUTE
from redoubt.sip.message import Request
from redoubt.sip.service import Answer, Context, Exchange, Service
from redoubt.sip.uri import SipUri, Uri, parse_uri
from redoubt.transport.flow import Flow

WATCH_AGAIN_S = 0.005  # between two subscriptions after a restart: 10,000 phones are watched again within a minute


class PCscf:
    """TS 24.229 5.2. `next` leads to the core, `access` to phones, who register where `is_home` says; `uri` is ours."""

    def __init__(
        self,
        context: Context,
        config: PCscfConfig,
        realm: str,
        uri: str,
        next: Service,
        access: Access,
        is_home: Callable[[Uri], bool],
        gm: Gm | None = None,
        anchoring: Anchoring | None = None,
        anchors_all: bool = False,
    ) -> None:
        own = parse_uri(uri)
        assert isinstance(own, SipUri)
        self._own = own
        host = own.host if own.port is None else f"{own.host}:{own.port}"
        self._tokens = FlowTokens(context)
        self.dialogs = Dialogs()
        self.gm = gm
        self.bindings = Bindings(self._ended, gm)
        self.subscriptions = Subscriptions(context, uri, self.bindings, next)
        self._subscribes = config.subscribe_reg_event
        self._registration = Registration(
            context, config, realm, host, self._tokens, self.bindings, next, self._registered, is_home, gm
        )
        if anchoring is not None:
            media = AccessMedia(anchoring, self.bindings, gm, always=anchors_all)
            next, access = media.from_phones(next), media.to_phones(access)
        self._originating = Originating(context, realm, host, config.home_entry, self.dialogs, next)
        self._terminating = Terminating(context, host, self.dialogs, access)
        if gm is not None and gm.keepsakes is not None:
            self._go_on(context, gm, gm.keepsakes)

    def from_phone(self, request: Request, exchange: Exchange) -> Answer:
        """TS 24.229 5.2.2 and 5.2.6.3: a phone that is not registered may register and nothing else."""
        if request.method == "REGISTER":
            return self._registration.register(request, exchange)
        if self.gm is not None:
            self.gm.admit(request, exchange.flow)
        bindings = self.bindings.of_flow(exchange.flow)
        if bindings and request.to.tag is not None:
            return self._lasting(request, exchange.flow, self._originating.in_dialog(request, exchange, bindings))
        bindings = [binding for binding in bindings if not binding.is_ending]
        if not bindings:
            raise SipError(403, "this flow is not registered", "TS 24.229 5.2.6.3.2A")
        return self._lasting(request, exchange.flow, self._originating.initial(request, exchange, bindings))

    def from_core(self, request: Request, exchange: Exchange) -> Answer:
        """TS 24.229 5.2.6.4: to the phone that the flow token names; and NOTIFY to this node itself."""
        token = self._pop_token(request)
        if token:
            binding = self._named(token, request)
            way = self.bindings.way_to(binding)
            if way is None:
                raise SipError(430, "the phone's flow is closed", "RFC 5626 5.3.1")
            return self._lasting(request, way, self._terminating.deliver(request, exchange, binding, way))
        if request.method == "NOTIFY":
            return self.subscriptions.notified(request, exchange)
        raise SipError(404, "the core sent a request that names no phone", "RFC 5626 5.3")

    def table_sizes(self) -> dict[str, int]:
        """Entries by table, for status and for tests that nothing is left."""
        sizes = {
            "bindings": len(self.bindings),
            "dialogs": len(self.dialogs),
            "subscriptions": len(self.subscriptions),
        }
        return sizes if self.gm is None else sizes | {"association sets": len(self.gm.associations.sets)}

    def close(self) -> None:
        """Forgets everyone: the flows end with the process."""
        for table in (self.bindings, self.dialogs, self.subscriptions):
            table.clear()
        if self.gm is not None:
            self.gm.close()

    def _lasting(self, request: Request, way: Flow, answer: Answer) -> Answer:
        """A phone may renew its associations while an INVITE rings: the one that carries it waits (TS 33.203 7.4)."""
        if request.method == "INVITE" and self.gm is not None:
            return self.gm.associations.serve(way, answer)
        return answer

    def _pop_token(self, request: Request) -> str | None:
        """The user part of this node's own URI on top of the Route."""
        route = request.first(ROUTE)
        if route is None or not isinstance(route.uri, SipUri) or route.uri.host != self._own.host:
            return None
        request.pop_first(ROUTE)
        return route.uri.user

    def _named(self, token: str, request: Request) -> Binding:
        binding = self.bindings.of_token(token, request.uri)
        if binding is None:  # a token that the table knows was made here, MAC and all
            binding = self.bindings.of_token(self._tokens.check(token), request.uri)
        if binding is None and request.to.tag is not None:  # registered anew with others, and so by another token
            dialog = self.dialogs.find((request.call_id, request.to.tag, request.from_.tag or ""))
            binding = dialog.owner if dialog is not None else None
        if binding is None:
            raise SipError(430, "the phone that the flow token names is not registered", "RFC 5626 5.3.1")
        return binding

    def _go_on(self, context: Context, gm: Gm, keepsakes: Keepsakes) -> None:
        """Where a former process ended: its phones are registered here still, and are watched again."""
        memory = Memory(keepsakes, context.clock, self.bindings.now())
        recalled = memory.recall(self.bindings, self.dialogs, gm)
        self.bindings.memory = self.dialogs.memory = memory
        if recalled and self._subscribes:
            context.start(self._watch_again(recalled))

    async def _watch_again(self, recalled: list[Binding]) -> None:
        """One after the other: the S-CSCFs must not suffer for this node's death."""
        for binding in recalled:
            await asyncio.sleep(WATCH_AGAIN_S)
            if self.bindings.find(binding.impu, binding.key) is binding:
                self.subscriptions.ensure(binding, self.bindings.now())

    def _registered(self, binding: Binding, came_at: float) -> None:
        if self._subscribes:
            self.subscriptions.ensure(binding, came_at)

    def _ended(self, binding: Binding) -> None:
        """A binding left the table: its calls can't be reached any more, its user set maybe needs no watching."""
        self.dialogs.remove_all_of(binding)
        self.subscriptions.relax(binding)
