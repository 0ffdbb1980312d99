"""Requests of Cx and Sh with one thing wrong in each are answered or refused with a result; none finds a fault."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hss.conftest import ALICE, ALICE_IMPU, REALM, S1, with_subscribers

from redoubt.config import DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX, SH, Application
from redoubt.diameter.avp import Avp, AvpGroup, DiameterError
from redoubt.diameter.codec import DiameterMessage, check_request, decode
from redoubt.diameter.cx import (
    DeregistrationReason,
    PublicIdentity,
    RegisteredContact,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    Resynchronisation,
    ServerAssignmentType,
    ServiceProfile,
    UserAuthorizationType,
    UserProfile,
    WatcherDialog,
)
from redoubt.diameter.cx_assignment import AssignmentWanted, write_sar
from redoubt.diameter.cx_client import CxOverDiameter
from redoubt.diameter.cx_server import CxServer
from redoubt.diameter.cx_wire import (
    LocationQuestion,
    UserAuthorization,
    VectorsWanted,
    write_lir,
    write_mar,
    write_ppr,
    write_rtr,
    write_uar,
)
from redoubt.diameter.node import Node
from redoubt.diameter.sh import Pull, Repository, ShData, Subscribe, Update, UserIdentity
from redoubt.diameter.sh_server import ShServer
from redoubt.diameter.sh_wire import write_pur, write_snr, write_udr
from redoubt.events import Bug
from redoubt.hss.application_changes import ApplicationChanges
from redoubt.hss.application_data import ApplicationData

HOST = f"scscf1.{REALM}"
ROUNDS = 1000
WATCHER = WatcherDialog("c", "<sip:a@b>;tag=1", "<sip:a@b>;tag=2", "<sip:p>", ("<sip:r;lr>",))
KEPT = RestorationInfo(ALICE, (RegisteredContact("<sip:x>", ("<sip:p;lr>",), "c", 1, WATCHER, WATCHER),), 1_900_000_000)
USER = UserIdentity(ALICE_IMPU)
PROFILE = UserProfile(ALICE, (ServiceProfile((PublicIdentity(ALICE_IMPU),)),))


class Scscf:
    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        return ResultCode.SUCCESS

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        return ResultCode.SUCCESS


def originals(node: Node) -> Iterator[tuple[Application, DiameterMessage]]:
    def new(application: Application, name: str) -> DiameterMessage:
        message = DiameterMessage(application.commands[name], application.number, avps=[application.advertised()])
        message.add(d.SESSION_ID, "s;1;2").add(d.ORIGIN_HOST, HOST).add(d.ORIGIN_REALM, REALM)
        return message.add(d.DESTINATION_REALM, REALM)

    sync = Resynchronisation(b"r" * 16, b"a" * 14)
    asked = AssignmentWanted(ALICE, (ALICE_IMPU,), S1, ServerAssignmentType.REGISTRATION, True, (KEPT,), True)
    yield CX, write_uar(new(CX, "UAR"), UserAuthorization(ALICE, ALICE_IMPU, REALM, UserAuthorizationType.REGISTRATION))
    yield CX, write_lir(new(CX, "LIR"), LocationQuestion(ALICE_IMPU, True))
    yield CX, write_mar(new(CX, "MAR"), VectorsWanted(ALICE, ALICE_IMPU, S1, 1, resynchronisation=sync))
    yield CX, write_sar(new(CX, "SAR"), asked)
    ended = RegistrationTermination(ALICE, (ALICE_IMPU,), DeregistrationReason.SERVER_CHANGE, "why", ("b@c",))
    yield CX, write_rtr(new(CX, "RTR"), ended)
    yield CX, write_ppr(new(CX, "PPR"), PROFILE)
    data = ShData(repository=(Repository("svc", 0, "<a/>"),))
    yield SH, write_udr(new(SH, "UDR"), Pull(USER, (0, 10, 11, 12, 13, 17), ("svc",), 2, "sip:as", ALICE))
    yield SH, write_pur(new(SH, "PUR"), Update(USER, (0,), data))
    yield SH, write_snr(new(SH, "SNR"), Subscribe(USER, (0, 11), False, ("svc",), True, 1_900_000_000, "sip:as"))


def mutated(avps: list[Avp], rng: random.Random, depth: int = 0) -> list[Avp]:
    """The same with one AVP gone, doubled, emptied, cut, changed, of another code, or wrong inside."""
    at = rng.randrange(len(avps))
    avp = avps[at]
    before, after = avps[:at], avps[at + 1 :]
    kind = d.KNOWN.get((avp.code, avp.vendor))
    if kind is not None and kind.is_group and depth < 4 and rng.random() < 0.6 and avp.data:
        inner = kind.read(avp)
        assert isinstance(inner, AvpGroup)
        data = AvpGroup(mutated(inner.avps, rng, depth + 1)).to_bytes()
        return [*before, Avp(avp.code, avp.vendor, avp.flags, data), *after]
    octets = bytearray(avp.data)
    match rng.randrange(7):
        case 0:
            return before + after
        case 1:
            return [*before, avp, avp, *after]
        case 2:
            octets = bytearray()
        case 3:
            octets = octets[: rng.randrange(len(octets) + 1)]
        case 4:
            octets = octets + rng.randbytes(rng.randrange(1, 9))
        case 5:
            return [*before, Avp(rng.randrange(700), avp.vendor, avp.flags, avp.data), *after]
        case _:
            for _ in range(rng.randrange(1, 4)):
                if octets:
                    octets[rng.randrange(len(octets))] = rng.randrange(256)
    return [*before, Avp(avp.code, avp.vendor, avp.flags, bytes(octets)), *after]


@pytest.mark.parametrize("seed", range(9))
async def test_a_request_with_one_thing_wrong_is_no_fault_of_ours(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    hss = await with_subscribers(tmp_path)
    context = hss.context
    hss_node, cscf_node = (Node(context, name, REALM) for name in (f"hss.{REALM}", HOST))
    CxServer(context, hss_node, hss, hss.clients, REALM)
    changes = ApplicationChanges(context, hss.subscriptions, hss.store)
    ShServer(context, hss_node, ApplicationData(context, hss.subscriptions, hss.store, changes), REALM)
    CxOverDiameter(context, cscf_node, REALM).attach(Scscf(), {HOST})
    peer = hss_node.connect_to(DiameterPeer(identity=HOST, realm=REALM))
    application, original = list(originals(hss_node))[seed]
    name = application.command_name(original.command)
    handler = (cscf_node if name in ("RTR", "PPR") else hss_node)._served[application.number].handler
    answered = refused = 0
    for number in range(ROUNDS):
        message = decode(original.to_bytes())
        if number:
            message.avps = mutated(message.avps, rng)
        try:
            received = decode(message.to_bytes())
            check_request(received)
            received.need(d.SESSION_ID)
            decode((await handler(received, peer)).to_bytes())
            answered += 1
        except DiameterError as error:
            assert error.result and error.why
            decode(message.answer(error.result, error.failed).to_bytes())
            refused += 1
    assert answered and refused
    assert not [event for event in context.events.recent if isinstance(event, Bug)]
    await hss_node.close()
    await cscf_node.close()
    await hss.close()
