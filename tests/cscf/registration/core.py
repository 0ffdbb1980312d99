"""I-CSCF, S-CSCF and HSS, all real, joined by calls in virtual time; a handset that speaks as through a P-CSCF."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.config import HssConfig, ICscfConfig, SCscfConfig, ServerEntry
from redoubt.cscf.icscf.icscf import ICscf
from redoubt.cscf.scscf.scscf import SCscf
from redoubt.diameter.cx import PublicIdentity, ServerCapabilities, ServiceProfile
from redoubt.events import Check, Event, EventStream, Notice
from redoubt.hss.hss import Hss
from redoubt.hss.keys import Seal
from redoubt.hss.records import NO_CAPABILITIES, ImplicitSet
from redoubt.hss.sqlite import open_store
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.network.dispatch import Dispatch
from redoubt.phone.challenge import answer_challenge, first_authorization
from redoubt.phone.identity import PhoneIdentity
from redoubt.secret import Secret
from redoubt.sim import run
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, WWW_AUTHENTICATE
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Request, Response, parse_message
from redoubt.sip.service import Context, Exchange, Root, answer
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Clear, Flow, TrustedAddress, Zone

REALM = "ims.example"
ICSCF, SCSCF = "sip:icscf.ims.example", "sip:scscf.ims.example"
KEY = Secret(bytes(range(32)))
K = Secret(bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"))  # TS 35.208 test set 1
OPC = Secret(bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf"))


class World:
    """A home network without its P-CSCF."""

    def __init__(self, path: Path, off: tuple[str, ...], config: SCscfConfig, icscf: ICscfConfig) -> None:
        self.events = EventStream(100_000)
        clock = Clock(asyncio.get_running_loop(), 0.0)
        self.context = Context("core", self.events, clock, SeededRandomness(7), frozenset(off))
        store = open_store(path / "hss.sqlite", KEY, self.context.randomness)
        self.hss = Hss(self.context.named("hss"), HssConfig(), REALM, store, Seal(KEY))
        self.hosts: dict[str, tuple[str, object]] = {}
        self.dispatch = Dispatch(self.context, self.hosts, self.nowhere)  # type: ignore[arg-type]
        clear = "aka-without-ipsec"  # the P-CSCF of these tests indicates what a test wants
        self.scscf = SCscf(self.context.named("s-cscf"), config, REALM, SCSCF, self.hss, self.dispatch, clear)
        self.icscf = ICscf(self.context.named("i-cscf"), icscf, REALM, ICSCF, self.hss, self.dispatch)
        self.hss.attach(SCSCF, self.scscf)
        self.hosts[REALM] = self.hosts["icscf.ims.example"] = ("i-cscf", self.icscf)
        self.hosts["scscf.ims.example"] = ("s-cscf", self.scscf)
        self.delivered: list[Request] = []  # what left towards a P-CSCF or a phone
        self.notify_status = 200

    async def nowhere(self, request: Request, exchange: Exchange) -> Response | None:
        self.delivered.append(request)
        if request.method == "NOTIFY":
            return request.response(self.notify_status)
        raise SipError(503, "nobody there")

    async def send(self, request: Request, service: object = None, flow: Flow | None = None) -> Response:
        """A request from a core node, or on any other flow; what must come after the response is done too."""
        root = Root(self.context, asyncio.get_running_loop().time() + 64, lambda _response: None)
        exchange = Exchange(flow or core_flow(), root)
        copy = parse_message(request.to_bytes())
        assert isinstance(copy, Request)
        response = await answer(service or self.dispatch, copy, exchange)  # type: ignore[arg-type]
        assert response is not None
        for action in root.after:
            await action()
        return response

    def seen(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events.recent if isinstance(event, kind)]

    def failed_checks(self) -> list[Check]:
        """Those of registrations; the HSS's own answers have no Call-ID."""
        return [e for e in self.events.recent if isinstance(e, Check) and not e.passed and e.call_id]

    def alarms(self) -> list[str]:
        return [event.what for event in self.events.recent if isinstance(event, Notice) and event.level == "alarm"]

    def assignment(self, impu: str) -> Awaitable[str]:
        """Which S-CSCF the HSS names for calls to this user: "" for none."""

        async def asked() -> str:
            return (await self.hss.location_info(impu)).server_name

        return asked()


def core_flow() -> Flow:
    here, there = ("10.0.0.2", 5060), ("10.0.0.1", 5060)
    return Flow("udp", here, there, Zone.CORE, TrustedAddress("10.0.0.1"), lambda _data: None)


