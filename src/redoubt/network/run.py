"""The composition root: builds the functions that a configuration names, joins them, and runs them.

Collapsed or apart makes no difference to a function: its `next` is a dispatch that knows the functions of this process
and leaves everyone else to the wire.
"""

import asyncio
import errno
import gc
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from redoubt.border.hiding_keys import new_ring, write_ring
from redoubt.config import Config, ConfigError
from redoubt.cscf.bgcf.bgcf import Bgcf
from redoubt.cscf.icscf.icscf import ICscf
from redoubt.cscf.pcscf.pcscf import PCscf
from redoubt.cscf.scscf.scscf import SCscf
from redoubt.diameter.cx import Cx
from redoubt.events import EventStream
from redoubt.hss.hss import Hss
from redoubt.hss.keys import create_key, write_key_file
from redoubt.hss.rest_token import write_token_file
from redoubt.media.relay import Relay
from redoubt.ndm.dns_servers import dns_of
from redoubt.ndm.enum import Enum
from redoubt.ndm.gateways import Gateways
from redoubt.network.border import Border
from redoubt.network.configuration import addresses_inside, from_tree
from redoubt.network.diameter_nodes import DiameterNodes
from redoubt.network.dispatch import Dispatch, Exit, Homes
from redoubt.network.gm import GmNode, open_gm
from redoubt.network.gm_memory import MemoryPlace, memory_of
from redoubt.network.media import anchoring_of, open_relay
from redoubt.network.traced_cx import TracedCx, TracedCxClient
from redoubt.sip.message import Request
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Answer, Context, Exchange, Service
from redoubt.sip.stack import Stack
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.sources import Clock, Randomness, SystemRandomness
from redoubt.transport.flow import Address, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings, sip_node

if TYPE_CHECKING:
    from redoubt.hss.rest_server import RestServer

FUNCTIONS = ("p-cscf", "i-cscf", "s-cscf", "hss", "ibcf", "bgcf")


