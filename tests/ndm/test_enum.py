"""ENUM (RFC 6116, requirement row 113): numbers, rules, chains, and what strangers write into them."""

import asyncio
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from redoubt.limits import ENUM_RECORDS
from redoubt.ndm.enum import Enum, EnumAnswer, EnumFault, domain_of, rewritten
from redoubt.sip.dns_records import LookupFailed, Naptr, Records, Srv

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "enum" / "enum.json").read_text())[
    "vectors"
]
NUMBER = "+4930123"
NAME = "3.2.1.0.3.9.4.e164.example"
REALM = "ims.example.org"


class Zone:
    """NAPTR records by name."""

    def __init__(self, records: dict[str, list[Naptr]], authentic: bool = True) -> None:
        self._records = records
        self._authentic = authentic
        self.asked: list[str] = []

    async def naptr(self, name: str) -> Records[Naptr]:
        self.asked.append(name)
        return Records(tuple(self._records.get(name, ())), 60.0, self._authentic)

    async def srv(self, name: str) -> Records[Srv]:
        raise LookupFailed(name)

    async def addresses(self, name: str) -> Records[str]:
        raise LookupFailed(name)


def rule(regexp: str, order: int = 10, preference: int = 10, service: str = "E2U+sip", flags: str = "u") -> Naptr:
    return Naptr(order, preference, service, ".", flags, regexp)


def onward(to: str, order: int = 10) -> Naptr:
    return Naptr(order, 10, "", to, "", "")


def found(zone: Zone, number: str = NUMBER, roots: tuple[str, ...] = ("e164.example",), **more: Any) -> EnumAnswer:
    return asyncio.run(Enum(zone, roots, REALM, **{"authentic": True, **more}).find(number))


def uri(*rules: Naptr) -> str:
    return str(found(Zone({NAME: list(rules)})).uri)


@pytest.mark.parametrize("vector", [each for each in VECTORS if "domain" in each], ids=lambda each: each["id"])
def test_a_number_has_its_domain(vector: dict[str, Any]) -> None:
    digits = "+" + "".join(filter(str.isdecimal, vector["number"]))
    assert domain_of(digits, "e164.arpa") == vector["domain"]


@pytest.mark.parametrize("vector", [each for each in VECTORS if "regexp" in each], ids=lambda each: each["id"])
def test_a_rule_rewrites_a_number(vector: dict[str, Any]) -> None:
    assert rewritten(vector["regexp"], vector["aus"]) == vector["result"]


@pytest.mark.parametrize(
    ("regexp", "expected"),
    [
        ("!^(\\+49)(30)(.*)$!sip:\\3.\\2@b.example!", "sip:123.30@b.example"),
        ("#^.*$#sip:a\\#b@b.example#", "sip:a#b@b.example"),
        ("!^.*$!sip:\\\\@b.example!", "sip:\\@b.example"),
        ("!\\+49!sip:a@b.example!", None),
    ],
)
def test_groups_escapes_and_parts_of_a_number(regexp: str, expected: str | None) -> None:
    assert rewritten(regexp, NUMBER) == expected


@pytest.mark.parametrize(
    "regexp", ["", "!", "!a!b", "1a1b1", "!^(.*$!x!", "!^.*$!\\4!", "!^.*$!x!q", "!^.*$!x!i!", "!(.)\\1!x!", "!" * 300]
)
def test_a_rule_that_is_none_is_refused(regexp: str) -> None:
    with pytest.raises(EnumFault):
        rewritten(regexp, NUMBER)


def test_an_expression_made_to_take_for_ever_takes_no_time() -> None:
    began = time.perf_counter()
    for regexp in ("!^((((\\+?[0-9]*)*)*)*)*x$!sip:a@b.example!", "!^(.?){100}(.*)*(.*)*y$!sip:a@b.example!"):
        assert rewritten(regexp, "+491234567890123") is None
    assert time.perf_counter() - began < 1


def test_order_decides_before_preference_and_both_before_the_place_in_the_answer() -> None:
    rules = (rule("!^.*$!sip:c@b.example!", 20, 1), rule("!^.*$!sip:b@b.example!", 10, 20))
    assert uri(*rules, rule("!^.*$!sip:a@b.example!", 10, 10)) == "sip:a@b.example"


def test_a_rule_that_is_not_about_the_number_leaves_it_to_the_next() -> None:
    assert uri(rule("!^\\+33.*$!sip:a@b.example!", 1), rule("!^.*$!sip:b@b.example!", 2)) == "sip:b@b.example"


