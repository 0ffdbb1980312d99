"""The Sh-Data document (TS 29.328 Annexes C and D): both ways, and hostile ones (row 112)."""

import pytest

from redoubt.diameter.cx import InitialFilterCriterion
from redoubt.diameter.sh import ImsUserState, Repository, ShData
from redoubt.diameter.sh_data import build_sh_data, parse_sh_data
from redoubt.diameter.user_data import UserDataRefused

FULL = ShData(
    ("sip:alice@home.net", "tel:+4912"),
    ("4912",),
    (
        Repository("call-barring", 7, '<bar xmlns="urn:operator" a="&quot;1&amp;2">x<y/>z</bar>'),
        Repository("forwarding", 65535),
        Repository("note", 0, "only &lt;text&gt;"),
    ),
    "sip:scscf.home.net",
    (InitialFilterCriterion(3, "sip:as.home.net", 1),),
    ImsUserState.REGISTERED,
)


def test_everything_survives_the_way() -> None:
    assert parse_sh_data(build_sh_data(FULL)) == FULL
    assert parse_sh_data(build_sh_data(ShData())) == ShData()


def test_a_name_that_is_not_assigned_is_told_from_one_that_was_not_asked_for() -> None:
    assert parse_sh_data(build_sh_data(ShData(s_cscf_name=""))).s_cscf_name == ""
    assert parse_sh_data(build_sh_data(ShData())).s_cscf_name is None
    assert parse_sh_data(build_sh_data(ShData(criteria=()))).criteria == ()


HOSTILE = [
    b"<Sh-Data><Password/></Sh-Data>",
    b"<Sh-Data><RepositoryData><ServiceIndication>a</ServiceIndication></RepositoryData></Sh-Data>",
    b"<Sh-Data><RepositoryData><ServiceIndication>a</ServiceIndication><SequenceNumber>65536</SequenceNumber>"
    b"</RepositoryData></Sh-Data>",
    b"<Sh-Data><Sh-IMS-Data><IMSUserState>4</IMSUserState></Sh-IMS-Data></Sh-Data>",
    b'<!DOCTYPE Sh-Data [<!ENTITY a "b">]><Sh-Data/>',
    b"<IMSSubscription/>",
    b"<Sh-Data>" + b" " * 300_000 + b"</Sh-Data>",
]


@pytest.mark.parametrize("octets", HOSTILE)
def test_a_hostile_document_is_refused(octets: bytes) -> None:
    with pytest.raises(UserDataRefused):
        parse_sh_data(octets)