class Network:
    """A running network, or the part of one that this process runs. Made by `start`, ended by `close`."""

    def __init__(self, config: Config, directory: Path, context: Context, only: frozenset[str]) -> None:
        self.config = config
        self.directory = directory
        self.context = context
        self.only = only
        self.names: dict[str, str] = {}  # "ip:port" -> function, for ladders
        self.stacks: dict[str, Stack] = {}
        self.hss: Hss | None = None
        self.rest: RestServer | None = None
        self.p_cscf: PCscf | None = None
        self.gm: GmNode | None = None
        self._memory: MemoryPlace | None = None
        self.i_cscf: ICscf | None = None
        self.s_cscf: SCscf | None = None
        self.border: Border | None = None
        self._border_tls: TlsSettings | None = None
        self.relay: Relay | None = None
        self.gateways = Gateways(context.named("gateways"), config.gateways)
        self.diameter = DiameterNodes(config, self.gateways)
        self._own: dict[str, tuple[str, Service]] = {}
        self.dns = dns_of(context, config.dns)
        tls = bool(config.network.certificate or config.ibcf.certificate)
        self._resolver = Resolver(
            context.randomness, None, self.dns, lambda why: context.notice("warning", why), speaks_tls=tls
        )
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    async def start(
        cls,
        config: Config,
        directory: Path,
        *,
        only: Iterable[str] = FUNCTIONS,
        events: EventStream | None = None,
        randomness: Randomness | None = None,
        epoch_s: float | None = None,
        resumes: bool = False,
        border_tls: TlsSettings | None = None,
    ) -> Self:
        """Opens the stores and sockets of the functions named in `only`. With `resumes` phones under IPsec stay
        registered when the process ends, however, and the next one begins. In the simulator the border's certificates
        are declared by `border_tls`. Raises ConfigError.
        """
        chosen = frozenset(only) - {name for name in ("ibcf", "bgcf") if is_idle(name, config)}
        if unknown := chosen - set(FUNCTIONS):
            raise ConfigError(f"there is no function {', '.join(sorted(unknown))}; known are {', '.join(FUNCTIONS)}")
        if not chosen:
            raise ConfigError("the IBCF needs [ibcf] listen, the BGCF [[bgcf.routes]]: they have nothing to do without")
        clock = Clock(asyncio.get_running_loop(), epoch_s)
        off = frozenset(config.test.protections_off)
        context = Context("network", events or EventStream(), clock, randomness or SystemRandomness(), off)
        network = cls(config, directory, context, chosen)
        network._border_tls = border_tls
        network._memory = memory_of(config, directory) if resumes else None
        started = False
        try:
            await network._build()
            started = True
        except OSError as error:
            raise ConfigError(f"{error.strerror or error}: {error.filename or _why_not(error)}") from error
        finally:
            if not started:
                await network.close()
        return network

    @classmethod
    async def temporary(
        cls, overrides: Mapping[str, Any] | None = None, *, events: EventStream | None = None, **more: Any
    ) -> Self:
        """A whole network on loopback with ports that the system chooses, and a state directory that goes with it."""
        folder = tempfile.TemporaryDirectory(prefix="redoubt-")
        write_key_file(Path(folder.name) / Config().hss.key_file, create_key(SystemRandomness()))
        write_token_file(Path(folder.name) / Config().hss.rest_token_file, SystemRandomness())
        write_ring(Path(folder.name) / Config().ibcf.hiding_keys, new_ring(SystemRandomness(), 0.0))
        tree: dict[str, Any] = {
            "p-cscf": {"listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"], "core": ["udp:127.0.0.1:0"]},
            "i-cscf": {"listen": ["udp:127.0.0.1:0"]},
            "s-cscf": {"listen": ["udp:127.0.0.1:0"]},
            "gm": {"listen": ["udp:127.0.0.1:0"]},
            "ibcf": {"core": ["udp:127.0.0.1:0"]},
            "bgcf": {"listen": ["udp:127.0.0.1:0"]},
        }
        for section, options in (overrides or {}).items():
            tree[section] = {**tree.get(section, {}), **options} if isinstance(options, Mapping) else options
        network = await cls.start(
            from_tree(tree), Path(folder.name), events=events, **more
        )  # a failed start's folder goes with it
        network._temporary = folder
        return network

    @property
    def p_cscf_address(self) -> Address:
        """Where phones reach the P-CSCF by UDP."""
        return self.p_cscf_by("udp")

    def p_cscf_by(self, transport: str) -> Address:
        """Where phones reach the P-CSCF by that transport, unprotected by IPsec."""
        return next(address for listen, address in self._access if listen.transport == transport)

    @property
    def tunnel_address(self) -> Address:
        """Where phones reach the P-CSCF by ESP in UDP."""
        assert self.gm is not None
        return self.gm.tunnels[0]

    async def close(self, drain_s: float = 0.0) -> None:
        """Stops taking requests, lets running exchanges end within `drain_s`, closes sockets and stores."""
        for stack in self.stacks.values():
            await stack.close(drain_s)
        await self.context.close()
        if self.s_cscf is not None:
            self.s_cscf.close()
        if self.p_cscf is not None:
            self.p_cscf.close()
        if self.border is not None:
            self.border.ibcf.close()
        if self.gm is not None:
            self.gm.close()
        if self.relay is not None:
            self.relay.close()
        self.dns.close()
        await self.diameter.close()
        if self.rest is not None:
            await self.rest.close()
        if self.hss is not None:
            await self.hss.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def table_sizes(self) -> dict[str, int]:
        """How much each function holds: what must return to where it began when everything has ended."""
        sizes = {}
        for name, stack in self.stacks.items():
            sizes[f"{name} server transactions"] = stack.server_transactions
            sizes[f"{name} client transactions"] = stack.client_transactions
            sizes[f"{name} exchanges"] = stack.exchanges
        ibcf = self.border.ibcf if self.border is not None else None
        for name, function in (("p-cscf", self.p_cscf), ("s-cscf", self.s_cscf), ("border", ibcf)):
            if function is not None:
                sizes |= {f"{name} {table}": size for table, size in function.table_sizes().items()}
        return sizes if self.relay is None else sizes | self.relay.table_sizes()

    async def _build(self) -> None:
        self._access: list[tuple[Listen, Address]] = []
        self._plan_routes()
        self._tls = self._sip_tls()
        if "ibcf" in self.only or ("hss" in self.only and any(peer.gateway for peer in self.config.diameter.peers)):
            self.gateways.start()
        self.relay = await open_relay(self.context, self.config, self.only)
        if "hss" in self.only:
            await self._start_hss()
        if "s-cscf" in self.only:
            await self._start_s_cscf()
        if "i-cscf" in self.only:
            await self._start_i_cscf()
        if "p-cscf" in self.only:
            await self._start_p_cscf()
        if "bgcf" in self.only:
            await self._start_bgcf()
        if "ibcf" in self.only:
            await self._start_ibcf()

    def _plan_routes(self) -> None:
        """Where functions of other processes are: static routes from the same configuration, the operator's first."""
        config = self.config
        for uri, listen in (
            (config.p_cscf.uri, config.p_cscf.core),
            (config.i_cscf.uri, config.i_cscf.listen),
            (f"sip:{config.network.realm}", config.i_cscf.listen),
            (config.s_cscf.uri, config.s_cscf.listen),
            (config.bgcf.uri, config.bgcf.listen),
            (config.ibcf.uri, config.ibcf.core),
        ):
            if listen:
                self._resolver.route(host_of(uri), listen[0])
        for host, to in config.network.routes.items():
            self._resolver.route(host, to)

    def _sip_tls(self) -> TlsSettings | None:
        """What SIP nodes show on TLS; who proves to be one of this network's is trusted. Raises ConfigError."""
        network, config = self.config.network, self.config
        if not network.certificate:
            return None
        uris = (config.p_cscf.uri, config.i_cscf.uri, config.s_cscf.uri)
        partners = frozenset(host_of(uri).partition(":")[0].lower() for uri in uris)
        try:
            return sip_node(network.certificate, network.key, network.authority, partners)
        except ValueError as error:
            raise ConfigError(f"[network] certificate, key, authority: {error}") from error

    async def _start_hss(self) -> None:
        config, context = self.config, self.context.named("hss")
        self.hss = await Hss.open(context, config.hss, config.network.realm, self.directory)
        if config.hss.rest:
            self.rest = await rest_server(context, config, self.directory, self.hss)
            self.names["{}:{}".format(*self.rest.address)] = "rest"
        if {"i-cscf", "s-cscf"} <= self.only and not config.diameter.peers:
            return  # nobody is elsewhere
        for address in (await self.diameter.serve(context, self.hss)).values():
            self.names[f"{address[0]}:{address[1]}"] = "hss"

    async def _start_s_cscf(self) -> None:
        config = self.config.s_cscf
        context, stack = self._stack("s-cscf")
        cx = self.hss or self.diameter.ask(context)
        self.s_cscf = SCscf(
            context, config, self.config.network.realm, config.uri, self._cx(context, cx), self._next(context, stack),
            self.config.access.policy, self._enum(), self.config.bgcf.uri if self.config.bgcf.routes else "",
        )  # fmt: skip
        client = TracedCxClient(context, self.s_cscf) if context.events.tracing else self.s_cscf
        if isinstance(cx, Hss):
            cx.attach(config.uri, client)
        else:
            self.diameter.attach(cx, client)
        await self._serve("s-cscf", stack, config.listen, Zone.CORE, self.s_cscf, [config.uri])

    def _enum(self) -> Enum | None:
        config = self.config.dns
        if not config.enum_roots:
            return None
        return Enum(self.dns, config.enum_roots, self.config.network.realm, authentic=config.partners == "authentic")

    async def _start_i_cscf(self) -> None:
        config = self.config.i_cscf
        context, stack = self._stack("i-cscf")
        realm = self.config.network.realm
        cx = self._cx(context, self.hss or self.diameter.ask(context))
        self.i_cscf = ICscf(context, config, realm, config.uri, cx, self._next(context, stack))
        await self._serve("i-cscf", stack, config.listen, Zone.CORE, self.i_cscf, [config.uri, f"sip:{realm}"])

    async def _start_p_cscf(self) -> None:
        config = self.config.p_cscf
        context, stack = self._stack("p-cscf")
        realm = self.config.network.realm
        self.gm = await open_gm(context, self.config, stack, self._from_phone, self._memory)
        if self.gm is not None:
            self.names |= dict.fromkeys(self.gm.places_inside(self.config.gm.server_ports), "p-cscf")
        gm = self.gm.gm if self.gm is not None else None
        media = self.config.media.access
        self.p_cscf = PCscf(
            context, config, realm, config.uri, self._next(context, stack), stack.outbound,
            Homes(realm, self.config.network.routes.keys(), bool(self.config.ibcf.listen)), gm,
            anchoring_of(context, self.relay) if media != "off" else None, media == "always",
        )  # fmt: skip
        for text in config.listen:
            listen = Listen.parse(text, Zone.ACCESS)
            address = await stack.listen(listen, self.p_cscf.from_phone)
            self._access.append((listen, address))
            self.names[f"{address[0]}:{address[1]}"] = "p-cscf"
        await self._serve("p-cscf", stack, config.core, Zone.CORE, self.p_cscf.from_core, [config.uri])

    async def _start_bgcf(self) -> None:
        config = self.config.bgcf
        context, stack = self._stack("bgcf")
        bgcf = Bgcf(context, config, self.config.network.realm, self._next(context, stack))
        await self._serve("bgcf", stack, config.listen, Zone.CORE, bgcf, [config.uri])

    async def _start_ibcf(self) -> None:
        config = self.config.ibcf
        context, stack = self._stack("ibcf")
        inside = self._next(context, stack)  # what a hub forwards enters, and leaves at once
        anchoring = anchoring_of(context, self.relay)
        self.border = Border(
            context, self.config, self.directory, self.dns, inside, anchoring, self.gateways, self._border_tls
        )
        self.stacks["border"] = self.border.stack
        self.names |= await self.border.open()
        await self._serve("ibcf", stack, config.core, Zone.CORE, self.border.ibcf.from_inside, [config.uri])

    def _from_phone(self, request: Request, exchange: Exchange) -> Answer:
        assert self.p_cscf is not None
        return self.p_cscf.from_phone(request, exchange)

    def _stack(self, name: str) -> tuple[Context, Stack]:
        context = self.context.named(name)
        trusted = frozenset(self.config.network.trusted_nodes)
        stack = Stack(context, trusted_nodes=trusted, resolver=self._resolver, tls=self._tls)
        self.stacks[name] = stack
        return context, stack

    def _next(self, context: Context, stack: Stack) -> Service:
        """What is of another network leaves through the IBCF, if there is one."""
        config, has_route = self.config, self._resolver.has_route
        leaves = Exit(config.ibcf.uri, config.network.realm, has_route, addresses_inside(config))
        return Dispatch(context, self._own, stack.outbound, leaves if config.ibcf.listen else None)

    def _cx(self, context: Context, cx: Cx) -> Cx:
        return TracedCx(context, cx) if self.context.events.tracing else cx

    async def _serve(
        self, name: str, stack: Stack, listens: Iterable[str], zone: Zone, service: Service, uris: list[str]
    ) -> None:
        for text in listens:
            listen = Listen.parse(text, zone)
            address = await stack.listen(listen, service)
            self.names[f"{address[0]}:{address[1]}"] = name
        for uri in uris:
            self._own[host_of(uri)] = (name, service)