def test_once_a_rule_applies_rules_of_another_order_do_not() -> None:
    assert uri(rule("!^.*$!sip:a@127.0.0.1!", 1), rule("!^.*$!sip:b@b.example!", 2)) == "None"
    assert uri(rule("!^.*$!sip:a@127.0.0.1!", 1), rule("!^.*$!sip:b@b.example!", 1, 20)) == "sip:b@b.example"


@pytest.mark.parametrize("service", ["E2U+sip", "e2u+SIP", "E2U+pstn:sip", "E2U+voice:tel+sip", "E2U+voice:sip"])
def test_services_for_sip_in_all_their_forms(service: str) -> None:
    assert uri(rule("!^.*$!sip:a@b.example!", service=service)) == "sip:a@b.example"


@pytest.mark.parametrize("service", ["E2U+mailto", "E2U+web:http", "sip", "E2U", "E2U+sips", "SIP+D2U", ""])
def test_other_services_are_not_for_calls(service: str) -> None:
    assert uri(rule("!^.*$!sip:a@b.example!", service=service)) == "None"


def test_a_chain_has_five_links_at_most() -> None:
    def chain(links: int) -> Zone:
        names = [NAME, *(f"n{number}.example" for number in range(1, links + 1))]
        records = {name: [onward(next_)] for name, next_ in pairwise(names)}
        return Zone({**records, names[-1]: [rule("!^.*$!sip:a@b.example!")]})

    assert str(found(chain(5)).uri) == "sip:a@b.example"
    too_long = found(chain(6))
    assert too_long.uri is None
    assert "lead on and on" in too_long.why


def test_of_a_name_with_too_many_records_the_first_are_looked_at() -> None:
    many = [rule("!^.*$!sip:late@b.example!", order=20)] * ENUM_RECORDS + [rule("!^.*$!sip:beyond@b.example!", order=1)]
    assert uri(*many) == "sip:late@b.example"


def test_two_zones_that_point_at_each_other_are_noticed() -> None:
    zone = Zone({NAME: [onward("n.example.")], "n.example": [onward(NAME.upper())]})
    answer = found(zone)
    assert answer.uri is None
    assert "circle" in answer.why
    assert zone.asked == [NAME, "n.example"]


def test_a_tree_of_chains_costs_a_dozen_questions_at_most() -> None:
    tree = {NAME: [onward(f"a{n}.example") for n in range(40)]}
    tree |= {f"a{n}.example": [onward(f"b{n}x{m}.example") for m in range(40)] for n in range(40)}
    zone = Zone(tree)
    assert found(zone).uri is None
    assert len(zone.asked) <= 12


@pytest.mark.parametrize(
    "made",
    [
        "sip:a@192.0.2.1", "sip:a@[2001:db8::1]", "sip:a@localhost", f"sip:a@scscf.{REALM}", "sip:a:secret@b.example",
        "sip:a@b.example;maddr=192.0.2.1", "sip:a@b.example;transport=udp", "sip:a@b.example;lr",
        "sip:a@b.example;method=BYE", "sip:a@b.example?Route=%3Csip:x%3E", "sip:b.example", "tel:+491",
        "mailto:a@b.example", "http://b.example/", "sip:a@b.example>;x", "sip:a b@b.example", "",
        "sip:a@b.example\r\nRoute: <sip:x>",
    ],
)  # fmt: skip
def test_what_comes_out_is_looked_at_as_a_strangers(made: str) -> None:
    answer = found(Zone({NAME: [rule(f"!^.*$!{made}!")]}))
    assert answer.uri is None
    assert answer.why


def test_a_uri_of_a_user_somewhere_passes_own_users_too() -> None:
    for made in (f"sip:{NUMBER}@{REALM};user=phone", "sips:a@b.example", "sip:+4930;npdi;rn=+493@b.example"):
        assert uri(rule(f"!^.*$!{made}!")) == made


def test_records_that_are_not_authentic_count_only_where_policy_takes_any() -> None:
    forged = Zone({NAME: [rule("!^.*$!sip:a@evil.example!")]}, authentic=False)
    refused = found(forged)
    assert refused.uri is None
    assert "not authentic" in refused.why
    assert str(found(forged, authentic=False).uri) == "sip:a@evil.example"


def test_the_first_root_that_knows_the_number_decides() -> None:
    zone = Zone({NAME: [rule("!^.*$!sip:a@b.example!")]})
    assert str(found(zone, roots=("other.example.", "E164.example")).uri) == "sip:a@b.example"
    assert zone.asked == ["3.2.1.0.3.9.4.other.example", NAME]


@pytest.mark.parametrize("number", ["", "+", "110", "+49x", "+1234567890123456", "4930123", "+٤٩"])
def test_only_international_numbers_are_asked_for(number: str) -> None:
    zone = Zone({})
    assert found(zone, number).uri is None
    assert zone.asked == []
