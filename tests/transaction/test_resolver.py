"""Finding the next hop (RFC 3263, requirement row 116)."""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from redoubt.sim import Network, run
from redoubt.sip.dns_records import LookupFailed, Naptr, Records, Srv
from redoubt.sip.resolver import Candidate, Resolver
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.sources import SeededRandomness

T = TypeVar("T")


class Zone:
    """DNS records by name, as a zone file has them, and how often it was asked. `forged` names have no authentic
    records, `silent` ones no answer.
    """

    def __init__(
        self, naptr: dict[str, list[Naptr]], srv: dict[str, list[Srv]], ttl_s: float = 60,
        forged: Sequence[str] = (), silent: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._naptr = naptr
        self._srv = srv
        self._ttl_s = ttl_s
        self._forged, self._silent = forged, silent
        self.asked: Counter[str] = Counter()

    def _answer(self, name: str, values: Sequence[T]) -> Records[T]:
        self.asked[name] += 1
        if name in self._silent:
            raise LookupFailed(f"nobody answers for {name}")
        return Records(tuple(values), self._ttl_s, name not in self._forged)

    async def naptr(self, name: str) -> Records[Naptr]:
        return self._answer(name, self._naptr.get(name, []))

    async def srv(self, name: str) -> Records[Srv]:
        return self._answer(name, self._srv.get(name, []))

    async def addresses(self, name: str) -> Records[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, 0, type=socket.SOCK_STREAM)
        except OSError:
            found = []
        return self._answer(name, [str(each[4][0]) for each in found])


HOME = Zone(
    {
        "home1.net": [
            Naptr(20, 50, "SIP+D2U", "_sip._udp.home1.net."),
            Naptr(15, 50, "SIP+D2T", "_sip._tcp.home1.net."),
            Naptr(5, 50, "E2U+sip", "nonsense.home1.net."),
            Naptr(1, 1, "SIP+D2T", ".", "u", "!^.*$!sip:evil@evil.invalid!"),
        ],
        "safe.net": [
            Naptr(20, 50, "SIP+D2U", "_sip._udp.home1.net."),
            Naptr(10, 50, "SIPS+D2T", "_sips._tcp.home1.net."),
        ],
    },
    {
        "_sips._tcp.home1.net": [Srv(1, 0, "tls.home1.net.", 5061)],
        "_sip._tcp.home1.net": [Srv(1, 0, "tcp.home1.net.", 5060)],
        "_sip._udp.home1.net": [Srv(2, 0, "far.home1.net.", 5062), Srv(1, 0, "near.home1.net.", 5060)],
        "_sip._udp.plain.net": [Srv(1, 0, "near.home1.net.", 5070)],
    },
)


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def found(
    text: str, zone: Zone | None = HOME, routes: dict[str, str] | None = None, tell: list[str] | None = None,
    speaks_tls: bool = True, **wanted: Any,
) -> list[tuple[str, str, int]]:  # fmt: skip
    async def scene(network: Network) -> tuple[Candidate, ...]:
        for number, name in enumerate(("tls", "tcp", "near", "far", "home1"), 1):
            network.name(f"{name}.home1.net" if name != "home1" else "home1.net", f"10.0.0.{number}")
        hears = (tell if tell is not None else []).append
        return await Resolver(SeededRandomness(1), routes, zone, hears, speaks_tls).find(sip(text), **wanted)

    return [(each.transport, each.host, each.port) for each in run(scene, 1)]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:10.1.1.1", [("udp", "10.1.1.1", 5060)]),
        ("sip:10.1.1.1;transport=tcp", [("tcp", "10.1.1.1", 5060)]),
        ("sip:10.1.1.1:7000;transport=TLS", [("tls", "10.1.1.1", 7000)]),
        ("sips:10.1.1.1", [("tls", "10.1.1.1", 5061)]),
        ("sip:[2001:db8::1]:5080", [("udp", "2001:db8::1", 5080)]),
        ("sip:home1.net:5090", [("udp", "10.0.0.5", 5090)]),
        ("sip:x.net;maddr=10.1.1.2", [("udp", "10.1.1.2", 5060)]),
        ("sip:10.1.1.1;transport=sctp", []),
        ("sips:10.1.1.1;transport=udp", []),
    ],
)
def test_what_the_uri_decides_needs_no_naptr(uri: str, expected: list[tuple[str, str, int]]) -> None:
    assert found(uri) == expected


def test_naptr_then_srv_then_addresses_in_the_order_that_they_prefer() -> None:
    assert found("sip:home1.net") == [
        ("tcp", "10.0.0.2", 5060),
        ("udp", "10.0.0.3", 5060),
        ("udp", "10.0.0.4", 5062),
    ]


def test_a_sips_uri_never_leads_to_anything_but_tls() -> None:
    assert found("sips:safe.net") == [("tls", "10.0.0.1", 5061)]
    assert found("sips:home1.net") == [("tls", "10.0.0.1", 5061)]
    assert found("sips:home1.net", routes={"home1.net": "udp:10.0.0.9:5060"}) == []
    only_udp = Zone({"home1.net": [Naptr(1, 1, "SIP+D2U", "_sip._udp.home1.net")]}, {})
    assert found("sips:home1.net", only_udp) == [("tls", "10.0.0.5", 5061)]