def stranger_flow() -> Flow:
    return Flow("udp", ("10.0.0.2", 5060), ("198.51.100.66", 5060), Zone.CORE, Clear(), lambda _data: None)


class Handset:
    """A phone and what its P-CSCF adds: Path, and the indication of how the first hop is protected."""

    def __init__(self, world: World, name: str = "alice", address: str = "192.0.2.7", isim: Isim | None = None) -> None:
        self.world = world
        self.impu = f"sip:{name}@{REALM}"
        self.address = address
        card = isim or Isim(Milenage(K, OPC))
        self.identity = PhoneIdentity(f"{name}@{REALM}", (self.impu,), REALM, card)
        self.call_id = f"{name}-{address}"
        self.cseq = 0
        self.contact = f"<sip:{name}@{address}:5060>"
        self.protected = False
        self.expires: int | None = 3600

    def request(self, authorization: Credentials | None = None) -> Request:
        """The next REGISTER, as an I-CSCF gets it."""
        self.cseq += 1
        credentials = authorization or first_authorization(self.identity)
        credentials = credentials.with_param("integrity-protected", "yes" if self.protected else "no")
        headers = [
            ("Via", f"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKp{self.address}{self.cseq}"),
            ("Via", f"SIP/2.0/UDP {self.address}:5060;branch=z9hG4bK{self.address}{self.cseq}"),
            ("Max-Forwards", "69"),
            ("Path", "<sip:token@pcscf.ims.example;lr>"),
            ("From", f"<{self.impu}>;tag=f{self.cseq}"),
            ("To", f"<{self.impu}>"),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} REGISTER"),
            ("Contact", self.contact),
            ("Authorization", str(credentials)),
            ("P-Visited-Network-ID", f'"{REALM}"'),
        ]
        if self.expires is not None:
            headers.append(("Expires", str(self.expires)))
        return Request("REGISTER", f"sip:{REALM}", headers)

    async def ask(self) -> Response:
        """SM1: without an answer to anything."""
        return await self.world.send(self.request())

    def answer(self, challenged: Response) -> Credentials:
        """What the card says to a 401."""
        made = answer_challenge(challenged.need(WWW_AUTHENTICATE), self.identity, "REGISTER", f"sip:{REALM}", "c0")
        return made.authorization

    async def reply(self, challenged: Response, **changes: str | None) -> Response:
        """SM7, with parameters of the Authorization changed or removed."""
        credentials = self.answer(challenged)
        for name, value in changes.items():
            credentials = credentials.without_param(name) if value is None else credentials.with_param(name, value)
        return await self.world.send(self.request(credentials))

    async def register(self) -> Response:
        """Both transactions."""
        challenged = await self.ask()
        assert challenged.status == 401, challenged
        return await self.reply(challenged)

    async def deregister(self) -> Response:
        self.expires = 0
        return await self.register()


def subscriber(
    name: str,
    *others: str,
    barred: tuple[str, ...] = (),
    networks: tuple[str, ...] = (),
    capabilities: ServerCapabilities = NO_CAPABILITIES,
) -> Subscriber:
    """One private identity with a set of public ones."""
    impus = (f"sip:{name}@{REALM}", *others)
    profile = ServiceProfile(tuple(PublicIdentity(impu, impu in barred) for impu in impus))
    made = Subscriber((PrivateIdentity(f"{name}@{REALM}", K, opc=OPC),), (ImplicitSet((profile,)),))
    return replace(made, visited_networks=networks, capabilities=capabilities)


def contacts(response: Response) -> list[str]:
    return [str(contact.uri) for contact in response.every(CONTACT)]  # type: ignore[union-attr]


Story = Callable[[World], Awaitable[None]]


def play(
    path: Path,
    story: Story,
    *,
    off: tuple[str, ...] = (),
    config: SCscfConfig | None = None,
    servers: tuple[ServerEntry, ...] = (ServerEntry(uri=SCSCF),),
) -> None:
    """A story in virtual time, with alice (and her number) and bob provisioned."""

    async def main(_network: object) -> None:
        world = World(path, off, config or SCscfConfig(), ICscfConfig(servers=servers))
        await world.hss.administration.add([subscriber("alice", "tel:+15550001"), subscriber("bob")])
        try:
            await story(world)
        finally:
            world.scscf.close()
            await world.hss.close()

    run(main, 1)
