"""The user profile as XML (TS 29.228 Annexes B and E): both ways, by 3GPP's schemas, and hostile ones (row 111)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from redoubt.diameter.cx import (
    IdentityType,
    InitialFilterCriterion,
    PublicIdentity,
    ServiceProfile,
    UserProfile,
)
from redoubt.diameter.user_data import UserDataRefused, build_user_data, check_criteria, parse_user_data
from redoubt.limits import USER_DATA_OCTETS

VECTORS = Path(__file__).parents[1] / "vectors" / "ims-xml"
TRIGGER = (
    "<TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF><SPT><ConditionNegated>0</ConditionNegated><Group>0</Group>"
    "<Method>INVITE</Method></SPT><SPT><Group>1</Group><SIPHeader><Header>To</Header><Content>.*911.*</Content>"
    "</SIPHeader><Extension><RegistrationType>0</RegistrationType></Extension></SPT></TriggerPoint>"
)
RICH = UserProfile(
    "alice@home.net",
    (
        ServiceProfile(
            (
                PublicIdentity("sip:alice@home.net", display_name='Alice <"A">'),
                PublicIdentity("tel:+4930123456", barred=True, alias_group="1"),
                PublicIdentity(
                    "sip:room!.*!@home.net",
                    wildcard="sip:room!.*!@home.net",
                    identity_type=IdentityType.WILDCARDED_IMPU,
                ),
            ),
            (
                InitialFilterCriterion(1, "sip:as1.home.net;transport=tcp", 1, TRIGGER, 0, "key=<1>", True, True),
                InitialFilterCriterion(2, "sip:as2.home.net"),
            ),
            (3, 17),
            5,
            ("urn:urn-7:3gpp-service.ims.icsi.mmtel",),
        ),
        ServiceProfile((PublicIdentity("sip:psi@home.net", identity_type=IdentityType.DISTINCT_PSI),)),
        ServiceProfile(
            (
                PublicIdentity(
                    "sip:conf!.*!@home.net",
                    wildcard="sip:conf!.*!@home.net",
                    identity_type=IdentityType.WILDCARDED_PSI,
                ),
            )
        ),
    ),
)


def document(inside: str = "", identity: str = "<Identity>sip:a@home.net</Identity>") -> bytes:
    """A small profile with something more in its service profile."""
    text = f"<ServiceProfile><PublicIdentity>{identity}</PublicIdentity>{inside}</ServiceProfile>"
    return f"<IMSSubscription><PrivateID>a@home.net</PrivateID>{text}</IMSSubscription>".encode()


def criterion(condition: str) -> bytes:
    return document(
        "<InitialFilterCriteria><Priority>0</Priority><TriggerPoint><ConditionTypeCNF>0</ConditionTypeCNF><SPT>"
        f"<Group>0</Group>{condition}</SPT></TriggerPoint><ApplicationServer><ServerName>sip:as</ServerName>"
        "</ApplicationServer></InitialFilterCriteria>"
    )


def test_everything_of_a_profile_survives_the_way() -> None:
    assert parse_user_data(build_user_data(RICH)) == RICH


def test_a_release_8_reader_accepts_what_is_written() -> None:
    schema = etree.XMLSchema(etree.parse(str(VECTORS / "CxDataType_Rel8.xsd")))
    root = etree.fromstring(build_user_data(RICH))
    assert schema.validate(root), schema.error_log


@pytest.mark.parametrize("release", ["6", "7"])
def test_an_older_reader_accepts_an_ordinary_profile(release: str) -> None:
    """Where later releases wrote into Extension elements an older schema allows anything, or never had the element."""
    schema = etree.XMLSchema(etree.parse(str(VECTORS / f"CxDataType_Rel{release}.xsd")))
    plain = ServiceProfile((PublicIdentity("sip:a@home.net"),), (InitialFilterCriterion(1, "sip:as", 1, TRIGGER),))
    root = etree.fromstring(build_user_data(UserProfile("a@home.net", (plain,))))
    assert schema.validate(root), schema.error_log


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).map(str.strip)
IDENTITIES = st.builds(
    PublicIdentity, st.sampled_from(["sip:a@b.net", "tel:+4912"]), st.booleans(), TEXT, alias_group=TEXT
)
CRITERIA = st.builds(
    InitialFilterCriterion,
    st.integers(0, 2**31 - 1),
    TEXT.filter(bool),
    st.integers(0, 1),
    st.sampled_from(["", TRIGGER]),
    st.none() | st.integers(0, 1),
    TEXT,
    st.booleans(),
    st.booleans(),
)
PROFILES = st.builds(
    ServiceProfile,
    st.lists(IDENTITIES, min_size=1, max_size=3).map(tuple),
    st.lists(CRITERIA, max_size=2).map(tuple),
    st.lists(st.integers(0, 99), max_size=2).map(tuple),
    st.none() | st.integers(0, 9),
    st.lists(TEXT.filter(bool), max_size=2).map(tuple),
)


@given(st.builds(UserProfile, TEXT, st.lists(PROFILES, min_size=1, max_size=2).map(tuple)))
def test_any_profile_survives_the_way(profile: UserProfile) -> None:
    assert parse_user_data(build_user_data(profile)) == profile


def test_many_identities_are_too_many_and_not_malformed() -> None:
    with pytest.raises(UserDataRefused, match="identities"):
        parse_user_data(HOSTILE["300 identities"])


@given(st.binary(max_size=300))
def test_any_octets_are_a_profile_or_are_refused(octets: bytes) -> None:
    whole = build_user_data(RICH)
    middle = len(whole) // 2
    for text in (octets, whole[:middle] + octets + whole[middle:], whole[:middle] + octets):
        try:
            parse_user_data(text)
        except UserDataRefused:
            pass


@pytest.mark.parametrize("name", ["test_registrar_fifc.xml", "test_fifc_one_invalid.xml", "test_sifc.xml"])
def test_filter_criteria_of_another_core_are_read_and_bad_ones_refused(name: str) -> None:
    """Criteria from the tests of Metaswitch's sprout; some lack a Priority or have one that is no number."""
    text = (VECTORS / name).read_text().partition("\n")[2]
    for element in etree.fromstring(text).iter("InitialFilterCriteria"):
        priority = element.find("Priority")
        octets = document(etree.tostring(element, encoding="unicode", with_tail=False))
        if priority is None or not (priority.text or "").strip().isdigit():
            with pytest.raises(UserDataRefused):
                parse_user_data(octets)
        else:
            (read,) = parse_user_data(octets).service_profiles[0].criteria
            assert read.server_name == element.findtext("ApplicationServer/ServerName")
            assert "<Method>" in read.trigger