def test_fail_over_keeps_the_level_of_the_first_way() -> None:
    assert found("sip:safe.net") == [("tls", "10.0.0.1", 5061)]
    only_udp = {"_sip._udp.home1.net": HOME._srv["_sip._udp.home1.net"]}
    without_tls = Zone({"home1.net": HOME._naptr["safe.net"]}, only_udp)
    assert found("sip:home1.net", without_tls) == [("tls", "10.0.0.5", 5061)]
    mixed = Zone({"home1.net": [Naptr(1, 1, "SIP+D2T", "_sip._tcp.home1.net."), *HOME._naptr["safe.net"]]}, HOME._srv)
    assert found("sip:home1.net", mixed) == [("tcp", "10.0.0.2", 5060), ("tls", "10.0.0.1", 5061)]


def test_a_node_without_tls_passes_over_what_it_does_not_speak_unless_tls_is_demanded() -> None:
    assert found("sip:safe.net", speaks_tls=False) == [("udp", "10.0.0.3", 5060), ("udp", "10.0.0.4", 5062)]
    assert found("sips:safe.net", speaks_tls=False) == [("tls", "10.0.0.1", 5061)]
    assert found("sip:safe.net", speaks_tls=False, tls=True) == [("tls", "10.0.0.1", 5061)]


def test_where_tls_is_demanded_nothing_else_is_found_whoever_takes_its_records_away() -> None:
    assert found("sip:safe.net", tls=True) == [("tls", "10.0.0.1", 5061)]
    assert found("sip:plain.net", tls=True) == []
    assert found("sip:home1.net", Zone({}, {}), tls=True) == [("tls", "10.0.0.5", 5061)]
    assert found("sip:home1.net;transport=udp", tls=True) == []
    assert found("sip:10.1.1.1", tls=True) == [("tls", "10.1.1.1", 5061)]
    assert found("sip:home1.net", routes={"home1.net": "udp:10.0.0.9:5060"}, tls=True) == []


@pytest.mark.parametrize("forged", ["safe.net", "_sips._tcp.home1.net", "tls.home1.net"])
def test_where_records_must_be_authentic_each_step_of_the_way_is(forged: str) -> None:
    why: list[str] = []
    assert found("sip:safe.net", Zone(HOME._naptr, HOME._srv, forged=[forged])) == [("tls", "10.0.0.1", 5061)]
    assert found("sip:safe.net", Zone(HOME._naptr, HOME._srv), authentic=True) == [("tls", "10.0.0.1", 5061)]
    assert found("sip:safe.net", Zone(HOME._naptr, HOME._srv, forged=[forged]), tell=why, authentic=True) == []
    assert forged in why[0]
    assert "not authentic" in why[0]


@pytest.mark.parametrize("silent", ["safe.net", "_sips._tcp.home1.net", "tls.home1.net"])
def test_no_answer_is_not_the_answer_that_there_is_nothing(silent: str) -> None:
    assert found("sip:safe.net", Zone(HOME._naptr, HOME._srv, silent=[silent])) == []


def test_without_naptr_the_srv_names_are_asked_and_without_srv_the_host() -> None:
    assert found("sip:plain.net") == [("udp", "10.0.0.3", 5070)]
    assert found("sip:near.home1.net") == [("udp", "10.0.0.3", 5060)]
    assert found("sip:nowhere.net") == []


def test_a_static_route_comes_before_dns() -> None:
    assert found("sip:home1.net", routes={"home1.net": "tcp:127.0.0.1:5075"}) == [("tcp", "127.0.0.1", 5075)]
    routes = {"home1.net:5090": "udp:127.0.0.1:1", "home1.net": "udp:127.0.0.1:2"}
    assert found("sip:home1.net:5090", routes=routes) == [("udp", "127.0.0.1", 1)]


def test_answers_are_kept_for_their_ttl_and_no_longer() -> None:
    async def scene(network: Network) -> None:
        network.name("near.home1.net", "10.0.0.3")
        zone = Zone({}, {"_sip._udp.plain.net": [Srv(1, 0, "near.home1.net.", 5070)]}, ttl_s=60)
        resolver = Resolver(SeededRandomness(1), None, zone)
        await resolver.find(sip("sip:plain.net"))
        assert resolver.known(sip("sip:alice@plain.net"))
        await resolver.find(sip("sip:plain.net"))
        assert zone.asked["_sip._udp.plain.net"] == 1
        await asyncio.sleep(61)
        assert resolver.known(sip("sip:plain.net")) is None
        await resolver.find(sip("sip:plain.net"))
        assert zone.asked["_sip._udp.plain.net"] == 2

    run(scene, 1)


def test_srv_weights_share_the_load() -> None:
    async def scene(network: Network) -> None:
        for name in ("a", "b"):
            network.name(f"{name}.x.net", "10.0.0.1" if name == "a" else "10.0.0.2")
        zone = Zone({}, {"_sip._udp.x.net": [Srv(1, 90, "a.x.net", 1), Srv(1, 10, "b.x.net", 1)]})
        randomness, first = SeededRandomness(3), Counter[str]()
        for _ in range(400):
            first[(await Resolver(randomness, None, zone).find(sip("sip:x.net")))[0].host] += 1
        assert 330 < first["10.0.0.1"] < 390

    run(scene, 1)
