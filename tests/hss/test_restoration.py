"""What the HSS keeps for an S-CSCF that forgets (TS 23.380, TS 29.228 6.1.2.1)."""

import pytest

from redoubt.diameter.cx import (
    PublicIdentity,
    RegisteredContact,
    RestorationInfo,
    ResultCode,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    ServiceProfile,
)
from redoubt.hss.hss import Hss
from redoubt.hss.records import ImplicitSet
from redoubt.hss.subscriber import Subscriber
from redoubt.limits import HSS_RESTORATION_OCTETS

from .conftest import ALICE, ALICE_IMPU, S1, S2, Place, private, with_subscribers
from .test_cx import lir, mar

T = ServerAssignmentType


def info(port: int = 5060, impi: str = ALICE) -> RestorationInfo:
    contact = RegisteredContact(f"<sip:alice@192.0.2.1:{port}>;q=0.5", ("<sip:p.example;lr>",), "call-1", 2)
    return RestorationInfo(impi, (contact,), 1_800_000_000)


async def said(
    hss: Hss, kind: T, kept: RestorationInfo | None = None, server: str = S1, impi: str = ALICE, impu: str = ALICE_IMPU
) -> ServerAssignmentAnswer:
    return await hss.server_assignment(impi, impu, server, kind, restoration=kept)


@pytest.mark.parametrize("kind", [T.NO_ASSIGNMENT, T.UNREGISTERED_USER])
async def test_an_s_cscf_that_forgot_a_user_gets_its_registration_back(hss: Hss, kind: T) -> None:
    await mar(hss)
    first = await said(hss, T.REGISTRATION, info())
    assert first.restoration == ()
    answer = await said(hss, kind, impi="", impu="tel:+15550001")
    assert (answer.result, answer.restoration) == (ResultCode.SUCCESS, (info(),))
    assert answer.profile is not None
    assert await lir(hss) == (ResultCode.SUCCESS, S1)
    again = await said(hss, T.RE_REGISTRATION, info())
    assert again.restoration == ()


async def test_what_a_later_registration_tells_replaces_the_former(hss: Hss) -> None:
    await mar(hss)
    await said(hss, T.REGISTRATION, info(5060))
    await said(hss, T.RE_REGISTRATION, info(5070))
    assert (await said(hss, T.NO_ASSIGNMENT)).restoration == (info(5070),)
    assert (await said(hss, T.REGISTRATION, info(5080))).restoration == (info(5070),)
    assert (await said(hss, T.NO_ASSIGNMENT)).restoration == (info(5080),)


async def test_without_anything_to_restore_the_user_becomes_unregistered(hss: Hss) -> None:
    await mar(hss)
    await said(hss, T.REGISTRATION)
    answer = await said(hss, T.UNREGISTERED_USER, impi="")
    assert (answer.result, answer.restoration) == (ResultCode.SUCCESS, ())
    leaving = await hss.administration.show(ALICE)
    assert leaving.assignment.sets[0].impis == ()


async def test_another_s_cscf_gets_nothing(hss: Hss) -> None:
    await mar(hss)
    await said(hss, T.REGISTRATION, info())
    answer = await said(hss, T.NO_ASSIGNMENT, server=S2)
    assert (answer.result, answer.restoration) == (ResultCode.IDENTITY_ALREADY_REGISTERED, ())
    await mar(hss, S2)
    assert (await said(hss, T.REGISTRATION, server=S2)).restoration == ()
    assert (await said(hss, T.NO_ASSIGNMENT, server=S2)).restoration == ()


@pytest.mark.parametrize("how", ["user", "operator"])
async def test_nothing_is_kept_of_a_registration_that_ended(hss: Hss, how: str) -> None:
    await mar(hss)
    await said(hss, T.REGISTRATION, info())
    if how == "user":
        await said(hss, T.USER_DEREGISTRATION)
    else:
        await hss.administration.deregister(ALICE)
    await mar(hss)
    await said(hss, T.REGISTRATION)
    assert (await said(hss, T.NO_ASSIGNMENT)).restoration == ()


async def test_each_private_identity_of_a_set_has_its_own(hss: Hss) -> None:
    one, two, impu = "one@home.example", "two@home.example", "sip:shared@home.example"
    shared = ImplicitSet((ServiceProfile((PublicIdentity(impu),)),))
    await hss.administration.add([Subscriber((private(one), private(two)), (shared,))])
    for number, impi in enumerate((one, two)):
        await mar(hss, S1, impi, impu)
        await said(hss, T.REGISTRATION, info(5060 + number, impi), impi=impi, impu=impu)
    kept = (info(5060, one), info(5061, two))
    assert (await said(hss, T.NO_ASSIGNMENT, impi="", impu=impu)).restoration == kept
    await said(hss, T.USER_DEREGISTRATION, impi=one, impu=impu)
    assert (await said(hss, T.NO_ASSIGNMENT, impi="", impu=impu)).restoration == kept[1:]


async def test_it_survives_the_hss_as_the_registration_does(place: Place) -> None:
    hss = await with_subscribers(place)
    await mar(hss)
    await said(hss, T.REGISTRATION, info())
    await hss.close()
    hss = await place.open()
    assert (await said(hss, T.NO_ASSIGNMENT)).restoration == (info(),)
    await hss.close()


async def test_information_about_another_private_identity_is_not_kept(hss: Hss) -> None:
    await mar(hss)
    await said(hss, T.REGISTRATION, info(impi="mallory@home.example"))
    assert (await said(hss, T.NO_ASSIGNMENT)).restoration == ()


async def test_what_is_too_large_is_not_kept_nor_what_it_replaces(hss: Hss) -> None:
    await mar(hss)
    await said(hss, T.REGISTRATION, info())
    contact = RegisteredContact("<sip:alice@192.0.2.1>;x=" + HSS_RESTORATION_OCTETS * "y", (), "call-1", 3)
    answer = await said(hss, T.RE_REGISTRATION, RestorationInfo(ALICE, (contact,)))
    assert answer.result is ResultCode.SUCCESS
    assert (await said(hss, T.NO_ASSIGNMENT)).restoration == ()