def test_identities_are_made_canonical() -> None:
    read = parse_user_data(document(identity="<Identity> SIP:Alice@HOME.net;x=y </Identity>"))
    assert read.service_profiles[0].identities[0].impu == "sip:Alice@home.net"


def test_barring_is_read_in_both_spellings_of_xml() -> None:
    for text, barred in (("1", True), ("true", True), ("0", False), ("false", False)):
        identity = f"<BarringIndication>{text}</BarringIndication><Identity>sip:a@b</Identity>"
        assert parse_user_data(document(identity=identity)).identities[0].barred is barred


def test_a_wildcard_as_release_7_wrote_it_is_one() -> None:
    identity = "<Identity>sip:x!.*!@b</Identity><Extension><IdentityType>2</IdentityType></Extension>"
    assert parse_user_data(document(identity=identity)).identities[0].wildcard == "sip:x!.*!@b"


def test_what_later_releases_add_is_passed_over() -> None:
    later = "<Extension><SharedIFCSetID>4</SharedIFCSetID><Extension><New><Newer/></New></Extension></Extension>"
    foreign = '<x:y xmlns:x="urn:operator">1</x:y>'
    assert parse_user_data(document(later + foreign)).service_profiles[0].shared_criteria == (4,)


ONE = "<Identity>sip:a@b</Identity>"
HOSTILE = {
    "a DTD": b'<!DOCTYPE a [<!ENTITY b "c">]>' + document(),
    "another root": b"<Sh-Data/>",
    "no service profile": b"<IMSSubscription><PrivateID>a</PrivateID></IMSSubscription>",
    "no identity": document(identity=""),
    "an empty identity": document(identity="<Identity> </Identity>"),
    "an identity that is no URI": document(identity="<Identity>alice</Identity>"),
    "elements in another order": document(identity=f"{ONE}<BarringIndication>1</BarringIndication>"),
    "an unknown element": document("<Password>1</Password>"),
    "a wildcard that is none": document(identity=f"{ONE}<Extension><WildcardedPSI>sip:a</WildcardedPSI></Extension>"),
    "an expression that is none": criterion("<RequestURI>(</RequestURI>"),
    "an expression that looks back": criterion(r"<RequestURI>(a+)\1</RequestURI>"),
    "an expression that unfolds": criterion("<RequestURI>((((a{9}){9}){9}){9}){9}</RequestURI>"),
    "a session case that is none": criterion("<SessionCase>9</SessionCase>"),
    "300 identities": document(f"</ServiceProfile><ServiceProfile><PublicIdentity>{ONE}</PublicIdentity>" * 300),
    "too long": document() + b" " * USER_DATA_OCTETS,
}  # fmt: skip


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_profile_is_refused(octets: bytes) -> None:
    with pytest.raises(UserDataRefused):
        parse_user_data(octets)


def test_too_large_is_told_from_wrong() -> None:
    with pytest.raises(UserDataRefused) as caught:
        parse_user_data(HOSTILE["too long"])
    assert caught.value.too_much


def test_an_evil_expression_of_a_criterion_is_harmless() -> None:
    """It is matched in linear time (redoubt.expressions), so there is no need to refuse it."""
    assert parse_user_data(criterion("<RequestURI>(a+)+$</RequestURI>"))


def test_an_operators_criteria_are_checked_the_same_way() -> None:
    check_criteria(RICH.service_profiles[0].criteria)
    with pytest.raises(UserDataRefused):
        check_criteria((InitialFilterCriterion(1, "sip:as", trigger="<TriggerPoint>"),))