async def rest_server(context: Context, config: Config, directory: Path, hss: Hss) -> "RestServer":
    """The HSS's API for provisioning. Its libraries are loaded only where it is wanted."""
    from redoubt.hss.rest_server import RestServer

    return await RestServer.start(context, config.hss, config.network.realm, directory, hss.administration)


def is_idle(name: str, config: Config) -> bool:
    """Whether nothing in the configuration gives that function anything to do."""
    return not (config.ibcf.listen if name == "ibcf" else config.bgcf.routes)


def _why_not(error: OSError) -> str:
    """What to do about an address that can't be listened at."""
    beneath = error.__cause__  # uvloop puts its own words before the system's
    match beneath.errno if isinstance(beneath, OSError) else error.errno:
        case errno.EADDRINUSE:
            return "somebody listens there, perhaps another `redoubt up`; stop it, or write another port under `listen`"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; write one of its own under `listen`"
        case errno.EACCES:
            return "this user may not have that port; write one above 1023 under `listen`"
    return "an address under `listen` is taken or not of this machine"


def tune_memory() -> None:
    """For a process that is a network and nothing else: what stands after start is not searched for garbage again.

    Registrations live long and make few cycles; with the interpreter's defaults a third of the CPU of a registration
    went into looking for them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 100, 100)


def host_of(uri: str) -> str:
    """The host, with its port when written, by which a function is found."""
    parsed = parse_uri(uri)
    if not isinstance(parsed, SipUri):
        raise ConfigError(f"{uri} is no SIP URI")
    return parsed.host if parsed.port is None else f"{parsed.host}:{parsed.port}"
