"""The dictionary says what other people's says."""

import json
from pathlib import Path
from typing import get_args

import pytest

from redoubt.config import DiameterApplication, DiameterCommand
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import APPLICATIONS
from redoubt.diameter.avp import MANDATORY, VENDOR_FLAG, AvpType

FACTS = json.loads((Path(__file__).parents[1] / "vectors/diameter/avps.json").read_text())["vectors"]
VENDORS = {"None": 0, "TGPP": 10415}
BY_CODE = {(fact["code"], VENDORS[fact["vendor"]]): fact for fact in FACTS}
SIZED = {"Unsigned32": 4, "AppId": 4, "VendorId": 4, "Enumerated": 4, "Integer32": 4, "Unsigned64": 8, "Time": 4}
EXCEPT = {"Framed-IP-Address": 0}  # RADIUS' form: four octets and no family (RFC 7155 4.4.10.5.1)
# Their M bit is theirs to set: TS 29.229 table 6.3.1.1 forbids it, Wireshark's files leave it at their default.
WITHOUT_M = {
    "Supported-Features", "Feature-List-ID", "Feature-List", "Supported-Applications", "Associated-Identities",
    "Wildcarded-PSI", "LIA-Flags", "SAR-Flags", "Initial-CSeq-Sequence-Number", "Expiry-Time", "Send-Data-Indication",
    "One-Time-Notification", "Digest-Realm", "Digest-QoP", "Digest-Algorithm", "Digest-HA1",
}  # fmt: skip

# Of TS 29.229 6.3.70 and 6.3.71, which are younger than Wireshark 4.0's files.
YOUNGER = {"P-CSCF-Subscription-Info", "Registration-Time-Out"}
KINDS = [kind for kind in d.KNOWN.values() if kind.name not in YOUNGER]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_avp_has_the_name_code_and_type_that_wireshark_gives_it(kind: AvpType[object]) -> None:
    fact = BY_CODE[kind.code, kind.vendor]
    theirs = fact["name"].removeprefix("3GPP-").removeprefix("Cx-").removeprefix("Sh-")
    assert kind.name.lower() == theirs.lower()
    assert kind.is_group == (fact["type"] == "Grouped")
    sized = 6 if fact["type"] == "IPAddress" else SIZED.get(fact["type"], 0)
    assert kind.shortest_octets == EXCEPT.get(kind.name, sized)
    assert bool(kind.flags & VENDOR_FLAG) == bool(kind.vendor)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_m_bit_is_set_where_it_must_be_and_nowhere_else(kind: AvpType[object]) -> None:
    says = BY_CODE[kind.code, kind.vendor]["mandatory"]
    if kind.name in WITHOUT_M:
        assert not kind.flags & MANDATORY
    elif says in ("must", "mustnot"):
        assert bool(kind.flags & MANDATORY) == (says == "must")


def test_no_two_lines_are_of_one_avp() -> None:
    lines = [value for value in vars(d).values() if isinstance(value, AvpType)]
    assert len(lines) == len(d.KNOWN)


def test_the_configuration_knows_every_application_and_command() -> None:
    for allowed, known in (
        (DiameterApplication, set(APPLICATIONS)),
        (DiameterCommand, {name for each in APPLICATIONS.values() for name in each.commands}),
    ):
        pattern = get_args(allowed)[1].pattern
        assert set(pattern.strip("^()$").split("|")) == known
